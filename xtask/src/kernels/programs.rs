//! The programs that run in a guest: which tests, as cargo builds them, and what else they call.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::cpio::Archive;
use crate::exec;
use crate::setup::find_program;

/// Tests that prove something about a kernel, and nothing about libvirt or virtual machines.
pub(crate) struct Suite {
    /// How a guest's report calls it.
    pub(crate) name: &'static str,
    package: &'static str,
    /// Which of the package's test programs, as arguments of `cargo test`.
    target: &'static [&'static str],
    /// Which of its tests, as arguments of the program; all without any.
    filter: &'static [&'static str],
    /// Which of them suffice to see that all of nwfilter works in a kernel.
    smoke: Option<&'static [&'static str]>,
}

/// How much is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything.
    Whole,
    /// That the program loads, is attached and filters frames. Emulated, a kernel takes seconds to
    /// verify the program, and most tests load it.
    Smoke,
}

/// Everything that runs in every guest. A new file of kernel tests is a new line here.
const SUITES: &[Suite] = &[
    Suite {
        name: "net",
        package: "nwfilter-tests",
        target: &["--lib"],
        filter: &["net::tests::"],
        smoke: None,
    },
    Suite {
        name: "datapath",
        package: "nwfilter-tests",
        target: &["--test", "datapath"],
        filter: &[],
        smoke: Some(&["a_spoofed_frame_is_dropped_in_both_ways_of_attaching"]),
    },
    Suite {
        name: "traffic",
        package: "nwfilter-tests",
        target: &["--test", "traffic"],
        // A guest has neither iperf3 nor QEMU.
        filter: &["--skip", "tcp::", "--skip", "vm::"],
        smoke: None,
    },
];

/// What runs in a scope: suites, and which of their tests.
pub(crate) fn suites(
    scope: Scope,
) -> impl Iterator<Item = (&'static Suite, &'static [&'static str])> {
    SUITES.iter().filter_map(move |suite| match scope {
        Scope::Whole => Some((suite, suite.filter)),
        Scope::Smoke => Some((suite, suite.smoke?)),
    })
}

/// Programs of the machine that tests call; with the libraries that these are linked to.
const TOOLS: [&str; 2] = ["bridge", "ip"];

/// What debugging information is in a program is no use in a guest and most of its bytes.
const STRIP: &str = "strip";

/// Files of this machine and where they go in a guest.
pub(crate) struct Programs(Vec<(PathBuf, String)>);

/// Builds the suites' programs and finds the tools.
///
/// # Errors
/// If one does not build or is not there.
pub(crate) fn build(scope: Scope) -> Result<Programs> {
    let mut programs = Vec::new();
    for tool in TOOLS {
        let path = find_program(tool)
            .map_err(|why| anyhow::anyhow!("{tool}: {why}; `cargo xtask setup` brings it"))?;
        programs.push((path, format!("/usr/bin/{tool}")));
    }
    for (suite, _) in suites(scope) {
        let mut build = exec::cargo("test");
        build
            .args(["--no-run", "--message-format=json-render-diagnostics"])
            .args(["--package", suite.package])
            .args(suite.target)
            .stderr(Stdio::inherit());
        let messages = exec::output(&mut build)?;
        let mut tests = messages.lines().filter_map(test_program);
        let (Some(test), None) = (tests.next(), tests.next()) else {
            bail!("{build:?} does not build one test program");
        };
        programs.push((test.into(), suite.path()));
    }
    Ok(Programs(programs))
}

impl Suite {
    /// Where its program is in a guest.
    pub(crate) fn path(&self) -> String {
        format!("/tests/{}", self.name)
    }
}

impl Programs {
    /// Adds all of them to an archive, with the libraries that they need. `scratch` is the path of a
    /// file that nobody needs.
    pub(crate) fn pack(&self, archive: &mut Archive, scratch: &Path) -> Result<()> {
        for (source, path) in &self.0 {
            if archive.contains(path) {
                continue;
            }
            let mut strip = Command::new(STRIP);
            exec::run(strip.arg("--strip-debug").arg("-o").args([scratch, source]))?;
            archive.program(path, &read(scratch)?)?;
            for library in libraries(source)? {
                if !archive.contains(&library) {
                    archive.program(&library, &read(Path::new(&library))?)?;
                }
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Where the dynamic linker finds a program's libraries, itself included.
fn libraries(program: &Path) -> Result<Vec<String>> {
    // Not where cargo makes this process look for them: a guest has no such variable.
    let mut ldd = Command::new("ldd");
    let text = exec::output(ldd.arg(program).env_remove("LD_LIBRARY_PATH"))?;
    parse_libraries(&text).with_context(|| format!("a library of {} is missing", program.display()))
}

/// Reads the output of `ldd`; nothing where it says that a library was not found.
fn parse_libraries(text: &str) -> Option<Vec<String>> {
    let mut libraries = Vec::new();
    for line in text.lines() {
        let path = line.split_once(" => ").map_or(line, |(_, path)| path);
        let path = path.split_once(" (").map_or(path, |(path, _)| path).trim();
        match path {
            "not found" => return None,
            path if path.starts_with('/') => libraries.push(path.to_owned()),
            // What the kernel brings itself is no file.
            _ => {}
        }
    }
    Some(libraries)
}

/// The program of one of cargo's messages, if it is a test program. A path with characters that JSON
/// escapes comes out as another.
fn test_program(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(r#""executable":""#)?;
    let (path, _) = rest.split_once('"')?;
    let (_, profile) = message.split_once(r#""profile":{"#)?;
    let (profile, _) = profile.split_once('}')?;
    profile.contains(r#""test":true"#).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_its_libraries_and_their_loader() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc0a5d5000)\n\
            \tlibbpf.so.1 => /lib/x86_64-linux-gnu/libbpf.so.1 (0x00007f27ff3c0000)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f27ff4f0000)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libbpf.so.1",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(parse_libraries(text).unwrap(), expected);
        assert_eq!(parse_libraries("\tstatically linked\n").unwrap(), [""; 0]);
        assert_eq!(parse_libraries("\tlibx.so => not found\n"), None);
    }

    #[test]
    fn test_programs_are_told_from_others() {
        let message = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["bin"],"test":true}},\
                "profile":{{"opt_level":"0","test":{test}}},"executable":{executable},"fresh":true}}"#
            )
        };
        let built = message(true, r#""/t/a-1""#);
        assert_eq!(test_program(&built), Some("/t/a-1"));
        assert_eq!(test_program(&message(false, r#""/t/b""#)), None);
        assert_eq!(test_program(&message(true, "null")), None);
        let finished = r#"{"reason":"build-finished","success":true}"#;
        assert_eq!(test_program(finished), None);
    }
}
