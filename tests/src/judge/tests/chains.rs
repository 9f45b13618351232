//! Chains and priorities of the Ethernet layer (4.1 to 4.3).

use nwfilter_ctl::model::Protocol::{Ip, Mac, None};

use super::*;

fn ip_frame() -> Vec<u8> {
    out(0x0800, &ipv4((1, 2), 17, &wire::udp(1, 2, b"")))
}

/// Verdict, and the rule or the chain that decided an IPv4 frame from the VM.
fn outcome(rules: &[Instance]) -> (Verdict, String) {
    let strict = decide(rules, Semantics::Strict, FrameDirection::Out, &ip_frame());
    let libvirt = decide(rules, Semantics::Libvirt, FrameDirection::Out, &ip_frame());
    assert_eq!(strict, libvirt);
    assert_eq!(strict.layer, Layer::Ethernet);
    let cause = match strict.cause {
        Cause::Rule(origin) => origin.rule.to_string(),
        Cause::EndOfChain(chain) => chain,
        Cause::EndOfLayer => "end".to_owned(),
        Cause::Missing => "missing".to_owned(),
    };
    (strict.verdict, cause)
}

fn accept(number: u32) -> Instance {
    rule(number, Action::Accept, Direction::Out, None)
}

fn dropping(number: u32) -> Instance {
    rule(number, Action::Drop, Direction::Out, None)
}

#[test]
fn verdicts_of_root() {
    let only = |action| outcome(&[rule(1, action, Direction::Out, None), dropping(2)]);
    assert_eq!(only(Action::Accept), (Verdict::Accept, "1".into()));
    assert_eq!(only(Action::Drop), (Verdict::Drop, "1".into()));
    assert_eq!(only(Action::Reject), (Verdict::Drop, "1".into()));
    assert_eq!(only(Action::Return), (Verdict::Accept, "1".into()));
    assert_eq!(only(Action::Continue), (Verdict::Drop, "2".into()));
    assert_eq!(outcome(&[]), (Verdict::Accept, "end".into()));
    let other_way = rule(1, Action::Drop, Direction::In, None);
    assert_eq!(outcome(&[other_way]), (Verdict::Accept, "end".into()));
}

#[test]
fn verdicts_of_a_chain() {
    let only = |action| {
        let first = rule(1, action, Direction::Out, None).chain("ipv4-x", -700);
        outcome(&[first, dropping(2)])
    };
    assert_eq!(only(Action::Accept), (Verdict::Accept, "1".into()));
    assert_eq!(only(Action::Drop), (Verdict::Drop, "1".into()));
    assert_eq!(only(Action::Reject), (Verdict::Drop, "1".into()));
    assert_eq!(only(Action::Return), (Verdict::Drop, "2".into()));
    assert_eq!(only(Action::Continue), (Verdict::Accept, "ipv4-x".into()));
}

#[test]
fn rules_go_by_priority_and_then_in_order() {
    assert_eq!(outcome(&[accept(1), dropping(2)]).1, "1");
    assert_eq!(outcome(&[accept(1), dropping(2).priority(499)]).1, "2");
    let inside = |number, priority| dropping(number).chain("ipv4", -700).priority(priority);
    assert_eq!(outcome(&[inside(1, 7), inside(2, 6), inside(3, 6)]).1, "2");
}

#[test]
fn a_chain_stands_before_rules_of_its_priority() {
    let chain = |priority| dropping(1).chain("ipv4", priority);
    let root = |priority| accept(2).priority(priority);
    assert_eq!(outcome(&[root(0), chain(0)]).1, "1");
    assert_eq!(outcome(&[root(-1), chain(0)]).1, "2");
    assert_eq!(outcome(&[root(900), chain(1000)]).1, "2");
    assert_eq!(outcome(&[chain(1000)]).1, "1", "after all root rules");
}

#[test]
fn chains_go_by_priority_and_then_by_name() {
    let chain = |number, name, priority| dropping(number).chain(name, priority);
    assert_eq!(
        outcome(&[chain(1, "ipv4-b", 5), chain(2, "ipv4-a", 5)]).1,
        "2"
    );
    assert_eq!(
        outcome(&[chain(1, "ipv4-b", 4), chain(2, "ipv4-a", 5)]).1,
        "1"
    );
}

#[test]
fn filters_share_a_chain_and_its_last_rule_gives_the_priority() {
    // The rule of priority 100 comes last, so the chain stands at 50, behind the root rule at 0.
    let last = dropping(1).chain("ipv4", 50).priority(100);
    let first = dropping(2).chain("ipv4", -50).priority(10);
    let root = accept(3).priority(0);
    assert_eq!(outcome(&[last.clone(), first.clone(), root.clone()]).1, "3");
    let first = first.priority(101);
    assert_eq!(outcome(&[last, first, root]).1, "1", "now at -50");
}

#[test]
fn the_other_direction_does_not_count_for_a_chain() {
    let enters = rule(1, Action::Drop, Direction::In, None)
        .chain("ipv4", 50)
        .priority(100);
    let leaves = dropping(2).chain("ipv4", -50).priority(10);
    assert_eq!(
        outcome(&[enters.clone(), leaves, accept(3).priority(0)]).1,
        "2"
    );
    assert_eq!(
        outcome(&[enters]),
        (Verdict::Accept, "end".into()),
        "no jump in this direction"
    );
}

#[test]
fn jumps_have_conditions() {
    let frames = [
        ("ipv4", ip_frame()),
        ("ipv6", out(0x86dd, &ipv6((1, 2), 59, b""))),
        ("arp", out(0x0806, &wire::Arp::default().bytes())),
        ("rarp", out(0x8035, &wire::Arp::default().bytes())),
        ("vlan", wire::tagged(&ip_frame(), 0x8100, 1)),
        (
            "stp",
            wire::ethernet(super::super::frame::BRIDGE_GROUP, VM, 3, b"abc"),
        ),
        ("other", out(0x1234, b"")),
    ];
    for chain in ["ipv4", "ipv6-x", "arp", "rarp", "vlan", "stp-1", "mac"] {
        for (name, frame) in &frames {
            let rules = [rule(1, Action::Drop, Direction::Out, Mac).chain(chain, 0)];
            let decision = decide(&rules, Semantics::Strict, FrameDirection::Out, frame);
            let enters = chain == "mac" || chain.starts_with(name);
            assert_eq!(decision.verdict == Verdict::Drop, enters, "{chain} {name}");
        }
    }
}

#[test]
fn a_rule_of_another_protocol_may_stand_in_a_chain() {
    let rules = [rule(1, Action::Drop, Direction::Out, Ip).chain("arp", 0)];
    let frame = out(0x0806, &wire::Arp::default().bytes());
    let decision = decide(&rules, Semantics::Strict, FrameDirection::Out, &frame);
    assert_eq!(decision.cause, Cause::EndOfChain("arp".into()));
}
