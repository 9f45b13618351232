//! What generated cases have covered: which rules and decisions occurred, and for each attribute how
//! often its test was true, false, unknown, and how many decisions would have been others without
//! it; the same for what a rule has besides attributes. Asks the judge as anybody would; knows
//! nothing of its inside.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use nwfilter_ctl::{
    model::{Action, Attr, CtStates, Datum, Direction, Layer, Protocol, Semantics},
    resolve::Instance,
};

use super::sets::Naive;
use crate::{
    generate::{Case, Sent},
    judge::{Cause, Decision, FrameDirection, Judge},
};

/// Counts.
#[derive(Debug, Default)]
pub struct Coverage {
    frames: usize,
    decisions: BTreeMap<String, usize>,
    rules: BTreeMap<String, usize>,
    elements: BTreeMap<Protocol, usize>,
    attributes: BTreeMap<Attr, Tested>,
    /// What else made a difference, and on how many frames.
    features: BTreeMap<String, usize>,
}

/// What became of an attribute's tests: how they ended on frames that the element matches, each by
/// itself, and how many frames of the sequences were decided by them.
#[derive(Clone, Copy, Debug, Default)]
struct Tested {
    holds: usize,
    fails: usize,
    unknown: usize,
    decisive: usize,
    /// Of tests with `match='no'`.
    negated: usize,
}

/// What must have made a difference, besides attributes.
const FEATURES: [&str; 10] = [
    "statematch",
    "state NEW",
    "state ESTABLISHED",
    "state RELATED",
    "state INVALID",
    "state NONE",
    "state, several",
    "variable",
    Coverage::NEGATED_LIST,
    "chains of equal priority",
];

impl Coverage {
    /// A negated variable that stands for several values at once: only where rules mean what they say.
    pub const NEGATED_LIST: &str = "variable, several values negated";

    /// Counts a decided frame.
    pub fn decided(&mut self, sent: &Sent, decision: &Decision) {
        let cause = match decision.cause {
            Cause::Rule(_) => "rule",
            Cause::EndOfChain(_) => "end of chain",
            Cause::EndOfLayer => "end of layer",
            Cause::Missing => "missing header",
        };
        let Decision { verdict, layer, .. } = decision;
        let kind = format!("{:?} {layer:?} {verdict:?}, {cause}", sent.direction);
        *self.decisions.entry(kind).or_default() += 1;
        self.frames += 1;
    }

    /// Looks at the rules of a case and at what they make of some of its frames.
    pub fn look(&mut self, case: &Case, instances: &[Instance], semantics: Semantics) {
        const FRAMES: usize = 30;
        let frames = &case.frames[..case.frames.len().min(FRAMES)];
        let judge = |rules: &[Instance]| Judge::with_sets(rules, semantics, Box::new(Naive));
        let all = |rules: &[Instance]| -> Vec<Decision> {
            let mut judge = judge(rules);
            let decided = frames
                .iter()
                .map(|sent| judge.decide(sent.direction, &sent.bytes, sent.now));
            decided.collect()
        };
        let decided = all(instances);
        // How many frames are decided differently by rules that have been changed.
        let differ = |change: &dyn Fn(&mut [Instance])| {
            let mut changed = instances.to_vec();
            change(&mut changed);
            let others = all(&changed);
            decided.iter().zip(&others).filter(|(a, b)| a != b).count()
        };
        let matches = |rule: &Instance, attributes: &[Attr], sent: &Sent| {
            says(&judge(&[alone(rule, attributes)]).decide(sent.direction, &sent.bytes, sent.now))
        };
        let mut names = BTreeSet::new();
        for (number, rule) in instances.iter().enumerate() {
            if !names.insert(&rule.origin) {
                continue;
            }
            let Instance {
                action,
                direction,
                protocol,
                ..
            } = rule;
            let kind = format!("{:?} {action:?} {direction:?}", protocol.layer());
            *self.rules.entry(kind).or_default() += 1;
            *self.elements.entry(*protocol).or_default() += 1;
            if *action == Action::Continue {
                continue;
            }
            let matched: Vec<_> = frames
                .iter()
                .filter(|sent| {
                    applies(rule, sent.direction) && matches(rule, &[], sent) == Some(true)
                })
                .collect();
            for (position, test) in rule.tests.iter().enumerate() {
                let family = family(*protocol, test.attr);
                let decisive = differ(&|rules| {
                    rules[number].tests.remove(position);
                });
                let tested = self.attributes.entry(test.attr).or_default();
                for sent in &matched {
                    match matches(rule, family, sent) {
                        Some(true) => tested.holds += 1,
                        Some(false) => tested.fails += 1,
                        None => tested.unknown += 1,
                    }
                }
                tested.decisive += decisive;
                tested.negated += usize::from(test.negated) * decisive;
                let several = test.negated && test.values.len() > 1;
                let variable = test.variable.as_ref().map(|_| "variable");
                let several = several.then_some(Self::NEGATED_LIST);
                let features = [variable, several].into_iter().flatten();
                for feature in features.chain(test.values.iter().filter_map(state)) {
                    *self.features.entry(feature.to_owned()).or_default() += decisive;
                }
            }
            if !rule.statematch {
                let decisive = differ(&|rules| rules[number].statematch = true);
                *self.features.entry("statematch".to_owned()).or_default() += decisive;
            }
        }
        let chains: BTreeSet<_> = instances
            .iter()
            .filter(|rule| &*rule.chain != "root")
            .map(|rule| (rule.chain_priority, &rule.chain))
            .collect();
        for (first, second) in chains.iter().zip(chains.iter().skip(1)) {
            if first.0 == second.0 {
                let decisive = differ(&|rules| {
                    let second = rules.iter_mut().filter(|rule| rule.chain == *second.1);
                    second.for_each(|rule| rule.chain_priority -= 1);
                });
                let feature = "chains of equal priority".to_owned();
                *self.features.entry(feature).or_default() += decisive;
            }
        }
    }

    /// The attributes, but for `exempt`, whose tests were never true, never false, or never made a
    /// difference, and those that never did when negated; and what else never made one.
    pub fn gaps(&self, exempt: &[Attr]) -> Vec<String> {
        let attributes = Attr::ALL.iter().filter(|attr| !exempt.contains(attr));
        let attributes = attributes.filter_map(|attr| {
            let tested = self.attributes.get(attr).copied().unwrap_or_default();
            let covered = tested.holds > 0 && tested.fails > 0 && tested.decisive > 0;
            match (covered, tested.negated) {
                (true, 1..) => None,
                (true, 0) => Some(format!("{}, negated", attr.as_str())),
                (false, _) => Some(attr.as_str().to_owned()),
            }
        });
        let features = FEATURES
            .iter()
            .filter(|feature| self.features.get(**feature).is_none_or(|count| *count == 0));
        attributes
            .chain(features.map(ToString::to_string))
            .collect()
    }

    /// The elements and the kinds of rules (layer, action, direction) that never occurred.
    pub fn missing_rules(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for layer in [Layer::Ethernet, Layer::Inet] {
            for action in [
                Action::Accept,
                Action::Drop,
                Action::Reject,
                Action::Return,
                Action::Continue,
            ] {
                for direction in [Direction::In, Direction::Out, Direction::InOut] {
                    let kind = format!("{layer:?} {action:?} {direction:?}");
                    if !self.rules.contains_key(&kind) {
                        missing.push(kind);
                    }
                }
            }
        }
        for element in Protocol::ALL {
            if !self.elements.contains_key(element) {
                missing.push(element.as_str().to_owned());
            }
        }
        missing
    }
}

/// Whether a rule stands in the list of a direction as it is written, more or less.
fn applies(rule: &Instance, direction: FrameDirection) -> bool {
    match rule.direction {
        Direction::InOut => true,
        Direction::In => direction == FrameDirection::In,
        Direction::Out => direction == FrameDirection::Out,
    }
}

/// A rule that drops what the element and these attributes match.
fn alone(rule: &Instance, attributes: &[Attr]) -> Instance {
    let mut alone = rule.clone();
    alone.tests.retain(|test| attributes.contains(&test.attr));
    alone.action = Action::Drop;
    alone.chain = "root".into();
    alone.statematch = rule.statematch && attributes.contains(&Attr::State);
    alone
}

/// The feature that a value of `state` is.
fn state(value: &Datum) -> Option<&'static str> {
    let Datum::States(states) = value else {
        return None;
    };
    Some(match *states {
        CtStates::NEW => "state NEW",
        CtStates::ESTABLISHED => "state ESTABLISHED",
        CtStates::RELATED => "state RELATED",
        CtStates::INVALID => "state INVALID",
        states if states.is_empty() => "state NONE",
        _ => "state, several",
    })
}

/// Whether the only rule matches; `None` if nobody can say.
fn says(decision: &Decision) -> Option<bool> {
    match decision.cause {
        Cause::Rule(_) => Some(true),
        Cause::EndOfLayer | Cause::EndOfChain(_) => Some(false),
        Cause::Missing => None,
    }
}

/// The attributes that make one test together with this one.
fn family(element: Protocol, attr: Attr) -> &'static [Attr] {
    use Attr as A;
    const FAMILIES: &[&[Attr]] = &[
        &[A::SrcMacAddr, A::SrcMacMask],
        &[A::DstMacAddr, A::DstMacMask],
        &[A::RootPriority, A::RootPriorityHi],
        &[A::RootAddress, A::RootAddressMask],
        &[A::RootCost, A::RootCostHi],
        &[A::SenderPriority, A::SenderPriorityHi],
        &[A::SenderAddress, A::SenderAddressMask],
        &[A::Port, A::PortHi],
        &[A::Age, A::AgeHi],
        &[A::MaxAge, A::MaxAgeHi],
        &[A::HelloTime, A::HelloTimeHi],
        &[A::ForwardDelay, A::ForwardDelayHi],
        &[A::ArpSrcIpAddr, A::ArpSrcIpMask],
        &[A::ArpDstIpAddr, A::ArpDstIpMask],
        &[A::SrcIpAddr, A::SrcIpMask],
        &[A::DstIpAddr, A::DstIpMask],
        &[A::SrcIpFrom, A::SrcIpTo],
        &[A::DstIpFrom, A::DstIpTo],
        &[A::SrcPortStart, A::SrcPortEnd, A::IpProtocol],
        &[A::DstPortStart, A::DstPortEnd, A::IpProtocol],
        &[A::Type, A::TypeEnd, A::Code, A::CodeEnd, A::IpProtocol],
        &[A::IpSet, A::IpSetFlags],
    ];
    const ONE: &[Attr] = Attr::ALL;
    let position = ONE.iter().position(|one| *one == attr).unwrap_or(0);
    let alone = &ONE[position..=position];
    let ranges_of_stp = element == Protocol::Stp && matches!(attr, A::Type | A::Flags);
    if attr == A::IpProtocol || ranges_of_stp {
        return alone;
    }
    let found = FAMILIES.iter().find(|family| family.contains(&attr));
    found.copied().unwrap_or(alone)
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} frames", self.frames)?;
        for (kind, count) in &self.decisions {
            writeln!(f, "  {kind:50} {count:8}")?;
        }
        writeln!(f, "rules")?;
        for (kind, count) in &self.rules {
            writeln!(f, "  {kind:50} {count:8}")?;
        }
        writeln!(f, "elements")?;
        for (element, count) in &self.elements {
            writeln!(f, "  {:50} {count:8}", element.as_str())?;
        }
        writeln!(
            f,
            "{:22} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "attributes", "true", "false", "unknown", "decisive", "negated"
        )?;
        for (attr, tested) in &self.attributes {
            let Tested {
                holds,
                fails,
                unknown,
                decisive,
                negated,
            } = tested;
            writeln!(
                f,
                "  {:20} {holds:8} {fails:8} {unknown:8} {decisive:8} {negated:8}",
                attr.as_str()
            )?;
        }
        writeln!(f, "decisive besides")?;
        for (feature, count) in &self.features {
            writeln!(f, "  {feature:50} {count:8}")?;
        }
        Ok(())
    }
}
