//! The host as the other end of connections: it has every address of a network, and shows what of a
//! VM's packets gets through to it.

use std::{
    net::{Ipv4Addr, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket},
};
use nwfilter_common::MacAddr;

use super::{Bound, Peer};
use crate::net::{Direction, Lan};

/// What the host receives, after all filters of its own.
pub struct Host<'a> {
    peer: &'a Peer,
    sockets: [OwnedFd; 2],
}

impl Host<'_> {
    /// The host's address on the bridge.
    pub const MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0xff, 3]);

    /// Makes the host of a peer an end: addresses in `own` (`10.1.0.0/16`) are the host's, those in
    /// `others` are behind the bridge.
    pub(super) fn new<'a>(peer: &'a Peer, own: &str, others: &str) -> Result<Host<'a>> {
        let bridge = Lan::BRIDGE;
        let mac = Self::MAC;
        peer.lan.host.ip(&format!(
            "link set dev {bridge} address {mac}\n\
             route replace local {own} dev lo\n\
             route replace {others} dev {bridge}"
        ))?;
        let raw = |protocol| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            peer.lan
                .host
                .run(|| socket(AddressFamily::Inet, SockType::Raw, flags, protocol))
                .context("open a raw socket")
        };
        Ok(Host {
            peer,
            sockets: [raw(SockProtocol::Udp)?, raw(SockProtocol::Icmp)?],
        })
    }

    /// Sends an IPv4 frame of UDP or ICMP from the VM, and tells whether the host gets the packet.
    ///
    /// # Errors
    ///
    /// If it cannot be sent or received.
    pub fn gets(&self, bound: &Bound, frame: &[u8]) -> Result<bool> {
        self.received()?;
        let mut probe = self.peer.lan.probe(&bound.0, Direction::Out);
        probe.send(frame)?;
        Ok(self.received()?.iter().any(|packet| packet == &frame[14..]))
    }

    /// Sends a datagram from an address of the host. It need not get anywhere.
    ///
    /// # Errors
    ///
    /// If the kernel refuses to.
    pub fn says(&self, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Result<()> {
        self.peer.lan.host.run(|| {
            let socket = UdpSocket::bind(from).context("bind a socket of the host")?;
            socket.send_to(payload, to).context("send from the host")?;
            Ok(())
        })
    }

    fn received(&self) -> Result<Vec<Vec<u8>>> {
        let mut packets = Vec::new();
        for socket in &self.sockets {
            let mut packet = [0; 2048];
            loop {
                match recv(socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                    Ok(length) => packets.push(packet[..length].to_vec()),
                    Err(Errno::EAGAIN) => break,
                    Err(Errno::EINTR) => {}
                    Err(error) => return Err(error).context("receive as the host"),
                }
            }
        }
        Ok(packets)
    }
}
