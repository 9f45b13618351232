//! A view of the file system in which libvirt can write and nobody else reads: empty directories
//! over those that it keeps state in. They exist in memory and go away with the last process.

use std::{
    fs::{self, File},
    io, iter,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::symlink,
    },
    panic,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use crate::net::NetNs;

/// Where libvirt and the tools that it calls write.
const STATE: [&str; 5] = ["/run", "/etc/libvirt", "/var/cache", "/var/lib", "/var/log"];

/// libvirt's configuration: no authentication, which would take a message bus.
const CONFIGURATION: &str = "auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n";

/// The names of the namespaces that a process of the peer lives in.
#[derive(Debug)]
pub(super) struct Enclave {
    network: OwnedFd,
    mounts: OwnedFd,
    files: AtomicU32,
}

impl Enclave {
    /// The daemon's configuration.
    pub(super) const CONFIGURATION: &str = "/etc/libvirt/libvirtd.conf";
    /// The only drivers that the daemon shall find.
    pub(super) const DRIVERS: &str = "/run/drivers";

    /// On top of a network namespace.
    pub(super) fn new(network: &NetNs) -> Result<Self> {
        let filters = read_all(Path::new("/etc/libvirt/nwfilter"))?;
        let driver = find_driver()?;
        let mounts = network.run(|| {
            unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
                .context("keep mounts private")?;
            // Shows the devices of the network namespace.
            mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none)
                .context("mount /sys")?;
            for directory in STATE {
                mount(
                    Some("tmpfs"),
                    directory,
                    Some("tmpfs"),
                    MsFlags::empty(),
                    none,
                )
                .with_context(|| format!("mount {directory}"))?;
            }
            fs::create_dir_all("/run/libvirt")?;
            fs::create_dir("/etc/libvirt/nwfilter")?;
            for (name, content) in &filters {
                fs::write(Path::new("/etc/libvirt/nwfilter").join(name), content)?;
            }
            fs::write(Self::CONFIGURATION, CONFIGURATION)?;
            fs::create_dir(Self::DRIVERS)?;
            symlink(
                &driver,
                Path::new(Self::DRIVERS).join("libvirt_driver_nwfilter.so"),
            )?;
            File::open("/proc/thread-self/ns/mnt").context("open the mount namespace")
        })?;
        Ok(Self {
            network: network.as_fd().try_clone_to_owned()?,
            mounts: mounts.into(),
            files: AtomicU32::new(0),
        })
    }

    /// Moves the current thread inside, for good.
    pub(super) fn enter(&self) -> Result<()> {
        // A thread that shares its root directory with others cannot change mounts.
        unshare(CloneFlags::CLONE_FS).context("leave the shared root directory")?;
        setns(self.network.as_fd(), CloneFlags::CLONE_NEWNET).context("enter the network")?;
        setns(self.mounts.as_fd(), CloneFlags::CLONE_NEWNS).context("enter the file system")
    }

    /// Runs `action` inside on a thread of its own.
    pub(super) fn run<T: Send, E: Send>(
        &self,
        action: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T>
    where
        anyhow::Error: From<E>,
    {
        let inside = || {
            self.enter()?;
            Ok(action()?)
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// A new file inside; its path.
    pub(super) fn file(&self, content: &str) -> Result<String> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = format!("/run/{number}.xml");
        self.run(|| fs::write(&path, content))?;
        Ok(path)
    }

    /// Another handle on the same.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            network: self.network.try_clone()?,
            mounts: self.mounts.try_clone()?,
            files: AtomicU32::new(0),
        })
    }
}

/// A program with an environment that does not depend on the caller's.
pub(super) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C");
    command
}

/// Names and contents of the files in a directory.
fn read_all(directory: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().into(), fs::read(entry.path())?))
        })
        .collect()
}

/// Distributions put it below the library directory, Debian below its architecture's.
fn find_driver() -> Result<PathBuf> {
    let architectures = fs::read_dir("/usr/lib")?.filter_map(|entry| Some(entry.ok()?.path()));
    architectures
        .chain(iter::once(PathBuf::from("/usr/lib64")))
        .map(|directory| directory.join("libvirt/connection-driver/libvirt_driver_nwfilter.so"))
        .find(|path| path.exists())
        .context("libvirt's nwfilter driver is not installed")
}
