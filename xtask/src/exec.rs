//! Running other programs: all share the terminal, and an error names the command.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The cargo that runs xtask, at work in the repository's root.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).current_dir(crate::workspace());
    command
}

/// Runs a command to its end and fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{command:?} does not start"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Runs a command to its end for its standard output; an error tells what it wrote on the other.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("{command:?} does not start"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed: {}\n{}", output.status, why.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} does not write text"))
}

/// Turns into the command: its exit status is that of xtask. Returns only if it does not start.
pub(crate) fn replace(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("{command:?} does not start"))
}

/// Builds the workspace for release and turns into one of its programs.
pub(crate) fn release(program: &str, arguments: &[OsString]) -> Result<()> {
    run(cargo("build").arg("--release"))?;
    replace(Command::new(release_directory()?.join(program)).args(arguments))
}

/// Where cargo leaves programs of the release profile: beside the profile that xtask was built in.
fn release_directory() -> Result<PathBuf> {
    let own = env::current_exe().context("xtask does not know its own path")?;
    let target = own
        .ancestors()
        .nth(2)
        .with_context(|| format!("{} is too short", own.display()))?;
    Ok(target.join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_what_a_command_writes_if_it_succeeds() {
        let shell = |script| output(Command::new("sh").args(["-c", script]));
        assert_eq!(shell("echo yes; echo no >&2").unwrap(), "yes\n");
        let error = shell("echo no; echo why >&2; exit 3").unwrap_err();
        let error = error.to_string();
        assert!(error.ends_with("failed: exit status: 3\nwhy"), "{error}");
    }

    #[test]
    fn a_failing_command_is_named_with_its_status() {
        assert!(run(&mut Command::new("true")).is_ok());
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""sh" "-c" "exit 3" failed: exit status: 3"#
        );
        let error = run(&mut Command::new("/nonexistent/program")).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""/nonexistent/program" does not start"#
        );
    }
}
