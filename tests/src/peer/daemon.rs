//! The process: libvirt's monolithic daemon with one driver.

use std::{
    fs::File,
    io,
    os::unix::{net::UnixDatagram, process::CommandExt},
    process::{Child, Stdio},
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::{prctl::set_pdeathsig, signal::Signal};

use super::enclave::{Enclave, command};
use crate::net::{PATIENCE, uninterrupted};

/// Where the daemon's messages go, inside the enclave.
pub(super) const LOG: &str = "/run/libvirtd.log";
/// Where it says that it is ready, as it would to systemd.
const READY: &str = "/run/ready";

/// The running daemon; it ends with this value, and with this process at the latest.
#[derive(Debug)]
pub(super) struct Daemon {
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub(super) fn start(enclave: &Enclave) -> Result<Self> {
        let ready = enclave.run(|| UnixDatagram::bind(READY))?;
        ready.set_read_timeout(Some(PATIENCE))?;
        let (started, start) = channel();
        let (stop, stopped) = channel();
        let inside = enclave.try_clone()?;
        // The kernel ends the daemon when the thread that started it ends, so this one stays.
        let keeper = thread::spawn(move || {
            let mut child = match inside.enter().and_then(|()| spawn()) {
                Ok(child) => child,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let _ = started.send(Ok(()));
            // Returns when the sender is dropped.
            let _ = stopped.recv();
            let _ = child.kill();
            let _ = child.wait();
        });
        let daemon = Self {
            stop: Some(stop),
            keeper: Some(keeper),
        };
        start.recv().context("the daemon's keeper has died")??;

        let mut message = [0; 256];
        match uninterrupted(|| ready.recv(&mut message)) {
            Ok(length) if message[..length].starts_with(b"READY=1") => Ok(daemon),
            Ok(_) => bail!("libvirtd says something else than that it is ready"),
            Err(error) => {
                let log = enclave
                    .run(|| std::fs::read_to_string(LOG))
                    .unwrap_or_default();
                Err(anyhow!("libvirtd does not get ready: {error}\n{log}"))
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// Inside the enclave.
fn spawn() -> Result<Child> {
    let log = File::create(LOG)?;
    let mut command = command("libvirtd");
    command
        .args(["-f", Enclave::CONFIGURATION, "-p", "/run/libvirtd.pid"])
        .env("LIBVIRT_DRIVER_DIR", Enclave::DRIVERS)
        .env("NOTIFY_SOCKET", READY)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // SAFETY: between fork and exec only one system call is made, which allocates nothing.
    unsafe {
        command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
    }
    command
        .spawn()
        .context("start libvirtd (package libvirt-daemon)")
}
