//! Messages to the kernel's netfilter (`linux/netfilter/nfnetlink.h`).

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_ACK: u16 = 0x5;
/// `NLMSG_ERROR`, which acknowledges too.
const ERROR: u16 = 2;
/// The kind of an attribute that is made of others, and of one in network order.
const NESTED: u16 = 0x8000;
const BIG_ENDIAN: u16 = 0x4000;

/// An attribute with its header and padding.
pub(super) struct Attribute(Vec<u8>);

impl Attribute {
    pub(super) fn new(kind: u16, value: &[u8]) -> Self {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        Self(bytes)
    }

    pub(super) fn big_endian(kind: u16, value: &[u8]) -> Self {
        Self::new(kind | BIG_ENDIAN, value)
    }

    pub(super) fn nested(kind: u16, attributes: &[Self]) -> Self {
        let value: Vec<u8> = attributes.iter().flat_map(|a| a.0.clone()).collect();
        Self::new(kind | NESTED, &value)
    }
}

/// Sends one message of this subsystem and type to the current network namespace and waits until it
/// is acknowledged.
pub(super) fn request(kind: u16, family: u8, attributes: &[Attribute]) -> Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )
    .context("open a netfilter socket")?;
    let body: Vec<u8> = attributes.iter().flat_map(|a| a.0.clone()).collect();
    let mut message = (20 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST_ACK.to_ne_bytes());
    message.extend([0; 8]);
    // An nfgenmsg: family, version, resource.
    message.extend([family, 0, 0, 0]);
    message.extend(body);
    send(socket.as_raw_fd(), &message, MsgFlags::empty()).context("ask netfilter")?;

    let mut answer = [0; 1024];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    ensure!(length >= 20, "netfilter's answer has {length} bytes only");
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    ensure!(kind == ERROR, "netfilter answers with message {kind}");
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(Errno::from_raw(-error)).context("netfilter refuses"),
    }
}
