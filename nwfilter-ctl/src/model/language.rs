//! The closed vocabularies of the filter language: actions, directions, protocol elements and
//! attribute names, each with its exact spelling in XML.

/// Which reading of the language applies where libvirt's differs from what a rule says
/// (`DESIGN.md` section 9).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Semantics {
    /// A rule means what its XML says.
    #[default]
    Strict,
    /// As libvirt's classic (ebtables/iptables) backend reads it, bug for bug.
    Libvirt,
}

/// What a rule does with a frame that it matches.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Let the frame through this layer.
    Accept,
    /// Discard the frame silently.
    Drop,
    /// Discard the frame; in the inet layer with an ICMP port-unreachable answer.
    Reject,
    /// Leave the chain: back to the root chain, or, in the root chain and in the inet layer, out of
    /// the layer, which passes the frame.
    Return,
    /// Go on with the next rule.
    Continue,
}

/// The direction a rule is written for, seen from the VM.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// Enters the VM.
    In,
    /// Leaves the VM.
    Out,
    /// Both; written from the receiver's side.
    InOut,
}

/// The two layers that a frame must pass, in the order of a frame that leaves the VM.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Layer {
    /// What libvirt gives to ebtables.
    Ethernet,
    /// What libvirt gives to iptables and ip6tables.
    Inet,
}

/// Address family of an inet-layer protocol.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Declares a field-less enum whose variants have one spelling each.
macro_rules! spelled {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $text:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $name { $( $(#[$vmeta])* #[doc = concat!("`", $text, "`")] $variant, )+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The spelling in XML.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }

            /// The value with this exact spelling.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $( $text => Some(Self::$variant), )+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

spelled! {
    /// The protocol element of a rule. [`Protocol::None`] stands for a rule without any; its
    /// "spelling" never appears in XML.
    pub enum Protocol {
        None = "none",
        Mac = "mac",
        Vlan = "vlan",
        Stp = "stp",
        Arp = "arp",
        Rarp = "rarp",
        Ip = "ip",
        Ipv6 = "ipv6",
        Tcp = "tcp",
        Udp = "udp",
        UdpLite = "udplite",
        Esp = "esp",
        Ah = "ah",
        Sctp = "sctp",
        Icmp = "icmp",
        Igmp = "igmp",
        All = "all",
        TcpIpv6 = "tcp-ipv6",
        UdpIpv6 = "udp-ipv6",
        UdpLiteIpv6 = "udplite-ipv6",
        EspIpv6 = "esp-ipv6",
        AhIpv6 = "ah-ipv6",
        SctpIpv6 = "sctp-ipv6",
        IcmpV6 = "icmpv6",
        IgmpIpv6 = "igmp-ipv6",
        AllIpv6 = "all-ipv6",
    }
}

impl Protocol {
    /// The layer whose rules this element makes.
    pub const fn layer(self) -> Layer {
        match self.family() {
            Some(_) => Layer::Inet,
            None => Layer::Ethernet,
        }
    }

    /// The address family of an inet-layer element; `None` for the Ethernet layer.
    pub const fn family(self) -> Option<Family> {
        match self {
            Self::None
            | Self::Mac
            | Self::Vlan
            | Self::Stp
            | Self::Arp
            | Self::Rarp
            | Self::Ip
            | Self::Ipv6 => None,
            Self::Tcp
            | Self::Udp
            | Self::UdpLite
            | Self::Esp
            | Self::Ah
            | Self::Sctp
            | Self::Icmp
            | Self::Igmp
            | Self::All => Some(Family::V4),
            Self::TcpIpv6
            | Self::UdpIpv6
            | Self::UdpLiteIpv6
            | Self::EspIpv6
            | Self::AhIpv6
            | Self::SctpIpv6
            | Self::IcmpV6
            | Self::IgmpIpv6
            | Self::AllIpv6 => Some(Family::V6),
        }
    }

    /// The IP protocol number that an inet-layer element tests (IANA protocol numbers); `None` for
    /// the Ethernet layer and for `all`.
    pub const fn ip_protocol(self) -> Option<u8> {
        match self {
            Self::Icmp => Some(1),
            Self::Igmp | Self::IgmpIpv6 => Some(2),
            Self::Tcp | Self::TcpIpv6 => Some(6),
            Self::Udp | Self::UdpIpv6 => Some(17),
            Self::Esp | Self::EspIpv6 => Some(50),
            Self::Ah | Self::AhIpv6 => Some(51),
            Self::IcmpV6 => Some(58),
            Self::Sctp | Self::SctpIpv6 => Some(132),
            Self::UdpLite | Self::UdpLiteIpv6 => Some(136),
            _ => None,
        }
    }
}

spelled! {
    /// The name of an attribute of a protocol element. What values it takes depends on the element
    /// too; what it means is in section 2 of the semantics reference.
    pub enum Attr {
        SrcMacAddr = "srcmacaddr",
        SrcMacMask = "srcmacmask",
        DstMacAddr = "dstmacaddr",
        DstMacMask = "dstmacmask",
        ProtocolId = "protocolid",
        VlanId = "vlanid",
        EncapProtocol = "encap-protocol",
        Type = "type",
        Flags = "flags",
        RootPriority = "root-priority",
        RootPriorityHi = "root-priority-hi",
        RootAddress = "root-address",
        RootAddressMask = "root-address-mask",
        RootCost = "root-cost",
        RootCostHi = "root-cost-hi",
        SenderPriority = "sender-priority",
        SenderPriorityHi = "sender-priority-hi",
        SenderAddress = "sender-address",
        SenderAddressMask = "sender-address-mask",
        Port = "port",
        PortHi = "port-hi",
        Age = "age",
        AgeHi = "age-hi",
        MaxAge = "max-age",
        MaxAgeHi = "max-age-hi",
        HelloTime = "hello-time",
        HelloTimeHi = "hello-time-hi",
        ForwardDelay = "forward-delay",
        ForwardDelayHi = "forward-delay-hi",
        HwType = "hwtype",
        ProtocolType = "protocoltype",
        Opcode = "opcode",
        ArpSrcMacAddr = "arpsrcmacaddr",
        ArpDstMacAddr = "arpdstmacaddr",
        ArpSrcIpAddr = "arpsrcipaddr",
        ArpSrcIpMask = "arpsrcipmask",
        ArpDstIpAddr = "arpdstipaddr",
        ArpDstIpMask = "arpdstipmask",
        Gratuitous = "gratuitous",
        SrcIpAddr = "srcipaddr",
        SrcIpMask = "srcipmask",
        DstIpAddr = "dstipaddr",
        DstIpMask = "dstipmask",
        SrcIpFrom = "srcipfrom",
        SrcIpTo = "srcipto",
        DstIpFrom = "dstipfrom",
        DstIpTo = "dstipto",
        IpProtocol = "protocol",
        SrcPortStart = "srcportstart",
        SrcPortEnd = "srcportend",
        DstPortStart = "dstportstart",
        DstPortEnd = "dstportend",
        Dscp = "dscp",
        TypeEnd = "typeend",
        Code = "code",
        CodeEnd = "codeend",
        TcpOption = "option",
        ConnlimitAbove = "connlimit-above",
        State = "state",
        IpSet = "ipset",
        IpSetFlags = "ipsetflags",
        Comment = "comment",
    }
}
