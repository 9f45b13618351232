//! The header fields that match tables can test, as numbers.
//!
//! A frame's fields live in one array of 64-bit words, host order, indexed by [`Field`]. Only the
//! words that the frame's [`crate::Class`] lists as present are written: the others hold whatever
//! an earlier frame left there, and no table for that class reads them.

/// Length of the array of fields.
pub const FIELD_WORDS: usize = 64;

/// Words behind those of the fields, for what else the parser finds.
pub(crate) mod word {
    /// Where an ICMP message ends, as the IP header says: offset in bytes. Valid in whole ICMP
    /// headers.
    pub(crate) const ICMP_END: usize = 50;
    /// Number of limits in [`crate::Work`]'s list of those that have looked at the frame.
    pub(crate) const LOOKED: usize = 51;
    /// What the frame's connection is, for limits: see `limit::flow`.
    pub(crate) const FLOW: usize = 52;
    /// Bytes of the packet from the transport header on, as the IP header says; valid with
    /// `TRANSPORT`.
    pub(crate) const TRANSPORT_LEN: usize = 53;
    /// Discriminant of the frame's class.
    pub(crate) const PARSED: usize = 49;
    /// The class by which the Ethernet layer goes: in a later fragment that of the first one, if it is
    /// known and the image asks for it.
    pub(crate) const ETHERNET_CLASS: usize = 54;
    /// The same in the inet layer.
    pub(crate) const INET_CLASS: usize = 55;
    /// Offset of the transport header in bytes.
    pub(crate) const TRANSPORT: usize = 56;
    /// 0 in a whole packet and 1 in a first fragment; else the fragment's offset in bytes, plus 1
    /// if more fragments follow. Valid in all IP frames that are no nonsense; who reads it looks at
    /// `PARSED`, too.
    pub(crate) const FRAGMENT: usize = 57;
    /// Identification; valid in fragments, as are the next two.
    pub(crate) const FRAGMENT_ID: usize = 58;
    /// Protocol of the IPv4 header, or next header of the IPv6 fragment header.
    pub(crate) const FRAGMENT_PROTOCOL: usize = 59;
    /// Bytes of the packet that the fragment carries.
    pub(crate) const FRAGMENT_LEN: usize = 60;
    /// Identifier of an ICMP query; valid in whole ICMP headers.
    pub(crate) const ICMP_ID: usize = 61;
    /// 1 if `CtState` holds, else 0.
    pub(crate) const TRACKED: usize = 62;
    /// Takes a number through memory, see [`crate::work::forget`].
    pub(crate) const FORGET: usize = 63;
}

/// Field values of one frame; see the module.
pub type Fields = [u64; FIELD_WORDS];

/// A header field. The discriminant is its index and part of the ABI.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Field {
    /// Ethernet source, 48 bits.
    SrcMac = 0,
    /// Ethernet destination, 48 bits.
    DstMac,
    /// Outer EtherType, or length of an 802.3 frame; a tagged frame has its tag's type, wherever
    /// the tag is kept.
    EtherType,
    /// VLAN id of an 802.1Q tag, 12 bits.
    VlanId,
    /// EtherType behind an 802.1Q tag.
    VlanEncap,
    /// ARP hardware type.
    ArpHwType,
    /// ARP protocol type.
    ArpProtocol,
    /// ARP opcode.
    ArpOpcode,
    /// 1 when the ARP hardware addresses are MAC addresses (type 1, length 6).
    ArpMacs,
    /// 1 when the ARP protocol addresses are IPv4 addresses (type 0x800, length 4).
    ArpIps,
    /// ARP sender hardware address; meaningful if [`Field::ArpMacs`].
    ArpSrcMac,
    /// ARP target hardware address; meaningful if [`Field::ArpMacs`].
    ArpDstMac,
    /// ARP sender protocol address; meaningful if [`Field::ArpIps`].
    ArpSrcIp,
    /// ARP target protocol address; meaningful if [`Field::ArpIps`].
    ArpDstIp,
    /// 1 when ARP sender and target protocol address are equal; meaningful if [`Field::ArpIps`].
    ArpGratuitous,
    /// IPv4 source.
    Ip4Src,
    /// IPv4 destination.
    Ip4Dst,
    /// First 64 bits of the IPv6 source.
    Ip6SrcHigh,
    /// Last 64 bits of the IPv6 source.
    Ip6SrcLow,
    /// First 64 bits of the IPv6 destination.
    Ip6DstHigh,
    /// Last 64 bits of the IPv6 destination.
    Ip6DstLow,
    /// IPv4 protocol, or IPv6 upper-layer protocol.
    IpProtocol,
    /// IPv4 type of service or IPv6 traffic class, all 8 bits.
    TrafficClass,
    /// Source port of TCP, UDP, UDP-Lite, SCTP, DCCP.
    SrcPort,
    /// Destination port of the same.
    DstPort,
    /// ICMP or ICMPv6 type.
    IcmpType,
    /// ICMP or ICMPv6 code.
    IcmpCode,
    /// The six low TCP flag bits, FIN lowest.
    TcpFlags,
    /// Connection state; see [`crate::CtState`].
    CtState,
    /// BPDU type.
    StpType,
    /// BPDU flags.
    StpFlags,
    /// Priority in the root identifier.
    StpRootPriority,
    /// MAC address in the root identifier.
    StpRootAddress,
    /// Root path cost, 32 bits.
    StpRootCost,
    /// Priority in the bridge identifier.
    StpSenderPriority,
    /// MAC address in the bridge identifier.
    StpSenderAddress,
    /// Port identifier.
    StpPort,
    /// Message age, 1/256 s.
    StpAge,
    /// Maximum age, 1/256 s.
    StpMaxAge,
    /// Hello time, 1/256 s.
    StpHelloTime,
    /// Forward delay, 1/256 s.
    StpForwardDelay,
    /// 1 when the list of TCP options is cut off or broken, so that more kinds than those in the next
    /// fields may be there.
    TcpOptionsBroken,
    /// Kinds 0 to 63 of the TCP options that are there, a bit for each.
    TcpOptions0,
    /// Kinds 64 to 127.
    TcpOptions1,
    /// Kinds 128 to 191.
    TcpOptions2,
    /// Kinds 192 to 255.
    TcpOptions3,
}

impl Field {
    /// Every field, by index.
    pub const ALL: [Self; 46] = [
        Self::SrcMac,
        Self::DstMac,
        Self::EtherType,
        Self::VlanId,
        Self::VlanEncap,
        Self::ArpHwType,
        Self::ArpProtocol,
        Self::ArpOpcode,
        Self::ArpMacs,
        Self::ArpIps,
        Self::ArpSrcMac,
        Self::ArpDstMac,
        Self::ArpSrcIp,
        Self::ArpDstIp,
        Self::ArpGratuitous,
        Self::Ip4Src,
        Self::Ip4Dst,
        Self::Ip6SrcHigh,
        Self::Ip6SrcLow,
        Self::Ip6DstHigh,
        Self::Ip6DstLow,
        Self::IpProtocol,
        Self::TrafficClass,
        Self::SrcPort,
        Self::DstPort,
        Self::IcmpType,
        Self::IcmpCode,
        Self::TcpFlags,
        Self::CtState,
        Self::StpType,
        Self::StpFlags,
        Self::StpRootPriority,
        Self::StpRootAddress,
        Self::StpRootCost,
        Self::StpSenderPriority,
        Self::StpSenderAddress,
        Self::StpPort,
        Self::StpAge,
        Self::StpMaxAge,
        Self::StpHelloTime,
        Self::StpForwardDelay,
        Self::TcpOptionsBroken,
        Self::TcpOptions0,
        Self::TcpOptions1,
        Self::TcpOptions2,
        Self::TcpOptions3,
    ];

    /// Width in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Ip6SrcHigh
            | Self::Ip6SrcLow
            | Self::Ip6DstHigh
            | Self::Ip6DstLow
            | Self::TcpOptions0
            | Self::TcpOptions1
            | Self::TcpOptions2
            | Self::TcpOptions3 => 64,
            Self::SrcMac
            | Self::DstMac
            | Self::ArpSrcMac
            | Self::ArpDstMac
            | Self::StpRootAddress
            | Self::StpSenderAddress => 48,
            Self::ArpSrcIp | Self::ArpDstIp | Self::Ip4Src | Self::Ip4Dst | Self::StpRootCost => 32,
            Self::EtherType
            | Self::VlanEncap
            | Self::ArpHwType
            | Self::ArpProtocol
            | Self::ArpOpcode
            | Self::SrcPort
            | Self::DstPort
            | Self::StpRootPriority
            | Self::StpSenderPriority
            | Self::StpPort
            | Self::StpAge
            | Self::StpMaxAge
            | Self::StpHelloTime
            | Self::StpForwardDelay => 16,
            Self::VlanId => 12,
            Self::IpProtocol
            | Self::TrafficClass
            | Self::IcmpType
            | Self::IcmpCode
            | Self::StpType
            | Self::StpFlags => 8,
            Self::TcpFlags => 6,
            Self::CtState => 3,
            Self::ArpMacs | Self::ArpIps | Self::ArpGratuitous | Self::TcpOptionsBroken => 1,
        }
    }

    /// Largest value.
    pub const fn max_value(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// Index into [`Fields`].
    #[inline(always)]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The field and the bit in it that say whether TCP options of a kind are there.
    pub const fn tcp_option(kind: u8) -> (Self, u8) {
        let field = match kind >> 6 {
            0 => Self::TcpOptions0,
            1 => Self::TcpOptions1,
            2 => Self::TcpOptions2,
            _ => Self::TcpOptions3,
        };
        (field, kind & 63)
    }

    /// The other half of an IPv6 address's first half.
    pub const fn low_half(self) -> Option<Self> {
        match self {
            Self::Ip6SrcHigh => Some(Self::Ip6SrcLow),
            Self::Ip6DstHigh => Some(Self::Ip6DstLow),
            _ => None,
        }
    }
}

/// A set of fields, one bit each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FieldSet(u64);

impl FieldSet {
    /// The set of these fields.
    pub const fn of(fields: &[Field]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < fields.len() {
            bits |= 1 << fields[i].index();
            i += 1;
        }
        Self(bits)
    }

    /// Both sets together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the field is in the set.
    pub const fn contains(self, field: Field) -> bool {
        self.0 & (1 << field.index()) != 0
    }
}

/// State of a frame's connection, the value of [`Field::CtState`]. "Original" is the direction of
/// the connection's first packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum CtState {
    /// Starts a connection, or continues one that has not been answered.
    New = 0,
    /// Answered connection, from the side that began it.
    EstablishedOriginal = 1,
    /// Answered connection, from the other side.
    EstablishedReply = 2,
    /// An error about a connection, in its original direction.
    RelatedOriginal = 3,
    /// An error about a connection, in its reply direction.
    RelatedReply = 4,
    /// No connection, nor can it start one.
    Invalid = 5,
    /// Not tracked: neighbour discovery and the like.
    Untracked = 6,
}

impl CtState {
    /// The state with this number.
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::New,
            1 => Self::EstablishedOriginal,
            2 => Self::EstablishedReply,
            3 => Self::RelatedOriginal,
            4 => Self::RelatedReply,
            5 => Self::Invalid,
            6 => Self::Untracked,
            _ => return None,
        })
    }
}

const _: () = assert!(Field::ALL.len() <= word::PARSED);
