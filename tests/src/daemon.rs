//! The real daemon in a namespace of the test: started, waited for, and ended in every way. What it
//! does to frames is not looked at here.

use std::{
    env, fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio, id},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use nwfilter_common::MacAddr;

use crate::net::{NetNs, PATIENCE};

/// Where the test's pins are.
const BPFFS: &str = "/sys/fs/bpf";

/// Directories of a daemon: files in a temporary directory, pins in one of their own below
/// `/sys/fs/bpf`. Both are gone with this value.
#[derive(Debug)]
pub struct Site {
    directory: PathBuf,
    /// Where the daemon pins.
    pub pins: PathBuf,
}

impl Site {
    /// Empty ones, different from all others.
    ///
    /// # Errors
    ///
    /// If the temporary directory cannot be made.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "nwfilter-test-{}-{}",
            id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = env::temp_dir().join(&name);
        for part in ["filters", "state/bindings"] {
            fs::create_dir_all(directory.join(part))?;
        }
        Ok(Self {
            directory,
            pins: Path::new(BPFFS).join(name),
        })
    }

    /// Where filters are.
    pub fn filters(&self) -> PathBuf {
        self.directory.join("filters")
    }

    /// The daemon's own directory.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// The configuration file; the daemon's defaults count as long as it is not there.
    pub fn configuration(&self) -> PathBuf {
        self.directory.join("nwfilter.toml")
    }

    /// The file of a port's binding.
    pub fn binding(&self, port: &str) -> PathBuf {
        self.state().join("bindings").join(format!("{port}.xml"))
    }

    /// The program on the test's directories, inside `host`.
    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(program()?);
        command.args(arguments).arg("--socket").arg(self.socket());
        Ok(command)
    }

    fn daemon(&self) -> Result<Command> {
        let mut command = self.command(&["daemon"])?;
        command
            .arg("--filter-dir")
            .arg(self.filters())
            .arg("--state-dir")
            .arg(self.state())
            .arg("--pin-dir")
            .arg(&self.pins);
        if self.configuration().exists() {
            command.arg("--config").arg(self.configuration());
        }
        Ok(command)
    }

    /// Runs a command of the program in a namespace.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn run(&self, host: &NetNs, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments)?;
        Ok(host.run(|| command.output())?)
    }

    /// Runs a command with environment variables and nothing to read from.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn run_with(
        &self,
        host: &NetNs,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Output> {
        let mut command = self.command(arguments)?;
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        Ok(host.run(|| command.output())?)
    }

    /// Runs a daemon that must end by itself.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn run_daemon(&self, host: &NetNs) -> Result<Output> {
        let mut command = self.daemon()?;
        Ok(host.run(|| command.output())?)
    }

    /// Starts a daemon and waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// If it does not get there; with what it wrote.
    pub fn start(&self, host: &NetNs) -> Result<Daemon> {
        let notify = self.directory.join("notify");
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let log = self.directory.join("log");
        let mut command = self.daemon()?;
        command
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log)?);
        let daemon = Daemon {
            child: host.run(|| command.spawn())?,
            log,
        };
        let mut message = [0; 4096];
        loop {
            let Ok(length) = socket.recv(&mut message) else {
                bail!("the daemon is not ready: {}", daemon.log());
            };
            if message[..length].starts_with(b"READY=1\n") {
                return Ok(daemon);
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for directory in [&self.pins, &self.directory] {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// The program, built before.
fn program() -> Result<PathBuf> {
    let test = env::current_exe()?;
    let program = test
        .ancestors()
        .nth(2)
        .map(|directory| directory.join("nwfilter-ctl"))
        .context("the test is in no directory")?;
    ensure!(
        program.exists(),
        "{} is missing: cargo build -p nwfilter-ctl",
        program.display()
    );
    Ok(program)
}

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// If it is not there any more.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        Ok(())
    }

    /// Ends it by a signal and waits until it is gone.
    ///
    /// # Errors
    ///
    /// If it was not there any more.
    pub fn end(mut self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A binding's document.
pub fn binding_xml(port: &str, mac: MacAddr, filter: &str, address: &str) -> String {
    format!(
        "<filterbinding>
  <owner><name>vm of {port}</name><uuid>fce8ae33-e69e-83bf-262e-30786c1f8072</uuid></owner>
  <portdev name='{port}'/>
  <mac address='{mac}'/>
  <filterref filter='{filter}'><parameter name='IP' value='{address}'/></filterref>
</filterbinding>
"
    )
}
