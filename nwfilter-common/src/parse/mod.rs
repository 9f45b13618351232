//! The frame parser: finds the class of a frame and writes its fields. Decides nothing. Here are Ethernet,
//! VLAN tags, spanning tree and ARP.

mod ip;

use crate::{
    class::{Class, ethertype},
    field::{Field, Fields},
    packet::{Packet, Tag},
};

pub(crate) use self::ip::halves;

/// Where frames to the bridge group address go: spanning tree (IEEE 802.1D).
pub const BRIDGE_GROUP_ADDRESS: u64 = 0x0180_c200_0000;

/// Extension headers that are followed before a frame counts as broken.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// What the parser found, beside the fields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Headers {
    /// Which fields are valid, see [`Class::info`].
    pub class: Class,
    /// Offset of the transport header from the start of the frame, in bytes; 0 without one.
    pub transport: u32,
}

impl Headers {
    #[inline(always)]
    const fn new(class: Class) -> Self {
        Self {
            class,
            transport: 0,
        }
    }
}

const ETHERNET_LEN: usize = 14;
const TAG_LEN: usize = 4;

/// Parses the usual frame: IP without options, whole, with TCP or UDP. `None` if it is another one;
/// what [`parse`] makes of these is the same.
#[inline(always)]
pub(crate) fn usual<P: Packet + ?Sized>(packet: &P, fields: &mut Fields) -> Option<Headers> {
    let (_, ether_type) = ethernet(packet, fields)?;
    if packet.tag().is_some() {
        return None;
    }
    fields[Field::EtherType.index()] = u64::from(ether_type);
    match ether_type {
        ethertype::IPV4 => ip::usual_ipv4(packet, fields),
        ethertype::IPV6 => ip::usual_ipv6(packet, fields),
        _ => None,
    }
}

/// The Ethernet header: destination and type.
#[inline(always)]
fn ethernet<P: Packet + ?Sized>(packet: &P, fields: &mut Fields) -> Option<(u64, u16)> {
    let ethernet: [u8; ETHERNET_LEN] = packet.read(0)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = ethernet;
    let destination = u64::from_be_bytes([0, 0, d0, d1, d2, d3, d4, d5]);
    fields[Field::DstMac.index()] = destination;
    fields[Field::SrcMac.index()] = u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]);
    Some((destination, u16::from_be_bytes([t0, t1])))
}

/// Parses a frame. `None` when it is shorter than an Ethernet header.
#[inline(always)]
pub fn parse<P: Packet + ?Sized>(packet: &P, fields: &mut Fields) -> Option<Headers> {
    let (destination, ether_type) = ethernet(packet, fields)?;
    if let Some(Tag { protocol, tci }) = packet.tag() {
        return Some(tagged(
            packet,
            fields,
            protocol,
            Some((tci, ether_type)),
            ETHERNET_LEN,
        ));
    }
    fields[Field::EtherType.index()] = u64::from(ether_type);
    Some(match ether_type {
        ethertype::IPV4 => ip::ipv4(packet, fields),
        ethertype::IPV6 => ip::ipv6(packet, fields),
        ethertype::ARP => arp(packet, fields, [Class::Arp, Class::ArpShort, Class::ArpCut]),
        ethertype::RARP => arp(
            packet,
            fields,
            [Class::Rarp, Class::RarpShort, Class::RarpCut],
        ),
        ethertype::VLAN => {
            let tag = packet
                .read(ETHERNET_LEN)
                .map(|[c0, c1, e0, e1]: [u8; TAG_LEN]| {
                    (u16::from_be_bytes([c0, c1]), u16::from_be_bytes([e0, e1]))
                });
            tagged(packet, fields, ethertype::VLAN, tag, ETHERNET_LEN + TAG_LEN)
        }
        length if length < ethertype::MIN && destination == BRIDGE_GROUP_ADDRESS => {
            Headers::new(bpdu(packet, fields, ETHERNET_LEN).untagged())
        }
        _ => Headers::new(Class::Other),
    })
}

/// A frame with a tag: `tag` is its control information and the type behind it, `payload` the
/// offset of what follows that type.
#[inline(always)]
fn tagged<P: Packet + ?Sized>(
    packet: &P,
    fields: &mut Fields,
    protocol: u16,
    tag: Option<(u16, u16)>,
    payload: usize,
) -> Headers {
    fields[Field::EtherType.index()] = u64::from(protocol);
    if protocol != ethertype::VLAN {
        return Headers::new(Class::Other);
    }
    let Some((tci, encapsulated)) = tag else {
        return Headers::new(Class::VlanShort);
    };
    fields[Field::VlanId.index()] = u64::from(tci & 0x0fff);
    fields[Field::VlanEncap.index()] = u64::from(encapsulated);
    let bridge_group = fields[Field::DstMac.index()] == BRIDGE_GROUP_ADDRESS;
    if bridge_group && encapsulated < ethertype::MIN {
        return Headers::new(bpdu(packet, fields, payload).tagged());
    }
    Headers::new(Class::Vlan)
}

/// What a frame to the bridge group address turned out to be.
#[derive(Clone, Copy)]
enum Bpdu {
    No,
    Config,
    Other,
    ConfigShort,
    Short,
}

impl Bpdu {
    #[inline(always)]
    const fn untagged(self) -> Class {
        match self {
            Self::No => Class::Other,
            Self::Config => Class::StpConfig,
            Self::Other => Class::StpOther,
            Self::ConfigShort => Class::StpConfigShort,
            Self::Short => Class::StpShort,
        }
    }

    #[inline(always)]
    const fn tagged(self) -> Class {
        match self {
            Self::No => Class::Vlan,
            Self::Config => Class::VlanStpConfig,
            Self::Other => Class::VlanStpOther,
            Self::ConfigShort => Class::VlanStpConfigShort,
            Self::Short => Class::VlanStpShort,
        }
    }
}

/// Reads a BPDU (IEEE 802.1D section 9.3) behind its LLC header.
#[inline(always)]
fn bpdu<P: Packet + ?Sized>(packet: &P, fields: &mut Fields, at: usize) -> Bpdu {
    // LLC 42 42 03, protocol identifier 0, version, type.
    let Some([0x42, 0x42, 0x03, 0, 0, _version, kind]) = packet.read::<7>(at) else {
        return if packet.len() < at + 7 {
            Bpdu::Short
        } else {
            Bpdu::No
        };
    };
    fields[Field::StpType.index()] = u64::from(kind);
    if kind != 0 {
        return Bpdu::Other;
    }
    let Some(flags_and_root) = packet.read::<9>(at + 7) else {
        return Bpdu::ConfigShort;
    };
    let Some(cost_and_sender) = packet.read::<12>(at + 16) else {
        return Bpdu::ConfigShort;
    };
    let Some(timers) = packet.read::<10>(at + 28) else {
        return Bpdu::ConfigShort;
    };
    let [flags, p0, p1, r0, r1, r2, r3, r4, r5] = flags_and_root;
    fields[Field::StpFlags.index()] = u64::from(flags);
    fields[Field::StpRootPriority.index()] = u64::from(u16::from_be_bytes([p0, p1]));
    fields[Field::StpRootAddress.index()] = u64::from_be_bytes([0, 0, r0, r1, r2, r3, r4, r5]);
    let [c0, c1, c2, c3, p0, p1, s0, s1, s2, s3, s4, s5] = cost_and_sender;
    fields[Field::StpRootCost.index()] = u64::from(u32::from_be_bytes([c0, c1, c2, c3]));
    fields[Field::StpSenderPriority.index()] = u64::from(u16::from_be_bytes([p0, p1]));
    fields[Field::StpSenderAddress.index()] = u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]);
    let [p0, p1, a0, a1, m0, m1, h0, h1, f0, f1] = timers;
    fields[Field::StpPort.index()] = u64::from(u16::from_be_bytes([p0, p1]));
    fields[Field::StpAge.index()] = u64::from(u16::from_be_bytes([a0, a1]));
    fields[Field::StpMaxAge.index()] = u64::from(u16::from_be_bytes([m0, m1]));
    fields[Field::StpHelloTime.index()] = u64::from(u16::from_be_bytes([h0, h1]));
    fields[Field::StpForwardDelay.index()] = u64::from(u16::from_be_bytes([f0, f1]));
    Bpdu::Config
}

/// ARP and RARP (RFC 826, RFC 903). `classes`: whole, without addresses, without anything.
#[inline(always)]
fn arp<P: Packet + ?Sized>(packet: &P, fields: &mut Fields, classes: [Class; 3]) -> Headers {
    const FIXED: usize = 8;
    let [whole, short, cut] = classes;
    let Some([h0, h1, p0, p1, hardware_len, protocol_len, o0, o1]) =
        packet.read::<FIXED>(ETHERNET_LEN)
    else {
        return Headers::new(cut);
    };
    let hardware = u16::from_be_bytes([h0, h1]);
    let protocol = u16::from_be_bytes([p0, p1]);
    fields[Field::ArpHwType.index()] = u64::from(hardware);
    fields[Field::ArpProtocol.index()] = u64::from(protocol);
    fields[Field::ArpOpcode.index()] = u64::from(u16::from_be_bytes([o0, o1]));
    let macs = hardware == 1 && hardware_len == 6;
    let ips = protocol == ethertype::IPV4 && protocol_len == 4;
    fields[Field::ArpMacs.index()] = u64::from(macs);
    fields[Field::ArpIps.index()] = u64::from(ips);

    let hardware_len = usize::from(hardware_len);
    let protocol_len = usize::from(protocol_len);
    let sender_mac = ETHERNET_LEN + FIXED;
    let sender_ip = sender_mac + hardware_len;
    let target_mac = sender_ip + protocol_len;
    let target_ip = target_mac + hardware_len;
    if target_ip + protocol_len > packet.len() {
        return Headers::new(short);
    }
    if macs {
        let (Some(sender), Some(target)) =
            (packet.read::<6>(sender_mac), packet.read::<6>(target_mac))
        else {
            return Headers::new(short);
        };
        fields[Field::ArpSrcMac.index()] = mac(sender);
        fields[Field::ArpDstMac.index()] = mac(target);
    }
    if ips {
        let (Some(sender), Some(target)) =
            (packet.read::<4>(sender_ip), packet.read::<4>(target_ip))
        else {
            return Headers::new(short);
        };
        fields[Field::ArpSrcIp.index()] = u64::from(u32::from_be_bytes(sender));
        fields[Field::ArpDstIp.index()] = u64::from(u32::from_be_bytes(target));
        fields[Field::ArpGratuitous.index()] = u64::from(sender == target);
    }
    Headers::new(whole)
}

#[inline(always)]
fn mac([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::{FIELD_WORDS, ip_protocol};

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    fn ipv4(protocol: u8) -> Vec<u8> {
        let mut frame = Vec::from(MACS);
        frame.extend([8, 0, 0x45, 0, 0, 48, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(0..28);
        frame
    }

    fn ipv6(protocol: u8) -> Vec<u8> {
        let mut frame = Vec::from(MACS);
        frame.extend([0x86, 0xdd, 0x61, 0x23, 0, 0, 0, 28, protocol, 64]);
        frame.extend(100..132);
        frame.extend(0..28);
        frame
    }

    /// Whether a frame is a usual one, and that it is then parsed like any other.
    fn is_usual(frame: &[u8]) -> bool {
        let mut one = [u64::MAX; FIELD_WORDS];
        let mut other = one;
        let headers = usual(frame, &mut one);
        if headers.is_some() {
            assert_eq!(headers, parse(frame, &mut other), "{frame:02x?}");
            assert_eq!(one, other, "{frame:02x?}");
        }
        headers.is_some()
    }

    #[test]
    fn usual_frames_are_parsed_like_others() {
        let protocols = [ip_protocol::TCP, ip_protocol::UDP];
        for whole in [ipv4, ipv6].iter().flat_map(|ip| protocols.map(ip)) {
            assert!(is_usual(&whole));
            let mut seen = [0; 2];
            for len in 0..=whole.len() {
                seen[usize::from(is_usual(&whole[..len]))] += 1;
            }
            for at in 0..whole.len() {
                for value in 0..=u8::MAX {
                    let mut changed = whole.clone();
                    changed[at] = value;
                    seen[usize::from(is_usual(&changed))] += 1;
                }
            }
            assert!(seen[0] > 500 && seen[1] > 1000, "{seen:?}");
        }
        for frame in [ipv4(ip_protocol::ICMP), ipv6(ip_protocol::ICMPV6), ipv6(0)] {
            assert!(!is_usual(&frame));
        }
    }
}
