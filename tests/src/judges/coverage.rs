//! What generated cases have covered: which rules and decisions occurred, and for each attribute how
//! often its test was true, false, unknown, and how often the decision would have been another
//! without it. Asks the judge as anybody would; knows nothing of its inside.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use nwfilter_ctl::{
    model::{Action, Attr, Direction, Layer, Protocol, Semantics},
    resolve::Instance,
};

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
}

/// What became of an attribute's tests, on frames that its element matches.
#[derive(Clone, Copy, Debug, Default)]
struct Tested {
    holds: usize,
    fails: usize,
    unknown: usize,
    decisive: usize,
}

impl Coverage {
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

    /// Looks at the rules of a case and at what their tests say of some of its frames.
    pub fn look(&mut self, case: &Case, instances: &[Instance], semantics: Semantics) {
        const FRAMES: usize = 30;
        let decide = |rules: &[Instance], sent: &Sent| {
            Judge::new(rules, semantics).decide(sent.direction, &sent.bytes, sent.now)
        };
        let frames: Vec<(&Sent, Decision)> = case
            .frames
            .iter()
            .take(FRAMES)
            .map(|sent| (sent, decide(instances, sent)))
            .collect();
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
                .filter(|(sent, _)| {
                    applies(rule, sent.direction)
                        && says(&decide(&[alone(rule, &[])], sent)) == Some(true)
                })
                .collect();
            for (position, test) in rule.tests.iter().enumerate() {
                let tested = self.attributes.entry(test.attr).or_default();
                let family = family(rule.protocol, test.attr);
                let mut without = instances.to_vec();
                without[number].tests.remove(position);
                for (sent, decision) in &matched {
                    match says(&decide(&[alone(rule, family)], sent)) {
                        Some(true) => tested.holds += 1,
                        Some(false) => tested.fails += 1,
                        None => tested.unknown += 1,
                    }
                    let changes = decide(&without, sent) != *decision;
                    tested.decisive += usize::from(changes);
                }
            }
        }
    }

    /// The attributes, but for `exempt`, whose tests were never true, never false, or never made a
    /// difference.
    pub fn gaps(&self, exempt: &[Attr]) -> Vec<Attr> {
        let covered = |attr: &Attr| {
            self.attributes
                .get(attr)
                .is_some_and(|tested| tested.holds > 0 && tested.fails > 0 && tested.decisive > 0)
        };
        Attr::ALL
            .iter()
            .copied()
            .filter(|attr| !exempt.contains(attr) && !covered(attr))
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
            "{:22} {:>8} {:>8} {:>8} {:>8}",
            "attributes", "true", "false", "unknown", "decisive"
        )?;
        for (attr, tested) in &self.attributes {
            let Tested {
                holds,
                fails,
                unknown,
                decisive,
            } = tested;
            writeln!(
                f,
                "  {:20} {holds:8} {fails:8} {unknown:8} {decisive:8}",
                attr.as_str()
            )?;
        }
        Ok(())
    }
}
