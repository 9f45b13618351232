//! What a test needs of the machine, and what happens where it is missing: the test is skipped and
//! says so, except under CI, where it fails.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use crate::{machine::cgroups, net::NetNs};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// Root, or rather what of it network namespaces take.
    NetworkNamespace,
    /// A program in `PATH`.
    Program(&'static str),
    /// A file or directory.
    File(&'static str),
    /// Groups of processes, version 2.
    Cgroups,
    /// A file, by its path in the repository, that a command of the repository makes.
    Made(&'static str, &'static str),
}

impl Need {
    /// Whether it is there.
    pub fn is_met(self) -> bool {
        match self {
            Self::NetworkNamespace => NetNs::new().is_ok(),
            Self::Program(name) => env::var_os("PATH")
                .is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(name).is_file())),
            Self::File(path) => Path::new(path).exists(),
            Self::Cgroups => cgroups().is_some(),
            Self::Made(path, _) => in_repository(path).exists(),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NetworkNamespace => f.write_str("the right to make network namespaces (root)"),
            Self::Program(name) => write!(f, "the program `{name}`"),
            Self::File(path) => write!(f, "`{path}`"),
            Self::Cgroups => f.write_str("a cgroup2 file system"),
            Self::Made(path, by) => write!(f, "`{path}`, which `{by}` makes"),
        }
    }
}

/// A path in the repository of these tests.
pub fn in_repository(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).join(path)
}

/// Whether the test that asks can run. If not, it says on stderr what is missing and returns.
///
/// # Panics
///
/// Where something is missing and the environment variable `CI` is set: there, nothing is skipped.
#[expect(
    clippy::print_stderr,
    reason = "a skipped test has no other way to say so"
)]
pub fn met(needs: &[Need]) -> bool {
    let Some(missing) = needs.iter().find(|need| !need.is_met()) else {
        return true;
    };
    assert!(
        env::var_os("CI").is_none(),
        "missing {missing}, and under CI no test is skipped"
    );
    eprintln!("skipped: missing {missing}");
    false
}
