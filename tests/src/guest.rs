//! A real virtual machine: QEMU without any help of the processor, behind a tap, with a shell at its
//! serial line. `cargo xtask test` makes what it boots (`xtask/src/kernels/vm.rs`).

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nwfilter_common::MacAddr;

use crate::{
    need::{Need, in_repository},
    net::NetNs,
};

/// Boots it; takes more of QEMU's arguments.
const BOOT: &str = "target/guest/boot";
/// Begins a line of the guest that is not output of a command.
const MARK: &str = "nwfilter-guest:";
/// A guest that is silent for so long hangs. Not a measure of anything.
const SILENCE: Duration = Duration::from_mins(10);

/// A running machine; it ends with this value.
#[derive(Debug)]
pub struct Guest {
    qemu: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

/// What has become of a command in a guest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Done {
    /// Exit status.
    pub status: i32,
    /// What it wrote, line by line, errors too.
    pub output: Vec<String>,
}

impl Guest {
    /// What it takes.
    pub const NEED: Need = Need::Made(BOOT, "cargo xtask test");

    /// Boots a machine whose network card `eth0` is at the far end of a tap that nobody else has; it
    /// has no address of IP yet.
    ///
    /// # Errors
    ///
    /// If it does not get to its shell.
    pub fn boot(namespace: &NetNs, tap: &str, mac: MacAddr) -> Result<Self> {
        let mut qemu = Command::new(in_repository(BOOT));
        qemu.args([
            "-netdev",
            &format!("tap,id=net,ifname={tap},script=no,downscript=no"),
        ])
        .args([
            "-device",
            &format!("virtio-net-pci,netdev=net,mac={mac},romfile="),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
        let mut qemu = namespace.run(|| qemu.spawn()).context("start QEMU")?;
        let ends = qemu.stdin.take().zip(qemu.stdout.take());
        let (input, output) = ends.context("QEMU has no serial line")?;
        let guest = Self {
            qemu,
            input,
            lines: lines(output),
        };
        let (said, _) = guest.until_mark("ready")?;
        ensure!(said.is_empty(), "the guest is not ready: {said:?}");
        Ok(guest)
    }

    /// Runs a line of the shell, and waits for its end. The network card is all it has of the world.
    ///
    /// # Errors
    ///
    /// If the guest has ended, or hangs.
    pub fn run(&mut self, command: &str) -> Result<Done> {
        writeln!(self.input, "{command}")?;
        let (output, status) = self.until_mark("status")?;
        let status = status
            .trim()
            .parse()
            .with_context(|| format!("{status:?}"))?;
        Ok(Done { status, output })
    }

    /// Everything up to a mark of this kind, and what the mark says more.
    fn until_mark(&self, kind: &str) -> Result<(Vec<String>, String)> {
        let mut said = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(SILENCE) else {
                bail!("the guest says no more; so far {said:?}");
            };
            // What a command has written last may have no end of line.
            let Some((output, mark)) = line.split_once(MARK) else {
                said.push(line);
                continue;
            };
            if !output.is_empty() {
                said.push(output.to_owned());
            }
            let mark = mark.trim_start();
            match mark.strip_prefix(kind) {
                Some(more) => return Ok((said, more.to_owned())),
                None if mark.starts_with("kernel") => {}
                None => said.push(mark.to_owned()),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Reads lines on a thread of its own, so that waiting for them can end.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if sender.send(line.trim_end_matches('\r').to_owned()).is_err() {
                break;
            }
        }
    });
    receiver
}
