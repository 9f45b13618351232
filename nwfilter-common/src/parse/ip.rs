//! IP and what it carries: headers up to those of TCP, UDP and ICMP, extension headers, fragments.

use super::{ETHERNET_LEN, Headers, MAX_EXTENSION_HEADERS};
use crate::{
    class::{Class, ip_protocol},
    field::{Field, Fields, word},
    packet::Packet,
};

/// The classes of one IP version.
struct IpClasses {
    tcp: Class,
    udp: Class,
    icmp: Class,
    ports: Class,
    other: Class,
    short: Class,
}

const IP4: IpClasses = IpClasses {
    tcp: Class::Ip4Tcp,
    udp: Class::Ip4Udp,
    icmp: Class::Ip4Icmp,
    ports: Class::Ip4Ports,
    other: Class::Ip4Other,
    short: Class::Ip4Short,
};

const IP6: IpClasses = IpClasses {
    tcp: Class::Ip6Tcp,
    udp: Class::Ip6Udp,
    icmp: Class::Ip6Icmp,
    ports: Class::Ip6Ports,
    other: Class::Ip6Other,
    short: Class::Ip6Short,
};

/// The fixed part of an IPv4 header (RFC 791), as far as it is of interest.
struct Ip4 {
    header_len: usize,
    tos: u8,
    total_len: u16,
    id: u16,
    /// Flags and offset.
    fragment: u16,
    protocol: u8,
    source: u32,
    destination: u32,
}

impl Ip4 {
    const MIN: usize = 20;

    #[inline(always)]
    fn read(header: &[u8; Self::MIN]) -> Self {
        let [
            first,
            tos,
            t0,
            t1,
            i0,
            i1,
            f0,
            f1,
            _,
            protocol,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ] = *header;
        Self {
            header_len: usize::from(first & 0x0f) * 4,
            tos,
            total_len: u16::from_be_bytes([t0, t1]),
            id: u16::from_be_bytes([i0, i1]),
            fragment: u16::from_be_bytes([f0, f1]),
            protocol,
            source: u32::from_be_bytes([s0, s1, s2, s3]),
            destination: u32::from_be_bytes([d0, d1, d2, d3]),
        }
    }

    /// Whether more fragments follow, or this one does.
    #[inline(always)]
    const fn is_fragment(&self) -> bool {
        const MORE: u16 = 0x2000;
        const OFFSET: u16 = 0x1fff;
        self.fragment & (MORE | OFFSET) != 0
    }

    #[inline(always)]
    fn write(&self, fields: &mut Fields) {
        fields[Field::TrafficClass.index()] = u64::from(self.tos);
        fields[Field::IpProtocol.index()] = u64::from(self.protocol);
        fields[Field::Ip4Src.index()] = u64::from(self.source);
        fields[Field::Ip4Dst.index()] = u64::from(self.destination);
    }
}

/// An IPv4 packet without options, whole, with TCP or UDP; `None` if it is another one.
#[inline(always)]
pub(super) fn usual_ipv4<P: Packet + ?Sized>(packet: &P, fields: &mut Fields) -> Option<Headers> {
    let header = packet.read::<{ Ip4::MIN }>(ETHERNET_LEN)?;
    let ip = Ip4::read(&header);
    let whole = !ip.is_fragment() && usize::from(ip.total_len) >= Ip4::MIN;
    if header[0] != 0x45 || !whole || !matches!(ip.protocol, ip_protocol::TCP | ip_protocol::UDP) {
        return None;
    }
    fields[word::FRAGMENT] = 0;
    ip.write(fields);
    let payload_len = usize::from(ip.total_len) - Ip4::MIN;
    let at = ETHERNET_LEN + Ip4::MIN;
    Some(transport(
        packet,
        fields,
        &IP4,
        ip.protocol,
        at,
        payload_len,
    ))
}

/// IPv4 (RFC 791).
#[inline(always)]
pub(super) fn ipv4<P: Packet + ?Sized>(packet: &P, fields: &mut Fields) -> Headers {
    let Some(header) = packet.read::<{ Ip4::MIN }>(ETHERNET_LEN) else {
        return Headers::new(Class::Ip4Bad);
    };
    let ip = Ip4::read(&header);
    // A GSO packet over 64 KiB has no total length (kernel commit b1a78b9b9886, "BIG TCP").
    let total_len = match ip.total_len {
        0 if packet.len() > 0xffff => packet.len() - ETHERNET_LEN,
        len => usize::from(len),
    };
    let end = ETHERNET_LEN + ip.header_len;
    if header[0] >> 4 != 4
        || ip.header_len < Ip4::MIN
        || total_len < ip.header_len
        || end > packet.len()
    {
        return Headers::new(Class::Ip4Bad);
    }
    ip.write(fields);
    let payload_len = total_len - ip.header_len;
    let more = ip.fragment >> 13 & 1;
    fields[word::FRAGMENT] = u64::from((ip.fragment & 0x1fff) << 3 | more);
    if ip.is_fragment() {
        fields[word::FRAGMENT_ID] = u64::from(ip.id);
        fields[word::FRAGMENT_PROTOCOL] = u64::from(ip.protocol);
        fields[word::FRAGMENT_LEN] = payload_len as u64;
        if ip.fragment & 0x1fff != 0 {
            return Headers::new(Class::Ip4Fragment);
        }
    }
    transport(packet, fields, &IP4, ip.protocol, end, payload_len)
}

/// The fixed part of an IPv6 header (RFC 8200), as far as it is of interest.
struct Ip6 {
    version: u8,
    traffic_class: u8,
    payload_len: u16,
    next: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

impl Ip6 {
    const LEN: usize = 40;

    #[inline(always)]
    fn read<P: Packet + ?Sized>(packet: &P) -> Option<Self> {
        let [first, second, _, _, l0, l1, next, _] = packet.read::<8>(ETHERNET_LEN)?;
        Some(Self {
            version: first >> 4,
            traffic_class: first << 4 | second >> 4,
            payload_len: u16::from_be_bytes([l0, l1]),
            next,
            source: packet.read::<16>(ETHERNET_LEN + 8)?,
            destination: packet.read::<16>(ETHERNET_LEN + 24)?,
        })
    }

    #[inline(always)]
    fn write(&self, fields: &mut Fields) {
        let [high, low] = halves(self.source);
        fields[Field::Ip6SrcHigh.index()] = high;
        fields[Field::Ip6SrcLow.index()] = low;
        let [high, low] = halves(self.destination);
        fields[Field::Ip6DstHigh.index()] = high;
        fields[Field::Ip6DstLow.index()] = low;
        fields[Field::TrafficClass.index()] = u64::from(self.traffic_class);
    }
}

/// An IPv6 packet without extension headers, with TCP or UDP; `None` if it is another one.
#[inline(always)]
pub(super) fn usual_ipv6<P: Packet + ?Sized>(packet: &P, fields: &mut Fields) -> Option<Headers> {
    let ip = Ip6::read(packet)?;
    let usual = matches!(ip.next, ip_protocol::TCP | ip_protocol::UDP);
    if ip.version != 6 || ip.payload_len == 0 || !usual {
        return None;
    }
    ip.write(fields);
    fields[word::FRAGMENT] = 0;
    fields[Field::IpProtocol.index()] = u64::from(ip.next);
    let at = ETHERNET_LEN + Ip6::LEN;
    let payload_len = usize::from(ip.payload_len);
    Some(transport(packet, fields, &IP6, ip.next, at, payload_len))
}

/// IPv6 (RFC 8200). Hop-by-hop, routing, destination options and fragment headers are followed;
/// AH and ESP count as upper-layer protocols.
#[inline(always)]
pub(super) fn ipv6<P: Packet + ?Sized>(packet: &P, fields: &mut Fields) -> Headers {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let Some(ip) = Ip6::read(packet).filter(|ip| ip.version == 6) else {
        return Headers::new(Class::Ip6Bad);
    };
    ip.write(fields);
    fields[word::FRAGMENT] = 0;
    let mut next = ip.next;
    let start = ETHERNET_LEN + Ip6::LEN;
    // A jumbogram or GSO packet over 64 KiB has no payload length.
    let end = match ip.payload_len {
        0 if packet.len() > 0xffff => packet.len(),
        len => start + usize::from(len),
    };
    if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
        return upper_layer(packet, fields, next, start, end);
    }
    let mut at = start;
    for _ in 0..MAX_EXTENSION_HEADERS {
        let len = match next {
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let Some([following, units]) = packet.read::<2>(at) else {
                    return Headers::new(Class::Ip6Chain);
                };
                next = following;
                (usize::from(units) + 1) * 8
            }
            FRAGMENT => {
                let Some([following, _, f0, f1, i0, i1, i2, i3]) = packet.read::<8>(at) else {
                    return Headers::new(Class::Ip6Chain);
                };
                if at + 8 > end {
                    return Headers::new(Class::Ip6Chain);
                }
                next = following;
                let fragment = u64::from(u16::from_be_bytes([f0, f1]) & 0xfff9);
                fields[word::FRAGMENT] = fragment;
                fields[word::FRAGMENT_ID] = u64::from(u32::from_be_bytes([i0, i1, i2, i3]));
                fields[word::FRAGMENT_PROTOCOL] = u64::from(next);
                fields[word::FRAGMENT_LEN] = end.saturating_sub(at + 8) as u64;
                if fragment > 1 {
                    fields[Field::IpProtocol.index()] = u64::from(next);
                    return Headers::new(match next {
                        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION => Class::Ip6FragmentChain,
                        ip_protocol::NONE => Class::Ip6None,
                        _ => Class::Ip6Fragment,
                    });
                }
                8
            }
            _ => return upper_layer(packet, fields, next, at, end),
        };
        at += len;
        if at > end || at > packet.len() {
            return Headers::new(Class::Ip6Chain);
        }
    }
    if matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
        return Headers::new(Class::Ip6Chain);
    }
    upper_layer(packet, fields, next, at, end)
}

#[inline(always)]
pub(crate) fn halves(address: [u8; 16]) -> [u64; 2] {
    let value = u128::from_be_bytes(address);
    [(value >> 64) as u64, value as u64]
}

#[inline(always)]
fn upper_layer<P: Packet + ?Sized>(
    packet: &P,
    fields: &mut Fields,
    protocol: u8,
    at: usize,
    end: usize,
) -> Headers {
    if protocol == ip_protocol::NONE {
        return Headers::new(Class::Ip6None);
    }
    fields[Field::IpProtocol.index()] = u64::from(protocol);
    transport(packet, fields, &IP6, protocol, at, end.saturating_sub(at))
}

/// The transport header at `at`, of which `available` bytes belong to the IP packet.
#[inline(always)]
fn transport<P: Packet + ?Sized>(
    packet: &P,
    fields: &mut Fields,
    classes: &IpClasses,
    protocol: u8,
    at: usize,
    available: usize,
) -> Headers {
    fields[word::TRANSPORT_LEN] = available as u64;
    let v6 = classes.other.is_ip6();
    let class = match protocol {
        ip_protocol::TCP => match packet.read::<20>(at) {
            Some(header) if available >= 20 => {
                let [s0, s1, d0, d1, ..] = header;
                fields[Field::SrcPort.index()] = u64::from(u16::from_be_bytes([s0, s1]));
                fields[Field::DstPort.index()] = u64::from(u16::from_be_bytes([d0, d1]));
                fields[Field::TcpFlags.index()] = u64::from(header[13] & 0x3f);
                classes.tcp
            }
            _ => classes.short,
        },
        ip_protocol::UDP | ip_protocol::UDPLITE | ip_protocol::SCTP | ip_protocol::DCCP => {
            match packet.read::<8>(at) {
                Some([s0, s1, d0, d1, ..]) if available >= 8 => {
                    fields[Field::SrcPort.index()] = u64::from(u16::from_be_bytes([s0, s1]));
                    fields[Field::DstPort.index()] = u64::from(u16::from_be_bytes([d0, d1]));
                    if protocol == ip_protocol::UDP {
                        classes.udp
                    } else {
                        classes.ports
                    }
                }
                _ => classes.short,
            }
        }
        ip_protocol::ICMP if !v6 => icmp(packet, fields, classes, at, available),
        ip_protocol::ICMPV6 if v6 => icmp(packet, fields, classes, at, available),
        _ => classes.other,
    };
    Headers {
        class,
        transport: at as u32,
    }
}

/// ICMP (RFC 792) and ICMPv6 (RFC 4443): type, code, checksum, and four bytes that depend on those.
#[inline(always)]
fn icmp<P: Packet + ?Sized>(
    packet: &P,
    fields: &mut Fields,
    classes: &IpClasses,
    at: usize,
    available: usize,
) -> Class {
    match packet.read::<8>(at) {
        Some([kind, code, _, _, i0, i1, _, _]) if available >= 8 => {
            fields[Field::IcmpType.index()] = u64::from(kind);
            fields[Field::IcmpCode.index()] = u64::from(code);
            fields[word::ICMP_ID] = u64::from(u16::from_be_bytes([i0, i1]));
            fields[word::ICMP_END] = (at + available) as u64;
            classes.icmp
        }
        _ => classes.short,
    }
}
