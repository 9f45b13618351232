//! What ICMP and `ICMPv6` messages are to connection tracking, by their type.

/// A message's part; the numbers stand in a table.
pub(super) mod role {
    /// Neither query nor error: it cannot be tracked.
    pub(in super::super) const OTHER: u64 = 0;
    /// A query, which is answered by a message with the same identifier.
    pub(in super::super) const REQUEST: u64 = 1;
    /// The answer to a query.
    pub(in super::super) const REPLY: u64 = 2;
    /// Quotes the packet that it is about.
    pub(in super::super) const ERROR: u64 = 3;
    /// Neighbour discovery and multicast listener discovery.
    pub(in super::super) const UNTRACKED: u64 = 4;
}

/// `role | request type << 8` by type; `ICMPv6` in the second half.
static MESSAGES: [u16; 512] = {
    let mut messages = [role::OTHER as u16; 512];
    let mut kind = 0;
    while kind < 256 {
        messages[kind] = icmp(kind as u16);
        messages[256 + kind] = icmpv6(kind as u16);
        kind += 1;
    }
    messages
};

/// RFC 792, RFC 950: echo, timestamp, information, address mask; unreachable, source quench,
/// redirect, time exceeded, parameter problem.
const fn icmp(kind: u16) -> u16 {
    match kind {
        8 | 13 | 15 | 17 => role::REQUEST as u16 | kind << 8,
        0 => role::REPLY as u16 | 8 << 8,
        14 | 16 | 18 => role::REPLY as u16 | (kind - 1) << 8,
        3 | 4 | 5 | 11 | 12 => role::ERROR as u16,
        _ => role::OTHER as u16,
    }
}

/// RFC 4443: errors are below 128; echo; RFC 4620: node information; RFC 4861, RFC 2710, RFC 3810:
/// discovery, but not redirects (137), which Linux 6.1 does not know.
const fn icmpv6(kind: u16) -> u16 {
    match kind {
        0..128 => role::ERROR as u16,
        128 | 139 => role::REQUEST as u16 | kind << 8,
        129 | 140 => role::REPLY as u16 | (kind - 1) << 8,
        130..=136 | 143 => role::UNTRACKED as u16,
        _ => role::OTHER as u16,
    }
}

/// The role of a message, and the type of the request that it is or answers.
#[inline(always)]
pub(super) fn message(v6: bool, kind: u64) -> (u64, u16) {
    let message = MESSAGES[usize::from(v6) << 8 | kind as usize & 0xff];
    (u64::from(message & 0xff), message >> 8)
}

/// Whether a message asks or answers, or belongs to neighbour discovery: no error, and of a known type.
#[inline(always)]
pub(crate) fn is_icmp_query(v6: bool, kind: u64) -> bool {
    let (role, _) = message(v6, kind);
    role != role::ERROR && role != role::OTHER
}
