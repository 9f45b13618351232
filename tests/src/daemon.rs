//! The real daemon in a namespace of the test: started, waited for, and ended in every way. What it
//! does to frames is not looked at here.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixDatagram, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio, id},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use nwfilter_common::MacAddr;
use nwfilter_ctl::daemon::api::{Call, read_answer};
use serde_json::Value;

use crate::{
    net::{NetNs, PATIENCE},
    terminal::Terminal,
};

/// How long a daemon may take to start: the kernel verifies its programs first, and many tests do so at
/// a time.
const START: Duration = Duration::from_mins(5);

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
        Self::inside(&env::temp_dir())
    }

    /// The same with files in a new directory inside another one.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn inside(directory: &Path) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "nwfilter-test-{}-{}",
            id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = directory.join(&name);
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

    /// Starts a command that talks to somebody at a terminal.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn spawn_at(
        &self,
        host: &NetNs,
        arguments: &[&str],
        variables: &[(&str, &str)],
        terminal: &Terminal,
    ) -> Result<Child> {
        let mut command = self.command(arguments)?;
        command
            .envs(variables.iter().copied())
            .stdin(terminal.program()?)
            .stdout(terminal.program()?)
            .stderr(terminal.program()?);
        Ok(host.run(|| command.spawn())?)
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
        self.start_with(host, |_| {})
    }

    /// Where a daemon's messages go.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Starts a daemon by the command that `change` makes of the usual one, and waits for nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn spawn(
        &self,
        host: &NetNs,
        change: impl FnOnce(&mut Command) -> Command + Send,
    ) -> Result<Daemon> {
        let log = self.log();
        let file = fs::File::create(&log)?;
        let mut usual = self.daemon()?;
        let child = host.run(|| {
            let mut command = change(&mut usual);
            command.stdin(Stdio::null()).stderr(file).spawn()
        })?;
        Ok(Daemon { child, log })
    }

    /// Starts a daemon in its own way.
    ///
    /// # Errors
    ///
    /// As for [`Site::start`].
    pub fn start_with(
        &self,
        host: &NetNs,
        change: impl FnOnce(&mut Command) + Send,
    ) -> Result<Daemon> {
        /// How often to look whether it is still there.
        const LOOK: Duration = Duration::from_millis(50);
        let notify = self.directory.join("notify");
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify)?;
        socket.set_read_timeout(Some(LOOK))?;
        let mut daemon = self.spawn(host, |command| {
            command.env("NOTIFY_SOCKET", &notify);
            change(command);
            std::mem::replace(command, Command::new(""))
        })?;
        let mut message = [0; 4096];
        let start = Instant::now();
        loop {
            match socket.recv(&mut message) {
                Ok(length) if message[..length].starts_with(b"READY=1\n") => return Ok(daemon),
                Ok(_) => {}
                Err(_) => {
                    let ended = daemon.child.try_wait()?;
                    if ended.is_some() || start.elapsed() > START {
                        bail!("the daemon is not ready ({ended:?}): {}", daemon.log());
                    }
                }
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
///
/// # Errors
///
/// If it has not been.
pub fn program() -> Result<PathBuf> {
    let own = env::current_exe()?;
    // Tests are one directory below it, programs beside it.
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("nwfilter-ctl"))
        .find(|program| program.exists())
        .with_context(|| {
            let own = own.display();
            format!("no nwfilter-ctl near {own}: cargo build -p nwfilter-ctl")
        })
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

    /// Whether it has ended.
    ///
    /// # Errors
    ///
    /// If that cannot be asked.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until it is stopped by a signal.
    ///
    /// # Errors
    ///
    /// If it ends instead.
    pub fn wait_until_stopped(&self) -> Result<()> {
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let process = Pid::from_raw(i32::try_from(self.child.id())?);
        match waitid(Id::Pid(process), flags)? {
            WaitStatus::Stopped(..) => Ok(()),
            other => bail!("{other:?}: {}", self.log()),
        }
    }

    /// Has it do nothing while something is done: what the kernel announces meanwhile, and what callers
    /// ask for, waits for it. So it sees the whole, and nothing in between.
    ///
    /// # Errors
    ///
    /// If it ends.
    pub fn paused<T>(&self, action: impl FnOnce() -> T) -> Result<T> {
        self.signal(Signal::SIGSTOP)?;
        // Only then is nothing under way any more.
        self.wait_until_stopped()?;
        let done = action();
        self.signal(Signal::SIGCONT)?;
        Ok(done)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub fn wait(mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
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

/// A caller of the daemon who stays connected.
#[derive(Debug)]
pub struct Caller(BufReader<UnixStream>);

impl Caller {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If nobody listens.
    pub fn connect(site: &Site) -> Result<Self> {
        let stream = UnixStream::connect(site.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Calls, and returns the daemon's answer.
    ///
    /// # Errors
    ///
    /// The daemon's error, or that it is gone.
    pub fn call(&mut self, call: &Call) -> Result<Value> {
        let line = call.to_line() + "\n";
        self.0.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        Ok(read_answer(&answer).context(answer)??)
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
