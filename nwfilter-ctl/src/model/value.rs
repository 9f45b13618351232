//! The values that attributes take, after parsing and after substitution of variables.

use std::net::{Ipv4Addr, Ipv6Addr};

use bitflags::bitflags;
use nwfilter_common::MacAddr;

bitflags! {
    /// Connection states of the `state` attribute. Empty is `NONE`: no state test at all.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub struct CtStates: u8 {
        /// First packet of a connection, or one that may become it.
        const NEW = 1;
        /// Belongs to a connection that has seen packets both ways.
        const ESTABLISHED = 2;
        /// Starts a connection that an existing one announced; ICMP errors.
        const RELATED = 4;
        /// Belongs to no connection and cannot start one.
        const INVALID = 8;
    }
}

/// Names of the six low TCP flag bits, least significant first, as the `flags` attribute spells
/// them (RFC 9293 section 3.1).
pub const TCP_FLAG_NAMES: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];

/// `mask/flags`: matches when `header flags & mask == flags`. Six low bits of the TCP flags octet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TcpFlags {
    /// The flags that are looked at.
    pub mask: u8,
    /// Those of them that must be set.
    pub flags: u8,
}

/// Which address of a packet is looked up in an address set.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SetDirection {
    /// The source.
    Src,
    /// The destination.
    Dst,
}

/// A concrete attribute value. Which variant an attribute has follows from the attribute (and, for
/// addresses, from the element's family); numbers are in host order.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Datum {
    /// Any 8, 16 or 32 bit number, and every name that stands for one (`arp` = `0x806`, ...).
    Number(u32),
    /// A MAC address.
    Mac(MacAddr),
    /// A MAC mask: ones, then zeros.
    MacMask(MacAddr),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// An IPv4 (0 to 32) or IPv6 (0 to 128) mask as prefix length in bits.
    Prefix(u8),
    /// `gratuitous`.
    Bool(bool),
    /// `state`.
    States(CtStates),
    /// `flags` of `tcp`.
    TcpFlags(TcpFlags),
    /// The name of an address set, or a comment.
    Text(String),
    /// `ipsetflags`: one direction per dimension of the set.
    SetDirections(Vec<SetDirection>),
}
