//! IPv4 and IPv6 packets: header, extension headers, transport header. By plain slicing; what is
//! broken or cut off is [`Field::Unknown`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nwfilter_ctl::model::Family;

use super::{frame::u16_at, truth::Field};

/// IP protocol numbers (IANA).
pub(super) mod protocol {
    pub(in super::super) const ICMP: u8 = 1;
    pub(in super::super) const TCP: u8 = 6;
    pub(in super::super) const UDP: u8 = 17;
    pub(in super::super) const DCCP: u8 = 33;
    pub(in super::super) const FRAGMENT: u8 = 44;
    pub(in super::super) const AH: u8 = 51;
    pub(in super::super) const ICMPV6: u8 = 58;
    pub(in super::super) const NO_NEXT_HEADER: u8 = 59;
    pub(in super::super) const SCTP: u8 = 132;
    pub(in super::super) const UDPLITE: u8 = 136;
}

/// How many IPv6 extension headers are skipped; with more, what follows them is unknown.
const MOST_EXTENSION_HEADERS: usize = 8;

/// An IPv4 or IPv6 packet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Packet {
    pub(super) family: Family,
    pub(super) source: Field<IpAddr>,
    pub(super) destination: Field<IpAddr>,
    /// TOS of IPv4, traffic class of IPv6: the whole byte.
    pub(super) traffic_class: Field<u8>,
    /// The protocol of IPv4; in IPv6 the header after all extension headers.
    pub(super) protocol: Field<u8>,
    /// None for a whole datagram.
    pub(super) fragment: Option<Fragment>,
    /// Unknown in a later fragment.
    pub(super) transport: Field<Transport>,
}

/// What ties the fragments of a datagram together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fragment {
    /// Where in the datagram, in bytes.
    pub(super) offset: usize,
    /// Bytes of the datagram in it, as its headers say.
    pub(super) length: usize,
    /// Identification.
    pub(super) id: u32,
    /// IPv4: the protocol; IPv6: the next header of the fragment header.
    pub(super) protocol: u8,
}

impl Fragment {
    /// Whether it starts at another offset than 0.
    pub(super) fn is_later(&self) -> bool {
        self.offset > 0
    }
}

/// A transport header that is there in full.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    /// TCP (RFC 9293).
    Tcp {
        source: u16,
        destination: u16,
        /// Low bit first: FIN SYN RST PSH ACK URG.
        flags: u8,
        /// Option bytes; unknown if the data offset is below 5 or points past the end.
        options: Field<Vec<u8>>,
    },
    /// UDP, UDP-Lite, DCCP, SCTP.
    Ports { source: u16, destination: u16 },
    /// ICMP in IPv4, ICMPv6 in IPv6.
    Icmp {
        kind: u8,
        code: u8,
        /// Of an echo message and its kin.
        id: u16,
        /// What follows the first eight bytes; of an error, the packet that it is about.
        body: Vec<u8>,
    },
    /// Any other protocol.
    Other,
}

impl Packet {
    /// Whether this is a fragment without the transport header.
    pub(super) fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.is_later())
    }

    /// Source and destination port.
    pub(super) fn ports(&self) -> Field<(u16, u16)> {
        let has_ports = |number: &u8| {
            matches!(
                *number,
                protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::DCCP | protocol::SCTP
            )
        };
        if self
            .protocol
            .value()
            .is_some_and(|number| !has_ports(number))
        {
            return Field::Absent;
        }
        self.transport.then(|transport| match transport {
            Transport::Tcp {
                source,
                destination,
                ..
            }
            | Transport::Ports {
                source,
                destination,
            } => Field::Is((*source, *destination)),
            _ => Field::Absent,
        })
    }

    /// ICMP or ICMPv6 type and code.
    pub(super) fn icmp(&self) -> Field<(u8, u8)> {
        let icmp = icmp_protocol(self.family);
        if self.protocol.value().is_some_and(|number| *number != icmp) {
            return Field::Absent;
        }
        self.transport.then(|transport| match transport {
            Transport::Icmp { kind, code, .. } => Field::Is((*kind, *code)),
            _ => Field::Absent,
        })
    }

    /// The six low TCP flag bits.
    pub(super) fn tcp_flags(&self) -> Field<u8> {
        self.tcp().map(|(flags, _)| *flags)
    }

    /// The bytes of the TCP options.
    pub(super) fn tcp_options(&self) -> Field<Vec<u8>> {
        self.tcp().then(|(_, options)| options.clone())
    }

    fn tcp(&self) -> Field<(u8, Field<Vec<u8>>)> {
        if self
            .protocol
            .value()
            .is_some_and(|number| *number != protocol::TCP)
        {
            return Field::Absent;
        }
        self.transport.then(|transport| match transport {
            Transport::Tcp { flags, options, .. } => Field::Is((*flags, options.clone())),
            _ => Field::Absent,
        })
    }

    /// A packet whose header is no IP header: nothing is known but its ethertype.
    fn broken(family: Family) -> Self {
        Self {
            family,
            source: Field::Unknown,
            destination: Field::Unknown,
            traffic_class: Field::Unknown,
            protocol: Field::Unknown,
            fragment: None,
            transport: Field::Unknown,
        }
    }

    fn of(header: &Header<'_>) -> Self {
        let transport = match header.payload {
            Field::Is(payload) => transport(header, payload),
            _ => Field::Unknown,
        };
        Self {
            family: header.family,
            source: Field::Is(header.source),
            destination: Field::Is(header.destination),
            traffic_class: Field::Is(header.traffic_class),
            protocol: header.protocol,
            fragment: header.fragment,
            transport,
        }
    }
}

/// The protocol number of a family's ICMP.
pub(super) fn icmp_protocol(family: Family) -> u8 {
    match family {
        Family::V4 => protocol::ICMP,
        Family::V6 => protocol::ICMPV6,
    }
}

/// An IP header and what follows it.
pub(super) struct Header<'a> {
    pub(super) family: Family,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    traffic_class: u8,
    /// As [`Packet::protocol`].
    pub(super) protocol: Field<u8>,
    pub(super) fragment: Option<Fragment>,
    /// What follows the IP headers, up to the end that the header announces or the end of the
    /// frame. Unknown in a later fragment and after broken extension headers.
    pub(super) payload: Field<&'a [u8]>,
}

/// An IPv4 packet, from its first byte to the end of the frame.
pub(super) fn v4(bytes: &[u8]) -> Packet {
    v4_header(bytes).map_or_else(|| Packet::broken(Family::V4), |header| Packet::of(&header))
}

/// An IPv6 packet, from its first byte to the end of the frame.
pub(super) fn v6(bytes: &[u8]) -> Packet {
    v6_header(bytes).map_or_else(|| Packet::broken(Family::V6), |header| Packet::of(&header))
}

/// The header (RFC 791) unless its version is not 4, it is shorter than 5 words, cut off, or the
/// total length smaller than it.
fn v4_header(bytes: &[u8]) -> Option<Header<'_>> {
    let total = usize::from(u16_at(bytes, 2)?);
    let length = usize::from(bytes[0] & 0xf) * 4;
    if total < length {
        return None;
    }
    parse_v4(bytes, total)
}

/// The header of a packet in an ICMP error, which may be cut off anywhere behind it: whatever length
/// it announces, `bytes` are what there is.
pub(super) fn quoted_v4_header(bytes: &[u8]) -> Option<Header<'_>> {
    parse_v4(bytes, bytes.len())
}

/// `total`: where the packet ends.
fn parse_v4(bytes: &[u8], total: usize) -> Option<Header<'_>> {
    let fixed = bytes.get(..20)?;
    let length = usize::from(fixed[0] & 0xf) * 4;
    if fixed[0] >> 4 != 4 || length < 20 || bytes.len() < length {
        return None;
    }
    let protocol = fixed[9];
    let word = u16_at(fixed, 6)?;
    let (more, offset) = (word & 0x2000 != 0, usize::from(word & 0x1fff) * 8);
    let fragment = (more || offset > 0).then_some(Fragment {
        offset,
        length: total - length,
        id: u32::from(u16_at(fixed, 4)?),
        protocol,
    });
    let address = |at: usize| {
        IpAddr::V4(Ipv4Addr::new(
            fixed[at],
            fixed[at + 1],
            fixed[at + 2],
            fixed[at + 3],
        ))
    };
    Some(Header {
        family: Family::V4,
        source: address(12),
        destination: address(16),
        traffic_class: fixed[1],
        protocol: Field::Is(protocol),
        fragment,
        payload: if offset > 0 {
            Field::Unknown
        } else {
            Field::Is(&bytes[length..total.min(bytes.len())])
        },
    })
}

/// The header (RFC 8200) unless its version is not 6 or it is cut off. Hop-by-hop, routing,
/// fragment and destination headers are skipped; anything else is the upper-layer protocol.
fn v6_header(bytes: &[u8]) -> Option<Header<'_>> {
    let end = 40 + usize::from(u16_at(bytes, 4)?);
    parse_v6(bytes, end)
}

/// As [`quoted_v4_header`].
pub(super) fn quoted_v6_header(bytes: &[u8]) -> Option<Header<'_>> {
    parse_v6(bytes, bytes.len())
}

/// `announced`: where the packet ends.
fn parse_v6(bytes: &[u8], announced: usize) -> Option<Header<'_>> {
    let fixed = bytes.get(..40)?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    let address = |at: usize| {
        let octets: [u8; 16] = std::array::from_fn(|i| fixed[at + i]);
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let end = announced.min(bytes.len());
    let mut header = Header {
        family: Family::V6,
        source: address(8),
        destination: address(24),
        traffic_class: fixed[0] << 4 | fixed[1] >> 4,
        protocol: Field::Unknown,
        fragment: None,
        payload: Field::Unknown,
    };

    let mut next = fixed[6];
    let mut at = 40;
    let mut skipped = 0;
    while is_extension_header(next) {
        skipped += 1;
        if skipped > MOST_EXTENSION_HEADERS || at + 8 > end {
            return Some(header);
        }
        let extension = &bytes[at..end];
        if next == 44 {
            let word = u16_at(extension, 2)?;
            let (more, offset) = (word & 1 != 0, usize::from(word >> 3) * 8);
            // With several of them, the last one counts.
            header.fragment = (more || offset > 0).then_some(Fragment {
                offset,
                length: announced - at - 8,
                id: u32::from_be_bytes([extension[4], extension[5], extension[6], extension[7]]),
                protocol: extension[0],
            });
            if offset > 0 {
                // What comes next is in the first fragment, unless it is the protocol itself.
                if !is_extension_header(extension[0]) {
                    header.protocol = Field::Is(extension[0]);
                }
                return Some(header);
            }
            at += 8;
        } else {
            at += (usize::from(extension[1]) + 1) * 8;
            if at > end {
                return Some(header);
            }
        }
        next = extension[0];
    }
    header.protocol = Field::Is(next);
    header.payload = Field::Is(&bytes[at..end]);
    Some(header)
}

/// Hop-by-hop options, routing, fragment, destination options.
fn is_extension_header(next: u8) -> bool {
    matches!(next, 0 | 43 | 44 | 60)
}

/// The transport header at the start of `payload`; unknown if it is cut off.
fn transport(header: &Header<'_>, payload: &[u8]) -> Field<Transport> {
    let Field::Is(number) = header.protocol else {
        return Field::Unknown;
    };
    let Some(length) = header_length(header.family, number) else {
        return Field::Is(Transport::Other);
    };
    let Some(fixed) = payload.get(..length) else {
        return Field::Unknown;
    };
    let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    Field::Is(match number {
        protocol::TCP => Transport::Tcp {
            source: word(0),
            destination: word(2),
            flags: fixed[13] & 0x3f,
            options: match payload.get(20..usize::from(fixed[12] >> 4) * 4) {
                Some(options) => Field::Is(options.to_vec()),
                None => Field::Unknown,
            },
        },
        protocol::UDP | protocol::UDPLITE | protocol::DCCP | protocol::SCTP => Transport::Ports {
            source: word(0),
            destination: word(2),
        },
        _ => Transport::Icmp {
            kind: fixed[0],
            code: fixed[1],
            id: word(4),
            body: payload[length..].to_vec(),
        },
    })
}

/// The bytes that must be there of a transport header of which anything is tested; `None` for
/// protocols of which nothing is.
fn header_length(family: Family, number: u8) -> Option<usize> {
    match number {
        protocol::TCP => Some(20),
        protocol::UDP | protocol::UDPLITE | protocol::DCCP | protocol::SCTP => Some(8),
        number if number == icmp_protocol(family) => Some(8),
        _ => None,
    }
}
