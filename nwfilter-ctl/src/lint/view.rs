//! Questions about rules that several lints ask.

use crate::model::{Action, Attr, Attribute, Datum, Entry, Filter, Layer, Protocol, Rule, Value};

/// The rules of a filter in document order.
pub(super) fn rules(filter: &Filter) -> impl Iterator<Item = &Rule> {
    filter.entries.iter().filter_map(|entry| match entry {
        Entry::Rule(rule) => Some(rule),
        Entry::Reference(_) => None,
    })
}

/// An attribute of a rule.
pub(super) fn get(rule: &Rule, attr: Attr) -> Option<&Attribute> {
    rule.attributes
        .iter()
        .find(|attribute| attribute.attr == attr)
}

/// The literal value of an attribute.
pub(super) fn literal(rule: &Rule, attr: Attr) -> Option<&Datum> {
    match &get(rule, attr)?.value {
        Value::Literal { datum, .. } => Some(datum),
        Value::Variable(_) => None,
    }
}

/// The literal value of an attribute that is a number.
pub(super) fn number(rule: &Rule, attr: Attr) -> Option<u32> {
    match literal(rule, attr)? {
        Datum::Number(number) => Some(*number),
        _ => None,
    }
}

/// Every attribute but the comment.
pub(super) fn tests(rule: &Rule) -> impl Iterator<Item = &Attribute> {
    rule.attributes
        .iter()
        .filter(|attribute| attribute.attr != Attr::Comment)
}

/// Matches everything that its layer (and, in the inet layer, its family) sees.
pub(super) fn is_catch_all(rule: &Rule) -> bool {
    let widest = matches!(
        rule.protocol,
        Protocol::None | Protocol::Mac | Protocol::All | Protocol::AllIpv6
    );
    widest && tests(rule).next().is_none()
}

/// Decides frames that it matches.
pub(super) fn is_final(rule: &Rule) -> bool {
    rule.action != Action::Continue
}

/// In the inet layer.
pub(super) fn is_inet(rule: &Rule) -> bool {
    rule.protocol.layer() == Layer::Inet
}

/// The test of an ICMP type or code, which has special rules for directions.
pub(super) fn icmp_type(rule: &Rule) -> Option<&Attribute> {
    match rule.protocol {
        Protocol::Icmp | Protocol::IcmpV6 => get(rule, Attr::Type),
        _ => None,
    }
}

/// Says something about only one end of a frame: source and destination would have to be exchanged
/// for the other direction.
pub(super) fn is_directional(attr: Attr) -> bool {
    let name = attr.as_str();
    name.contains("src") || name.contains("dst") || attr == Attr::IpSetFlags
}
