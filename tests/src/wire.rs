//! Makes frames byte by byte, with right lengths and checksums. Whoever wants them wrong changes
//! the bytes afterwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nwfilter_common::MacAddr;

/// An Ethernet frame. `ethertype` may be the length of an 802.3 frame.
pub fn ethernet(destination: MacAddr, source: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend(destination.0);
    frame.extend(source.0);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
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
        [
            &self.hardware.to_be_bytes()[..],
            &self.protocol.to_be_bytes(),
            &[self.lengths.0, self.lengths.1],
            &self.opcode.to_be_bytes(),
            &self.sender_mac.0,
            &self.sender_ip.octets(),
            &self.target_mac.0,
            &self.target_ip.octets(),
        ]
        .concat()
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
        let mut bytes = vec![0x42, 0x42, 0x03, 0, 0, 0, self.kind];
        if self.kind != 128 {
            bytes.push(self.flags);
            bytes.extend(self.root.0.to_be_bytes());
            bytes.extend(self.root.1.0);
            bytes.extend(self.root_cost.to_be_bytes());
            bytes.extend(self.sender.0.to_be_bytes());
            bytes.extend(self.sender.1.0);
            bytes.extend(self.port.to_be_bytes());
            bytes.extend(self.timers.into_iter().flat_map(u16::to_be_bytes));
        }
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
        let words = 5 + self.options.len().div_ceil(4);
        let total = words * 4 + payload.len();
        let fragment = u16::from(self.more) << 13 | self.offset & 0x1fff;
        let mut packet = vec![0x40 | words as u8, self.tos];
        packet.extend((total as u16).to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(&self.options);
        packet.resize(words * 4, 0);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut payload = payload.to_vec();
        if fragment == 0 {
            let ends = (self.source.into(), self.destination.into());
            set_checksum(ends, self.protocol, &mut payload);
        }
        packet.extend(payload);
        packet
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
        let number = |extension: &Extension| match extension {
            Extension::Options(number, _) => *number,
            Extension::Fragment { .. } => 44,
        };
        let mut body = Vec::new();
        for (index, extension) in self.extensions.iter().enumerate() {
            let next = self.extensions.get(index + 1).map_or(self.protocol, number);
            match *extension {
                Extension::Options(_, eights) => {
                    let length = usize::from(eights.clamp(1, 256)) * 8;
                    let start = body.len();
                    body.extend([next, (length / 8 - 1) as u8]);
                    // PadN options, each of at most 255 bytes; a routing header takes any filling.
                    while body.len() < start + length {
                        match start + length - body.len() {
                            1 => body.push(0),
                            rest => {
                                let filling = (rest - 2).min(253);
                                body.extend([1, filling as u8]);
                                body.resize(body.len() + filling, 0);
                            }
                        }
                    }
                }
                Extension::Fragment { offset, more, id } => {
                    body.extend([next, 0]);
                    body.extend((offset << 3 | u16::from(more)).to_be_bytes());
                    body.extend(id.to_be_bytes());
                }
            }
        }
        let is_fragment = self.extensions.iter().any(|extension| {
            matches!(extension, Extension::Fragment { offset, more, .. } if *offset > 0 || *more)
        });
        let mut payload = payload.to_vec();
        if !is_fragment {
            let ends = (self.source.into(), self.destination.into());
            set_checksum(ends, self.protocol, &mut payload);
        }
        body.extend(payload);

        let class = self.traffic_class;
        let mut packet = vec![0x60 | class >> 4, class << 4, 0, 0];
        packet.extend((body.len() as u16).to_be_bytes());
        packet.extend([self.extensions.first().map_or(self.protocol, number), 64]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(body);
        packet
    }
}

/// A TCP segment. `flags` is the whole octet; `options` is padded to four bytes.
pub fn tcp(source: u16, destination: u16, flags: u8, options: &[u8]) -> Vec<u8> {
    let words = 5 + options.len().div_ceil(4);
    let mut segment = ports(source, destination);
    segment.extend([
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        (words << 4) as u8,
        flags,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
    ]);
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

/// Sets the checksum in a transport header that has one over pseudo header and payload.
fn set_checksum((source, destination): (IpAddr, IpAddr), protocol: u8, payload: &mut [u8]) {
    let is_v4 = source.is_ipv4();
    let (at, length) = match protocol {
        1 if is_v4 => (2, 8),
        6 => (16, 20),
        17 => (6, 8),
        58 if !is_v4 => (2, 8),
        _ => return,
    };
    if payload.len() < length {
        return;
    }
    payload[at..at + 2].fill(0);
    let mut summed = Vec::new();
    if protocol != 1 {
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => summed.extend(address.octets()),
                IpAddr::V6(address) => summed.extend(address.octets()),
            }
        }
        summed.extend((payload.len() as u32).to_be_bytes());
        summed.extend([0, 0, 0, protocol]);
    }
    summed.extend(&*payload);
    let sum = match checksum(&summed) {
        0 if protocol == 17 => 0xffff,
        sum => sum,
    };
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
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
        assert_eq!(checksum(&packet[..20]), 0);
        let pseudo = [&packet[12..20], &[0, 17, 0, 11]].concat();
        assert_eq!(checksum(&[&pseudo[..], &packet[20..]].concat()), 0);
        let ping = Ipv4 {
            protocol: 1,
            ..Ipv4::default()
        }
        .packet(&icmp(8, 0, [0; 4], b"x"));
        assert_eq!(checksum(&ping[20..]), 0);
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
