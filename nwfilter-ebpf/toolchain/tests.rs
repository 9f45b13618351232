//! Tests of the search, with made-up toolchains and linkers. xtask runs them.

use std::fs;
use std::path::{Path, PathBuf};

use super::{LINKER_VERSION, Rust, STD_SOURCE, check_version, first_linker};

const GOOD: &str = "rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8";

/// A directory that is removed with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nwfilter-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, path: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_toolchain_needs_cargo_and_rust_src() {
    let scratch = Scratch::new("rust-src");
    let find = || Rust::at(scratch.0.clone(), |_, _| Ok(GOOD.to_owned())).map(|rust| rust.sysroot);
    let place = scratch.0.display();

    assert_eq!(
        find(),
        Err(format!("{place} has no bin/rustc or no bin/cargo"))
    );
    scratch.file("bin/rustc");
    assert_eq!(
        find(),
        Err(format!("{place} has no bin/rustc or no bin/cargo"))
    );
    scratch.file("bin/cargo");
    assert_eq!(find(), Err(format!("{place} has no rust-src")));
    scratch.file(STD_SOURCE);
    assert_eq!(find(), Ok(scratch.0.clone()));
    let old = Rust::at(scratch.0.clone(), |_, _| {
        Ok("release: 1.63.0\nLLVM version: 14.0.5".to_owned())
    });
    assert_eq!(
        old.unwrap_err(),
        format!("{place} is Rust 1.63, older than 1.95")
    );
}

#[test]
fn versions_are_bounded_by_the_workspace_and_by_the_linker() {
    assert_eq!(check_version(GOOD), Ok(()));
    assert_eq!(check_version("release: 1.95.0\nLLVM version: 21.1"), Ok(()));
    assert_eq!(
        check_version("release: 2.0.0-nightly\nLLVM version: 22.1.4"),
        Ok(())
    );
    assert_eq!(
        check_version("release: 1.94.1\nLLVM version: 21.1.8").unwrap_err(),
        "is Rust 1.94, older than 1.95"
    );
    assert_eq!(
        check_version("release: 1.99.0-nightly\nLLVM version: 23.1.0").unwrap_err(),
        "has LLVM 23, bpf-linker reads up to 22"
    );
    for odd in [
        "",
        "release: new\nLLVM version: 22.1.8",
        "release: 1.96.0",
        "release: 1",
    ] {
        assert_eq!(
            check_version(odd).unwrap_err(),
            "has a rustc that does not tell its version",
            "{odd:?}"
        );
    }
}

#[test]
fn the_first_linker_that_works_and_has_the_version_is_taken() {
    let scratch = Scratch::new("linkers");
    let run = |linker: &Path, _: &[&str]| {
        let directory = linker.parent().unwrap().file_name().unwrap();
        match directory.to_str().unwrap() {
            "old" => Ok("bpf-linker 0.9.15\n".to_owned()),
            "broken" => Err("no libLLVM".to_owned()),
            _ => Ok(format!("bpf-linker {LINKER_VERSION}\n")),
        }
    };
    let find = |names: &[&str]| {
        let directories = names.iter().map(|name| scratch.0.join(name));
        first_linker(directories, run).map_err(|why| why.to_string())
    };
    for name in ["old", "broken", "good", "better"] {
        scratch.file(&format!("{name}/bpf-linker"));
    }
    let path = |name: &str| scratch.0.join(name).join("bpf-linker");

    assert_eq!(
        find(&["none", "old", "broken", "good", "better"]),
        Ok(path("good"))
    );
    assert_eq!(
        find(&["none"]),
        Err("neither in target/tools/bin nor in PATH".to_owned())
    );
    assert_eq!(
        find(&["old", "none", "broken"]),
        Err(format!(
            "{} is bpf-linker 0.9.15; no libLLVM",
            path("old").display()
        ))
    );
}

#[test]
fn a_program_answers_or_the_reason_names_it() {
    let run = |program: &str, argument: &str| super::run(Path::new(program), &[argument]);
    assert_eq!(run("echo", "1.96"), Ok("1.96\n".to_owned()));
    assert_eq!(
        run("false", ""),
        Err("false does not work: it says nothing".to_owned())
    );
    assert!(
        run("ls", "/nonexistent/x")
            .unwrap_err()
            .starts_with("ls does not work: ls: ")
    );
    assert!(
        run("/nonexistent/x", "")
            .unwrap_err()
            .starts_with("/nonexistent/x does not run: ")
    );
}
