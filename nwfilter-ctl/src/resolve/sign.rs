//! Which tests of a rule are negated: `match='no'` belongs to an element, but a mask, the end of a
//! range and the like have no sign of their own (section 2.3 of the semantics reference).

use crate::model::{Attr, Protocol, Rule, Semantics};

/// The attribute that `attr` completes: a mask its address, the end of a range its start.
pub(super) const fn base(attr: Attr) -> Option<Attr> {
    Some(match attr {
        Attr::SrcMacMask => Attr::SrcMacAddr,
        Attr::DstMacMask => Attr::DstMacAddr,
        Attr::RootPriorityHi => Attr::RootPriority,
        Attr::RootAddressMask => Attr::RootAddress,
        Attr::RootCostHi => Attr::RootCost,
        Attr::SenderPriorityHi => Attr::SenderPriority,
        Attr::SenderAddressMask => Attr::SenderAddress,
        Attr::PortHi => Attr::Port,
        Attr::AgeHi => Attr::Age,
        Attr::MaxAgeHi => Attr::MaxAge,
        Attr::HelloTimeHi => Attr::HelloTime,
        Attr::ForwardDelayHi => Attr::ForwardDelay,
        Attr::ArpSrcIpMask => Attr::ArpSrcIpAddr,
        Attr::ArpDstIpMask => Attr::ArpDstIpAddr,
        Attr::SrcIpMask => Attr::SrcIpAddr,
        Attr::DstIpMask => Attr::DstIpAddr,
        Attr::SrcIpTo => Attr::SrcIpFrom,
        Attr::DstIpTo => Attr::DstIpFrom,
        Attr::SrcPortEnd => Attr::SrcPortStart,
        Attr::DstPortEnd => Attr::DstPortStart,
        Attr::TypeEnd => Attr::Type,
        Attr::CodeEnd => Attr::Code,
        Attr::IpSetFlags => Attr::IpSet,
        _ => return None,
    })
}

/// The attribute whose sign `attr` takes in libvirt where that is not its [`base`]'s.
const fn libvirt_base(protocol: Protocol, attr: Attr) -> Option<Attr> {
    match (protocol, attr) {
        (
            Protocol::Tcp
            | Protocol::Udp
            | Protocol::Sctp
            | Protocol::TcpIpv6
            | Protocol::UdpIpv6
            | Protocol::SctpIpv6,
            Attr::DstPortStart | Attr::DstPortEnd,
        ) => Some(Attr::SrcPortStart),
        (Protocol::Icmp | Protocol::IcmpV6, Attr::Code)
        | (Protocol::Ipv6, Attr::TypeEnd | Attr::Code | Attr::CodeEnd) => Some(Attr::Type),
        _ => base(attr),
    }
}

/// Whether the test on `attr`, an attribute of `rule` with `written` as its own sign, is negated.
///
/// In libvirt's reading an attribute whose base is absent is never negated.
pub(super) fn negated(rule: &Rule, attr: Attr, written: bool, semantics: Semantics) -> bool {
    let sign = |of: Attr| {
        let found = rule.attributes.iter().find(|other| other.attr == of);
        found.map(|other| other.negated)
    };
    match semantics {
        Semantics::Strict => base(attr).and_then(sign).unwrap_or(written),
        Semantics::Libvirt => {
            libvirt_base(rule.protocol, attr).map_or(written, |of| sign(of).unwrap_or(false))
        }
    }
}
