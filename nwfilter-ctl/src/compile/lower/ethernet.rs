//! The Ethernet layer: chains, jumps and orientation (sections 4.1 to 4.3 of the reference).

use std::{collections::BTreeMap, sync::Arc};

use nwfilter_common::{
    BRIDGE_GROUP_ADDRESS, Field, FrameDirection, LeafVerdict, TableLayer, ethertype,
};

use super::{
    Lowering, ROOT,
    conditions::{Conjunction, Orientation, Stop, conditions},
    merge, push,
};
use crate::{
    compile::{
        Entry,
        rule::{Condition, FlatRule, Outcome},
        set::ValueSet,
    },
    model::{Action, Direction, Layer},
    resolve::Instance,
};

impl Lowering<'_> {
    /// The Ethernet layer's list for one direction.
    pub(super) fn ethernet(&mut self, direction: FrameDirection) -> Result<Vec<FlatRule>, Stop> {
        let wanted = match direction {
            FrameDirection::In => Direction::In,
            FrameDirection::Out => Direction::Out,
        };
        let sorted: Vec<_> = self
            .sorted(Layer::Ethernet)
            .into_iter()
            .filter(|i| i.direction == wanted || i.direction == Direction::InOut)
            .collect();
        let (root, rest): (Vec<_>, Vec<_>) = sorted.into_iter().partition(|i| &*i.chain == ROOT);

        let mut chains: BTreeMap<Arc<str>, Vec<&Instance>> = BTreeMap::new();
        for instance in rest {
            chains
                .entry(Arc::clone(&instance.chain))
                .or_default()
                .push(instance);
        }
        // A chain has the priority of the last of its rules; equal ones go by name.
        let mut chains: Vec<_> = chains
            .into_iter()
            .map(|(name, rules)| {
                (
                    rules.last().map_or(0, |rule| rule.chain_priority),
                    name,
                    rules,
                )
            })
            .collect();
        chains.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));

        let mut rules = Vec::new();
        let mut chains = chains.into_iter().peekable();
        for instance in root {
            while let Some((_, name, members)) =
                chains.next_if(|(priority, ..)| *priority <= instance.priority)
            {
                self.chain(direction, &name, &members, &mut rules)?;
            }
            let outcome = match instance.action {
                Action::Accept | Action::Return => Outcome::Decide(LeafVerdict::Accept),
                Action::Drop | Action::Reject => Outcome::Decide(LeafVerdict::Drop),
                Action::Continue => continue,
            };
            self.rule(direction, instance, outcome, &[], &mut rules)?;
        }
        for (_, name, members) in chains {
            self.chain(direction, &name, &members, &mut rules)?;
        }
        let entry = self.entries.number(Entry::EndOfLayer(TableLayer::Ethernet));
        push(
            &mut rules,
            entry,
            Outcome::Decide(LeafVerdict::Accept),
            vec![vec![]],
        );
        Ok(rules)
    }

    /// A sub-chain, in place of the jump to it: every rule of it also has the jump's condition.
    fn chain(
        &mut self,
        direction: FrameDirection,
        name: &Arc<str>,
        members: &[&Instance],
        rules: &mut Vec<FlatRule>,
    ) -> Result<(), Stop> {
        let guard = guard(name);
        let start = rules.len();
        let mut body = Vec::new();
        for instance in members {
            let outcome = match instance.action {
                Action::Accept => Outcome::Decide(LeafVerdict::Accept),
                Action::Drop | Action::Reject => Outcome::Decide(LeafVerdict::Drop),
                // The end of the chain is only known below.
                Action::Return => Outcome::Skip(usize::MAX),
                Action::Continue => continue,
            };
            self.rule(direction, instance, outcome, &guard, &mut body)?;
        }
        let entry = self.entries.end_of_chain(name);
        push(
            &mut body,
            entry,
            Outcome::Decide(LeafVerdict::Accept),
            vec![guard],
        );
        let mut body = merge(body);
        let end = start + body.len();
        for rule in &mut body {
            if let Outcome::Skip(target) = &mut rule.outcome {
                *target = end;
            }
        }
        rules.append(&mut body);
        Ok(())
    }

    fn rule(
        &mut self,
        direction: FrameDirection,
        instance: &Instance,
        outcome: Outcome,
        guard: &[Condition],
        rules: &mut Vec<FlatRule>,
    ) -> Result<(), Stop> {
        // `inout` is written from the receiver's side.
        let swapped = instance.direction == Direction::InOut && direction == FrameDirection::Out;
        let orientation = if swapped {
            Orientation::Swapped
        } else {
            Orientation::Written
        };
        let entry = self.entries.rule(instance);
        let alternatives = conditions(instance, orientation, self.semantics, &mut self.slots)?
            .alternatives
            .into_iter()
            .map(|tests| [guard, &tests].concat())
            .collect();
        push(rules, entry, outcome, alternatives);
        Ok(())
    }
}

/// What a frame must be to enter a chain, by the prefix of the chain's name.
fn guard(chain: &str) -> Conjunction {
    let ether_type = |value: u16| {
        vec![Condition::In(
            Field::EtherType,
            ValueSet::single(u64::from(value)),
        )]
    };
    let prefixes = [
        ("ipv4", ether_type(ethertype::IPV4)),
        ("ipv6", ether_type(ethertype::IPV6)),
        ("arp", ether_type(ethertype::ARP)),
        ("rarp", ether_type(ethertype::RARP)),
        ("vlan", ether_type(ethertype::VLAN)),
        (
            "stp",
            vec![Condition::In(
                Field::DstMac,
                ValueSet::single(BRIDGE_GROUP_ADDRESS),
            )],
        ),
    ];
    prefixes
        .into_iter()
        .find(|(prefix, _)| chain.starts_with(prefix))
        .map_or_else(Vec::new, |(_, condition)| condition)
}
