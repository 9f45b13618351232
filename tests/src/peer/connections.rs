//! The kernel's table of connections, emptied through netlink (`linux/netfilter/nfnetlink.h`,
//! `nfnetlink_conntrack.h`).

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

/// Subsystem 1 (conntrack), message 2 (delete).
const DELETE: u16 = 0x0102;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_ACK: u16 = 0x5;
/// `NLMSG_ERROR`, which acknowledges too.
const ERROR: u16 = 2;

/// Empties the table of the current network namespace.
pub(super) fn forget() -> Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )
    .context("open a netfilter socket")?;
    // Header and an nfgenmsg of zeros: no family, no filter, so everything.
    let mut message = 20_u32.to_ne_bytes().to_vec();
    message.extend(DELETE.to_ne_bytes());
    message.extend(REQUEST_ACK.to_ne_bytes());
    message.extend([0; 12]);
    send(socket.as_raw_fd(), &message, MsgFlags::empty()).context("ask to forget connections")?;

    let mut answer = [0; 256];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    ensure!(length >= 20, "netfilter's answer has {length} bytes only");
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    ensure!(kind == ERROR, "netfilter answers with message {kind}");
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(Errno::from_raw(-error)).context("forget connections"),
    }
}
