//! The binary as users run it: arguments, output and exit status.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod agree;
mod capture;
mod compile;
mod docs;
mod errors;
mod explain;
mod frame;
mod kernel;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What a run of the binary left behind.
#[derive(Debug)]
struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// The only JSON document on standard output.
    fn json(&self) -> Value {
        let document: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(document["schema"], 1);
        document
    }
}

/// The repository's root, where the binary is run.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nwfilter-ctl"));
    command.current_dir(root());
    command
}

fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    let output = command().args(args).output().unwrap();
    Ran {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A binding of the VM of `examples/clean-traffic.xml` to another filter.
fn binding(filter: &str, parameters: &str) -> String {
    format!(
        "<filterbinding>
<owner><name>vm</name><uuid>00000000-0000-4000-8000-000000000001</uuid></owner>
<portdev name='vnet1'/>
<mac address='52:54:00:00:00:01'/>
<filterref filter='{filter}'>{parameters}</filterref>
</filterbinding>
"
    )
}

/// A directory with documents.
struct Documents(tempfile::TempDir);

impl Documents {
    fn new(documents: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in documents {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn directory(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// The binding that most tests are about.
const CLEAN_TRAFFIC: &str = "examples/clean-traffic.xml";
