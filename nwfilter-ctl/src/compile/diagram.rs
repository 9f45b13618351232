//! Decision diagrams: a first-match list becomes a graph in which each node tests one field, each
//! field is tested at most once on a way, and leaves name the deciding entry.
//!
//! The construction is that of firewall decision diagrams (Gouda and Liu, "Structured firewall
//! design", 2007): a state is what is left of the list after some tests; equal states are one node.
//! Where the diagram of a long list would grow too large, the list is cut, and the diagram of its
//! first part goes on with that of the second.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use nwfilter_common::{Field, LeafVerdict};

use super::rule::{Condition, FlatRule, Outcome, SlotTest};

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
}

/// The nodes of all diagrams of an image; a node comes after those it refers to.
#[derive(Debug, Default)]
pub(super) struct Diagram {
    pub(super) nodes: Vec<Node>,
    numbers: HashMap<Node, usize>,
}

/// What a field is tested for: the unit of which each is tested once on a way.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Subject {
    Field(Field),
    Slots(SlotTest),
}

impl Condition {
    fn subject(&self) -> Subject {
        match self {
            Self::In(field, _) => Subject::Field(*field),
            Self::Slots(test, _) => Subject::Slots(*test),
        }
    }
}

/// A rule in a state: its index in the list and which of its conditions are still open, as bits. An
/// index past the end of the part being built stands for all that follows from there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Pending {
    rule: u32,
    open: u64,
}

/// Most rules in all states of one part together; beyond, the list is cut.
const WORK_LIMIT: usize = 1_000_000;

impl Diagram {
    fn add(&mut self, node: Node) -> Target {
        let next = self.nodes.len();
        let number = *self.numbers.entry(node).or_insert_with_key(|node| {
            self.nodes.push(node.clone());
            next
        });
        Target::Node(number)
    }

    /// Adds the diagram of a list and returns its root. Each rule comes with the position that
    /// skips refer to; the last one has no conditions and decides.
    pub(super) fn build(&mut self, rules: &[(usize, FlatRule)]) -> Target {
        let mut parts = Parts {
            diagram: self,
            rules,
            ends: BTreeMap::new(),
            starts: HashMap::new(),
        };
        // From the back, so that what follows a part is known when the part is built.
        let mut end = rules.len();
        let mut size = end;
        loop {
            let start = end.saturating_sub(size);
            match parts.part(start, end) {
                Some(target) if start == 0 => return target,
                Some(target) => {
                    parts.ends.insert(start, end);
                    parts.starts.insert(start, target);
                    end = start;
                }
                None => size = (end - start).div_ceil(2),
            }
        }
    }
}

/// The parts of one list that have been built.
struct Parts<'a> {
    diagram: &'a mut Diagram,
    rules: &'a [(usize, FlatRule)],
    /// Ends of parts by their starts.
    ends: BTreeMap<usize, usize>,
    /// Diagrams of the list from a rule on.
    starts: HashMap<usize, Target>,
}

impl Parts<'_> {
    /// The diagram of the rules from `start` to before `end` and what follows; `None` if it grows
    /// too large.
    fn part(&mut self, start: usize, end: usize) -> Option<Target> {
        let mut states = States {
            parts: self,
            end,
            targets: HashMap::new(),
            work: 0,
        };
        let all = (start..end).map(|rule| states.pending(rule));
        let goto = (end < states.parts.rules.len()).then_some(Pending {
            rule: end as u32,
            open: 0,
        });
        let list = states.normalise(all.chain(goto).collect::<Vec<_>>());
        states.target(list)
    }

    /// The diagram of the list from a rule in a part that has been built on.
    fn continuation(&mut self, start: usize) -> Option<Target> {
        if let Some(target) = self.starts.get(&start) {
            return Some(*target);
        }
        let (_, &end) = self.ends.range(..=start).next_back()?;
        let target = self.part(start, end)?;
        self.starts.insert(start, target);
        Some(target)
    }
}

/// The states of one part.
struct States<'a, 'b> {
    parts: &'a mut Parts<'b>,
    end: usize,
    targets: HashMap<Vec<Pending>, Target>,
    work: usize,
}

impl States<'_, '_> {
    fn rule(&self, pending: Pending) -> &FlatRule {
        &self.parts.rules[pending.rule as usize].1
    }

    fn pending(&self, rule: usize) -> Pending {
        let conditions = self.parts.rules[rule].1.conditions.len();
        Pending {
            rule: rule as u32,
            open: (1 << conditions) - 1,
        }
    }

    fn is_goto(&self, pending: Pending) -> bool {
        pending.rule as usize >= self.end
    }

    /// The condition of a pending rule on a subject, with its bit.
    fn open_condition(&self, pending: Pending, subject: Subject) -> Option<(&Condition, u64)> {
        if self.is_goto(pending) {
            return None;
        }
        let conditions = self.rule(pending).conditions.iter().enumerate();
        conditions
            .map(|(i, condition)| (condition, 1 << i))
            .find(|(condition, bit)| pending.open & bit != 0 && condition.subject() == subject)
    }

    /// Leaves out what can no longer be reached: all behind a rule that is sure to match.
    fn normalise(&mut self, list: impl IntoIterator<Item = Pending>) -> Vec<Pending> {
        let mut normal = Vec::new();
        let mut resume = 0;
        for pending in list {
            let goto = self.is_goto(pending);
            if !goto && self.parts.rules[pending.rule as usize].0 < resume {
                continue;
            }
            if pending.open != 0 {
                normal.push(pending);
                continue;
            }
            match self.rule(pending).outcome {
                Outcome::Skip(position) if !goto => {
                    resume = position;
                    let next = self.parts.rules.partition_point(|(at, _)| *at < position);
                    if next >= self.end {
                        normal.push(Pending {
                            rule: next as u32,
                            open: 0,
                        });
                        break;
                    }
                }
                _ => {
                    normal.push(pending);
                    break;
                }
            }
        }
        self.work += normal.len();
        normal
    }

    /// The diagram of a state; `None` if there are too many.
    fn target(&mut self, list: Vec<Pending>) -> Option<Target> {
        let first = *list.first()?;
        if self.is_goto(first) {
            return self.parts.continuation(first.rule as usize);
        }
        if first.open == 0 {
            let FlatRule { entry, outcome, .. } = self.rule(first);
            return match outcome {
                Outcome::Decide(verdict) => Some(Target::Leaf(*verdict, *entry)),
                Outcome::Skip(_) => None,
            };
        }
        if let Some(target) = self.targets.get(&list) {
            return Some(*target);
        }
        if self.work > WORK_LIMIT {
            return None;
        }
        let target = match self.choose(&list) {
            Subject::Field(field) => self.split(&list, field)?,
            Subject::Slots(test) => self.slots(&list, test)?,
        };
        self.targets.insert(list, target);
        Some(target)
    }

    /// What to test next: of what the first rule tests, what most rules test, and in most ways.
    fn choose(&self, list: &[Pending]) -> Subject {
        let first = list[0];
        let conditions = &self.rule(first).conditions;
        let open = (0..conditions.len()).filter(|i| first.open & (1 << i) != 0);
        let score = |subject: Subject| {
            let tested = list
                .iter()
                .filter_map(|pending| self.open_condition(*pending, subject));
            let ways: HashSet<_> = tested.clone().map(|(condition, _)| condition).collect();
            (tested.count(), ways.len())
        };
        let mut best = conditions[first.open.trailing_zeros() as usize].subject();
        let mut best_score = (0, 0);
        for i in open {
            let subject = conditions[i].subject();
            let score = score(subject);
            if score > best_score {
                (best, best_score) = (subject, score);
            }
        }
        best
    }

    fn slots(&mut self, list: &[Pending], test: SlotTest) -> Option<Target> {
        let [yes, no] = [true, false].map(|hit| {
            let rest: Vec<Pending> =
                list.iter()
                    .filter_map(|&pending| {
                        match self.open_condition(pending, Subject::Slots(test)) {
                            Some((Condition::Slots(_, negated), bit)) => (hit != *negated)
                                .then_some(Pending {
                                    open: pending.open & !bit,
                                    ..pending
                                }),
                            _ => Some(pending),
                        }
                    })
                    .collect();
            self.normalise(rest)
        });
        let (yes, no) = (self.target(yes)?, self.target(no)?);
        if yes == no {
            return Some(yes);
        }
        Some(self.parts.diagram.add(Node::Slots(test, yes, no)))
    }

    /// Goes through the field's values from low to high, keeping the rules that hold there.
    fn split(&mut self, list: &[Pending], field: Field) -> Option<Target> {
        let mut indifferent = Vec::new();
        // What begins or ends to hold where; `true` sorts behind `false`, so ends come first.
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        let mut decided = Vec::with_capacity(list.len());
        for (i, &pending) in list.iter().enumerate() {
            let Some((Condition::In(_, set), bit)) =
                self.open_condition(pending, Subject::Field(field))
            else {
                indifferent.push(i);
                decided.push(pending);
                continue;
            };
            decided.push(Pending {
                open: pending.open & !bit,
                ..pending
            });
            for &(low, high) in set.intervals() {
                events.push((low, true, i));
                if high < field.max_value() {
                    events.push((high + 1, false, i));
                }
            }
        }
        events.sort_unstable();

        let mut bounds = Vec::new();
        let mut targets: Vec<Target> = Vec::new();
        let mut holding = BTreeSet::new();
        let mut events = events.into_iter().peekable();
        let mut at = 0;
        loop {
            while let Some((_, begins, rule)) = events.next_if(|(value, ..)| *value == at) {
                if begins {
                    holding.insert(rule);
                } else {
                    holding.remove(&rule);
                }
            }
            let here = merge_sorted(&indifferent, &holding).map(|i| decided[i]);
            let here = self.normalise(here);
            let target = self.target(here)?;
            if targets.last() != Some(&target) {
                if !targets.is_empty() {
                    bounds.push(at);
                }
                targets.push(target);
            }
            match events.peek() {
                Some((next, ..)) => at = *next,
                None => break,
            }
        }
        match targets[..] {
            [only] => Some(only),
            _ => Some(self.parts.diagram.add(Node::Split(field, bounds, targets))),
        }
    }
}

/// Both ascending sequences as one.
fn merge_sorted<'a>(
    a: &'a [usize],
    b: &'a BTreeSet<usize>,
) -> impl Iterator<Item = usize> + use<'a> {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(x), Some(y)) if x < y => a.next(),
        (_, Some(_)) => b.next(),
        (_, None) => a.next(),
    })
}
