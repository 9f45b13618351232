//! Diagrams: a first-match list becomes a graph whose nodes take tests, and whose leaves name the
//! deciding entry. Here are the nodes, and which construction a list gets: an exact diagram (`exact`) if
//! that is small enough, otherwise a tree (`tree`). Knows no words; `encode` makes them.

use std::collections::HashMap;

use nwfilter_common::{Field, LeafVerdict, ROW_RULES};

use super::{
    exact,
    rule::{BitTest, FlatRule, LimitTest, SetTest, SlotTest},
    state::List,
    tree,
};

/// Where a test leads.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Target {
    /// A node, by index into [`Diagram::nodes`].
    Node(usize),
    /// A verdict and the entry that decided.
    Leaf(LeafVerdict, u32),
}

/// A node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Node {
    /// By the field's value: the first target up to before the first bound, and so on. One more
    /// target than bounds; neighbouring targets differ.
    Split(Field, Vec<u64>, Vec<Target>),
    /// By a comparison with slots: yes, no.
    Slots(SlotTest, Target, Target),
    /// By a bit: yes, no.
    Bit(BitTest, Target, Target),
    /// By a connection limit: above, not above.
    Limit(LimitTest, Target, Target),
    /// By an address set: in it, not in it.
    Set(SetTest, Target, Target),
    /// By several fields at once: the first rule whose bit is in the rows of all of them, or none.
    Rows(Vec<Rows>, Vec<Target>),
}

/// One field of a [`Node::Rows`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Rows {
    pub(super) field: Field,
    /// As in [`Node::Split`].
    pub(super) bounds: Vec<u64>,
    /// Which rules hold between the bounds, a bit for each, and one for "none".
    pub(super) rows: Vec<u64>,
}

/// The nodes of all diagrams of an image; a node comes after those it refers to.
#[derive(Debug, Default)]
pub(super) struct Diagram {
    pub(super) nodes: Vec<Node>,
    numbers: HashMap<Node, usize>,
}

/// How large diagrams may grow: large ones are faster to walk, small ones take less memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Effort {
    /// Most rules in all states of an exact diagram together, for a short list.
    work: usize,
    /// How many times the rules of a tree may be there, on the average.
    pub(super) copies: usize,
    /// Most rules of bit rows.
    pub(super) rows: usize,
}

impl Effort {
    /// What to try, one after the other.
    pub(super) const USUAL: &[Self] = &[
        Self::new(0),
        Self::new(2),
        Self::new(4),
        Self::new(6),
        Self::new(8),
    ];
    /// For tests: trees and rows for the shortest lists.
    pub(super) const TREES: &[Self] = &[Self {
        work: 0,
        copies: 8,
        rows: 4,
    }];

    const fn new(less: u32) -> Self {
        Self {
            work: 50_000 >> less,
            copies: 1 + (256 >> less),
            rows: ROW_RULES,
        }
    }

    /// Most work for the exact diagram of a list of so many rules. One about a single field needs a few for
    /// each rule.
    const fn exact(self, rules: usize) -> usize {
        match self.work {
            0 => 0,
            work => work + 16 * rules,
        }
    }

    /// The same where bit rows would do: as long as it takes no more time and memory than those.
    pub(super) const fn instead_of_rows(self, rules: usize) -> usize {
        match self.work {
            0 => 0,
            _ => 4 * rules + 16,
        }
    }
}

impl Diagram {
    /// Adds a node, unless there is an equal one.
    pub(super) fn add(&mut self, node: Node) -> Target {
        let next = self.nodes.len();
        let number = *self.numbers.entry(node).or_insert_with_key(|node| {
            self.nodes.push(node.clone());
            next
        });
        Target::Node(number)
    }

    /// Takes nodes away again, those from a number on.
    pub(super) fn truncate(&mut self, length: usize) {
        for node in self.nodes.drain(length..) {
            self.numbers.remove(&node);
        }
    }

    /// Adds the diagram of a list and returns its root. Each rule comes with the position that
    /// skips refer to; the last one has no conditions and decides.
    pub(super) fn build(&mut self, rules: &[(usize, FlatRule)], effort: Effort) -> Target {
        let mut list = List::new(self, rules);
        if let Some(target) = exact::part(&mut list, 0, effort.exact(rules.len())) {
            return target;
        }
        // A list that is cut is cut where skips lead; from the back, so that what follows a part is
        // known when the part is built.
        loop {
            let start = list.landing_before_end();
            let limit = effort.exact(list.end - start);
            let target = match exact::part(&mut list, start, limit) {
                Some(target) => target,
                None => tree::part(&mut list, start, effort),
            };
            if start == 0 {
                return target;
            }
            list.end_at(start, target);
        }
    }
}
