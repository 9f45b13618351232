//! Tests of the search, with made-up toolchains and linkers. xtask runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
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

    fn program(&self, path: &str, prints: &str) {
        self.file(path, &format!("#!/bin/sh\ncat <<'END'\n{prints}\nEND\n"));
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
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
    let find = || Rust::at(scratch.0.clone()).map(|rust| rust.sysroot);
    let place = scratch.0.display();

    assert_eq!(find(), Err(format!("{place} has no bin/rustc or no bin/cargo")));
    scratch.program("bin/rustc", GOOD);
    assert_eq!(find(), Err(format!("{place} has no bin/rustc or no bin/cargo")));
    scratch.program("bin/cargo", "");
    assert_eq!(find(), Err(format!("{place} has no rust-src")));
    scratch.file(STD_SOURCE, "");
    assert_eq!(find(), Ok(scratch.0.clone()));
}

#[test]
fn versions_are_bounded_by_the_workspace_and_by_the_linker() {
    assert_eq!(check_version(GOOD), Ok(()));
    assert_eq!(check_version("release: 1.95.0\nLLVM version: 21.1"), Ok(()));
    assert_eq!(check_version("release: 2.0.0-nightly\nLLVM version: 22.1.4"), Ok(()));
    assert_eq!(
        check_version("release: 1.94.1\nLLVM version: 21.1.8").unwrap_err(),
        "is Rust 1.94, older than 1.95"
    );
    assert_eq!(
        check_version("release: 1.99.0-nightly\nLLVM version: 23.1.0").unwrap_err(),
        "has LLVM 23, bpf-linker reads up to 22"
    );
    for odd in ["", "release: new\nLLVM version: 22.1.8", "release: 1.96.0", "release: 1"] {
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
    let find = |names: &[&str]| {
        first_linker(names.iter().map(|name| scratch.0.join(name))).map_err(|why| why.to_string())
    };
    scratch.program("old/bpf-linker", "bpf-linker 0.9.15");
    scratch.file("broken/bpf-linker", "#!/bin/sh\necho no libLLVM >&2; exit 127\n");
    scratch.program("good/bpf-linker", &format!("bpf-linker {LINKER_VERSION}"));
    scratch.program("better/bpf-linker", &format!("bpf-linker {LINKER_VERSION}"));
    let path = |name: &str| scratch.0.join(name).join("bpf-linker");

    assert_eq!(find(&["none", "old", "broken", "good", "better"]), Ok(path("good")));
    assert_eq!(find(&["none"]), Err("neither in target/tools/bin nor in PATH".to_owned()));
    let why = find(&["old", "none", "broken"]).unwrap_err();
    let show = |path: &Path| path.display().to_string();
    let expected = format!(
        "{} is bpf-linker 0.9.15; {} does not work (exit status: 127): no libLLVM",
        show(&path("old")),
        show(&path("broken"))
    );
    assert_eq!(why, expected);
}
