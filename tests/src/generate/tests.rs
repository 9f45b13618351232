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
use crate::judge::{Cause, Judge, Verdict};

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
        for case in cases(300, Options::new(semantics)) {
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
        for _ in 0..400 {
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
        for (number, case) in cases(800, Options::new(semantics)).into_iter().enumerate() {
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
        assert!(deciding.len() > 300, "{}", deciding.len());
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
