//! The virtual machine that tests boot: a kernel with a network card and a shell that does what it is
//! told over a serial line. What they start is one program, [`BOOT`]; what they do with it is theirs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::guest::Guest;
use super::initramfs::{self, REPORT, quote};

/// Where it is in the repository. `tests/src/guest.rs` looks for it there.
const DIRECTORY: &str = "target/guest";
/// The program in it: QEMU with all arguments but those of the network card.
const BOOT: &str = "boot";

/// What a network card takes.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_net"];

/// Makes it from an unpacked kernel.
///
/// # Errors
/// If the kernel lacks a driver, or a file cannot be read or written.
pub(crate) fn make(workspace: &Path, qemu: &Path, kernel: &Path, busybox: &Path) -> Result<()> {
    let directory = workspace.join(DIRECTORY);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let (archive, mut lines) = initramfs::begin(kernel, busybox, &MODULES)?;
    lines.extend(script());
    let initramfs = write(
        &directory,
        "initramfs",
        &initramfs::finish(archive, &lines)?,
    )?;
    let guest = Guest {
        qemu,
        kernel: &initramfs::image(kernel)?,
        initramfs: &initramfs,
        messages: &directory.join("messages"),
    };
    let boot = write(&directory, BOOT, program(&guest.command()).as_bytes())?;
    fs::set_permissions(&boot, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} a program", boot.display()))
}

/// Writes a file so that whoever has the old one open keeps it.
fn write(directory: &Path, name: &str, content: &[u8]) -> Result<PathBuf> {
    let (path, partial) = (
        directory.join(name),
        directory.join(format!("{name}.partial")),
    );
    fs::write(&partial, content)
        .and_then(|()| fs::rename(&partial, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// What the guest does when its kernel is ready: line by line what it reads, with the exit status
/// after each.
fn script() -> Vec<String> {
    let lines = [
        "must /busybox --install -s /bin",
        "export PATH=/bin HOME=/tmp",
        "cd /tmp",
        "say ready",
        "while read -r line; do",
        "  eval \"$line\" </dev/null",
        "  say status $?",
    ];
    let mut lines: Vec<String> = lines.map(str::to_owned).to_vec();
    lines.push(format!("done <{REPORT}"));
    lines.push("reboot -f".to_owned());
    lines
}

/// A program of the shell that turns into a command with more arguments.
fn program(command: &Command) -> String {
    let mut lines = vec!["#!/bin/sh".to_owned()];
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            lines.push(format!("export {name}={}", quote(&value)));
        }
    }
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<String> = words.map(|word| quote(&word.to_string_lossy())).collect();
    lines.push(format!("exec {} \"$@\"", words.join(" ")));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_becomes_a_program_that_takes_more_arguments() {
        let mut command = Command::new("/a b");
        command.args(["-c", "it's"]).env("X", "$HOME");
        assert_eq!(
            program(&command),
            "#!/bin/sh\nexport X='$HOME'\nexec '/a b' '-c' 'it'\\''s' \"$@\"\n"
        );
    }
}
