//! A machine without disks and network that QEMU makes of its processor's software emulation: boots a
//! kernel, hands on what its tests write, and ends.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::transcript::Transcript;

/// A guest that is silent for so long hangs. Many times what any one test takes under emulation, on
/// a machine that has other things to do.
const SILENCE: Duration = Duration::from_mins(10);
/// What the kernel is told: where its messages go, and that it is better dead than wrong.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 oops=panic rdinit=/init";
/// How many of the kernel's last messages tell why a guest has failed.
const LAST_MESSAGES: usize = 30;

/// What a guest starts from.
pub(crate) struct Guest<'a> {
    pub(crate) qemu: &'a Path,
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// Where the kernel's messages go.
    pub(crate) messages: &'a Path,
}

/// Ends QEMU, whatever happens to us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guest<'_> {
    /// Runs it to its end, or until it hangs.
    ///
    /// # Errors
    /// If QEMU does not start.
    pub(crate) fn run(&self) -> Result<Transcript> {
        let mut qemu = self.command();
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = qemu
            .spawn()
            .with_context(|| format!("{qemu:?} does not start"))?;
        let output = child.stdout.take().context("QEMU has no output")?;
        let running = Running(child);
        let lines = lines(output);
        let mut transcript = Transcript::default();
        loop {
            match lines.recv_timeout(SILENCE) {
                Ok(line) => {
                    if let Some(output) = transcript.line(&line) {
                        println!("{output}");
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    println!("the guest has been silent for {} s", SILENCE.as_secs());
                    break;
                }
            }
        }
        drop(running);
        Ok(transcript)
    }

    /// The last messages of the kernel.
    pub(crate) fn last_messages(&self) -> String {
        let text = fs::read(self.messages).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_MESSAGES)..].join("\n")
    }

    /// QEMU with what the guest reports on its standard output.
    pub(crate) fn command(&self) -> Command {
        let mut qemu = Command::new(self.qemu);
        qemu.args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1G"])
        .arg("-kernel")
        .arg(self.kernel)
        .arg("-initrd")
        .arg(self.initramfs)
        .args(["-append", KERNEL_ARGUMENTS])
        .args(["-chardev", "stdio,id=report,signal=off", "-chardev"])
        .arg(format!(
            "file,id=messages,path={}",
            option_value(self.messages)
        ))
        .args(["-serial", "chardev:messages", "-serial", "chardev:report"]);
        if let Some(libraries) = self.libraries() {
            qemu.env("LD_LIBRARY_PATH", libraries);
        }
        qemu
    }

    /// Where the libraries are of a QEMU that was unpacked and not installed.
    fn libraries(&self) -> Option<PathBuf> {
        let root = self.qemu.ancestors().nth(3)?;
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        (root != Path::new("/") && libraries.is_dir()).then_some(libraries)
    }
}

/// A path inside one of QEMU's options, where a comma is written twice.
fn option_value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Reads lines on a thread of its own, so that waiting for them can end.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            let text = String::from_utf8_lossy(&line);
            if sender
                .send(text.trim_end_matches(['\r', '\n']).to_owned())
                .is_err()
            {
                break;
            }
            line.clear();
        }
    });
    receiver
}
