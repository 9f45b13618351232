//! A flat list as frames of one class see it: tests whose result follows from the class are gone,
//! and rules that need a header which such frames lack drop them.

use nwfilter_common::{Class, Field, Knowledge, LeafVerdict, TableLayer};

use super::{
    Entry,
    rule::{Condition, FlatRule, Outcome, SetTest},
    set::ValueSet,
};
use crate::model::Semantics;

/// What is known of a field, where libvirt's blind spots count.
pub(super) fn knowledge(
    class: Class,
    field: Field,
    layer: TableLayer,
    semantics: Semantics,
) -> Knowledge {
    const FRAGMENT_HEADER: u64 = 44;
    let known = class.knows(field);
    if semantics == Semantics::Strict || layer == TableLayer::Inet {
        return known;
    }
    match (class, known) {
        // ebtables' walk ends at the fragment header (section 2.4, `protocol`).
        (Class::Ip6Fragment | Class::Ip6FragmentChain, _) if field == Field::IpProtocol => {
            Knowledge::Constant(FRAGMENT_HEADER)
        }
        // Ports are never there for it, nor is any field of a truncated ARP packet (4a, 10).
        (
            Class::Ip4Fragment
            | Class::Ip6Fragment
            | Class::Ip6FragmentChain
            | Class::ArpShort
            | Class::ArpCut
            | Class::RarpShort
            | Class::RarpCut,
            Knowledge::Missing,
        ) => Knowledge::Absent,
        _ => known,
    }
}

/// The rules that can match in a class, with the tests that are still open.
///
/// A rule that cannot be ruled out without a missing field drops the frame: its other conditions
/// stay, its outcome becomes the drop.
pub(super) fn specialise(
    rules: &[FlatRule],
    class: Class,
    layer: TableLayer,
    semantics: Semantics,
) -> Vec<(usize, FlatRule)> {
    let mut special = Vec::new();
    for (position, rule) in rules.iter().enumerate() {
        let mut open = Vec::new();
        let mut unknown = false;
        let mut possible = true;
        for condition in &rule.conditions {
            let (field, holds): (Field, Option<bool>) = match condition {
                Condition::In(field, set) => (
                    *field,
                    constant(class, *field, layer, semantics).map(|v| set.contains(v)),
                ),
                _ => (condition.field(), None),
            };
            possible &= !overlooks(class, condition, layer, semantics);
            // A set may be of addresses with ports.
            if let Condition::Set(
                SetTest {
                    dimensions: 2.., ..
                },
                _,
            ) = condition
                && knowledge(class, Field::SrcPort, layer, semantics) == Knowledge::Missing
                && knowledge(class, field, layer, semantics) != Knowledge::Absent
            {
                unknown = true;
                continue;
            }
            match knowledge(class, field, layer, semantics) {
                Knowledge::Present => match condition {
                    Condition::In(_, set) if set.is_full(field.max_value()) => {}
                    Condition::In(_, set) if set.is_empty() => possible = false,
                    _ => open.push(condition.clone()),
                },
                Knowledge::Constant(_) => possible &= holds.unwrap_or(false),
                Knowledge::Missing => unknown = true,
                Knowledge::Ignored => {}
                Knowledge::Absent => possible = false,
            }
            if !possible {
                break;
            }
        }
        if !possible {
            continue;
        }
        let (entry, outcome) = if unknown {
            // The rule does not get to look.
            open.retain(|condition| !matches!(condition, Condition::Limit(..)));
            (Entry::missing(layer), Outcome::Decide(LeafVerdict::Drop))
        } else {
            (rule.entry, rule.outcome)
        };
        special.push((
            position,
            FlatRule {
                entry,
                outcome,
                conditions: open,
            },
        ));
    }
    special
}

/// Whether libvirt's tools overlook what a condition asks for: ip6tables takes AH for an extension
/// header, which is not there in a later fragment (4a, 5).
pub(super) fn overlooks(
    class: Class,
    condition: &Condition,
    layer: TableLayer,
    semantics: Semantics,
) -> bool {
    const AH: u64 = 51;
    let fragment = matches!(class, Class::Ip6Fragment | Class::Ip6FragmentChain);
    let ip6tables = layer == TableLayer::Inet && semantics == Semantics::Libvirt;
    let asks = |set: &ValueSet| *set == ValueSet::single(AH);
    fragment && ip6tables && matches!(condition, Condition::In(Field::IpProtocol, set) if asks(set))
}

fn constant(class: Class, field: Field, layer: TableLayer, semantics: Semantics) -> Option<u64> {
    match knowledge(class, field, layer, semantics) {
        Knowledge::Constant(value) => Some(value),
        _ => None,
    }
}
