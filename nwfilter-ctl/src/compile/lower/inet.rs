//! The inet layer: the expansion matrix of section 4.6 of the reference.

use nwfilter_common::{CtState, Field, FrameDirection, LeafVerdict, TableLayer};

use super::{
    Lowering,
    conditions::{Conjunction, Orientation, Stop, Tests, conditions},
    push,
};
use crate::{
    compile::{
        Entry,
        rule::{Condition, FlatRule, LimitTest, Outcome},
        set::ValueSet,
    },
    model::{Action, Attr, CtStates, Datum, Direction, Layer, Semantics},
    resolve::Instance,
};

/// A rule's appearance in one of the lists.
struct Appearance {
    orientation: Orientation,
    states: Option<ValueSet>,
}

impl Lowering<'_> {
    /// The inet layer's list for one direction, both families together: frames from the VM are
    /// decided by what libvirt calls FI and HI, frames to it by FO.
    pub(super) fn inet(&mut self, direction: FrameDirection) -> Result<Vec<FlatRule>, Stop> {
        let mut rules = Vec::new();
        for instance in self.sorted(Layer::Inet) {
            let Some(Appearance {
                orientation,
                states,
            }) = appearance(instance, direction, self.semantics)
            else {
                continue;
            };
            let outcome = match instance.action {
                Action::Accept | Action::Return => LeafVerdict::Accept,
                Action::Drop => LeafVerdict::Drop,
                Action::Reject => LeafVerdict::Reject,
                Action::Continue => continue,
            };
            let swapped = orientation == Orientation::Swapped;
            let mut instance = instance.clone();
            if swapped {
                // Section 2.5: a swapped rule has no MAC test; if it had no other, it is not there.
                let is_mac = |attr| matches!(attr, Attr::SrcMacAddr | Attr::DstMacAddr);
                let has_mac = instance.tests.iter().any(|test| is_mac(test.attr));
                instance.tests.retain(|test| !is_mac(test.attr));
                if has_mac && !instance.tests.iter().any(|test| tests_header(test.attr)) {
                    continue;
                }
            }
            let entry = self.entries.rule(&instance);
            let Tests {
                alternatives,
                doubts,
            } = conditions(&instance, orientation, self.semantics, &mut self.slots)?;
            let in_state = |mut tests: Conjunction| {
                tests.extend(states.clone().map(|set| Condition::In(Field::CtState, set)));
                tests
            };
            let missing = Entry::missing(TableLayer::Inet);
            let doubts = doubts.into_iter().map(in_state).collect();
            push(
                &mut rules,
                missing,
                Outcome::Decide(LeafVerdict::Drop),
                doubts,
            );
            let limit = self.limit(&instance);
            let alternatives = alternatives.into_iter().map(in_state);
            let alternatives = alternatives
                .map(|tests| tests.into_iter().chain(limit.clone()).collect())
                .collect();
            push(&mut rules, entry, Outcome::Decide(outcome), alternatives);
        }
        let entry = self.entries.number(Entry::EndOfLayer(TableLayer::Inet));
        push(
            &mut rules,
            entry,
            Outcome::Decide(LeafVerdict::Accept),
            vec![vec![]],
        );
        Ok(rules)
    }

    /// The connection limit of a rule of one list.
    fn limit(&mut self, instance: &Instance) -> Option<Condition> {
        let test = instance
            .tests
            .iter()
            .find(|test| test.attr == Attr::ConnlimitAbove)?;
        let numbers = test.values.iter().filter_map(|value| match value {
            Datum::Number(number) => Some(*number),
            _ => None,
        });
        let limit = LimitTest {
            number: self.limits,
            // Above one of several is above the least.
            most: numbers.min()?,
        };
        self.limits = self.limits.checked_add(1)?;
        Some(Condition::Limit(limit, !test.negated))
    }
}

/// Whether and how a rule appears in the list of a direction.
fn appearance(
    instance: &Instance,
    direction: FrameDirection,
    semantics: Semantics,
) -> Option<Appearance> {
    let from_vm = direction == FrameDirection::Out;
    let accept = instance.action == Action::Accept;
    let listed = listed_states(instance);
    let has = |attr| instance.tests.iter().any(|test| test.attr == attr);
    let icmp_type = has(Attr::Type);
    let connlimit = has(Attr::ConnlimitAbove);

    // The side the rule is written for; `inout` is written from the receiver's.
    let own_side = (instance.direction == Direction::Out) == from_vm;
    let orientation = if own_side {
        Orientation::Written
    } else {
        Orientation::Swapped
    };
    let both = instance.direction == Direction::InOut;

    // Rules of one orientation only; and fact 14, whatever `statematch` says.
    if (connlimit || icmp_type) && !own_side || icmp_type && both {
        return None;
    }
    if !instance.statematch {
        return Some(Appearance {
            orientation,
            states: None,
        });
    }
    if let Some((listed, negated)) = listed {
        if !own_side && !both {
            return None;
        }
        // libvirt loses the sign.
        let negated = negated && semantics == Semantics::Strict;
        let states = (!(listed.is_empty() || connlimit && accept)).then(|| set_of(listed, negated));
        return Some(Appearance {
            orientation,
            states,
        });
    }
    let states = if !accept || both || connlimit {
        None
    } else if icmp_type {
        Some(set_of(CtStates::NEW | CtStates::ESTABLISHED, false))
    } else if own_side {
        Some(ValueSet::from_values(
            [CtState::New, CtState::EstablishedOriginal].map(|state| state as u64),
        ))
    } else {
        Some(ValueSet::single(CtState::EstablishedReply as u64))
    };
    Some(Appearance {
        orientation,
        states,
    })
}

/// Whether an attribute of the inet layer makes a test of an IP packet's headers, rather than of the
/// frame's MAC addresses or of the connection, or only completes another attribute.
const fn tests_header(attr: Attr) -> bool {
    matches!(
        attr,
        Attr::SrcIpAddr
            | Attr::DstIpAddr
            | Attr::SrcIpFrom
            | Attr::DstIpFrom
            | Attr::Dscp
            | Attr::SrcPortStart
            | Attr::DstPortStart
            | Attr::Flags
            | Attr::TcpOption
            | Attr::Type
            | Attr::IpSet
    )
}

/// A `state` attribute: its states, empty for `NONE`, and whether it is negated.
fn listed_states(instance: &Instance) -> Option<(CtStates, bool)> {
    let test = instance
        .tests
        .iter()
        .find(|test| test.attr == Attr::State)?;
    match test.values.first()? {
        Datum::States(states) => Some((*states, test.negated)),
        _ => None,
    }
}

/// The connection states that a list of states stands for, in any direction. No list has a name for
/// what is untracked, but a negated one matches it.
fn set_of(states: CtStates, negated: bool) -> ValueSet {
    let all = [
        (CtStates::NEW, CtState::New),
        (CtStates::ESTABLISHED, CtState::EstablishedOriginal),
        (CtStates::ESTABLISHED, CtState::EstablishedReply),
        (CtStates::RELATED, CtState::RelatedOriginal),
        (CtStates::RELATED, CtState::RelatedReply),
        (CtStates::INVALID, CtState::Invalid),
        (CtStates::empty(), CtState::Untracked),
    ];
    let wanted = all
        .into_iter()
        .filter(|(name, _)| states.intersects(*name) != negated);
    ValueSet::from_values(wanted.map(|(_, state)| state as u64))
}
