//! A network namespace without a name.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    panic, process, thread,
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns, unshare};

/// What keeps the kernel's own frames off the wire, and its hands off ours. For `all` and, because
/// devices inherit it, `default`: no addresses of its own making, no search for routers or
/// duplicates. And no netfilter on bridges, which drops what is no proper IP.
const QUIET: [(&str, &str); 13] = [
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/all/accept_ra", "0"),
    ("ipv6/conf/all/addr_gen_mode", "1"),
    ("ipv6/conf/all/autoconf", "0"),
    ("ipv6/conf/all/router_solicitations", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/default/autoconf", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("bridge/bridge-nf-call-arptables", "0"),
    ("bridge/bridge-nf-call-ip6tables", "0"),
    ("bridge/bridge-nf-call-iptables", "0"),
];

/// A private network namespace, held by a file descriptor alone.
///
/// The kernel takes it down when the last thing that refers to it is gone: this value, and sockets
/// and taps made inside. `/sys` is not remounted, so inside [`NetNs::run`] `/sys/class/net` still
/// shows the caller's devices; `/proc/sys/net` and `/proc/thread-self/net` show the namespace's.
#[derive(Debug)]
pub struct NetNs(OwnedFd);

impl NetNs {
    /// A new namespace with its loopback device up, in which IPv6 is quiet.
    ///
    /// # Errors
    ///
    /// Where the process may not make one.
    pub fn new() -> Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace (needs root)")?;
            File::open("/proc/thread-self/ns/net").context("open the new network namespace")
        });
        let namespace = match made.join() {
            Ok(made) => Self(made?.into()),
            Err(payload) => panic::resume_unwind(payload),
        };
        for (name, value) in QUIET {
            namespace.sysctl(name, value)?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `action` on a thread of its own inside the namespace and hands on what it returns; a
    /// panic in it goes on here. Sockets that it makes and processes that it starts belong to the
    /// namespace for good.
    ///
    /// # Panics
    ///
    /// If the kernel refuses to enter the namespace, which it let us make.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let result = thread::scope(|scope| {
            let inside = || {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).expect("enter a namespace of ours");
                action()
            };
            scope.spawn(inside).join()
        });
        result.unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// Writes to a file below `/proc/sys/net`. What this kernel does not have counts as written: it
    /// cannot disturb either.
    ///
    /// # Errors
    ///
    /// If the kernel does not take the value.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{name}");
        match self.run(|| fs::write(&path, value)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| format!("write {path}")),
        }
    }

    /// Where other processes find the namespace while this value lives; `ip link set ... netns`
    /// takes it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
