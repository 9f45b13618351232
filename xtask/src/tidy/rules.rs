//! The rules, each a function of one file's text.

use std::path::Path;

/// Places where only one machine has something; spelled so that this file does not break the rule.
const MACHINE_PATHS: [&str; 2] = [concat!("/", "work/"), concat!("/", "root/")];
/// Tests that do not run and code that is not there.
const UNFINISHED: [&str; 3] = [
    concat!("#[", "ignore"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// Finds what is wrong with a file; `path` is relative to the repository's root.
pub(crate) fn check(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let path_of_file = Path::new(path);
    let is_rust = path_of_file
        .extension()
        .is_some_and(|extension| extension == "rs");
    if is_rust && !opens_with_docs(text) {
        findings.push(format!(
            "{path}:1: the file does not open with //! and what it is"
        ));
    }
    let is_manifest = path_of_file
        .file_name()
        .is_some_and(|name| name == "Cargo.toml");
    if is_manifest && text.contains("[package]") && !text.contains("[lints]\nworkspace = true\n") {
        findings.push(format!(
            "{path}: the package lacks [lints] workspace = true"
        ));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(found) = MACHINE_PATHS.iter().find(|place| has_path(line, place)) {
            findings.push(format!("{path}:{number}: {found} is a path of one machine"));
        }
        if let Some(found) = UNFINISHED
            .iter()
            .find(|mark| is_rust && line.contains(**mark))
        {
            findings.push(format!("{path}:{number}: {found} is not finished"));
        }
    }
    findings
}

/// Attributes of the file may come before its description.
fn opens_with_docs(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .find(|line| !line.starts_with("#!"))
        .is_some_and(|line| line.starts_with("//!"))
}

/// Whether an absolute path in `line` begins with `place`.
fn has_path(line: &str, place: &str) -> bool {
    let continues =
        |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || "._-})".contains(c));
    line.match_indices(place)
        .any(|(position, _)| !continues(&line[..position]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_file_opens_with_its_description() {
        for good in [
            "//! What.\n",
            "#![no_std]\n#![no_main]\n//! What.\n",
            "\n//! What.\nuse x;\n",
        ] {
            assert_eq!(check("a/b.rs", good), [""; 0], "{good:?}");
        }
        for bad in [
            "",
            "// What.\n",
            "use x;\n//! What.\n",
            "#![no_std]\nuse x;\n",
        ] {
            let expected = ["a/b.rs:1: the file does not open with //! and what it is"];
            assert_eq!(check("a/b.rs", bad), expected, "{bad:?}");
        }
        assert_eq!(check("a/b.py", "import x\n"), [""; 0]);
    }

    #[test]
    fn a_package_takes_the_lints_of_the_workspace() {
        let package = "[package]\nname = \"x\"\n";
        assert_eq!(
            check("x/Cargo.toml", package),
            ["x/Cargo.toml: the package lacks [lints] workspace = true"]
        );
        assert_eq!(
            check(
                "x/Cargo.toml",
                &format!("{package}[lints]\nworkspace = true\n")
            ),
            [""; 0]
        );
        assert_eq!(check("Cargo.toml", "[workspace]\n"), [""; 0]);
        assert_eq!(check("notes.toml", package), [""; 0]);
    }

    #[test]
    fn paths_of_one_machine_are_found_in_any_file() {
        for place in MACHINE_PATHS {
            let text = format!("first\ncd {place}x\n");
            let expected = [format!("README.md:2: {place} is a path of one machine")];
            assert_eq!(check("README.md", &text), expected);
        }
        assert_eq!(
            check("README.md", "cd /tmp; ls /sys/fs/bpf, homework/root\n"),
            [""; 0]
        );
    }

    #[test]
    fn unfinished_code_is_found() {
        for mark in UNFINISHED {
            let text = format!("//! What.\n    {mark}\n");
            assert_eq!(
                check("a.rs", &text),
                [format!("a.rs:2: {mark} is not finished")]
            );
            assert_eq!(check("a.md", &text), [""; 0]);
        }
    }
}
