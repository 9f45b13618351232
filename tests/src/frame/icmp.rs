//! ICMP (RFC 792), ICMPv6 (RFC 4443, RFC 4861) and IGMP (RFC 2236).

use std::net::{Ipv4Addr, Ipv6Addr};

use nwfilter_common::MacAddr;

use super::{
    internet_checksum,
    transport::{Pseudo, Segment, put_checksum},
};

/// An ICMP message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// What follows the checksum: identifier and sequence number, for one.
    pub rest: [u8; 4],
    /// What follows that.
    pub payload: Vec<u8>,
    /// Instead of the right one.
    pub checksum: Option<u16>,
}

impl Icmp {
    /// A message without content.
    pub fn new(kind: u8, code: u8) -> Self {
        Self {
            kind,
            code,
            rest: [0; 4],
            payload: Vec::new(),
            checksum: None,
        }
    }

    /// A ping.
    pub fn echo_request(identifier: u16, sequence: u16) -> Self {
        Self {
            rest: pair(identifier, sequence),
            ..Self::new(8, 0)
        }
    }

    /// Its answer.
    pub fn echo_reply(identifier: u16, sequence: u16) -> Self {
        Self {
            rest: pair(identifier, sequence),
            ..Self::new(0, 0)
        }
    }

    /// "Destination unreachable" about `packet`, an IPv4 packet, of which it quotes the header and 8
    /// bytes.
    pub fn unreachable(code: u8, packet: &[u8]) -> Self {
        Self::error(3, code, packet)
    }

    /// An error of this type about `packet`, quoted as in [`Icmp::unreachable`].
    pub fn error(kind: u8, code: u8, packet: &[u8]) -> Self {
        let header = packet
            .first()
            .map_or(0, |first| usize::from(first & 0xf) * 4);
        Self {
            payload: packet[..packet.len().min(header + 8)].to_vec(),
            ..Self::new(kind, code)
        }
    }
}

impl Segment for Icmp {
    fn protocol(&self) -> u8 {
        1
    }

    fn bytes(&self, _: &Pseudo) -> Vec<u8> {
        let mut bytes = message(self.kind, self.code, self.rest, &self.payload);
        put_checksum(&mut bytes, 2, self.checksum, |bytes| {
            internet_checksum(&[bytes])
        });
        bytes
    }
}

/// An ICMPv6 message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Icmpv6 {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// What follows the checksum.
    pub rest: [u8; 4],
    /// What follows that.
    pub payload: Vec<u8>,
    /// Instead of the right one.
    pub checksum: Option<u16>,
}

impl Icmpv6 {
    /// A message without content.
    pub fn new(kind: u8, code: u8) -> Self {
        Self {
            kind,
            code,
            rest: [0; 4],
            payload: Vec::new(),
            checksum: None,
        }
    }

    /// A ping.
    pub fn echo_request(identifier: u16, sequence: u16) -> Self {
        Self {
            rest: pair(identifier, sequence),
            ..Self::new(128, 0)
        }
    }

    /// Its answer.
    pub fn echo_reply(identifier: u16, sequence: u16) -> Self {
        Self {
            rest: pair(identifier, sequence),
            ..Self::new(129, 0)
        }
    }

    /// An error of this type about `packet`, an IPv6 packet, of which it quotes what fits into the
    /// minimum MTU.
    pub fn error(kind: u8, code: u8, packet: &[u8]) -> Self {
        Self {
            payload: packet[..packet.len().min(1280 - 48)].to_vec(),
            ..Self::new(kind, code)
        }
    }

    /// Who has `target`? With the asker's address.
    pub fn neighbour_solicitation(target: impl Into<Ipv6Addr>, asker: MacAddr) -> Self {
        Self {
            payload: neighbour(&target.into(), 1, asker),
            ..Self::new(135, 0)
        }
    }

    /// `target` is at `mac`; solicited, overriding.
    pub fn neighbour_advertisement(target: impl Into<Ipv6Addr>, mac: MacAddr) -> Self {
        Self {
            rest: [0x60, 0, 0, 0],
            payload: neighbour(&target.into(), 2, mac),
            ..Self::new(136, 0)
        }
    }
}

impl Segment for Icmpv6 {
    fn protocol(&self) -> u8 {
        58
    }

    fn bytes(&self, pseudo: &Pseudo) -> Vec<u8> {
        let mut bytes = message(self.kind, self.code, self.rest, &self.payload);
        put_checksum(&mut bytes, 2, self.checksum, |bytes| {
            pseudo.checksum(58, bytes, bytes.len())
        });
        bytes
    }
}

/// An IGMP message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Igmp {
    /// `0x11` query, `0x16` report, `0x17` leave.
    pub kind: u8,
    /// In units of 1/10 s.
    pub max_response: u8,
    /// The group it is about.
    pub group: Ipv4Addr,
}

impl Segment for Igmp {
    fn protocol(&self) -> u8 {
        2
    }

    fn bytes(&self, _: &Pseudo) -> Vec<u8> {
        let mut bytes = message(self.kind, self.max_response, self.group.octets(), &[]);
        put_checksum(&mut bytes, 2, None, |bytes| internet_checksum(&[bytes]));
        bytes
    }
}

fn pair(first: u16, second: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
    [a, b, c, d]
}

fn message(kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(rest);
    bytes.extend(payload);
    bytes
}

/// The target and one link-layer address option.
fn neighbour(target: &Ipv6Addr, option: u8, mac: MacAddr) -> Vec<u8> {
    let mut bytes = target.octets().to_vec();
    bytes.extend([option, 1]);
    bytes.extend(mac.0);
    bytes
}
