//! `cargo xtask tidy`: rules of this repository that neither rustfmt nor clippy know.

mod rules;

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

/// Checks every file that git tracks; fails with one line for each finding.
pub(crate) fn tidy() -> Result<ExitCode> {
    let workspace = crate::workspace();
    let mut git = Command::new("git");
    let output = git
        .args(["ls-files", "-z"])
        .current_dir(&workspace)
        .output();
    let output = output.context("git does not start")?;
    if !output.status.success() {
        bail!(
            "git ls-files: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let paths = String::from_utf8(output.stdout).context("a path that is not UTF-8")?;

    let mut findings = Vec::new();
    for path in paths.split_terminator('\0') {
        // Gone from the working tree, or a symbolic link to a directory: no text to judge.
        let Ok(bytes) = fs::read(workspace.join(path)) else {
            continue;
        };
        // Captured frames and other binary files have no rules.
        if let Ok(text) = str::from_utf8(&bytes) {
            findings.extend(rules::check(path, text));
        }
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
