//! Lints that look at one rule by itself.

use super::view::{get, icmp_type, is_directional, is_inet, literal, number, tests};
use crate::{
    diag::{Code, Diagnostic},
    model::{
        Action, Attr, Attribute, Datum, Direction, Filter, Protocol, Rule, Selector, Semantics,
        TcpFlags, Value,
    },
    parse::base,
};

/// All of them.
pub(super) fn rule(
    filter: &Filter,
    rule: &Rule,
    semantics: Semantics,
    found: &mut Vec<Diagnostic>,
) {
    for attribute in &rule.attributes {
        found.extend(negated_list(attribute, semantics));
        found.extend(incomplete_pair(rule, attribute));
        found.extend(own_address_as_source(rule, attribute));
    }
    found.extend(misread(rule, semantics));
    found.extend(ranges(rule));
    found.extend(shadowed_ranges(rule));
    found.extend(unbindable(rule));
    found.extend(directions(rule));
    found.extend(never_matches(filter, rule));
    if is_inet(rule) && filter.chain != "root" {
        let message = format!(
            "chain `{}` has no effect on a rule of `<{}>`",
            filter.chain, rule.protocol
        );
        found.push(
            Diagnostic::new(Code::ChainWithoutEffect, rule.span, message)
                .label("the inet layer has no chains: the rule sees frames of all kinds"),
        );
    }
}

/// Fact 13 of the semantics reference.
fn negated_list(attribute: &Attribute, semantics: Semantics) -> Option<Diagnostic> {
    let Value::Variable(access) = &attribute.value else {
        return None;
    };
    let list = matches!(access.selector, Selector::Iterator { .. });
    // A VM has one address of this kind.
    if !attribute.negated || !list || access.name == "MAC" || base(attribute.attr).is_some() {
        return None;
    }
    let message = format!("libvirt negates each value of `${}` by itself", access.name);
    let found = Diagnostic::new(Code::NegatedList, attribute.span, message);
    Some(match semantics {
        Semantics::Strict => {
            found.label("with two values or more it matches everything; here, what is none of them")
        }
        Semantics::Libvirt => found.label("with two values or more this matches everything"),
    })
}

/// Attributes that do nothing without another one.
fn incomplete_pair(rule: &Rule, attribute: &Attribute) -> Option<Diagnostic> {
    let partner = match (rule.protocol, attribute.attr) {
        (Protocol::Ipv6, Attr::TypeEnd | Attr::CodeEnd) => return None,
        (Protocol::Icmp | Protocol::IcmpV6, Attr::Code) => Attr::Type,
        (_, Attr::IpSet) => Attr::IpSetFlags,
        (_, attr) => base(attr)?,
    };
    if get(rule, partner).is_some() {
        return None;
    }
    let message = format!("`{}` does nothing without `{partner}`", attribute.attr);
    Some(Diagnostic::new(
        Code::IncompletePair,
        attribute.span,
        message,
    ))
}

/// `inout` is written from the receiver's side, where the VM's own address is never the source.
fn own_address_as_source(rule: &Rule, attribute: &Attribute) -> Option<Diagnostic> {
    let Value::Variable(access) = &attribute.value else {
        return None;
    };
    let own = matches!(access.name.as_str(), "MAC" | "IP" | "IPV6");
    let source = attribute.attr.as_str().contains("src") && base(attribute.attr).is_none();
    if rule.direction != Direction::InOut || !own || !source {
        return None;
    }
    let message = format!(
        "`{}` of an `inout` rule is the other side's address",
        attribute.attr
    );
    let label = "`inout` is written from the receiver's side; where the VM sends, source and \
                 destination are exchanged";
    let destination = attribute.attr.as_str().replacen("src", "dst", 1);
    Some(
        Diagnostic::new(Code::InOutReceiver, attribute.span, message)
            .label(label)
            .help(format!(
                "write one rule for `in` and one for `out`, or test `{destination}`"
            )),
    )
}

/// Attributes that libvirt compares with something else (facts 9 and 10).
fn misread(rule: &Rule, semantics: Semantics) -> Vec<Diagnostic> {
    let strict = semantics == Semantics::Strict;
    let mut found = Vec::new();
    if let (Protocol::Ip, Some(dscp)) = (rule.protocol, get(rule, Attr::Dscp)) {
        let message = "libvirt compares this with the whole TOS byte";
        let mut warning = Diagnostic::new(Code::DscpIsTos, dscp.span, message).label(if strict {
            "here it is compared with the six bits of the DSCP"
        } else {
            "the two lower bits, congestion notification, must be 0 and are part of the number"
        });
        if let (true, Some(value)) = (strict, number(rule, Attr::Dscp)) {
            warning = warning.help(format!(
                "libvirt matches a DSCP of {} with ECN bits {}",
                value >> 2,
                value & 3
            ));
        }
        found.push(warning);
    }
    if let (Some(encap), Some(value)) = (
        get(rule, Attr::EncapProtocol),
        number(rule, Attr::EncapProtocol),
    ) {
        let read = u32::from_str_radix(&value.to_string(), 16).unwrap_or(u32::MAX);
        let message = if read > 0xffff {
            format!("libvirt cannot bind this: it asks for the EtherType {read:#x}")
        } else {
            format!("libvirt compares this with the EtherType {read:#06x}")
        };
        found.push(
            Diagnostic::new(Code::EncapProtocolDead, encap.span, message).label(if strict {
                format!("here it is compared with {value:#x}")
            } else {
                "it hands over a decimal number that is then read as hexadecimal".into()
            }),
        );
    }
    let leaks = get(rule, Attr::ArpDstIpAddr).is_some() && get(rule, Attr::ArpDstIpMask).is_none();
    if let (true, Some(mask)) = (leaks, get(rule, Attr::ArpSrcIpMask)) {
        let message = "libvirt gives `arpdstipaddr` the mask of the sender";
        found.push(
            Diagnostic::new(Code::ArpMaskLeaks, mask.span, message)
                .help("write `arpdstipmask='32'` to say the same in both readings"),
        );
    }
    found
}

/// Ranges whose ends are both known, and not in order.
fn ranges(rule: &Rule) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for end in &rule.attributes {
        let Some(start) = base(end.attr).and_then(|attr| get(rule, attr)) else {
            continue;
        };
        let empty = match (literal(rule, start.attr), literal(rule, end.attr)) {
            (Some(Datum::Number(low)), Some(Datum::Number(high))) => low > high,
            (Some(Datum::Ipv4(low)), Some(Datum::Ipv4(high))) => low > high,
            (Some(Datum::Ipv6(low)), Some(Datum::Ipv6(high))) => low > high,
            _ => false,
        };
        if empty {
            let message = format!("the range ends before `{}`", start.attr);
            found.push(
                Diagnostic::new(Code::EmptyRange, end.span, message)
                    .label(if bound_by_libvirt(rule, end) {
                        "nothing is in this range"
                    } else {
                        "nothing is in this range, and the rule cannot be bound"
                    })
                    .also(start.span, "it starts here"),
            );
        }
    }
    found
}

/// Libvirt's tools do not look at the order of addresses, nor of UDP ports.
fn bound_by_libvirt(rule: &Rule, end: &Attribute) -> bool {
    matches!(rule.protocol, Protocol::Udp | Protocol::UdpIpv6)
        || matches!(end.attr, Attr::SrcIpTo | Attr::DstIpTo)
}

fn shadowed_ranges(rule: &Rule) -> Vec<Diagnostic> {
    let pairs = [
        (Attr::SrcIpFrom, Attr::SrcIpAddr),
        (Attr::DstIpFrom, Attr::DstIpAddr),
    ];
    pairs
        .into_iter()
        .filter_map(|(range, address)| Some((get(rule, range)?, get(rule, address)?)))
        .map(|(range, address)| {
            let message = format!("`{}` is ignored next to `{}`", range.attr, address.attr);
            Diagnostic::new(Code::RangeShadowed, range.span, message)
                .also(address.span, "this address is what is tested")
        })
        .collect()
}

/// What libvirt's tools refuse when the rule is bound.
fn unbindable(rule: &Rule) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut refuse = |at: &Attribute, message: &str| {
        found.push(Diagnostic::new(Code::CannotBind, at.span, message));
    };
    let protocol = get(rule, Attr::IpProtocol);
    if matches!(rule.protocol, Protocol::Ip | Protocol::Ipv6) {
        let ports = [Attr::SrcPortStart, Attr::DstPortStart]
            .iter()
            .any(|a| get(rule, *a).is_some());
        let icmp = [Attr::Type, Attr::TypeEnd, Attr::Code, Attr::CodeEnd];
        let icmp = icmp.into_iter().find_map(|attr| get(rule, attr));
        if let Some(protocol) = protocol.filter(|protocol| protocol.negated) {
            if ports || icmp.is_some() {
                refuse(
                    protocol,
                    "a negated protocol with ports or an ICMP type cannot be bound",
                );
            }
        } else if let Some(icmp) = icmp {
            let is_variable = protocol.is_some() && literal(rule, Attr::IpProtocol).is_none();
            if number(rule, Attr::IpProtocol) != Some(58) && !is_variable {
                refuse(
                    icmp,
                    "an ICMPv6 type without `protocol='icmpv6'` cannot be bound",
                );
            }
        }
    }
    for mask in &rule.attributes {
        // The tools that libvirt has for the Ethernet layer take a mask of 0.
        let zero = is_inet(rule) && matches!(literal(rule, mask.attr), Some(Datum::Prefix(0)));
        let negated = base(mask.attr)
            .and_then(|attr| get(rule, attr))
            .is_some_and(|a| a.negated);
        if zero && negated {
            refuse(mask, "a negated address with a mask of 0 cannot be bound");
        }
    }
    if rule.protocol == Protocol::Stp
        && rule.direction == Direction::InOut
        && let Some(mac) = get(rule, Attr::SrcMacAddr)
    {
        refuse(
            mac,
            "libvirt cannot bind `srcmacaddr` of `<stp>` in both directions",
        );
    }
    if rule.action == Action::Continue && is_inet(rule) {
        let message = "libvirt cannot bind `continue` in the inet layer";
        found.push(Diagnostic::new(Code::ContinueInInet, rule.span, message));
    }
    found
}

/// What happens in which direction.
fn directions(rule: &Rule) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if !is_inet(rule) {
        if rule.action == Action::Reject {
            let message = "`reject` drops silently in the Ethernet layer";
            found.push(Diagnostic::new(Code::RejectIsDrop, rule.span, message));
        }
        return found;
    }
    let both = rule.direction == Direction::InOut;
    let accepts = rule.action == Action::Accept;
    if let (true, Some(kind)) = (both, icmp_type(rule)) {
        let message = "an ICMP type in an `inout` rule yields no rule at all";
        found.push(
            Diagnostic::new(Code::IcmpTypeInOut, kind.span, message)
                .label("the rule does nothing")
                .help("write one rule for `in` and one for `out`"),
        );
        return found;
    }
    if let Some(limit) = get(rule, Attr::ConnlimitAbove) {
        if both {
            let message = "a connection limit in an `inout` rule acts only on frames to the VM";
            found.push(Diagnostic::new(Code::ConnlimitOneWay, limit.span, message));
        } else if accepts {
            let message = "an accepting rule with a connection limit lets no answers back";
            found.push(
                Diagnostic::new(Code::ConnlimitOneWay, limit.span, message)
                    .help("drop above the limit, and accept in a rule of its own"),
            );
        }
        return found;
    }
    let stateless = get(rule, Attr::State).is_none() && icmp_type(rule).is_none();
    if !accepts && rule.action != Action::Continue && !both && stateless {
        let other = if rule.direction == Direction::In {
            "out of"
        } else {
            "into"
        };
        let mut label = format!("it also acts on frames {other} the VM");
        if tests(rule).any(|test| is_directional(test.attr)) {
            label.push_str(", with source and destination exchanged");
        }
        found.push(
            Diagnostic::new(
                Code::DropBothWays,
                rule.span,
                "without `state`, this rule of the inet layer acts in both directions",
            )
            .label(label)
            .help("a rule that tests `state`, such as `state='NEW'`, acts in one direction"),
        );
    }
    found
}

/// Conditions that exclude each other.
fn never_matches(filter: &Filter, rule: &Rule) -> Option<Diagnostic> {
    if let (Some(flags), Some(Datum::TcpFlags(TcpFlags { mask, flags: set }))) =
        (get(rule, Attr::Flags), literal(rule, Attr::Flags))
        && set & !mask != 0
    {
        let message = "these flags can never be set, because the mask does not look at them";
        return Some(
            Diagnostic::new(Code::NeverMatches, flags.span, message).label(if flags.negated {
                "so the negated test holds for every frame"
            } else {
                "no frame matches"
            }),
        );
    }
    let chain = ether_type_of_chain(&filter.chain)?;
    let frame = ether_type(rule)?;
    (chain != frame).then(|| {
        let message = format!("no frame of chain `{}` matches this rule", filter.chain);
        Diagnostic::new(Code::NeverMatches, rule.span, message).label(format!(
            "the chain sees the EtherType {chain:#06x}, the rule asks for {frame:#06x}"
        ))
    })
}

/// The only `EtherType` that a chain sees.
fn ether_type_of_chain(chain: &str) -> Option<u32> {
    let prefixes = [
        ("ipv4", 0x800),
        ("ipv6", 0x86dd),
        ("arp", 0x806),
        ("rarp", 0x8035),
        ("vlan", 0x8100),
    ];
    prefixes
        .into_iter()
        .find(|(prefix, _)| chain.starts_with(prefix))
        .map(|(_, number)| number)
}

/// The only `EtherType` that a rule of the Ethernet layer matches.
fn ether_type(rule: &Rule) -> Option<u32> {
    match rule.protocol {
        Protocol::Ip => Some(0x800),
        Protocol::Ipv6 => Some(0x86dd),
        Protocol::Arp => Some(0x806),
        Protocol::Rarp => Some(0x8035),
        Protocol::Vlan => Some(0x8100),
        Protocol::Mac => {
            let positive = get(rule, Attr::ProtocolId).is_some_and(|id| !id.negated);
            number(rule, Attr::ProtocolId).filter(|_| positive)
        }
        _ => None,
    }
}
