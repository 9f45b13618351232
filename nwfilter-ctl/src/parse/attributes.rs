//! The one table of the language: which attributes each protocol element has, in the order in which
//! they are written back, what values they take, and whether libvirt implements them.
//! What a value means to a frame is not here.

use crate::model::{Attr, Family, Protocol};

/// An attribute of an element.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AttributeSpec {
    /// Its name.
    pub attr: Attr,
    /// The values it takes.
    pub kind: Kind,
    /// Whether libvirt reads it.
    pub support: Support,
}

/// How far libvirt supports an attribute on an element.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Support {
    /// Read, kept and tested.
    Full,
    /// Documented or obviously meant, but not read at all: rules get wider by it.
    Ignored,
    /// Read, then thrown away when its value is sound.
    Discarded,
    /// IPv6 range end, which libvirt insists on reading as an IPv4 address.
    ReadAsIpv4,
}

/// The type of an attribute's values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A number; decimal, then hexadecimal, then names.
    Number {
        /// Smallest value.
        min: u32,
        /// Largest value.
        max: u32,
        /// Hexadecimal is accepted, with or without `0x`.
        hex: bool,
        /// Names that stand for numbers, in any case.
        names: Names,
    },
    /// A MAC address.
    Mac,
    /// A MAC mask of contiguous ones.
    MacMask,
    /// An address of this family.
    Address(Family),
    /// A prefix length or a contiguous mask of this family.
    Mask(Family),
    /// `true`, `1`, `yes`; everything else is false.
    Bool,
    /// A list of connection states.
    States,
    /// `mask/flags`.
    TcpFlags,
    /// The name of an address set.
    SetName,
    /// One to six times `src` or `dst`.
    SetDirections,
    /// Free text.
    Comment,
}

impl Kind {
    /// The names of the values of this type; empty if it has none.
    pub const fn names(self) -> Names {
        match self {
            Self::Number { names, .. } => names,
            _ => &[],
        }
    }

    /// What a value of this type looks like, to follow "expected".
    pub fn expected(self) -> String {
        match self {
            Self::Number {
                min,
                max,
                hex,
                names,
            } => {
                let mut text = format!("a number from {} to {}", bound(min), bound(max));
                if hex {
                    text.push_str(", decimal or hexadecimal");
                } else {
                    text.push_str(", in decimal");
                }
                if !names.is_empty() {
                    text.push_str(", or one of ");
                    let names: Vec<_> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
                    text.push_str(&names.join(", "));
                }
                text
            }
            Self::Mac => "a MAC address such as `52:54:00:12:34:56`".into(),
            Self::MacMask => {
                "a MAC mask of ones followed by zeros, such as `ff:ff:ff:00:00:00`".into()
            }
            Self::Address(Family::V4) => "an IPv4 address such as `192.0.2.1`".into(),
            Self::Address(Family::V6) => "an IPv6 address such as `2001:db8::1`".into(),
            Self::Mask(Family::V4) => {
                "a prefix length from 0 to 32, or a mask such as `255.255.255.0`".into()
            }
            Self::Mask(Family::V6) => {
                "a prefix length from 0 to 128, or a mask such as `ffff:ffff::`".into()
            }
            Self::Bool => "`true` or `false`".into(),
            Self::States => {
                "a list of `NEW`, `ESTABLISHED`, `RELATED`, `INVALID`, or `NONE`".into()
            }
            Self::TcpFlags => {
                "`MASK/FLAGS`, each a list of `FIN`, `SYN`, `RST`, `PSH`, `ACK`, `URG`, or `ALL` \
                 or `NONE`"
                    .into()
            }
            Self::SetName => {
                "the name of an address set, at most 31 letters, digits, blanks or any of `_.:-+`"
                    .into()
            }
            Self::SetDirections => "one to six of `src` and `dst`, separated by commas".into(),
            Self::Comment => "text".into(),
        }
    }
}

/// Limits that are written in hexadecimal by everyone who knows them.
fn bound(value: u32) -> String {
    match value {
        0x600 | 0x3c => format!("{value:#x}"),
        u32::MAX => "4294967295".into(),
        _ => value.to_string(),
    }
}

/// Names that stand for numbers, with the spelling that is written back.
pub type Names = &'static [(&'static str, u32)];

/// `EtherType` names (IEEE 802 numbers).
const ETHER_TYPES: Names = &[
    ("arp", 0x806),
    ("rarp", 0x8035),
    ("ipv4", 0x800),
    ("ipv6", 0x86dd),
    ("vlan", 0x8100),
];

/// IANA protocol numbers.
const IP_PROTOCOLS: Names = &[
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("esp", 50),
    ("ah", 51),
    ("icmp", 1),
    ("igmp", 2),
    ("sctp", 132),
    ("icmpv6", 58),
];

/// ARP operation codes (IANA ARP parameters).
const OPCODES: Names = &[
    ("Request", 1),
    ("Reply", 2),
    ("Request_Reverse", 3),
    ("Reply_Reverse", 4),
    ("DRARP_Request", 5),
    ("DRARP_Reply", 6),
    ("DRARP_Error", 7),
    ("InARP_Request", 8),
    ("ARP_NAK", 9),
];

/// A number from 0 to `max`.
const fn number(max: u32) -> Kind {
    Kind::Number {
        min: 0,
        max,
        hex: true,
        names: &[],
    }
}

const U8: Kind = number(0xff);
const U16: Kind = number(0xffff);
const U32: Kind = number(u32::MAX);
const DSCP: Kind = number(63);
const IP_PROTOCOL: Kind = Kind::Number {
    min: 0,
    max: 0xff,
    hex: true,
    names: IP_PROTOCOLS,
};
const V4: Kind = Kind::Address(Family::V4);
const V4_MASK: Kind = Kind::Mask(Family::V4);
const V6: Kind = Kind::Address(Family::V6);
const V6_MASK: Kind = Kind::Mask(Family::V6);

const fn full(attr: Attr, kind: Kind) -> AttributeSpec {
    AttributeSpec {
        attr,
        kind,
        support: Support::Full,
    }
}

const fn ignored(attr: Attr, kind: Kind) -> AttributeSpec {
    AttributeSpec {
        attr,
        kind,
        support: Support::Ignored,
    }
}

const fn discarded(attr: Attr, kind: Kind) -> AttributeSpec {
    AttributeSpec {
        attr,
        kind,
        support: Support::Discarded,
    }
}

/// Joins lists of attributes into one array constant.
macro_rules! table {
    ($( $part:expr ),+ $(,)?) => {{
        const PARTS: &[&[AttributeSpec]] = &[ $( &$part, )+ ];
        const LEN: usize = {
            let (mut sum, mut i) = (0, 0);
            while i < PARTS.len() {
                sum += PARTS[i].len();
                i += 1;
            }
            sum
        };
        const ALL: [AttributeSpec; LEN] = {
            let mut all = [full(Attr::Comment, Kind::Comment); LEN];
            let (mut at, mut i) = (0, 0);
            while i < PARTS.len() {
                let mut j = 0;
                while j < PARTS[i].len() {
                    all[at] = PARTS[i][j];
                    at += 1;
                    j += 1;
                }
                i += 1;
            }
            all
        };
        &ALL
    }};
}

const L2: [AttributeSpec; 4] = [
    full(Attr::SrcMacAddr, Kind::Mac),
    full(Attr::SrcMacMask, Kind::MacMask),
    full(Attr::DstMacAddr, Kind::Mac),
    full(Attr::DstMacMask, Kind::MacMask),
];
const COMMENT: [AttributeSpec; 1] = [full(Attr::Comment, Kind::Comment)];
const PORTS: [AttributeSpec; 4] = [
    full(Attr::SrcPortStart, U16),
    full(Attr::SrcPortEnd, U16),
    full(Attr::DstPortStart, U16),
    full(Attr::DstPortEnd, U16),
];
const INET_MAC: [AttributeSpec; 4] = [
    full(Attr::SrcMacAddr, Kind::Mac),
    ignored(Attr::SrcMacMask, Kind::MacMask),
    ignored(Attr::DstMacAddr, Kind::Mac),
    ignored(Attr::DstMacMask, Kind::MacMask),
];
const INET_V4: [AttributeSpec; 8] = [
    full(Attr::SrcIpAddr, V4),
    full(Attr::SrcIpMask, V4_MASK),
    full(Attr::DstIpAddr, V4),
    full(Attr::DstIpMask, V4_MASK),
    full(Attr::SrcIpFrom, V4),
    full(Attr::SrcIpTo, V4),
    full(Attr::DstIpFrom, V4),
    full(Attr::DstIpTo, V4),
];
const INET_V6: [AttributeSpec; 8] = [
    full(Attr::SrcIpAddr, V6),
    full(Attr::SrcIpMask, V6_MASK),
    full(Attr::DstIpAddr, V6),
    full(Attr::DstIpMask, V6_MASK),
    full(Attr::SrcIpFrom, V6),
    full(Attr::SrcIpTo, V6),
    full(Attr::DstIpFrom, V6),
    AttributeSpec {
        attr: Attr::DstIpTo,
        kind: V6,
        support: Support::ReadAsIpv4,
    },
];
const INET: [AttributeSpec; 3] = [
    full(Attr::Dscp, DSCP),
    full(
        Attr::ConnlimitAbove,
        Kind::Number {
            min: 0,
            max: 0xffff,
            hex: false,
            names: &[],
        },
    ),
    full(Attr::State, Kind::States),
];
const IP_SET: [AttributeSpec; 2] = [
    full(Attr::IpSet, Kind::SetName),
    full(Attr::IpSetFlags, Kind::SetDirections),
];
/// On every element but `all` and `all-ipv6`.
const IP_SET_LOST: [AttributeSpec; 2] = [
    discarded(Attr::IpSet, Kind::SetName),
    discarded(Attr::IpSetFlags, Kind::SetDirections),
];
const ICMP: [AttributeSpec; 2] = [full(Attr::Type, U8), full(Attr::Code, U8)];

const MAC: &[AttributeSpec] = table!(
    L2,
    [full(
        Attr::ProtocolId,
        Kind::Number {
            min: 0x600,
            max: 0xffff,
            hex: true,
            names: ETHER_TYPES
        }
    )],
    COMMENT
);
const VLAN: &[AttributeSpec] = table!(
    L2,
    [
        full(Attr::VlanId, number(4095)),
        full(
            Attr::EncapProtocol,
            Kind::Number {
                min: 0x3c,
                max: 0xffff,
                hex: true,
                names: ETHER_TYPES
            }
        ),
    ],
    COMMENT
);
const STP: &[AttributeSpec] = table!(
    [
        full(Attr::SrcMacAddr, Kind::Mac),
        full(Attr::SrcMacMask, Kind::MacMask),
        full(Attr::Type, U8),
        full(Attr::Flags, U8),
        full(Attr::RootPriority, U16),
        full(Attr::RootPriorityHi, U16),
        full(Attr::RootAddress, Kind::Mac),
        full(Attr::RootAddressMask, Kind::MacMask),
        full(Attr::RootCost, U32),
        full(Attr::RootCostHi, U32),
        full(Attr::SenderPriority, U16),
        full(Attr::SenderPriorityHi, U16),
        full(Attr::SenderAddress, Kind::Mac),
        full(Attr::SenderAddressMask, Kind::MacMask),
        full(Attr::Port, U16),
        full(Attr::PortHi, U16),
        full(Attr::Age, U16),
        full(Attr::AgeHi, U16),
        full(Attr::MaxAge, U16),
        full(Attr::MaxAgeHi, U16),
        full(Attr::HelloTime, U16),
        full(Attr::HelloTimeHi, U16),
        full(Attr::ForwardDelay, U16),
        full(Attr::ForwardDelayHi, U16),
    ],
    COMMENT
);
const ARP: &[AttributeSpec] = table!(
    L2,
    [
        full(Attr::HwType, U16),
        full(Attr::ProtocolType, U16),
        full(
            Attr::Opcode,
            Kind::Number {
                min: 0,
                max: 0xffff,
                hex: true,
                names: OPCODES
            }
        ),
        full(Attr::ArpSrcMacAddr, Kind::Mac),
        full(Attr::ArpDstMacAddr, Kind::Mac),
        full(Attr::ArpSrcIpAddr, V4),
        full(Attr::ArpSrcIpMask, V4_MASK),
        full(Attr::ArpDstIpAddr, V4),
        full(Attr::ArpDstIpMask, V4_MASK),
        full(Attr::Gratuitous, Kind::Bool),
    ],
    COMMENT
);
const IP: &[AttributeSpec] = table!(
    L2,
    [
        full(Attr::SrcIpAddr, V4),
        full(Attr::SrcIpMask, V4_MASK),
        full(Attr::DstIpAddr, V4),
        full(Attr::DstIpMask, V4_MASK),
        full(Attr::IpProtocol, IP_PROTOCOL),
    ],
    PORTS,
    [full(Attr::Dscp, DSCP)],
    COMMENT
);
const IPV6: &[AttributeSpec] = table!(
    L2,
    [
        full(Attr::SrcIpAddr, V6),
        full(Attr::SrcIpMask, V6_MASK),
        full(Attr::DstIpAddr, V6),
        full(Attr::DstIpMask, V6_MASK),
        full(Attr::IpProtocol, IP_PROTOCOL),
    ],
    PORTS,
    [
        full(Attr::Type, U8),
        full(Attr::TypeEnd, U8),
        full(Attr::Code, U8),
        full(Attr::CodeEnd, U8),
    ],
    COMMENT
);
const TCP: &[AttributeSpec] = table!(
    INET_MAC,
    INET_V4,
    INET,
    IP_SET_LOST,
    PORTS,
    [full(Attr::TcpOption, U8), full(Attr::Flags, Kind::TcpFlags)],
    COMMENT
);
const TCP_IPV6: &[AttributeSpec] = table!(
    INET_MAC,
    INET_V6,
    INET,
    IP_SET_LOST,
    PORTS,
    [
        full(Attr::TcpOption, U8),
        ignored(Attr::Flags, Kind::TcpFlags)
    ],
    COMMENT
);
const UDP: &[AttributeSpec] = table!(INET_MAC, INET_V4, INET, IP_SET_LOST, PORTS, COMMENT);
const UDP_IPV6: &[AttributeSpec] = table!(INET_MAC, INET_V6, INET, IP_SET_LOST, PORTS, COMMENT);
const PLAIN: &[AttributeSpec] = table!(INET_MAC, INET_V4, INET, IP_SET_LOST, COMMENT);
const PLAIN_IPV6: &[AttributeSpec] = table!(INET_MAC, INET_V6, INET, IP_SET_LOST, COMMENT);
const ICMPV4: &[AttributeSpec] = table!(INET_MAC, INET_V4, INET, IP_SET_LOST, ICMP, COMMENT);
const ICMPV6: &[AttributeSpec] = table!(INET_MAC, INET_V6, INET, IP_SET_LOST, ICMP, COMMENT);
const ALL: &[AttributeSpec] = table!(INET_MAC, INET_V4, INET, IP_SET, COMMENT);
const ALL_IPV6: &[AttributeSpec] = table!(INET_MAC, INET_V6, INET, IP_SET, COMMENT);

/// The attributes of an element, in the order in which they are written back.
pub const fn attributes(protocol: Protocol) -> &'static [AttributeSpec] {
    match protocol {
        Protocol::None => &[],
        Protocol::Mac => MAC,
        Protocol::Vlan => VLAN,
        Protocol::Stp => STP,
        Protocol::Arp | Protocol::Rarp => ARP,
        Protocol::Ip => IP,
        Protocol::Ipv6 => IPV6,
        Protocol::Tcp => TCP,
        Protocol::TcpIpv6 => TCP_IPV6,
        Protocol::Udp | Protocol::Sctp => UDP,
        Protocol::UdpIpv6 | Protocol::SctpIpv6 => UDP_IPV6,
        Protocol::UdpLite | Protocol::Esp | Protocol::Ah | Protocol::Igmp => PLAIN,
        Protocol::UdpLiteIpv6 | Protocol::EspIpv6 | Protocol::AhIpv6 | Protocol::IgmpIpv6 => {
            PLAIN_IPV6
        }
        Protocol::Icmp => ICMPV4,
        Protocol::IcmpV6 => ICMPV6,
        Protocol::All => ALL,
        Protocol::AllIpv6 => ALL_IPV6,
    }
}

/// The entry of an attribute; `None` if the element does not have it.
pub fn spec(protocol: Protocol, attr: Attr) -> Option<&'static AttributeSpec> {
    attributes(protocol).iter().find(|spec| spec.attr == attr)
}

/// The attribute that a name means which libvirt documents but does not read.
pub fn alias(protocol: Protocol, name: &str) -> Option<Attr> {
    match (protocol, name) {
        (Protocol::Stp, "msg-age") => Some(Attr::Age),
        (Protocol::Stp, "msg-age-hi") => Some(Attr::AgeHi),
        (Protocol::Stp, "port_hi") => Some(Attr::PortHi),
        _ => None,
    }
}
