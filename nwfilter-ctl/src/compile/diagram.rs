//! Decision diagrams: a first-match list becomes a graph in which each node tests one field, each
//! field is tested at most once on a way, and leaves name the deciding entry.
//!
//! The construction is that of firewall decision diagrams (Gouda and Liu, "Structured firewall
//! design", 2007): a state is what is left of the list after some tests; equal states are one node.
//! Where the diagram of a long list would grow too large, the list is cut, and the diagram of its
//! first part goes on with that of the second.

use std::collections::{BTreeSet, HashMap};

use nwfilter_common::{Field, LeafVerdict};

use super::rule::{BitTest, Condition, FlatRule, LimitTest, Outcome, SetTest, SlotTest};

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
    Bit(BitTest),
    Limit(LimitTest),
    Set(SetTest),
}

impl Condition {
    fn subject(&self) -> Subject {
        match self {
            Self::In(field, _) => Subject::Field(*field),
            Self::Slots(test, _) => Subject::Slots(*test),
            Self::Bit(test, _) => Subject::Bit(*test),
            Self::Limit(test, _) => Subject::Limit(*test),
            Self::Set(test, _) => Subject::Set(*test),
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

/// How large the diagram of a part may grow before the list is cut: large ones are faster to walk,
/// small ones take less memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Effort(u32);

impl Effort {
    /// What to try for lists of up to so many rules, one after the other.
    pub(super) fn for_lists(rules: usize) -> impl Iterator<Item = Self> {
        /// Unlike rules in longer lists need more memory than an image may have.
        const LONG: usize = 2_000;
        [0, 3, 6, 9]
            .into_iter()
            .skip(usize::from(rules > LONG))
            .map(Self)
    }

    /// Most rules in all states of a part of so many rules together. A list of rules about one field
    /// needs a few for each rule.
    const fn work_limit(self, rules: usize) -> usize {
        match rules {
            // Its diagram is a chain of its conditions.
            1 => usize::MAX,
            _ => (50_000 >> self.0) + 16 * rules,
        }
    }
}

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
    pub(super) fn build(&mut self, rules: &[(usize, FlatRule)], effort: Effort) -> Target {
        let mut parts = Parts::new(self, rules, effort);
        // From the back, so that what follows a part is known when the part is built. A list that is
        // cut is also cut where skips lead.
        let mut end = rules.len();
        let mut size = end;
        loop {
            let whole = size == rules.len();
            let skipped_to = parts.landings.range(..end).next_back().copied();
            let first = if whole { 0 } else { skipped_to.unwrap_or(0) };
            let start = end.saturating_sub(size).max(first);
            match parts.part(start, end) {
                Some(target) if start == 0 => return target,
                Some(target) => {
                    parts.starts.insert(start, target);
                    end = start;
                }
                None => size = (end - start).div_ceil(2),
            }
        }
    }
}

/// A condition as numbers: equal ones of a list have the same.
#[derive(Clone, Copy)]
struct Key {
    subject: Subject,
    condition: u32,
}

/// The parts of one list that have been built.
struct Parts<'a> {
    diagram: &'a mut Diagram,
    rules: &'a [(usize, FlatRule)],
    effort: Effort,
    /// The conditions of each rule.
    keys: Vec<Vec<Key>>,
    /// The rules that skips lead to.
    landings: BTreeSet<usize>,
    /// Diagrams of the list from a rule on.
    starts: HashMap<usize, Target>,
    /// For each condition, the last count that met it.
    seen: Vec<u32>,
    /// Number of counts.
    counts: u32,
}

impl<'a> Parts<'a> {
    fn new(diagram: &'a mut Diagram, rules: &'a [(usize, FlatRule)], effort: Effort) -> Self {
        let mut numbers: HashMap<&Condition, u32> = HashMap::new();
        let mut key = |condition: &'a Condition| {
            let next = numbers.len() as u32;
            Key {
                subject: condition.subject(),
                condition: *numbers.entry(condition).or_insert(next),
            }
        };
        let keys = rules
            .iter()
            .map(|(_, rule)| rule.conditions.iter().map(&mut key).collect())
            .collect();
        let landings = rules.iter().filter_map(|(_, rule)| match rule.outcome {
            Outcome::Skip(position) => Some(rules.partition_point(|(at, _)| *at < position)),
            Outcome::Decide(_) => None,
        });
        Self {
            diagram,
            rules,
            effort,
            keys,
            landings: landings.collect(),
            starts: HashMap::new(),
            seen: vec![0; numbers.len()],
            counts: 0,
        }
    }

    /// The diagram of the rules from `start` to before `end` and what follows; `None` if it grows
    /// too large.
    fn part(&mut self, start: usize, end: usize) -> Option<Target> {
        let limit = self.effort.work_limit(end - start);
        let mut states = States {
            parts: self,
            end,
            targets: HashMap::new(),
            work: 0,
            limit,
        };
        let all = (start..end).map(|rule| states.pending(rule));
        let goto = (end < states.parts.rules.len()).then_some(Pending {
            rule: end as u32,
            open: 0,
        });
        let list = states.normalise(all.chain(goto).collect::<Vec<_>>());
        states.target(list)
    }
}

/// The states of one part.
struct States<'a, 'b> {
    parts: &'a mut Parts<'b>,
    end: usize,
    targets: HashMap<Vec<Pending>, Target>,
    work: usize,
    limit: usize,
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

    /// Which condition of a pending rule is open and on a subject.
    fn open_condition(&self, pending: Pending, subject: Subject) -> Option<usize> {
        if pending.open == 0 {
            return None;
        }
        let keys = &self.parts.keys[pending.rule as usize];
        (0..keys.len()).find(|i| pending.open & (1 << i) != 0 && keys[*i].subject == subject)
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
            return self.parts.starts.get(&(first.rule as usize)).copied();
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
        if self.work > self.limit {
            return None;
        }
        let target = match self.choose(&list) {
            Subject::Field(field) => self.split(&list, field)?,
            subject => self.either(&list, subject)?,
        };
        self.targets.insert(list, target);
        Some(target)
    }

    /// What to test next: of what the first rule tests, what most rules test, and in most ways.
    fn choose(&mut self, list: &[Pending]) -> Subject {
        let first = list[0];
        let open = (0..self.parts.keys[first.rule as usize].len())
            .filter(|i| first.open & (1 << i) != 0)
            .map(|i| self.parts.keys[first.rule as usize][i].subject);
        let mut open: Vec<Subject> = open.collect();
        // A limit looks only at what all other tests of its rule match.
        if !matches!(open[..], [_]) {
            open.retain(|subject| !matches!(subject, Subject::Limit(_)));
        }
        let mut best = None;
        for subject in open {
            let score = self.score(list, subject);
            if best.is_none_or(|(best, _)| score > best) {
                best = Some((score, subject));
            }
        }
        best.map_or(Subject::Field(Field::SrcMac), |(_, subject)| subject)
    }

    /// How many rules test a subject, and in how many ways.
    fn score(&mut self, list: &[Pending], subject: Subject) -> (usize, usize) {
        self.parts.counts += 1;
        let (mut rules, mut ways) = (0, 0);
        for &pending in list {
            if let Some(i) = self.open_condition(pending, subject) {
                let condition = self.parts.keys[pending.rule as usize][i].condition;
                let seen = &mut self.parts.seen[condition as usize];
                ways += usize::from(*seen != self.parts.counts);
                *seen = self.parts.counts;
                rules += 1;
            }
        }
        (rules, ways)
    }

    /// A test that says yes or no.
    fn either(&mut self, list: &[Pending], subject: Subject) -> Option<Target> {
        let [yes, no] = [true, false].map(|hit| {
            let rest: Vec<Pending> = list
                .iter()
                .filter_map(|&pending| {
                    let Some(i) = self.open_condition(pending, subject) else {
                        return Some(pending);
                    };
                    let wanted = match self.rule(pending).conditions[i] {
                        Condition::Slots(_, negated) => !negated,
                        Condition::Bit(_, wanted)
                        | Condition::Limit(_, wanted)
                        | Condition::Set(_, wanted) => wanted,
                        Condition::In(..) => return None,
                    };
                    (hit == wanted).then_some(Pending {
                        open: pending.open & !(1 << i),
                        ..pending
                    })
                })
                .collect();
            self.normalise(rest)
        });
        let (yes, no) = (self.target(yes)?, self.target(no)?);
        // A limit counts whatever comes of it.
        if yes == no && !matches!(subject, Subject::Limit(_)) {
            return Some(yes);
        }
        let node = match subject {
            Subject::Field(_) => return None,
            Subject::Slots(test) => Node::Slots(test, yes, no),
            Subject::Bit(test) => Node::Bit(test, yes, no),
            Subject::Limit(test) => Node::Limit(test, yes, no),
            Subject::Set(test) => Node::Set(test, yes, no),
        };
        Some(self.parts.diagram.add(node))
    }

    /// Goes through the field's values from low to high, keeping the rules that hold there.
    fn split(&mut self, list: &[Pending], field: Field) -> Option<Target> {
        let mut indifferent = Vec::new();
        // What begins or ends to hold where; `true` sorts behind `false`, so ends come first.
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        let mut decided = Vec::with_capacity(list.len());
        for (i, &pending) in list.iter().enumerate() {
            let Some(at) = self.open_condition(pending, Subject::Field(field)) else {
                indifferent.push(i);
                decided.push(pending);
                continue;
            };
            decided.push(Pending {
                open: pending.open & !(1 << at),
                ..pending
            });
            let Condition::In(_, set) = &self.rule(pending).conditions[at] else {
                continue;
            };
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
