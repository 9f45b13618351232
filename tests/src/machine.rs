//! A machine with systemd as its first process, in namespaces of its own: what a service's unit says is
//! done by the one who does it on hosts. Its files are this machine's, changes to them are in memory; its
//! network is that of the test.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    daemon::program,
    need::in_repository,
    net::{NetNs, PATIENCE},
};

/// How long it may take until it answers, or until a unit gets to where it is to be: the kernel verifies
/// programs meanwhile, and many tests do so at a time.
const START: Duration = Duration::from_mins(5);

/// Between two looks at something that announces nothing.
const LOOK: Duration = Duration::from_millis(20);

/// Makes the machine around itself and becomes its first process. Arguments: an empty directory, the
/// directory of units, `nwfilter-ctl`. Of the host's units there are none: those that others want are empty
/// targets, and the default one wants the socket.
const INIT: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    : > dev/$device
    mount --bind /dev/$device dev/$device
done
for directory in run tmp etc/nwfilter; do
    mkdir -p $directory
    mount -t tmpfs -o mode=755 tmpfs $directory
done
mkdir run/units
for target in sysinit basic sockets shutdown umount multi-user; do
    printf '[Unit]\nDefaultDependencies=no\n' > run/units/$target.target
done
printf '[Unit]\nDefaultDependencies=no\nWants=nwfilter.socket\n' > run/units/default.target
cp "$2"/* run/units
# Where a test finds it, instead of in the journal.
mkdir run/units/nwfilter.service.d
printf '[Service]\nStandardError=append:/run/log\n' > run/units/nwfilter.service.d/log.conf
: > usr/bin/nwfilter-ctl
mount --bind "$3" usr/bin/nwfilter-ctl
mkdir old
pivot_root . old
umount --lazy /old
exec env -i container=nwfilter SYSTEMD_UNIT_PATH=/run/units SYSTEMD_LOG_TARGET=console \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=default.target --show-status=no --default-standard-output=null
"#;

/// A running machine; gone when dropped.
#[derive(Debug)]
pub struct Machine {
    unshare: Child,
    /// Its first process.
    init: i32,
    cgroup: PathBuf,
}

impl Machine {
    /// Boots one with the units of `dist` in a network namespace. `scratch` is an empty directory.
    ///
    /// # Errors
    ///
    /// What the kernel refuses, or that systemd does not answer; with what it wrote.
    pub fn boot(host: &NetNs, scratch: &Path) -> Result<Self> {
        let cgroups = cgroups().context("no cgroup2 file system")?;
        let cgroup = cgroups.join(format!("nwfilter-test-{}", std::process::id()));
        fs::create_dir(&cgroup).with_context(|| format!("make {}", cgroup.display()))?;
        let log = scratch.with_extension("log");
        let output = fs::File::create(&log)?;
        let mut unshare = Command::new("sh");
        // It is in a group of its own before that becomes the root of what it sees.
        unshare
            .args(["-c", "echo $$ > \"$0\"; exec unshare \"$@\""])
            .arg(cgroup.join("cgroup.procs"))
            .args(["--pid", "--mount", "--ipc", "--uts", "--cgroup", "--fork"])
            .args(["sh", "-c", INIT, "init"])
            .arg(scratch)
            .arg(in_repository("dist"))
            .arg(program()?)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let unshare = host.run(|| unshare.spawn())?;
        let mut machine = Self {
            unshare,
            init: 0,
            cgroup,
        };
        let start = Instant::now();
        loop {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            if let Some(ended) = machine.unshare.try_wait()? {
                bail!("the machine has ended ({ended}): {}", said());
            }
            if machine.find_init() {
                let state = machine.run(&["systemctl", "is-system-running"])?;
                if ["running\n", "degraded\n"]
                    .iter()
                    .any(|up| state.stdout == up.as_bytes())
                {
                    return Ok(machine);
                }
            }
            ensure!(
                start.elapsed() < START,
                "the machine does not boot: {}",
                said()
            );
            thread::sleep(LOOK);
        }
    }

    /// Looks for the first process; it is there when it has made the machine.
    fn find_init(&mut self) -> bool {
        let unshare = self.unshare.id();
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"));
        let init = children.ok().and_then(|text| text.trim().parse().ok());
        let is_systemd = |init: &i32| {
            fs::read_to_string(format!("/proc/{init}/comm")).is_ok_and(|name| name == "systemd\n")
        };
        self.init = init.filter(is_systemd).unwrap_or(0);
        self.init != 0
    }

    /// Runs a command inside.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn run(&self, command: &[&str]) -> Result<Output> {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .args(["--target", &self.init.to_string(), "--all", "--"])
            .args(command)
            .stdin(Stdio::null());
        Ok(nsenter.output()?)
    }

    /// Runs a command inside that must succeed; returns what it prints.
    ///
    /// # Errors
    ///
    /// What it says if it does not.
    pub fn done(&self, command: &[&str]) -> Result<String> {
        let output = self.run(command)?;
        ensure!(
            output.status.success(),
            "{command:?}: {output:?}\n{}",
            self.read("/run/log")
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A property of a unit.
    ///
    /// # Errors
    ///
    /// If systemd does not answer.
    pub fn property(&self, unit: &str, property: &str) -> Result<String> {
        let value = self.done(&["systemctl", "show", "--value", "--property", property, unit])?;
        Ok(value.trim().to_owned())
    }

    /// Waits until a property of a unit has a value.
    ///
    /// # Errors
    ///
    /// If it does not get that in time.
    pub fn wait(&self, unit: &str, property: &str, expected: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let value = self.property(unit, property)?;
            if value == expected {
                return Ok(());
            }
            ensure!(start.elapsed() < START, "{property} of {unit} is {value}");
            thread::sleep(LOOK);
        }
    }

    /// Where this process finds a file of the machine.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// A file of the machine; nothing if it is not there.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // All others of its namespace end with the first one.
        if self.init == 0 && !self.find_init() {
            let _ = self.unshare.kill();
        } else {
            let _ = kill(Pid::from_raw(self.init), Signal::SIGKILL);
        }
        let _ = self.unshare.wait();
        let start = Instant::now();
        while remove_cgroup(&self.cgroup).is_err() && start.elapsed() < PATIENCE {
            thread::sleep(LOOK);
        }
    }
}

/// Where the cgroup2 file system is, if there is one.
pub fn cgroups() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut mounts = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = mounts.find(|words| words.get(2) == Some(&"cgroup2"))?;
    Some(mount.get(1)?.into())
}

/// Removes a group and those in it; they have files that nobody can remove.
fn remove_cgroup(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
