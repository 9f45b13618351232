//! Does one rule match everything that another one matches? Only easy answers: `false` means
//! "not known to".

use super::view::{get, icmp_type, is_directional, is_inet, literal, tests};
use crate::{
    model::{Action, Attr, Attribute, Datum, Direction, Protocol, Rule, Value},
    parse::base,
};

/// `wide` stands before `narrow` in the same chain: no frame gets to `narrow`.
pub(super) fn hides(wide: &Rule, narrow: &Rule) -> bool {
    covers_protocol(wide, narrow)
        && covers_direction(wide, narrow)
        && tests(wide)
            .filter(|test| is_start(wide, test.attr))
            .all(|test| implied(wide, test, narrow))
}

/// Not a mask nor the end of a range that is there.
fn is_start(rule: &Rule, attr: Attr) -> bool {
    base(attr).is_none_or(|base| get(rule, base).is_none())
}

fn covers_protocol(wide: &Rule, narrow: &Rule) -> bool {
    wide.protocol == narrow.protocol
        || match wide.protocol {
            Protocol::None => !is_inet(narrow),
            Protocol::Mac => {
                // Every Ethernet frame has addresses; other tests of `mac` must stand there too.
                !is_inet(narrow) && get(wide, Attr::ProtocolId).is_none()
            }
            Protocol::All | Protocol::AllIpv6 => {
                narrow.protocol.family().is_some()
                    && narrow.protocol.family() == wide.protocol.family()
            }
            _ => false,
        }
}

/// How a rule of the inet layer is expanded into directions and connection states (section 4.6 of
/// the semantics reference).
#[derive(PartialEq)]
enum Expansion {
    /// Both orientations, no connection state.
    Stateless,
    /// NEW and ESTABLISHED one way, ESTABLISHED the other way.
    Default,
    /// Anything else.
    Special,
}

fn expansion(rule: &Rule) -> Expansion {
    let special = [Attr::ConnlimitAbove, Attr::SrcMacAddr];
    if special.into_iter().any(|attr| get(rule, attr).is_some()) || icmp_type(rule).is_some() {
        return Expansion::Special;
    }
    let state = get(rule, Attr::State).is_some();
    if rule.action == Action::Accept {
        return match (rule.statematch, state, rule.direction) {
            (false, _, _) | (true, false, Direction::InOut) => Expansion::Stateless,
            (true, false, _) => Expansion::Default,
            (true, true, _) => Expansion::Special,
        };
    }
    if state {
        Expansion::Special
    } else {
        Expansion::Stateless
    }
}

fn covers_direction(wide: &Rule, narrow: &Rule) -> bool {
    let same = wide.direction == narrow.direction;
    let directional = tests(wide).any(|test| is_directional(test.attr));
    if !is_inet(wide) {
        return same
            || wide.direction == Direction::InOut
                // As written for frames to the VM.
                && (narrow.direction == Direction::In || !directional);
    }
    let identical = same && wide.statematch == narrow.statematch && wide.action == narrow.action;
    match (expansion(wide), expansion(narrow)) {
        // `in` and `inout` are expanded alike.
        (Expansion::Stateless, _) => {
            let out = |rule: &Rule| rule.direction == Direction::Out;
            out(wide) == out(narrow) || !directional
        }
        (Expansion::Default, Expansion::Default) => same,
        // Only if nothing but more tests makes the difference.
        (Expansion::Special, Expansion::Special) => identical && same_special(wide, narrow),
        _ => false,
    }
}

fn same_special(wide: &Rule, narrow: &Rule) -> bool {
    [
        Attr::ConnlimitAbove,
        Attr::SrcMacAddr,
        Attr::State,
        Attr::Type,
    ]
    .into_iter()
    .all(|attr| match (get(wide, attr), get(narrow, attr)) {
        (None, None) => true,
        (Some(wide), Some(narrow)) => same_test(wide, narrow),
        _ => false,
    })
}

fn same_test(left: &Attribute, right: &Attribute) -> bool {
    left.negated == right.negated && same_value(&left.value, &right.value)
}

fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Literal { datum: left, .. }, Value::Literal { datum: right, .. }) => left == right,
        (Value::Variable(left), Value::Variable(right)) => {
            left.name == right.name
                && format!("{:?}", left.selector) == format!("{:?}", right.selector)
        }
        _ => false,
    }
}

/// Whatever `narrow` matches passes this test of `wide`.
fn implied(wide: &Rule, test: &Attribute, narrow: &Rule) -> bool {
    let Some(other) = get(narrow, test.attr) else {
        return false;
    };
    if test.negated != other.negated {
        return false;
    }
    let parts = |rule: &Rule| -> Vec<Attribute> {
        let part = |a: &&Attribute| base(a.attr) == Some(test.attr);
        rule.attributes.iter().filter(part).cloned().collect()
    };
    let (wide_parts, narrow_parts) = (parts(wide), parts(narrow));
    let same_parts = wide_parts.len() == narrow_parts.len()
        && wide_parts
            .iter()
            .zip(&narrow_parts)
            .all(|(left, right)| left.attr == right.attr && same_value(&left.value, &right.value));
    if same_parts && same_value(&test.value, &other.value) {
        // A variable's list in step with another attribute's may be a shorter one there.
        return true;
    }
    if test.negated || wide_parts.len() > 1 || narrow_parts.len() > 1 {
        return false;
    }
    match (interval(wide, test.attr), interval(narrow, test.attr)) {
        (Some(wide), Some(narrow)) => wide.0 <= narrow.0 && narrow.1 <= wide.1,
        _ => false,
    }
}

/// The values that a test admits, if they are known and without gaps.
fn interval(rule: &Rule, attr: Attr) -> Option<(u128, u128)> {
    let part = rule
        .attributes
        .iter()
        .find(|part| base(part.attr) == Some(attr));
    let end = match part {
        Some(part) => Some(literal(rule, part.attr)?),
        None => None,
    };
    match (literal(rule, attr)?, end) {
        (Datum::Number(low), None) => Some((u128::from(*low), u128::from(*low))),
        (Datum::Number(low), Some(Datum::Number(high))) => {
            Some((u128::from(*low), u128::from(*high)))
        }
        (Datum::Ipv4(low), Some(Datum::Ipv4(high))) => {
            Some((u128::from(low.to_bits()), u128::from(high.to_bits())))
        }
        (Datum::Ipv6(low), Some(Datum::Ipv6(high))) => Some((low.to_bits(), high.to_bits())),
        (Datum::Ipv4(address), None | Some(Datum::Prefix(_))) => {
            Some(prefix(u128::from(address.to_bits()), 32, end))
        }
        (Datum::Ipv6(address), None | Some(Datum::Prefix(_))) => {
            Some(prefix(address.to_bits(), 128, end))
        }
        _ => None,
    }
}

fn prefix(address: u128, width: u8, length: Option<&Datum>) -> (u128, u128) {
    let length = match length {
        Some(Datum::Prefix(length)) => (*length).min(width),
        _ => width,
    };
    let free = u32::from(width - length);
    let hosts = if free == 128 {
        u128::MAX
    } else {
        (1 << free) - 1
    };
    (address & !hosts, address | hosts)
}
