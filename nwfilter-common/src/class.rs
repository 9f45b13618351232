//! Classes of frames: which headers a frame has, and so which fields can be tested on it.
//!
//! Match tables are made per class. For each class a field is *present* (its word is valid),
//! *constant*, *missing* (the header that should hold it is not there: nobody knows its value, and a
//! frame whose fate depends on it is dropped), *ignored* (every test of it holds) or, if none of
//! those, *absent* (every test of it fails, negated or not). The parser and the compiler both go by
//! [`Class::info`].

use crate::field::{Field, FieldSet};

/// Values of EtherType that the engine tells apart (IANA "IEEE 802 Numbers").
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// RARP.
    pub const RARP: u16 = 0x8035;
    /// 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// 802.1ad service tag.
    pub const VLAN_SERVICE: u16 = 0x88a8;
    /// Smaller values are lengths of 802.3 frames.
    pub const MIN: u16 = 0x0600;
}

/// IP protocol numbers that the engine tells apart (IANA "Protocol Numbers").
pub mod ip_protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 "no next header".
    pub const NONE: u8 = 59;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDPLITE: u8 = 136;
}

/// Number of entries of a table indexed by class; a power of two.
pub const CLASSES: usize = 64;

/// What can be known of a field in a class of frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Knowledge {
    /// Read from the frame.
    Present,
    /// The same in all frames of the class.
    Constant(u64),
    /// Should be there and is not.
    Missing,
    /// Not part of this kind of frame, and rules do not mind.
    Ignored,
    /// Not part of this kind of frame.
    Absent,
}

/// Description of a class.
#[derive(Clone, Copy, Debug)]
pub struct ClassInfo {
    /// Fields with the same value in all frames.
    pub constants: &'static [(Field, u64)],
    /// Fields read from the frame.
    pub present: FieldSet,
    /// Fields that the frame should have.
    pub missing: FieldSet,
    /// Fields whose tests hold.
    pub ignored: FieldSet,
}

use Field as F;

const LINK: FieldSet = FieldSet::of(&[F::SrcMac, F::DstMac]);
const OTHER: FieldSet = FieldSet::of(&[F::SrcMac, F::DstMac, F::EtherType]);
const TAG: FieldSet = FieldSet::of(&[F::VlanId, F::VlanEncap]);
const VLAN: FieldSet = LINK.and(TAG);
const ARP_FIXED: FieldSet = FieldSet::of(&[
    F::ArpHwType,
    F::ArpProtocol,
    F::ArpOpcode,
    F::ArpMacs,
    F::ArpIps,
]);
const ARP_ADDRESSES: FieldSet = FieldSet::of(&[
    F::ArpSrcMac,
    F::ArpDstMac,
    F::ArpSrcIp,
    F::ArpDstIp,
    F::ArpGratuitous,
]);
const ARP: FieldSet = ARP_FIXED.and(ARP_ADDRESSES);
const IP4: FieldSet = FieldSet::of(&[F::Ip4Src, F::Ip4Dst, F::TrafficClass]);
const IP6: FieldSet = FieldSet::of(&[
    F::Ip6SrcHigh,
    F::Ip6SrcLow,
    F::Ip6DstHigh,
    F::Ip6DstLow,
    F::TrafficClass,
]);
const PROTOCOL: FieldSet = FieldSet::of(&[F::IpProtocol]);
const PORTS: FieldSet = FieldSet::of(&[F::SrcPort, F::DstPort]);
const TCP: FieldSet = PORTS.and(FieldSet::of(&[
    F::TcpFlags,
    F::TcpOptionsBroken,
    F::TcpOptions0,
    F::TcpOptions1,
    F::TcpOptions2,
    F::TcpOptions3,
]));
const ICMP: FieldSet = FieldSet::of(&[F::IcmpType, F::IcmpCode]);
const TRANSPORT: FieldSet = TCP.and(ICMP);
const CT: FieldSet = FieldSet::of(&[F::CtState]);
const BPDU_TYPE: FieldSet = FieldSet::of(&[F::StpType]);
const BPDU_CONFIG: FieldSet = FieldSet::of(&[
    F::StpFlags,
    F::StpRootPriority,
    F::StpRootAddress,
    F::StpRootCost,
    F::StpSenderPriority,
    F::StpSenderAddress,
    F::StpPort,
    F::StpAge,
    F::StpMaxAge,
    F::StpHelloTime,
    F::StpForwardDelay,
]);
const NOTHING: FieldSet = FieldSet::of(&[]);

const fn info(
    constants: &'static [(Field, u64)],
    present: FieldSet,
    missing: FieldSet,
    ignored: FieldSet,
) -> ClassInfo {
    ClassInfo {
        constants,
        present,
        missing,
        ignored,
    }
}

/// Declares the classes with their descriptions.
macro_rules! classes {
    ( $( $(#[$meta:meta])* $name:ident = $constants:expr, $present:expr, $missing:expr,
         $ignored:expr; )+ ) => {
        /// A class of frames. The discriminant is part of the ABI.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(u8)]
        pub enum Class { $( $(#[$meta])* $name, )+ }

        impl Class {
            /// Every class, by discriminant.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )+ ];

            /// What frames of this class have.
            pub const fn info(self) -> ClassInfo {
                match self { $( Self::$name => info($constants, $present, $missing, $ignored), )+ }
            }
        }
    };
}

const ARP_TYPE: &[(Field, u64)] = &[(F::EtherType, ethertype::ARP as u64)];
const RARP_TYPE: &[(Field, u64)] = &[(F::EtherType, ethertype::RARP as u64)];
const IP4_TYPE: &[(Field, u64)] = &[(F::EtherType, ethertype::IPV4 as u64)];
const IP6_TYPE: &[(Field, u64)] = &[(F::EtherType, ethertype::IPV6 as u64)];
const VLAN_TYPE: &[(Field, u64)] = &[(F::EtherType, ethertype::VLAN as u64)];
const IP4_TCP: &[(Field, u64)] = &[IP4_TYPE[0], (F::IpProtocol, ip_protocol::TCP as u64)];
const IP4_UDP: &[(Field, u64)] = &[IP4_TYPE[0], (F::IpProtocol, ip_protocol::UDP as u64)];
const IP4_ICMP: &[(Field, u64)] = &[IP4_TYPE[0], (F::IpProtocol, ip_protocol::ICMP as u64)];
const IP6_TCP: &[(Field, u64)] = &[IP6_TYPE[0], (F::IpProtocol, ip_protocol::TCP as u64)];
const IP6_UDP: &[(Field, u64)] = &[IP6_TYPE[0], (F::IpProtocol, ip_protocol::UDP as u64)];
const IP6_ICMP: &[(Field, u64)] = &[IP6_TYPE[0], (F::IpProtocol, ip_protocol::ICMPV6 as u64)];

classes! {
    /// Untagged and none of the types below, 802.3 frames included.
    Other = &[], OTHER, NOTHING, NOTHING;
    /// 802.1Q tag.
    Vlan = VLAN_TYPE, VLAN, NOTHING, NOTHING;
    /// The frame ends in its 802.1Q tag.
    VlanShort = VLAN_TYPE, LINK, TAG.and(BPDU_TYPE).and(BPDU_CONFIG), NOTHING;
    /// Spanning tree, a configuration BPDU.
    StpConfig = &[], OTHER.and(BPDU_TYPE).and(BPDU_CONFIG), NOTHING, NOTHING;
    /// Spanning tree, any other BPDU.
    StpOther = &[], OTHER.and(BPDU_TYPE), NOTHING, BPDU_CONFIG;
    /// A configuration BPDU that is cut off.
    StpConfigShort = &[], OTHER.and(BPDU_TYPE), BPDU_CONFIG, NOTHING;
    /// To the bridge group address, but too short for a BPDU.
    StpShort = &[], OTHER, BPDU_TYPE.and(BPDU_CONFIG), NOTHING;
    /// As [`Class::StpConfig`], tagged.
    VlanStpConfig = VLAN_TYPE, VLAN.and(BPDU_TYPE).and(BPDU_CONFIG), NOTHING, NOTHING;
    /// As [`Class::StpOther`], tagged.
    VlanStpOther = VLAN_TYPE, VLAN.and(BPDU_TYPE), NOTHING, BPDU_CONFIG;
    /// As [`Class::StpConfigShort`], tagged.
    VlanStpConfigShort = VLAN_TYPE, VLAN.and(BPDU_TYPE), BPDU_CONFIG, NOTHING;
    /// As [`Class::StpShort`], tagged.
    VlanStpShort = VLAN_TYPE, VLAN, BPDU_TYPE.and(BPDU_CONFIG), NOTHING;
    /// ARP.
    Arp = ARP_TYPE, LINK.and(ARP), NOTHING, NOTHING;
    /// ARP that ends before its addresses do.
    ArpShort = ARP_TYPE, LINK.and(ARP_FIXED), ARP_ADDRESSES, NOTHING;
    /// ARP that ends before its addresses begin.
    ArpCut = ARP_TYPE, LINK, ARP, NOTHING;
    /// RARP.
    Rarp = RARP_TYPE, LINK.and(ARP), NOTHING, NOTHING;
    /// RARP that ends before its addresses do.
    RarpShort = RARP_TYPE, LINK.and(ARP_FIXED), ARP_ADDRESSES, NOTHING;
    /// RARP that ends before its addresses begin.
    RarpCut = RARP_TYPE, LINK, ARP, NOTHING;
    /// IPv4, TCP.
    Ip4Tcp = IP4_TCP, LINK.and(IP4).and(TCP).and(CT), NOTHING, NOTHING;
    /// IPv4, UDP.
    Ip4Udp = IP4_UDP, LINK.and(IP4).and(PORTS).and(CT), NOTHING, NOTHING;
    /// IPv4, ICMP.
    Ip4Icmp = IP4_ICMP, LINK.and(IP4).and(ICMP).and(CT), NOTHING, NOTHING;
    /// IPv4, another protocol with ports (SCTP, DCCP, UDP-Lite).
    Ip4Ports = IP4_TYPE, LINK.and(IP4).and(PROTOCOL).and(PORTS).and(CT), NOTHING, NOTHING;
    /// IPv4, any other protocol.
    Ip4Other = IP4_TYPE, LINK.and(IP4).and(PROTOCOL).and(CT), NOTHING, NOTHING;
    /// IPv4 whose transport header is cut off.
    Ip4Short = IP4_TYPE, LINK.and(IP4).and(PROTOCOL).and(CT), TRANSPORT, NOTHING;
    /// IPv4, a later fragment whose first one is not known.
    Ip4Fragment = IP4_TYPE, LINK.and(IP4).and(PROTOCOL), TRANSPORT.and(CT), NOTHING;
    /// EtherType IPv4, but no valid header.
    Ip4Bad = IP4_TYPE, LINK, IP4.and(PROTOCOL).and(TRANSPORT).and(CT), NOTHING;
    /// IPv6, TCP.
    Ip6Tcp = IP6_TCP, LINK.and(IP6).and(TCP).and(CT), NOTHING, NOTHING;
    /// IPv6, UDP.
    Ip6Udp = IP6_UDP, LINK.and(IP6).and(PORTS).and(CT), NOTHING, NOTHING;
    /// IPv6, ICMPv6.
    Ip6Icmp = IP6_ICMP, LINK.and(IP6).and(ICMP).and(CT), NOTHING, NOTHING;
    /// IPv6, another protocol with ports.
    Ip6Ports = IP6_TYPE, LINK.and(IP6).and(PROTOCOL).and(PORTS).and(CT), NOTHING, NOTHING;
    /// IPv6, any other protocol.
    Ip6Other = IP6_TYPE, LINK.and(IP6).and(PROTOCOL).and(CT), NOTHING, NOTHING;
    /// IPv6, "no next header": there is no upper-layer protocol to compare with.
    Ip6None = IP6_TYPE, LINK.and(IP6).and(CT), NOTHING, NOTHING;
    /// IPv6 whose transport header is cut off.
    Ip6Short = IP6_TYPE, LINK.and(IP6).and(PROTOCOL).and(CT), TRANSPORT, NOTHING;
    /// IPv6, a later fragment whose first one is not known; the protocol is the fragment header's.
    Ip6Fragment = IP6_TYPE, LINK.and(IP6).and(PROTOCOL), TRANSPORT.and(CT), NOTHING;
    /// As [`Class::Ip6Fragment`] with another extension header in place of the protocol.
    Ip6FragmentChain = IP6_TYPE, LINK.and(IP6), PROTOCOL.and(TRANSPORT).and(CT), NOTHING;
    /// IPv6 with extension headers that are too many or cut off.
    Ip6Chain = IP6_TYPE, LINK.and(IP6), PROTOCOL.and(TRANSPORT).and(CT), NOTHING;
    /// EtherType IPv6, but no valid header.
    Ip6Bad = IP6_TYPE, LINK, IP6.and(PROTOCOL).and(TRANSPORT).and(CT), NOTHING;
}

impl Class {
    /// What is known of a field in frames of this class.
    pub fn knows(self, field: Field) -> Knowledge {
        let ClassInfo {
            constants,
            present,
            missing,
            ignored,
        } = self.info();
        if let Some((_, value)) = constants.iter().find(|(f, _)| *f == field) {
            Knowledge::Constant(*value)
        } else if present.contains(field) {
            Knowledge::Present
        } else if missing.contains(field) {
            Knowledge::Missing
        } else if ignored.contains(field) {
            Knowledge::Ignored
        } else {
            Knowledge::Absent
        }
    }

    /// A later fragment, without what the first one of its packet has.
    pub const fn is_fragment(self) -> bool {
        matches!(
            self,
            Self::Ip4Fragment | Self::Ip6Fragment | Self::Ip6FragmentChain
        )
    }

    /// IPv4, however broken.
    pub const fn is_ip4(self) -> bool {
        matches!(self as u8, v if v >= Self::Ip4Tcp as u8 && v <= Self::Ip4Bad as u8)
    }

    /// IPv6, however broken.
    pub const fn is_ip6(self) -> bool {
        matches!(self as u8, v if v >= Self::Ip6Tcp as u8 && v <= Self::Ip6Bad as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_in_one_set_of_a_class() {
        for class in Class::ALL {
            let info = class.info();
            for field in Field::ALL {
                let constant = info.constants.iter().any(|(f, _)| *f == field);
                let places = [
                    constant,
                    info.present.contains(field),
                    info.missing.contains(field),
                    info.ignored.contains(field),
                ];
                let count = places.iter().filter(|&&place| place).count();
                assert!(count <= 1, "{class:?} has {field:?} in {count} sets");
            }
        }
        assert!(Class::ALL.len() <= CLASSES);
    }
}
