//! What happens to network devices and to what is attached to them, from the kernel's announcements
//! (rtnetlink). Only that something happened to a device is passed on: how things are is looked up when it matters, so that a lost
//! announcement costs a look at all devices and nothing else.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use tokio::io::unix::AsyncFd;

/// `RTMGRP_LINK` of `linux/rtnetlink.h`: announcements of devices.
const RTMGRP_LINK: u32 = 1;
/// `RTMGRP_TC` of `linux/rtnetlink.h`: announcements of queueing disciplines and their filters.
const RTMGRP_TC: u32 = 8;
/// Length of `struct nlmsghdr` (`linux/netlink.h`).
const HEADER: usize = 16;
/// Length of `struct ifinfomsg` (`linux/rtnetlink.h`). `struct tcmsg`, which is longer, has the index of the
/// device in the same place.
const INFO: usize = 16;

/// Devices to which something happened.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct LinkChanges {
    /// Indices of those that are new or changed.
    pub(super) changed: BTreeSet<u32>,
    /// Indices of those that are gone, out of this namespace or altogether.
    pub(super) gone: BTreeSet<u32>,
    /// Indices of those from which a filter or a queueing discipline was taken, or where a filter is new
    /// and perhaps in place of another.
    pub(super) filters: BTreeSet<u32>,
    /// There was more than could be kept: something may have happened to any.
    pub(super) overrun: bool,
}

impl LinkChanges {
    /// Whether something may have happened to a device.
    pub(super) fn concern(&self, ifindex: u32) -> bool {
        let sets = [&self.changed, &self.gone, &self.filters];
        self.overrun || sets.iter().any(|indices| indices.contains(&ifindex))
    }

    /// Whether devices themselves may be others than before, or have other names.
    pub(super) fn of_devices(&self) -> bool {
        self.overrun || !self.changed.is_empty() || !self.gone.is_empty()
    }

    /// Reads a datagram of the kernel.
    fn read(&mut self, mut datagram: &[u8]) {
        while let Some((header, rest)) = datagram.split_first_chunk::<HEADER>() {
            let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|i| header[at + i]));
            let length = word(0) as usize;
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            let Some(body) = length.checked_sub(HEADER).and_then(|body| rest.get(..body)) else {
                // Cut off, or not what we know.
                self.overrun = true;
                return;
            };
            // Other families tell of what a device is to them: `AF_BRIDGE` that it left a bridge.
            if body.len() >= INFO && i32::from(body[0]) == libc::AF_UNSPEC {
                let index = u32::from_ne_bytes([4, 5, 6, 7].map(|i| body[i]));
                match kind {
                    libc::RTM_NEWLINK => _ = self.changed.insert(index),
                    libc::RTM_DELLINK => _ = self.gone.insert(index),
                    libc::RTM_NEWTFILTER | libc::RTM_DELTFILTER | libc::RTM_DELQDISC => {
                        self.filters.insert(index);
                    }
                    _ => {}
                }
            }
            let aligned = body.len().next_multiple_of(4).min(rest.len());
            datagram = &rest[aligned..];
        }
    }
}

/// A socket on which the kernel announces devices of this network namespace.
pub(super) struct Links(AsyncFd<OwnedFd>);

impl Links {
    /// Announcements count from here on.
    pub(super) fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned a descriptor that nobody else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: plain data, for which all zero bytes are valid.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups = RTMGRP_LINK | RTMGRP_TC;
        // SAFETY: the address is of the kind and length given.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it owns its descriptor and has the same one as long as it lives.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    /// Everything that has been announced, once something has.
    pub(super) async fn next(&self) -> io::Result<LinkChanges> {
        let mut changes = LinkChanges::default();
        loop {
            let mut guard = self.0.readable().await?;
            // Anything that arrives meanwhile is part of it; at some point, none does.
            while let Ok(received) = guard.try_io(|socket| receive(socket.get_ref())) {
                match received {
                    Ok(datagram) => changes.read(&datagram),
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                        changes.overrun = true;
                    }
                    Err(error) => return Err(error),
                }
            }
            if changes != LinkChanges::default() {
                return Ok(changes);
            }
        }
    }
}

fn receive(socket: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut datagram = vec![0; 32 << 10];
    // SAFETY: the buffer is writable and as long as given.
    let length = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            datagram.as_mut_ptr().cast(),
            datagram.len(),
            0,
        )
    };
    match usize::try_from(length) {
        Ok(length) => {
            datagram.truncate(length);
            Ok(datagram)
        }
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, family: u8, index: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(((HEADER + INFO) as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([family, 0, 0, 0]);
        bytes.extend(index.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes
    }

    #[test]
    fn announcements_name_devices() {
        let mut changes = LinkChanges::default();
        let bridge = libc::AF_BRIDGE as u8;
        let datagram = [
            message(libc::RTM_NEWLINK, 0, 7),
            message(libc::RTM_DELLINK, 0, 8),
            message(libc::RTM_DELLINK, bridge, 9),
            message(libc::RTM_DELQDISC, 0, 10),
            message(libc::RTM_NEWQDISC, 0, 11),
        ];
        changes.read(&datagram.concat());
        assert_eq!(changes.changed, [7].into());
        assert_eq!(changes.gone, [8].into());
        assert_eq!(changes.filters, [10].into());
        let concerned: Vec<u32> = (6..12).filter(|index| changes.concern(*index)).collect();
        assert_eq!(concerned, [7, 8, 10]);
    }

    #[test]
    fn what_is_cut_off_concerns_everybody() {
        for length in HEADER..HEADER + INFO {
            let mut changes = LinkChanges::default();
            changes.read(&message(libc::RTM_NEWLINK, 0, 7)[..length]);
            assert!(changes.concern(1), "{length}");
        }
        let mut changes = LinkChanges::default();
        changes.read(&[0; HEADER]);
        assert!(changes.concern(1));
    }
}
