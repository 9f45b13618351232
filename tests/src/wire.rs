//! Short forms of [`crate::frame`] for tables and generators of frames: payloads are bytes, so that
//! they can be cut, nested and fragmented, and headers have defaults. Lengths and checksums are right;
//! whoever wants them wrong changes the bytes afterwards.

use std::net::{Ipv4Addr, Ipv6Addr};

use nwfilter_common::MacAddr;

use crate::frame::{self, BpduKind, Ethernet, Pseudo, Segment, internet_checksum};

/// An Ethernet frame. `ethertype` may be the length of an 802.3 frame.
pub fn ethernet(destination: MacAddr, source: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    Ethernet::new(source, destination).frame(ethertype, payload)
}

/// The frame with one more VLAN tag outside: `kind` is the tag's ethertype (0x8100 or 0x88a8),
/// `control` its priority and VLAN id.
pub fn tagged(frame: &[u8], kind: u16, control: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &kind.to_be_bytes(), &control.to_be_bytes(), rest].concat()
}

/// An ARP or RARP packet (RFC 826).
#[derive(Clone, Debug)]
pub struct Arp {
    /// Hardware type; 1 is Ethernet.
    pub hardware: u16,
    /// Protocol type; 0x800 is IPv4.
    pub protocol: u16,
    /// Lengths of a hardware and of a protocol address. They do not change the layout.
    pub lengths: (u8, u8),
    /// 1 is a request.
    pub opcode: u16,
    /// Of the sender.
    pub sender_mac: MacAddr,
    /// Of the sender.
    pub sender_ip: Ipv4Addr,
    /// Of the target.
    pub target_mac: MacAddr,
    /// Of the target.
    pub target_ip: Ipv4Addr,
}

impl Default for Arp {
    fn default() -> Self {
        Self {
            hardware: 1,
            protocol: 0x0800,
            lengths: (6, 4),
            opcode: 1,
            sender_mac: MacAddr::default(),
            sender_ip: Ipv4Addr::UNSPECIFIED,
            target_mac: MacAddr::default(),
            target_ip: Ipv4Addr::UNSPECIFIED,
        }
    }
}

impl Arp {
    /// 28 bytes.
    pub fn bytes(&self) -> Vec<u8> {
        frame::Arp {
            hardware: self.hardware,
            protocol: self.protocol,
            hardware_length: Some(self.lengths.0),
            protocol_length: Some(self.lengths.1),
            ..frame::Arp::new(
                self.opcode,
                (self.sender_mac, self.sender_ip),
                (self.target_mac, self.target_ip),
            )
        }
        .bytes()
    }
}

/// A bridge protocol data unit (IEEE 802.1D section 9.3).
#[derive(Clone, Debug, Default)]
pub struct Bpdu {
    /// 0 is a configuration, 2 rapid spanning tree, 128 a topology change notification.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Root priority and address.
    pub root: (u16, MacAddr),
    /// Cost of the path to the root.
    pub root_cost: u32,
    /// Sender's priority and address.
    pub sender: (u16, MacAddr),
    /// Port.
    pub port: u16,
    /// Message age, max age, hello time, forward delay, in 1/256 s.
    pub timers: [u16; 4],
}

impl Bpdu {
    /// LLC header and BPDU: 38 bytes, of a topology change notification 7.
    pub fn bytes(&self) -> Vec<u8> {
        let [message_age, max_age, hello_time, forward_delay] = self.timers;
        let bpdu = frame::Bpdu {
            kind: match self.kind {
                128 => BpduKind::TopologyChange,
                _ => BpduKind::Config,
            },
            flags: self.flags,
            root_priority: self.root.0,
            root_address: self.root.1,
            root_cost: self.root_cost,
            sender_priority: self.sender.0,
            sender_address: self.sender.1,
            port: self.port,
            message_age,
            max_age,
            hello_time,
            forward_delay,
        };
        let mut bytes = [&[0x42, 0x42, 3], &bpdu.bytes()[..]].concat();
        bytes[6] = self.kind;
        bytes
    }
}

/// An IPv4 header (RFC 791).
#[derive(Clone, Debug)]
pub struct Ipv4 {
    /// Source.
    pub source: Ipv4Addr,
    /// Destination.
    pub destination: Ipv4Addr,
    /// Protocol number.
    pub protocol: u8,
    /// TOS byte.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// Offset of this fragment in units of eight bytes.
    pub offset: u16,
    /// Options, a multiple of four bytes and at most 40.
    pub options: Vec<u8>,
}

impl Default for Ipv4 {
    fn default() -> Self {
        Self {
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
            protocol: 255,
            tos: 0,
            id: 0,
            more: false,
            offset: 0,
            options: Vec::new(),
        }
    }
}

impl Ipv4 {
    /// The packet. The checksum of a whole transport header in `payload` is set.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let is_fragment = self.more || self.offset > 0;
        frame::Ipv4 {
            type_of_service: self.tos,
            identification: self.id,
            more_fragments: self.more,
            fragment_offset: self.offset,
            options: self.options.clone(),
            ..frame::Ipv4::new(self.source, self.destination)
        }
        .packet(&Payload {
            protocol: self.protocol,
            bytes: payload,
            is_fragment,
        })
    }
}

/// An IPv6 header and its extension headers (RFC 8200).
#[derive(Clone, Debug)]
pub struct Ipv6 {
    /// Source.
    pub source: Ipv6Addr,
    /// Destination.
    pub destination: Ipv6Addr,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Traffic class byte.
    pub traffic_class: u8,
    /// In the order of the wire.
    pub extensions: Vec<Extension>,
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extension {
    /// Of this protocol number (0 hop-by-hop, 43 routing, 60 destination options), this many times
    /// eight bytes long (1 to 256), filled with padding.
    Options(u8, u16),
    /// A fragment header.
    Fragment {
        /// Offset in units of eight bytes.
        offset: u16,
        /// Whether more fragments follow.
        more: bool,
        /// Identification.
        id: u32,
    },
}

impl Default for Ipv6 {
    fn default() -> Self {
        Self {
            source: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
            destination: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2),
            protocol: 59,
            traffic_class: 0,
            extensions: Vec::new(),
        }
    }
}

impl Ipv6 {
    /// The packet. The checksum of a whole transport header in `payload` is set.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let is_fragment = self.extensions.iter().any(|extension| {
            matches!(extension, Extension::Fragment { offset, more, .. } if *offset > 0 || *more)
        });
        frame::Ipv6 {
            traffic_class: self.traffic_class,
            extensions: self
                .extensions
                .iter()
                .map(|extension| extension.header())
                .collect(),
            ..frame::Ipv6::new(self.source, self.destination)
        }
        .packet(&Payload {
            protocol: self.protocol,
            bytes: payload,
            is_fragment,
        })
    }
}

impl Extension {
    fn header(self) -> frame::Extension {
        match self {
            Self::Options(number, eights) => {
                let length = usize::from(eights.clamp(1, 256)) * 8;
                let mut bytes = vec![0, (length / 8 - 1) as u8];
                // PadN options of at most 255 bytes; a routing header takes any filling.
                while bytes.len() < length {
                    let filling = (length - bytes.len()).saturating_sub(2).min(253);
                    bytes.extend([1, filling as u8]);
                    bytes.resize((bytes.len() + filling).min(length), 0);
                }
                frame::Extension::Raw(number, bytes)
            }
            Self::Fragment { offset, more, id } => frame::Extension::Fragment {
                offset,
                more,
                identification: id,
            },
        }
    }
}

/// A TCP segment. `flags` is the whole octet; `options` is padded to four bytes.
pub fn tcp(source: u16, destination: u16, flags: u8, options: &[u8]) -> Vec<u8> {
    let words = 5 + options.len().div_ceil(4);
    let mut segment = ports(source, destination);
    segment.extend(1_u32.to_be_bytes()); // sequence
    segment.extend(0_u32.to_be_bytes()); // acknowledgment
    segment.extend([(words << 4) as u8, flags]);
    segment.extend([0xff, 0xff, 0, 0, 0, 0]); // window, checksum, urgent
    segment.extend(options);
    segment.resize(words * 4, 0);
    segment
}

/// A UDP datagram.
pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = ports(source, destination);
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// An SCTP packet with one INIT chunk header.
pub fn sctp(source: u16, destination: u16) -> Vec<u8> {
    let mut packet = ports(source, destination);
    packet.extend([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4]);
    packet
}

/// An ICMP or `ICMPv6` message: `rest` is the second half of the header, `body` what follows.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(body);
    message
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// What an IP packet carries.
struct Payload<'a> {
    protocol: u8,
    bytes: &'a [u8],
    is_fragment: bool,
}

impl Segment for Payload<'_> {
    fn protocol(&self) -> u8 {
        self.protocol
    }

    fn bytes(&self, pseudo: &Pseudo) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        let at = match (self.protocol, pseudo) {
            (1, Pseudo::V4(..)) | (58, Pseudo::V6(..)) if bytes.len() >= 8 => 2,
            (6, _) if bytes.len() >= 20 => 16,
            (17, _) if bytes.len() >= 8 => 6,
            _ => return bytes,
        };
        if self.is_fragment {
            return bytes;
        }
        bytes[at..at + 2].fill(0);
        let sum = match self.protocol {
            1 => internet_checksum(&[&bytes]),
            protocol => pseudo.checksum(protocol, &bytes, bytes.len()),
        };
        // UDP has no checksum 0.
        let sum = if sum == 0 && self.protocol == 17 {
            0xffff
        } else {
            sum
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_add_up() {
        let packet = Ipv4 {
            protocol: 17,
            ..Ipv4::default()
        }
        .packet(&udp(1, 2, b"odd"));
        assert_eq!(internet_checksum(&[&packet[..20]]), 0);
        assert_eq!(
            internet_checksum(&[&packet[12..20], &[0, 17, 0, 11], &packet[20..]]),
            0
        );
        let ping = Ipv4 {
            protocol: 1,
            ..Ipv4::default()
        }
        .packet(&icmp(8, 0, [0; 4], b"x"));
        assert_eq!(internet_checksum(&[&ping[20..]]), 0);
    }

    #[test]
    fn lengths_are_right() {
        let packet = Ipv6 {
            protocol: 6,
            extensions: vec![
                Extension::Options(0, 1),
                Extension::Options(60, 64),
                Extension::Fragment {
                    offset: 0,
                    more: false,
                    id: 7,
                },
            ],
            ..Ipv6::default()
        }
        .packet(&tcp(1, 2, 2, &[1; 5]));
        assert_eq!(packet.len(), 40 + 8 + 512 + 8 + 28);
        assert_eq!(
            usize::from(u16::from_be_bytes([packet[4], packet[5]])),
            packet.len() - 40
        );
        assert_eq!(
            (packet[6], packet[40], packet[48], packet[560]),
            (0, 60, 44, 6)
        );
        assert_eq!(packet[49], 63);
        assert_eq!(Bpdu::default().bytes().len(), 38);
        assert_eq!(Arp::default().bytes().len(), 28);
    }
}
