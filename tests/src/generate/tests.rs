//! Tests of the generators: what they make is valid, complete, and decides frames in every way.
//! The same cases on every run.

use std::collections::{BTreeMap, BTreeSet};

use nwfilter_ctl::{
    model::{Action, Attr, Direction, Entry, Layer, Protocol, Semantics},
    parse::{attributes, parse_filter},
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use super::*;
use crate::judge::{Cause, FrameDirection, Judge, Verdict};

const BOTH: [Semantics; 2] = [Semantics::Strict, Semantics::Libvirt];

fn cases(count: usize, options: Options) -> Vec<Case> {
    let mut runner = TestRunner::deterministic();
    let strategy = case(options);
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

fn everything(semantics: Semantics) -> Options {
    Options {
        ignored_combinations: true,
        continue_in_inet: true,
        sets: true,
        ..Options::new(semantics)
    }
}

#[test]
fn documents_are_valid_and_resolve() {
    for semantics in BOTH {
        for case in cases(150, Options::new(semantics)) {
            let instances = case.resolve(semantics);
            assert!(instances.is_ok(), "{:#}\n{case}", instances.unwrap_err());
        }
    }
}

#[test]
fn every_attribute_of_every_element_appears_in_both_signs() {
    // (element, attribute, negated) as written, before anything takes another sign.
    let mut seen: BTreeSet<(Protocol, Attr, bool)> = BTreeSet::new();
    let mut actions = BTreeSet::new();
    let mut runner = TestRunner::deterministic();
    let rules = rule::Rules::new(true, everything(Semantics::Strict));
    for element in Protocol::ALL {
        let rules = rules.of_element(*element);
        for _ in 0..600 {
            let rule = rules.new_tree(&mut runner).unwrap().current();
            let xml = format!("<filter name='x'>{rule}</filter>");
            let (document, found) = parse_filter(&xml, Semantics::Strict);
            let document = document.unwrap_or_else(|| panic!("{found:?}\n{xml}"));
            let [Entry::Rule(rule)] = document.entries.as_slice() else {
                panic!("{xml}")
            };
            assert_eq!(rule.protocol, *element, "{xml}");
            actions.insert((
                rule.protocol.layer(),
                rule.action as u8,
                rule.direction as u8,
                rule.statematch,
            ));
            for attribute in &rule.attributes {
                seen.insert((rule.protocol, attribute.attr, attribute.negated));
            }
        }
    }
    let mut unseen = Vec::new();
    for element in Protocol::ALL {
        for spec in attributes(*element) {
            for negated in [false, true] {
                if !seen.contains(&(*element, spec.attr, negated)) {
                    unseen.push((element.as_str(), spec.attr.as_str(), negated));
                }
            }
        }
    }
    assert!(unseen.is_empty(), "never generated: {unseen:?}");
    let combinations = [
        Action::Accept,
        Action::Drop,
        Action::Reject,
        Action::Return,
        Action::Continue,
    ]
    .len()
        * [Direction::In, Direction::Out, Direction::InOut].len();
    assert_eq!(actions.len(), 2 * 2 * combinations);
}

/// How often each kind of decision is taken, and how many rules decide.
#[test]
fn decisions_are_of_every_kind() {
    for semantics in BOTH {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        let mut frames = 0;
        let mut deciding = BTreeSet::new();
        for (number, case) in cases(300, Options::new(semantics)).into_iter().enumerate() {
            let instances = case.resolve(semantics).unwrap();
            let mut judge = Judge::new(&instances, semantics);
            for frame in &case.frames {
                let decision = judge.decide(frame.direction, &frame.bytes, frame.now);
                let cause = match &decision.cause {
                    Cause::Rule(origin) => {
                        deciding.insert((number, origin.clone()));
                        "rule"
                    }
                    Cause::EndOfChain(_) => "end of chain",
                    Cause::EndOfLayer => "end of layer",
                    Cause::Missing => "missing",
                };
                let kind = format!("{:?} {:?} {cause}", decision.verdict, decision.layer);
                *kinds.entry(kind).or_default() += 1;
                frames += 1;
            }
        }
        let expected = [
            (Verdict::Accept, Layer::Ethernet, "rule", 30),
            (Verdict::Accept, Layer::Ethernet, "end of chain", 100),
            (Verdict::Accept, Layer::Ethernet, "end of layer", 30),
            (Verdict::Accept, Layer::Inet, "rule", 100),
            (Verdict::Accept, Layer::Inet, "end of layer", 30),
            (Verdict::Drop, Layer::Ethernet, "rule", 10),
            (Verdict::Drop, Layer::Ethernet, "missing", 300),
            (Verdict::Drop, Layer::Inet, "rule", 100),
            (Verdict::Drop, Layer::Inet, "missing", 500),
            (Verdict::Reject, Layer::Inet, "rule", 100),
        ];
        assert_eq!(kinds.len(), expected.len(), "{kinds:#?}");
        for (verdict, layer, cause, one_in) in expected {
            let count = kinds[&format!("{verdict:?} {layer:?} {cause}")];
            assert!(
                count * one_in >= frames,
                "{verdict:?} {layer:?} {cause}: {count} of {frames}\n{kinds:#?}"
            );
        }
        assert!(deciding.len() > 150, "{}", deciding.len());
    }
}

type Kind<'a> = (&'a str, &'a dyn Fn(&[u8]) -> bool);

#[test]
fn frames_are_of_every_kind() {
    let at = |frame: &[u8], at: usize| frame.get(at).copied().unwrap_or(0);
    let ethertype = |frame: &[u8]| u16::from_be_bytes([at(frame, 12), at(frame, 13)]);
    let v4 = |frame: &[u8]| ethertype(frame) == 0x0800 && frame.len() >= 34;
    let v6 = |frame: &[u8]| ethertype(frame) == 0x86dd && frame.len() >= 54;
    let offset = |frame: &[u8]| u16::from_be_bytes([at(frame, 20), at(frame, 21)]);
    let kinds: &[Kind<'_>] = &[
        ("shorter than the Ethernet header", &|f| f.len() < 14),
        ("802.3", &|f| f.len() >= 14 && ethertype(f) < 0x600),
        ("ARP", &|f| ethertype(f) == 0x0806 && f.len() >= 42),
        ("truncated ARP", &|f| ethertype(f) == 0x0806 && f.len() < 42),
        ("RARP", &|f| ethertype(f) == 0x8035),
        ("ARP of another layout", &|f| {
            ethertype(f) == 0x0806 && at(f, 18) == 8
        }),
        ("BPDU", &|f| f.get(14..19) == Some(&[0x42, 0x42, 3, 0, 0])),
        ("tagged BPDU", &|f| {
            f.get(18..23) == Some(&[0x42, 0x42, 3, 0, 0])
        }),
        ("tag", &|f| ethertype(f) == 0x8100),
        ("service tag", &|f| ethertype(f) == 0x88a8),
        ("two tags", &|f| ethertype(f) == 0x8100 && at(f, 16) == 0x81),
        ("unknown ethertype", &|f| ethertype(f) == 0x1234),
        ("IPv4 TCP", &|f| v4(f) && at(f, 23) == 6),
        ("IPv4 UDP", &|f| v4(f) && at(f, 23) == 17),
        ("IPv4 ICMP", &|f| v4(f) && at(f, 23) == 1),
        ("ICMP error with a packet", &|f| {
            v4(f) && at(f, 23) == 1 && at(f, 34) == 3 && f.len() > 60
        }),
        ("IPv4 SCTP", &|f| v4(f) && at(f, 23) == 132),
        ("IPv4 other", &|f| v4(f) && at(f, 23) == 47),
        ("IPv4 options", &|f| v4(f) && at(f, 14) == 0x4f),
        ("IPv4 first fragment", &|f| v4(f) && offset(f) == 0x2000),
        ("IPv4 later fragment", &|f| v4(f) && offset(f) & 0x1fff != 0),
        ("IPv4 wrong version", &|f| v4(f) && at(f, 14) >> 4 != 4),
        ("truncated IPv4", &|f| {
            ethertype(f) == 0x0800 && f.len() < 34
        }),
        ("IPv4 cut in the transport header", &|f| {
            v4(f) && at(f, 23) == 6 && f.len() < 54
        }),
        ("IPv6 TCP", &|f| v6(f) && at(f, 20) == 6),
        ("ICMPv6", &|f| v6(f) && at(f, 20) == 58),
        ("neighbour discovery", &|f| {
            v6(f) && at(f, 20) == 58 && at(f, 54) == 135
        }),
        ("IPv6 hop-by-hop", &|f| v6(f) && at(f, 20) == 0),
        ("IPv6 fragment", &|f| {
            v6(f) && at(f, 20) == 44 && at(f, 56) == 0
        }),
        ("IPv6 later fragment", &|f| {
            v6(f) && at(f, 20) == 44 && at(f, 57) & 0xf8 != 0
        }),
        ("IPv6 no next header", &|f| v6(f) && at(f, 20) == 59),
        ("IPv6 nine extension headers", &|f| {
            v6(f)
                && (0..9).all(|n| at(f, 54 + 8 * n) == 60 || n == 8 && at(f, 54 + 64) != 0)
                && at(f, 20) == 60
        }),
        ("truncated IPv6", &|f| {
            ethertype(f) == 0x86dd && f.len() < 54
        }),
        ("DHCP request", &|f| {
            v4(f) && f.get(34..38) == Some(&[0, 68, 0, 67])
        }),
    ];
    let mut counts = vec![0; kinds.len()];
    let (mut pauses, mut total) = (0, 0);
    let mut runner = TestRunner::deterministic();
    let strategy = frames(Options::new(Semantics::Strict));
    for _ in 0..1500 {
        let sequence = strategy.new_tree(&mut runner).unwrap().current();
        pauses += sequence
            .windows(2)
            .filter(|pair| pair[0].now < pair[1].now)
            .count();
        assert!(sequence.is_sorted_by_key(|frame| frame.now));
        total += sequence.len();
        for frame in &sequence {
            for ((_, is), count) in kinds.iter().zip(&mut counts) {
                *count += usize::from(is(&frame.bytes));
            }
        }
    }
    let rare: Vec<_> = kinds
        .iter()
        .zip(&counts)
        .filter(|(_, count)| **count < 3)
        .collect();
    let rare: Vec<_> = rare
        .iter()
        .map(|((name, _), count)| (name, count))
        .collect();
    assert!(rare.is_empty(), "of {total} frames: {rare:?}");
    assert!(pauses > 50, "{pauses}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// No frame, however wrong, is too much for the judge, and it judges it alike every time.
    #[test]
    fn judgement_is_total_and_repeatable(
        case in case(Options::new(Semantics::Libvirt)),
        junk in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for semantics in BOTH {
            let Ok(instances) = case.resolve(semantics) else { continue };
            let judge = || {
                let mut judge = Judge::new(&instances, semantics);
                let mut decide = |direction, bytes: &[u8], now| judge.decide(direction, bytes, now);
                let mut decisions: Vec<_> = case
                    .frames
                    .iter()
                    .map(|frame| decide(frame.direction, &frame.bytes, frame.now))
                    .collect();
                decisions.push(decide(FrameDirection::In, &junk, u64::MAX / 2));
                decisions
            };
            prop_assert_eq!(judge(), judge());
        }
    }
}

#[test]
fn options_are_kept() {
    let without = Options {
        inet: false,
        limits: false,
        time: false,
        frames: 3,
        ..Options::new(Semantics::Strict)
    };
    for case in cases(60, without) {
        assert!(case.frames.len() <= 3);
        assert!(
            case.frames
                .windows(2)
                .all(|pair| pair[0].now == pair[1].now)
        );
        let instances = case.resolve(Semantics::Strict).unwrap();
        assert!(
            instances
                .iter()
                .all(|instance| instance.protocol.layer() == Layer::Ethernet)
        );
    }
    let inet = Options {
        inet: true,
        ..without
    };
    assert!(
        cases(60, inet)
            .iter()
            .all(|case| !case.to_string().contains("connlimit"))
    );
}

#[test]
fn cases_are_read_back() {
    for case in cases(40, Options::new(Semantics::Libvirt)) {
        assert_eq!(case.to_string().parse::<Case>().unwrap(), case);
    }
    let comment = format!("# why\n\n{}", cases(1, Options::new(Semantics::Strict))[0]);
    assert!(comment.parse::<Case>().is_ok());
    for wrong in [
        "",
        "<filterbinding>",
        "<filterbinding></filterbinding>\nup 1 00",
    ] {
        assert!(wrong.parse::<Case>().is_err(), "{wrong}");
    }
    for (frame, error) in [
        ("in 1 0", "pairs"),
        ("in 1 0g", "hexadecimal"),
        ("in x 00", "seconds"),
        ("in 1", "direction"),
    ] {
        let text = format!("<filterbinding></filterbinding>\n{frame}");
        let found = format!("{:#}", text.parse::<Case>().unwrap_err());
        assert!(
            found.starts_with("line 2: ") && found.contains(error),
            "{found}"
        );
    }
}

#[test]
fn cases_shrink_to_something_small() {
    let mut runner = TestRunner::deterministic();
    let strategy = case(Options::new(Semantics::Strict));
    let mut tree = strategy.new_tree(&mut runner).unwrap();
    // The failure: any case with a frame. Nothing else is needed for it.
    let fails = |case: &Case| !case.frames.is_empty();
    while fails(&tree.current()) && tree.simplify() || tree.complicate() {}
    let case = tree.current();
    assert_eq!(case.frames.len(), 1, "{case}");
    assert_eq!(case.filters.len(), 1, "{case}");
    assert!(!case.filters[0].xml.contains("<rule"), "{case}");
}

#[test]
fn rules_can_be_left_out() {
    for case in cases(10, everything(Semantics::Strict)) {
        let rules = case.rules();
        for rule in 0..rules {
            let other = case.without_rule(rule);
            assert_eq!(other.rules(), rules - 1);
            other.resolve(Semantics::Strict).unwrap();
        }
        assert!(case.without_rule(rules) == case);
    }
}
