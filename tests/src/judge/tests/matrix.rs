//! The matrix of 4.6, row by row, by effect: which frames of a flow a rule touches.

use nwfilter_ctl::model::{
    CtStates,
    Protocol::{All, Icmp, IcmpV6, Tcp, Udp},
};

use super::*;
use FrameDirection::{In, Out};
use Leg::{Back, There};

/// A packet of the flow 10.0.0.1:1000 to 10.0.0.2:2000, or back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leg {
    /// As the flow is written: source .1, port 1000.
    There,
    /// Ends exchanged.
    Back,
}

fn udp(leg: Leg) -> Vec<u8> {
    let (ends, ports) = match leg {
        There => ((1, 2), (1000, 2000)),
        Back => ((2, 1), (2000, 1000)),
    };
    out(0x0800, &ipv4(ends, 17, &wire::udp(ports.0, ports.1, b"")))
}

/// The rule under test, which matches legs `There` as written, then a rule 2 that shows where the
/// first does not match.
fn rules(tested: Instance) -> [Instance; 2] {
    let last = rule(2, Action::Reject, Direction::InOut, All).stateless();
    [tested, last]
}

fn tested(action: Action, direction: Direction) -> Instance {
    rule(1, action, direction, Udp)
        .with(Attr::SrcIpAddr, "10.0.0.1")
        .with(Attr::DstPortStart, 2000)
}

/// Which of the four (direction, leg) the rule matches with no connection known.
fn fresh(tested: &Instance) -> Vec<(FrameDirection, Leg)> {
    matched(tested, None)
}

/// The same after `before` was accepted without any rule, once in each way.
fn matched(
    tested: &Instance,
    before: Option<&[(FrameDirection, Leg)]>,
) -> Vec<(FrameDirection, Leg)> {
    let mut seen = Vec::new();
    for direction in [Out, In] {
        for leg in [There, Back] {
            let mut both = BOTH.map(|semantics| {
                let mut judge = Judge::new(&rules(tested.clone()), semantics);
                for (direction, leg) in before.unwrap_or_default() {
                    judge.learn(*direction, &udp(*leg));
                }
                let decision = judge.decide(direction, &udp(leg), 0);
                assert_eq!(decision.layer, Layer::Inet);
                by_rule(&decision) == Some(1)
            });
            both.sort_unstable();
            assert_eq!(both[0], both[1], "both semantics: {direction:?} {leg:?}");
            if both[0] {
                seen.push((direction, leg));
            }
        }
    }
    seen
}

impl Judge {
    /// Takes a frame into the connection table as if it had been accepted.
    fn learn(&mut self, direction: FrameDirection, frame: &[u8]) {
        let (v4, v6) = (self.v4.take(), self.v6.take());
        assert_eq!(self.decide(direction, frame, 0).verdict, Verdict::Accept);
        (self.v4, self.v6) = (v4, v6);
    }
}

#[test]
fn accept_by_default() {
    let leaves = tested(Action::Accept, Direction::Out);
    assert_eq!(
        fresh(&leaves),
        [(Out, There)],
        "NEW ORIGINAL only as written"
    );
    let opened = [(Out, There)];
    assert_eq!(matched(&leaves, Some(&opened)), [(Out, There), (In, Back)]);
    // The flow was opened from the other end, so the rule's own direction is a reply.
    let opened_by_peer = [(In, Back), (Out, There)];
    assert_eq!(matched(&leaves, Some(&opened_by_peer)), []);

    let enters = tested(Action::Accept, Direction::In);
    assert_eq!(fresh(&enters), [(In, There)]);
    assert_eq!(
        matched(&enters, Some(&[(In, There)])),
        [(Out, Back), (In, There)]
    );
    assert_eq!(matched(&enters, Some(&[(Out, Back), (In, There)])), []);

    let both = tested(Action::Accept, Direction::InOut);
    assert_eq!(
        fresh(&both),
        [(Out, Back), (In, There)],
        "written from the receiver"
    );
    assert_eq!(
        matched(&both, Some(&opened)),
        [(Out, Back), (In, There)],
        "no state"
    );
}

#[test]
fn accept_without_state_match() {
    let new = Datum::States(CtStates::INVALID);
    for with_state in [false, true] {
        let row = |direction| {
            let rule = tested(Action::Accept, direction).stateless();
            fresh(&if with_state {
                rule.with(Attr::State, new.clone())
            } else {
                rule
            })
        };
        assert_eq!(row(Direction::Out), [(Out, There), (In, Back)]);
        assert_eq!(row(Direction::In), [(Out, Back), (In, There)]);
        assert_eq!(row(Direction::InOut), [(Out, Back), (In, There)]);
    }
}

#[test]
fn a_list_of_states() {
    for action in [Action::Accept, Action::Drop, Action::Return] {
        let row =
            |direction, states| tested(action, direction).with(Attr::State, Datum::States(states));
        let opened = [(Out, There)];
        assert_eq!(fresh(&row(Direction::Out, CtStates::NEW)), [(Out, There)]);
        assert_eq!(fresh(&row(Direction::In, CtStates::NEW)), [(In, There)]);
        assert_eq!(
            fresh(&row(Direction::InOut, CtStates::NEW)),
            [(Out, Back), (In, There)]
        );
        assert_eq!(fresh(&row(Direction::Out, CtStates::ESTABLISHED)), []);
        let established = row(Direction::InOut, CtStates::ESTABLISHED);
        assert_eq!(
            matched(&established, Some(&opened)),
            [(Out, Back)],
            "a reply, either way"
        );
        assert_eq!(
            matched(&established, Some(&[(Out, There), (In, Back)])),
            [(Out, Back), (In, There)]
        );
        let none = |direction| fresh(&row(direction, CtStates::empty()));
        assert_eq!(none(Direction::Out), [(Out, There)]);
        assert_eq!(none(Direction::In), [(In, There)]);
        assert_eq!(none(Direction::InOut), [(Out, Back), (In, There)]);
    }
}

#[test]
fn a_negated_list_of_states_is_none_of_them_except_in_libvirt() {
    let drop =
        tested(Action::Drop, Direction::Out).without(Attr::State, Datum::States(CtStates::NEW));
    let drops = |semantics, before: &[(FrameDirection, Leg)]| {
        let mut judge = Judge::new(&rules(drop.clone()), semantics);
        for (direction, leg) in before {
            judge.learn(*direction, &udp(*leg));
        }
        by_rule(&judge.decide(Out, &udp(There), 0)) == Some(1)
    };
    let established = [(Out, There), (In, Back)];
    assert!(!drops(Semantics::Strict, &[]));
    assert!(drops(Semantics::Strict, &established));
    assert!(drops(Semantics::Libvirt, &[]), "the sign is lost");
    assert!(!drops(Semantics::Libvirt, &established));
}

#[test]
fn drop_reject_and_return_act_both_ways() {
    for action in [Action::Drop, Action::Reject, Action::Return] {
        for before in [None, Some(&[(Out, There), (In, Back)][..])] {
            let row = |direction| matched(&tested(action, direction), before);
            assert_eq!(row(Direction::Out), [(Out, There), (In, Back)]);
            assert_eq!(row(Direction::In), [(Out, Back), (In, There)]);
            assert_eq!(row(Direction::InOut), [(Out, Back), (In, There)]);
        }
    }
}

/// Which directions an ICMP rule matches of echo requests, fresh.
fn echo(semantics: Semantics, rule: &Instance) -> Vec<FrameDirection> {
    let request = wire::icmp(8, 0, [0, 1, 0, 0], b"");
    let frame = out(0x0800, &ipv4((1, 2), 1, &request));
    [Out, In]
        .into_iter()
        .filter(|direction| {
            by_rule(&decide(&rules(rule.clone()), semantics, *direction, &frame)) == Some(1)
        })
        .collect()
}

#[test]
fn icmp_with_a_type() {
    for semantics in BOTH {
        for action in [Action::Accept, Action::Drop, Action::Reject, Action::Return] {
            let typed = |direction| rule(1, action, direction, Icmp).with(Attr::Type, 8);
            assert_eq!(echo(semantics, &typed(Direction::Out)), [Out]);
            assert_eq!(echo(semantics, &typed(Direction::In)), [In]);
            assert_eq!(echo(semantics, &typed(Direction::InOut)), []);
            assert_eq!(echo(semantics, &typed(Direction::Out).stateless()), [Out]);
            assert_eq!(echo(semantics, &typed(Direction::InOut).stateless()), []);
            let new = typed(Direction::In).with(Attr::State, Datum::States(CtStates::NEW));
            assert_eq!(echo(semantics, &new), [In]);
            let invalid = typed(Direction::In).with(Attr::State, Datum::States(CtStates::INVALID));
            assert_eq!(echo(semantics, &invalid), []);
        }
        // The code alone is no type.
        let code = rule(1, Action::Drop, Direction::InOut, Icmp).with(Attr::Code, 9);
        assert_eq!(echo(semantics, &code), [Out, In]);
    }
}

#[test]
fn icmp_with_a_type_is_accepted_in_any_direction_of_its_flow() {
    let accept = rule(1, Action::Accept, Direction::Out, Icmp).with(Attr::Type, 0);
    let request = into(
        0x0800,
        &ipv4((2, 1), 1, &wire::icmp(8, 0, [0, 1, 0, 0], b"")),
    );
    let reply = out(
        0x0800,
        &ipv4((1, 2), 1, &wire::icmp(0, 0, [0, 1, 0, 0], b"")),
    );
    for semantics in BOTH {
        let mut judge = Judge::new(&rules(accept.clone()), semantics);
        assert_eq!(by_rule(&judge.decide(Out, &reply, 0)), Some(2), "INVALID");
        judge.learn(In, &request);
        assert_eq!(
            by_rule(&judge.decide(Out, &reply, 0)),
            Some(1),
            "a reply, without ctdir"
        );
    }
}

#[test]
fn a_connection_limit_stands_only_as_written() {
    let row = |action, direction| fresh(&tested(action, direction).with(Attr::ConnlimitAbove, 0));
    for action in [Action::Accept, Action::Drop, Action::Reject, Action::Return] {
        assert_eq!(row(action, Direction::Out), [(Out, There)]);
        assert_eq!(row(action, Direction::In), [(In, There)]);
        assert_eq!(row(action, Direction::InOut), [(In, There)]);
    }
    // An accept loses its state, a drop keeps it.
    let established = Datum::States(CtStates::ESTABLISHED);
    let with_state = |action| {
        tested(action, Direction::Out)
            .with(Attr::ConnlimitAbove, 0)
            .with(Attr::State, established.clone())
    };
    assert_eq!(fresh(&with_state(Action::Accept)), [(Out, There)]);
    assert_eq!(fresh(&with_state(Action::Drop)), []);
    let reply = tested(Action::Accept, Direction::Out).with(Attr::ConnlimitAbove, 0);
    assert_eq!(
        matched(&reply, Some(&[(In, Back)])),
        [(Out, There)],
        "no ctdir"
    );
}

#[test]
fn the_mac_address_is_tested_as_written_only() {
    let drops = |semantics, rule: &Instance, direction, mac| {
        let frame = wire::ethernet(PEER, mac, 0x0800, &ipv4((1, 1), 17, &wire::udp(1, 1, b"")));
        by_rule(&decide(&rules(rule.clone()), semantics, direction, &frame)) == Some(1)
    };
    for semantics in BOTH {
        let mac_only = rule(1, Action::Drop, Direction::In, Udp).with(Attr::SrcMacAddr, PEER);
        assert!(drops(semantics, &mac_only, In, PEER));
        assert!(!drops(semantics, &mac_only, In, VM));
        assert!(!drops(semantics, &mac_only, Out, PEER), "no swapped copy");
        assert!(!drops(semantics, &mac_only, Out, VM));
        let and_port = mac_only.with(Attr::SrcPortStart, 1);
        assert!(
            drops(semantics, &and_port, Out, VM),
            "a copy without the MAC test"
        );
        assert!(!drops(semantics, &and_port, In, VM));
    }
}

#[test]
fn continue_never_decides() {
    let goes_on = rule(1, Action::Continue, Direction::InOut, Tcp);
    let frame = out(0x0800, &ipv4((1, 2), 6, b"cut off"));
    for semantics in BOTH {
        let decision = decide(&rules(goes_on.clone()), semantics, Out, &frame);
        assert_eq!(by_rule(&decision), Some(2));
    }
}

#[test]
fn verdicts_of_the_layer() {
    for semantics in BOTH {
        let only = |action| {
            let decision = decide(
                &rules(tested(action, Direction::Out)),
                semantics,
                Out,
                &udp(There),
            );
            assert_eq!(decision.layer, Layer::Inet);
            (decision.verdict, by_rule(&decision))
        };
        assert_eq!(only(Action::Accept), (Verdict::Accept, Some(1)));
        assert_eq!(only(Action::Drop), (Verdict::Drop, Some(1)));
        assert_eq!(only(Action::Reject), (Verdict::Reject, Some(1)));
        assert_eq!(only(Action::Return), (Verdict::Accept, Some(1)));
        let nothing = decide(
            &[tested(Action::Drop, Direction::Out)],
            semantics,
            Out,
            &udp(Back),
        );
        assert_eq!(
            nothing,
            Decision {
                verdict: Verdict::Accept,
                layer: Layer::Inet,
                cause: Cause::EndOfLayer
            }
        );
    }
}

#[test]
fn the_layer_sees_untagged_packets_of_a_family_with_rules() {
    let v6_rules = [rule(1, Action::Drop, Direction::InOut, Protocol::AllIpv6)];
    let v4_rules = [rule(1, Action::Drop, Direction::InOut, All)];
    let v6_frame = out(0x86dd, &ipv6((1, 2), 59, b""));
    for semantics in BOTH {
        let layer = |rules: &[Instance], frame: &[u8]| {
            let decision = decide(rules, semantics, Out, frame);
            (decision.verdict, decision.layer)
        };
        assert_eq!(layer(&v4_rules, &udp(There)), (Verdict::Drop, Layer::Inet));
        assert_eq!(
            layer(&v4_rules, &v6_frame),
            (Verdict::Accept, Layer::Ethernet)
        );
        assert_eq!(layer(&v6_rules, &v6_frame), (Verdict::Drop, Layer::Inet));
        assert_eq!(
            layer(&v6_rules, &udp(There)),
            (Verdict::Accept, Layer::Ethernet)
        );
        let tagged = wire::tagged(&udp(There), 0x8100, 1);
        assert_eq!(
            layer(&v4_rules, &tagged),
            (Verdict::Accept, Layer::Ethernet)
        );
        // A rule that became nothing still makes its family one with rules.
        let nothing = [rule(1, Action::Drop, Direction::InOut, IcmpV6).with(Attr::Type, 1)];
        assert_eq!(layer(&nothing, &v6_frame), (Verdict::Accept, Layer::Inet));
    }
}

#[test]
fn rules_of_root_filters_come_first() {
    let in_chain = tested(Action::Drop, Direction::Out)
        .chain("ipv4", -700)
        .priority(-900);
    let in_root = rule(2, Action::Accept, Direction::InOut, All).priority(900);
    for semantics in BOTH {
        let decision = decide(
            &[in_chain.clone(), in_root.clone()],
            semantics,
            Out,
            &udp(There),
        );
        assert_eq!(by_rule(&decision), Some(2));
    }
}

#[test]
fn the_ethernet_layer_comes_first() {
    let ethernet = rule(7, Action::Drop, Direction::InOut, Protocol::Ip);
    for direction in [In, Out] {
        let both = [tested(Action::Reject, Direction::InOut), ethernet.clone()];
        let decision = decide(&both, Semantics::Strict, direction, &udp(Back));
        assert_eq!(
            (by_rule(&decision), decision.layer),
            (Some(7), Layer::Ethernet)
        );
    }
}
