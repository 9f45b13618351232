//! The archive of a guest that runs test programs, one after the other, and switches itself off.

use std::path::Path;

use anyhow::Result;

use super::initramfs::{self, REPORT, quote};
use super::programs::{Programs, Scope, suites};

/// What the tests need of a kernel and what may not be built into it.
const MODULES: [&str; 6] = ["8021q", "bridge", "cls_bpf", "sch_ingress", "tun", "veth"];

/// What the script runs, and what it gives to every test program.
pub(crate) struct Environment {
    pub(crate) scope: Scope,
    /// Variables and their values.
    pub(crate) variables: Vec<(String, String)>,
    /// Arguments after those of the suite.
    pub(crate) arguments: Vec<String>,
}

/// Makes the archive for an unpacked kernel.
///
/// # Errors
/// If the kernel lacks what the tests need, or a file cannot be read.
pub(crate) fn archive(
    kernel: &Path,
    busybox: &Path,
    programs: &Programs,
    environment: &Environment,
) -> Result<Vec<u8>> {
    let (mut archive, mut lines) = initramfs::begin(kernel, busybox, &MODULES)?;
    programs.pack(&mut archive, &kernel.with_file_name("stripped"))?;
    lines.extend(script(environment));
    initramfs::finish(archive, &lines)
}

/// What the script does when the kernel is ready.
fn script(environment: &Environment) -> Vec<String> {
    let mut lines = vec![
        // The suite's name, then the program with its arguments.
        "suite() { say begin $1; shift; \"$@\"; say end $?; }".to_owned(),
        "must /busybox mount -t bpf bpf /sys/fs/bpf".to_owned(),
        "export PATH=/usr/bin TMPDIR=/tmp HOME=/tmp".to_owned(),
    ];
    for (name, value) in &environment.variables {
        lines.push(format!("export {name}={}", quote(value)));
    }
    for (suite, filter) in suites(environment.scope) {
        let mut words = vec!["suite".to_owned(), suite.name.to_owned(), suite.path()];
        words.extend(filter.iter().map(|word| quote(word)));
        words.extend(environment.arguments.iter().map(|argument| quote(argument)));
        lines.push(words.join(" "));
    }
    lines.push("say done".to_owned());
    // Waits until all is written, too.
    lines.push(format!("/busybox stty -F {REPORT} raw"));
    lines.push("/busybox reboot -f".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_runs_every_suite_to_the_end() {
        let script = script(&Environment {
            scope: Scope::Whole,
            variables: vec![("CI".to_owned(), "it's".to_owned())],
            arguments: vec!["--nocapture".to_owned()],
        });
        let mut expected = vec![r"export CI='it'\''s'".to_owned()];
        expected.extend(
            suites(Scope::Whole).map(|(suite, _)| format!("suite {0} /tests/{0} ", suite.name)),
        );
        expected.extend(["say done", "/busybox reboot -f"].map(str::to_owned));
        let mut lines = script.iter();
        for expected in &expected {
            assert!(
                lines.any(|line| line.starts_with(expected)),
                "{expected} in {script:?}"
            );
        }
        assert!(
            script
                .iter()
                .any(|line| line.ends_with(" 'net::tests::' '--nocapture'"))
        );
    }
}
