//! Servers and clients of DHCP as Debian has them, in namespaces of the test: dnsmasq, udhcpc and
//! ISC's dhclient. Each is started, heard, told things, and ended with its value.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::net::NetNs;

/// Longer than a client waits before it tries again, several times.
const PATIENCE: Duration = Duration::from_mins(2);

/// Gives the device the addresses that the client gets, and tells the test: `bound ADDRESS`, `renew
/// ADDRESS`, `deconfig` and the like. Understands udhcpc and dhclient. Takes no address away: another
/// client may still want to give it back.
const SCRIPT: &str = r#"#!/bin/sh
what=${1:-$reason}
address=${ip:-${new_ip_address:-$new_ip6_address}}
case $what in
bound | renew | BOUND | RENEW | REBIND | REBOOT)
    ip address replace "$address/${mask:-24}" dev "$interface" ;;
BOUND6 | RENEW6 | REBIND6)
    ip address replace "$address/64" dev "$interface" nodad ;;
esac
echo "$what $address"
"#;

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Program {
    fn start(namespace: &NetNs, command: &mut Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let name = command.get_program().to_owned();
        let mut child = namespace
            .run(|| command.spawn())
            .with_context(|| format!("start {}", Path::new(&name).display()))?;
        let (sender, lines) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            forward(output, sender.clone());
        }
        if let Some(errors) = child.stderr.take() {
            forward(errors, sender);
        }
        Ok(Self {
            child,
            lines,
            heard: Vec::new(),
        })
    }

    /// Waits for a line that contains this text; returns what is behind it.
    ///
    /// # Errors
    ///
    /// If there is none in time; with what it said instead.
    pub fn hear(&mut self, text: &str) -> Result<String> {
        self.wait(text, |line| Some(&line[line.find(text)? + text.len()..]))
    }

    /// Waits until a client's script says this; returns the address.
    ///
    /// # Errors
    ///
    /// As [`Program::hear`].
    pub fn event(&mut self, name: &str) -> Result<String> {
        self.wait(name, |line| line.strip_prefix(name)?.strip_prefix(' '))
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&str) -> Option<&str>) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                bail!("not heard: {what}, but: {:#?}", self.heard);
            };
            let found = wanted(&line).map(|rest| rest.trim().to_owned());
            self.heard.push(line);
            if let Some(rest) = found {
                return Ok(rest);
            }
        }
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
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(from: impl std::io::Read + Send + 'static, to: mpsc::Sender<String>) {
    // Ends when the program does, or when nobody listens any more.
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                break;
            }
        }
    });
}

/// Where servers and clients keep their files.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// In a directory that is there, and removed by its owner.
    ///
    /// # Errors
    ///
    /// If it cannot be written to.
    pub fn new(directory: PathBuf) -> Result<Self> {
        let files = Self { directory };
        let script = files.path("script");
        fs::write(&script, SCRIPT)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        // A process that another thread starts has it open for writing until it runs its program, and
        // what is written to is not run.
        loop {
            match Command::new(&script).arg("nothing").output() {
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => thread::yield_now(),
                other => break other.context("run the script").map(|_| files),
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// dnsmasq on `eth0`, with this range of addresses, and ready.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn dnsmasq(&self, namespace: &NetNs, range: &str, more: &[&str]) -> Result<Program> {
        let mut command = Command::new("dnsmasq");
        command
            .args([
                "--no-daemon",
                "--conf-file=/dev/null",
                "--port=0",
                "--user=root",
            ])
            .args([
                "--interface=eth0",
                "--bind-interfaces",
                "--dhcp-authoritative",
            ])
            .args(["--no-ping", "--log-dhcp"])
            .arg(argument("--dhcp-leasefile=", &self.path("dnsmasq.leases")));
        command.arg(format!("--dhcp-range={range}")).args(more);
        let mut server = Program::start(namespace, &mut command)?;
        server.hear("IP range")?;
        Ok(server)
    }

    /// Forgets what dnsmasq has given.
    ///
    /// # Errors
    ///
    /// If the file cannot be removed.
    pub fn forget(&self) -> Result<()> {
        Ok(fs::remove_file(self.path("dnsmasq.leases"))?)
    }

    /// udhcpc on `eth0`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn udhcpc(&self, namespace: &NetNs, arguments: &[&str]) -> Result<Program> {
        let mut command = Command::new("udhcpc");
        command
            .args(["-f", "-i", "eth0", "-t", "20", "-T", "1", "-s"])
            .arg(self.path("script"))
            .args(arguments);
        Program::start(namespace, &mut command)
    }

    /// dhclient on `eth0`, for IPv4 (`-4`) or IPv6 (`-6`).
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn dhclient(&self, namespace: &NetNs, arguments: &[&str]) -> Result<Program> {
        let configuration = self.path("dhclient.conf");
        fs::write(&configuration, "timeout 20; retry 1; initial-interval 1;\n")?;
        let mut command = Command::new("dhclient");
        command
            .args(arguments)
            .args(["-d", "-v", "-sf"])
            .arg(self.path("script"))
            .arg("-cf")
            .arg(configuration)
            .arg("-lf")
            .arg(self.path("dhclient.leases"))
            .arg("-pf")
            .arg(self.path("dhclient.pid"))
            .arg("eth0");
        Program::start(namespace, &mut command)
    }
}

fn argument(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(<Path as AsRef<OsStr>>::as_ref(path));
    argument
}
