//! Rules that libvirt's tools refuse when a filter is bound, as measured with ebtables and iptables
//! 1.8.9 (`nf_tables`). Most contradict themselves and are refused in both semantics. What reads
//! well and is only not implemented there has its meaning in `strict`.

use crate::model::{Attr, Datum, Direction, Layer, Protocol, Rule, Semantics};
use crate::parse::base;

use super::Test;

/// ICMPv6 (IANA protocol numbers).
const ICMPV6: u32 = 58;

/// Why a rule cannot be bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// A range ends before it starts; the attribute of its end.
    Empty(Attr),
    /// Anything else: the attribute at fault, and what is wrong with it.
    Other(Attr, &'static str),
}

/// What is wrong with a concrete rule.
pub(super) fn refusal(rule: &Rule, tests: &[Test], semantics: Semantics) -> Option<Refusal> {
    let pairs = || {
        tests
            .iter()
            .find_map(|test| pair(rule.protocol, test, tests))
    };
    let unsupported = || match semantics {
        Semantics::Strict => None,
        Semantics::Libvirt => unsupported(rule, tests),
    };
    protocol(rule.protocol, tests)
        .or_else(pairs)
        .or_else(unsupported)
}

/// What has a meaning, but none that ebtables could test.
fn unsupported(rule: &Rule, tests: &[Test]) -> Option<Refusal> {
    let is_zero =
        |test: &&Test| matches!(test.values[..], [Datum::MacMask(mask)] if mask.to_u64() == 0);
    if let Some(mask) = [Attr::SrcMacMask, Attr::DstMacMask]
        .iter()
        .filter_map(|attr| get(tests, *attr))
        .find(is_zero)
        && base(mask.attr).is_some_and(|base| get(tests, base).is_some())
    {
        return Some(Refusal::Other(mask.attr, "ebtables takes no MAC mask of 0"));
    }
    let swapped = rule.protocol == Protocol::Stp && rule.direction == Direction::InOut;
    get(tests, Attr::SrcMacAddr)
        .filter(|_| swapped)
        .map(|source| {
            let reason = "libvirt does not exchange the addresses of `stp`";
            Refusal::Other(source.attr, reason)
        })
}

fn get(tests: &[Test], attr: Attr) -> Option<&Test> {
    tests.iter().find(|test| test.attr == attr)
}

/// Ports and ICMP types of `ip` and `ipv6`, which belong to a protocol.
fn protocol(element: Protocol, tests: &[Test]) -> Option<Refusal> {
    if !matches!(element, Protocol::Ip | Protocol::Ipv6) {
        return None;
    }
    let has = |attrs: &[Attr]| attrs.iter().find_map(|attr| get(tests, *attr));
    let icmp = has(&[Attr::Type, Attr::TypeEnd, Attr::Code, Attr::CodeEnd]);
    let ports = has(&[Attr::SrcPortStart, Attr::DstPortStart]);
    let protocol = get(tests, Attr::IpProtocol);
    if let Some(protocol) = protocol
        && protocol.negated
    {
        let reason = "ports and ICMP types need a protocol that is not negated";
        return icmp
            .or(ports)
            .map(|_| Refusal::Other(protocol.attr, reason));
    }
    let is_icmpv6 = protocol.is_some_and(|test| test.values == [Datum::Number(ICMPV6)]);
    let icmp = icmp.filter(|_| !is_icmpv6)?;
    Some(Refusal::Other(
        icmp.attr,
        "an ICMPv6 type needs `protocol='icmpv6'`",
    ))
}

/// A mask or the end of a range, and what it belongs to.
fn pair(element: Protocol, part: &Test, tests: &[Test]) -> Option<Refusal> {
    let base = get(tests, base(part.attr)?)?;
    match (base.values.first()?, part.values.first()?) {
        // iptables looks at the order of ports, but not for UDP.
        (Datum::Number(low), Datum::Number(high)) if low > high => {
            let unchecked = matches!(element, Protocol::Udp | Protocol::UdpIpv6);
            (!unchecked).then_some(Refusal::Empty(part.attr))
        }
        (_, Datum::Prefix(0)) if base.negated && element.layer() == Layer::Inet => Some(
            Refusal::Other(part.attr, "no address is outside of a network with mask 0"),
        ),
        _ => None,
    }
}
