//! The matrix of 4.6: what a rule of the inet layer becomes in the list of either direction. No
//! packet is looked at here.

use nwfilter_ctl::{
    model::{Action, Attr, CtStates, Datum, Direction, Protocol, Semantics},
    resolve::Instance,
};

use super::{FrameDirection, connection::FlowDirection, values::Attributes};

/// What a listed rule asks of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StateTest {
    /// Nothing.
    None,
    /// It is in one of these states (or, negated, in none).
    States { states: CtStates, negated: bool },
    /// It is in one of these states and the packet goes in this direction of it.
    Directed {
        states: CtStates,
        direction: FlowDirection,
    },
}

/// The matrix of 4.6: what `rule` becomes in the list of frames in `list`, `None` if nothing.
pub(super) fn expand(
    rule: &Instance,
    list: FrameDirection,
    semantics: Semantics,
) -> Option<(bool, StateTest)> {
    use Direction::{In, InOut, Out};
    use FrameDirection as List;

    let attributes = Attributes::new(&rule.tests, semantics);
    let new_or_established = CtStates::NEW | CtStates::ESTABLISHED;

    // The rows, from the row "icmp with type" on: a rule of two kinds stands where both rows have
    // it.
    let is_icmp = matches!(rule.protocol, Protocol::Icmp | Protocol::IcmpV6);
    let has_icmp_type = is_icmp && attributes.has(Attr::Type);
    if has_icmp_type {
        match (rule.direction, list) {
            (Out, List::Out) | (In, List::In) => {}
            (Out, List::In) | (In, List::Out) | (InOut, _) => return None,
        }
    }
    let has_limit = attributes.has(Attr::ConnlimitAbove);
    if has_limit {
        match (rule.direction, list) {
            (Out, List::Out) | (In | InOut, List::In) => {}
            (Out, List::In) | (In | InOut, List::Out) => return None,
        }
    }

    let states = attributes.get(Attr::State).filter(|_| rule.statematch);
    let (swapped, state) = if let Some(test) = states {
        // `state=`, any action.
        let swapped = match (rule.direction, list) {
            (Out, List::Out) | (In | InOut, List::In) => false,
            (InOut, List::Out) => true,
            (Out, List::In) | (In, List::Out) => return None,
        };
        // The reference does not say it, but libvirt's own daemon does it: the sign is lost.
        let negated = test.negated && semantics == Semantics::Strict;
        (swapped, state_list(&test.values, negated))
    } else if rule.action == Action::Accept && rule.statematch {
        match (rule.direction, list) {
            _ if has_icmp_type => (
                false,
                StateTest::States {
                    states: new_or_established,
                    negated: false,
                },
            ),
            (Out, List::Out) | (In, List::In) => (
                false,
                StateTest::Directed {
                    states: new_or_established,
                    direction: FlowDirection::Original,
                },
            ),
            (Out, List::In) | (In, List::Out) => (
                true,
                StateTest::Directed {
                    states: CtStates::ESTABLISHED,
                    direction: FlowDirection::Reply,
                },
            ),
            (InOut, List::Out) => (true, StateTest::None),
            (InOut, List::In) => (false, StateTest::None),
        }
    } else {
        // Accept without state match; drop, reject and return.
        let swapped = match (rule.direction, list) {
            (Out, List::Out) | (In | InOut, List::In) => false,
            (Out, List::In) | (In | InOut, List::Out) => true,
        };
        (swapped, StateTest::None)
    };

    // The swapped copy has no MAC test; with no other test either, there is no copy.
    if swapped && has_mac_test(attributes) && !has_other_test(rule.protocol, attributes) {
        return None;
    }
    // A connection limit takes the place of the state of an accept.
    if has_limit && rule.action == Action::Accept {
        return Some((swapped, StateTest::None));
    }
    Some((swapped, state))
}

/// A `state=` list. Empty is `NONE`, which overrides the rest: no test.
fn state_list(values: &[Datum], negated: bool) -> StateTest {
    let mut all = CtStates::empty();
    for value in values {
        match value {
            Datum::States(states) if states.is_empty() => return StateTest::None,
            Datum::States(states) => all |= *states,
            _ => {}
        }
    }
    StateTest::States {
        states: all,
        negated,
    }
}

fn has_mac_test(attributes: Attributes<'_>) -> bool {
    attributes.has(Attr::SrcMacAddr) || attributes.has(Attr::DstMacAddr)
}

/// A test of the packet besides MAC, connection state and connection limit.
fn has_other_test(protocol: Protocol, attributes: Attributes<'_>) -> bool {
    let always = [
        Attr::SrcIpAddr,
        Attr::DstIpAddr,
        Attr::SrcIpFrom,
        Attr::DstIpFrom,
        Attr::Dscp,
        Attr::SrcPortStart,
        Attr::DstPortStart,
        Attr::Flags,
        Attr::TcpOption,
        Attr::IpSet,
    ];
    let is_icmp = matches!(protocol, Protocol::Icmp | Protocol::IcmpV6);
    always.into_iter().any(|attr| attributes.has(attr)) || is_icmp && attributes.has(Attr::Type)
}
