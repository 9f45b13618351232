//! The order in which rules are looked at: sections 4.1 and 4.2 of the semantics.

use std::collections::BTreeMap;

use nwfilter_ctl::{
    model::{Direction, Layer},
    resolve::Instance,
};

use super::FrameDirection;

/// The rules of a tree sorted as 4.1 says: those of chain `root` first, then all others; inside
/// each group by priority; equal priorities in the order of the tree.
pub(super) fn sorted(instances: &[Instance]) -> Vec<&Instance> {
    let mut sorted: Vec<&Instance> = instances.iter().collect();
    sorted.sort_by_key(|instance| (&*instance.chain != ROOT, instance.priority));
    sorted
}

/// Name of the chain where everything starts.
pub(super) const ROOT: &str = "root";

/// The Ethernet layer of one direction.
#[derive(Default)]
pub(super) struct Program {
    /// The root chain.
    pub(super) root: Vec<Step>,
    /// The rules of the other chains, by name.
    pub(super) chains: BTreeMap<String, Vec<Instance>>,
}

/// One line of the root chain.
pub(super) enum Step {
    Rule(Instance),
    /// Into a chain, for frames that are of its protocol.
    Jump(String),
}

impl Program {
    /// The program of one direction: the rules for it and those for both directions.
    pub(super) fn new(sorted: &[&Instance], direction: FrameDirection) -> Self {
        let rules = sorted.iter().copied().filter(|instance| {
            instance.protocol.layer() == Layer::Ethernet
                && match instance.direction {
                    Direction::InOut => true,
                    Direction::In => direction == FrameDirection::In,
                    Direction::Out => direction == FrameDirection::Out,
                }
        });

        let mut chains: BTreeMap<String, Vec<Instance>> = BTreeMap::new();
        let mut root_rules = Vec::new();
        for rule in rules {
            if &*rule.chain == ROOT {
                root_rules.push(rule.clone());
            } else {
                chains
                    .entry(rule.chain.to_string())
                    .or_default()
                    .push(rule.clone());
            }
        }

        // A chain's priority is that of the last rule that bears its name; equal priorities go by
        // name, which is how the map lists them and the sort leaves them.
        let mut jumps: Vec<(i32, &String)> = chains
            .iter()
            .map(|(name, rules)| (rules.last().map_or(0, |rule| rule.chain_priority), name))
            .collect();
        jumps.sort_by_key(|(priority, _)| *priority);

        // A jump stands before the first root rule whose priority is not below the chain's.
        let mut root = Vec::new();
        let mut jumps = jumps.into_iter().peekable();
        for rule in root_rules {
            while let Some((_, name)) = jumps.next_if(|(priority, _)| *priority <= rule.priority) {
                root.push(Step::Jump(name.clone()));
            }
            root.push(Step::Rule(rule));
        }
        root.extend(jumps.map(|(_, name)| Step::Jump(name.clone())));
        Self { root, chains }
    }
}
