//! Pings by a kernel's own stack: it finds the way, writes the headers and takes the answer.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, connect, recv, send,
        socket,
    },
};

use super::NetNs;
use crate::frame::{Icmp, Pseudo, Segment};

/// An ICMP socket to one address.
#[derive(Debug)]
pub struct Ping(OwnedFd);

impl Ping {
    /// From a namespace to an address.
    ///
    /// # Errors
    ///
    /// If there is no route.
    pub fn open(namespace: &NetNs, to: Ipv4Addr) -> Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = namespace
            .run(|| {
                socket(
                    AddressFamily::Inet,
                    SockType::Raw,
                    flags,
                    SockProtocol::Icmp,
                )
            })
            .context("open an ICMP socket")?;
        connect(
            socket.as_raw_fd(),
            &SockaddrIn::from(SocketAddrV4::new(to, 0)),
        )
        .with_context(|| format!("no way to {to}"))?;
        Ok(Self(socket))
    }

    /// Sends an echo request.
    ///
    /// # Errors
    ///
    /// If the kernel does not send it.
    pub fn request(&self, identifier: u16, sequence: u16) -> Result<()> {
        let message = message(&Icmp::echo_request(identifier, sequence));
        send(self.0.as_raw_fd(), &message, MsgFlags::empty()).context("send an echo request")?;
        Ok(())
    }

    /// Whether the reply has come.
    ///
    /// # Errors
    ///
    /// If the socket is broken.
    pub fn replied(&self, identifier: u16, sequence: u16) -> Result<bool> {
        let expected = message(&Icmp::echo_reply(identifier, sequence));
        let mut packet = [0; 2048];
        loop {
            match recv(self.0.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                // A raw socket shows the IPv4 header too, here without options.
                Ok(length) if packet[..length].get(20..) == Some(&expected) => return Ok(true),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(false),
                Err(error) => return Err(error).context("receive an echo reply"),
            }
        }
    }
}

/// ICMP's checksum covers no addresses.
fn message(icmp: &Icmp) -> Vec<u8> {
    icmp.bytes(&Pseudo::V4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED))
}
