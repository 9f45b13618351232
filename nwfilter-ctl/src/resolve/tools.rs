//! How ebtables and iptables read a value that libvirt hands them as it is: the text of a variable.
//! Measured with ebtables and iptables 1.8.9 (`nf_tables`). Only what they read differently from
//! libvirt's own parser is here; names of hosts and services, which they look up, are not.

use std::net::Ipv4Addr;

use crate::model::{Attr, Datum, Layer, Protocol};

/// What the tools make of a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// This.
    Datum(Datum),
    /// An error; libvirt cannot set up the rule. Holds what they would have taken.
    Refused(String),
    /// The same as libvirt's own parser.
    AsLibvirt,
}

/// Of `/etc/ethertypes`, what libvirt knows by name, with the aliases. `vlan` is not in there.
const ETHER_TYPES: &[(&str, u32)] = &[
    ("ipv4", 0x800),
    ("ip", 0x800),
    ("ip4", 0x800),
    ("arp", 0x806),
    ("ether-arp", 0x806),
    ("rarp", 0x8035),
    ("ipv6", 0x86dd),
    ("ip6", 0x86dd),
    ("802_1q", 0x8100),
    ("8021q", 0x8100),
    ("1q", 0x8100),
    ("802.1q", 0x8100),
    ("dot1q", 0x8100),
];

/// ARP operations that ebtables knows by name.
const OPCODES: &[(&str, u32)] = &[
    ("request", 1),
    ("reply", 2),
    ("request_reverse", 3),
    ("reply_reverse", 4),
    ("drarp_request", 5),
    ("drarp_reply", 6),
    ("drarp_error", 7),
    ("inarp_request", 8),
    ("arp_nak", 9),
];

/// Reads the value of a variable in an attribute of an element.
pub(super) fn read(protocol: Protocol, attr: Attr, text: &str) -> Reading {
    let named = |names: &[(&str, u32)]| {
        let found = names
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, value)| Reading::Datum(Datum::Number(*value)))
    };
    let range = |number: Option<u32>, min: u32, max: u32, form: &str| match number {
        Some(value) if (min..=max).contains(&value) => Reading::Datum(Datum::Number(value)),
        _ => Reading::Refused(format!("{form} from {min} to {max}")),
    };
    let hex = |min| {
        let form = "a hexadecimal number";
        named(ETHER_TYPES).unwrap_or_else(|| range(hexadecimal(text), min, 0xffff, form))
    };
    let decimal = |max| range(text.parse().ok(), 0, max, "a decimal number");
    let by_prefix = |max| {
        let form = "a number in decimal, hexadecimal after `0x` or octal after `0`,";
        range(c_number(text), 0, max, form)
    };
    match attr {
        Attr::ProtocolId => hex(0x600),
        Attr::EncapProtocol => hex(0x3c),
        Attr::ProtocolType => hex(0),
        Attr::VlanId => decimal(4094),
        Attr::HwType => named(&[("ethernet", 1)]).unwrap_or_else(|| decimal(0xffff)),
        Attr::Opcode => named(OPCODES).unwrap_or_else(|| decimal(0xffff)),
        Attr::RootCost | Attr::RootCostHi => decimal(u32::MAX),
        Attr::RootPriority
        | Attr::RootPriorityHi
        | Attr::SenderPriority
        | Attr::SenderPriorityHi
        | Attr::Port
        | Attr::PortHi
        | Attr::Age
        | Attr::AgeHi
        | Attr::MaxAge
        | Attr::MaxAgeHi
        | Attr::HelloTime
        | Attr::HelloTimeHi
        | Attr::ForwardDelay
        | Attr::ForwardDelayHi => decimal(0xffff),
        Attr::SrcPortStart | Attr::SrcPortEnd | Attr::DstPortStart | Attr::DstPortEnd => {
            by_prefix(0xffff)
        }
        Attr::Dscp if protocol.layer() == Layer::Ethernet => by_prefix(0xff),
        Attr::Dscp => by_prefix(63),
        Attr::ConnlimitAbove => by_prefix(u32::MAX),
        Attr::IpProtocol if text.starts_with(|c: char| c.is_ascii_digit()) => by_prefix(0xff),
        Attr::Flags if protocol != Protocol::Stp => Reading::AsLibvirt,
        Attr::Flags | Attr::Type | Attr::TypeEnd | Attr::Code | Attr::CodeEnd | Attr::TcpOption => {
            by_prefix(0xff)
        }
        Attr::ArpSrcIpAddr | Attr::ArpDstIpAddr => ipv4(text),
        Attr::SrcIpAddr
        | Attr::DstIpAddr
        | Attr::SrcIpFrom
        | Attr::SrcIpTo
        | Attr::DstIpFrom
        | Attr::DstIpTo
            if is_ipv4(protocol) =>
        {
            ipv4(text)
        }
        _ => Reading::AsLibvirt,
    }
}

/// Whether the addresses of an element are IPv4.
fn is_ipv4(protocol: Protocol) -> bool {
    protocol == Protocol::Ip || protocol.family() == Some(crate::model::Family::V4)
}

/// Hexadecimal, with or without `0x`.
fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    u32::from_str_radix(digits, 16).ok()
}

/// The C convention: hexadecimal after `0x`, octal after `0`, else decimal.
fn c_number(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// An IPv4 address as a network number: one to four parts, each a [`c_number`], and missing ones
/// are 0 at the end (`10.1` is 10.1.0.0, not 10.0.0.1).
fn ipv4(text: &str) -> Reading {
    let parse = || {
        let mut octets = [0; 4];
        let mut parts = text.split('.');
        for (octet, part) in octets.iter_mut().zip(parts.by_ref()) {
            *octet = u8::try_from(c_number(part)?).ok()?;
        }
        parts.next().is_none().then(|| Ipv4Addr::from(octets))
    };
    match parse() {
        Some(address) => Reading::Datum(Datum::Ipv4(address)),
        None => Reading::Refused("an IPv4 address".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attribute, text, and what the tools made of it when they were asked.
    const MEASURED: &[(Protocol, Attr, &str, Option<u32>)] = &[
        (Protocol::Mac, Attr::ProtocolId, "2054", Some(0x2054)),
        (Protocol::Mac, Attr::ProtocolId, "0x806", Some(0x806)),
        (Protocol::Mac, Attr::ProtocolId, "806", Some(0x806)),
        (Protocol::Mac, Attr::ProtocolId, "ARP", Some(0x806)),
        (Protocol::Mac, Attr::ProtocolId, "ipv4", Some(0x800)),
        (Protocol::Mac, Attr::ProtocolId, "8021q", Some(0x8100)),
        (Protocol::Mac, Attr::ProtocolId, "vlan", None),
        (Protocol::Mac, Attr::ProtocolId, "5ff", None),
        (Protocol::Vlan, Attr::EncapProtocol, "2054", Some(0x2054)),
        (Protocol::Vlan, Attr::EncapProtocol, "arp", Some(0x806)),
        (Protocol::Vlan, Attr::EncapProtocol, "3b", None),
        (Protocol::Vlan, Attr::EncapProtocol, "60", Some(0x60)),
        (Protocol::Vlan, Attr::EncapProtocol, "vlan", None),
        (Protocol::Vlan, Attr::VlanId, "10", Some(10)),
        (Protocol::Vlan, Attr::VlanId, "0x10", None),
        (Protocol::Vlan, Attr::VlanId, "4095", None),
        (Protocol::Arp, Attr::HwType, "10", Some(10)),
        (Protocol::Arp, Attr::HwType, "0x1", None),
        (Protocol::Arp, Attr::HwType, "Ethernet", Some(1)),
        (Protocol::Arp, Attr::ProtocolType, "2048", Some(0x2048)),
        (Protocol::Arp, Attr::ProtocolType, "800", Some(0x800)),
        (Protocol::Rarp, Attr::ProtocolType, "0x800", Some(0x800)),
        (Protocol::Arp, Attr::ProtocolType, "IPv4", Some(0x800)),
        (Protocol::Arp, Attr::Opcode, "request", Some(1)),
        (Protocol::Arp, Attr::Opcode, "10", Some(10)),
        (Protocol::Arp, Attr::Opcode, "0x1", None),
        (Protocol::Arp, Attr::Opcode, "a", None),
        (Protocol::Ip, Attr::IpProtocol, "0x6", Some(6)),
        (Protocol::Ip, Attr::IpProtocol, "256", None),
        (Protocol::Ip, Attr::DstPortStart, "0x50", Some(80)),
        (Protocol::Ip, Attr::DstPortStart, "a", None),
        (Protocol::Tcp, Attr::DstPortStart, "010", Some(8)),
        (Protocol::Tcp, Attr::DstPortStart, "080", None),
        (Protocol::Tcp, Attr::DstPortStart, "65536", None),
        (Protocol::Ip, Attr::Dscp, "10", Some(10)),
        (Protocol::Ip, Attr::Dscp, "a", None),
        (Protocol::Tcp, Attr::Dscp, "0x10", Some(16)),
        (Protocol::Tcp, Attr::Dscp, "64", None),
        (Protocol::Icmp, Attr::Type, "0x8", Some(8)),
        (Protocol::Icmp, Attr::Type, "a", None),
        (Protocol::Tcp, Attr::TcpOption, "8", Some(8)),
        (Protocol::All, Attr::ConnlimitAbove, "0x8", Some(8)),
        (Protocol::Stp, Attr::Flags, "0x1", Some(1)),
        (Protocol::Stp, Attr::RootCost, "0x1", None),
        (Protocol::Stp, Attr::RootCost, "128", Some(128)),
    ];

    #[test]
    fn numbers_are_read_as_measured() {
        for (protocol, attr, text, expected) in MEASURED {
            let got = match read(*protocol, *attr, text) {
                Reading::Datum(Datum::Number(value)) => Some(value),
                Reading::Refused(_) => None,
                other => panic!("{protocol} {attr}={text}: {other:?}"),
            };
            assert_eq!(got, *expected, "{protocol} {attr}={text}");
        }
    }

    #[test]
    fn short_ipv4_addresses_are_networks() {
        for (text, expected) in [
            ("10.1", Some([10, 1, 0, 0])),
            ("1", Some([1, 0, 0, 0])),
            ("010.0.0.1", Some([8, 0, 0, 1])),
            ("10.0.0.1", Some([10, 0, 0, 1])),
            ("10.0.0.256", None),
            ("10.0.0.0.1", None),
            ("foo", None),
            ("", None),
        ] {
            let got = match read(Protocol::Tcp, Attr::SrcIpFrom, text) {
                Reading::Datum(Datum::Ipv4(address)) => Some(address.octets()),
                Reading::Refused(_) => None,
                other => panic!("{text}: {other:?}"),
            };
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn the_rest_is_left_to_the_parser() {
        for (protocol, attr) in [
            (Protocol::Tcp, Attr::Flags),
            (Protocol::Mac, Attr::SrcMacAddr),
            (Protocol::Ipv6, Attr::SrcIpAddr),
            (Protocol::TcpIpv6, Attr::SrcIpFrom),
            (Protocol::Ip, Attr::IpProtocol),
            (Protocol::Ip, Attr::SrcIpMask),
        ] {
            assert_eq!(
                read(protocol, attr, "tcp"),
                Reading::AsLibvirt,
                "{protocol} {attr}"
            );
        }
    }
}
