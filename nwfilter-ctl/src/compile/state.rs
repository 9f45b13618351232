//! States of a list that is being made a diagram: the rules that can still match after some tests. Shared
//! by all constructions; says nothing of what is tested when.

use std::collections::{BTreeSet, HashMap};

use nwfilter_common::Field;

use super::{
    diagram::{Diagram, Node, Target},
    rule::{BitTest, Condition, FlatRule, LimitTest, Outcome, SetTest, SlotTest},
    set::ValueSet,
};

/// What a frame is tested for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Subject {
    Field(Field),
    Slots(SlotTest),
    Bit(BitTest),
    Limit(LimitTest),
    Set(SetTest),
}

impl Subject {
    /// The node of a test that says yes or no; `None` for fields.
    pub(super) const fn node(self, yes: Target, no: Target) -> Option<Node> {
        Some(match self {
            Self::Field(_) => return None,
            Self::Slots(test) => Node::Slots(test, yes, no),
            Self::Bit(test) => Node::Bit(test, yes, no),
            Self::Limit(test) => Node::Limit(test, yes, no),
            Self::Set(test) => Node::Set(test, yes, no),
        })
    }
}

impl Condition {
    const fn subject(&self) -> Subject {
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
/// index past the end of the part being built stands for what follows there, see [`List::end_at`] and
/// [`List::goto`].
///
/// The last rule of a state has no open conditions, all others have some.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Pending {
    pub(super) rule: u32,
    pub(super) open: u64,
}

/// The values that a field can still have: a range.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Window {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Window {
    /// The intervals of a set as far as they are in the window.
    pub(super) fn part_of(self, set: &ValueSet) -> impl Iterator<Item = (u64, u64)> + '_ {
        let Self { first, last } = self;
        set.intervals()
            .iter()
            .filter(move |(low, high)| *low <= last && *high >= first)
            .map(move |(low, high)| (first.max(*low), last.min(*high)))
    }

    /// Where in the window a set begins or ends, the window's own beginning left out.
    pub(super) fn bounds_of(self, set: &ValueSet) -> impl Iterator<Item = u64> + '_ {
        self.part_of(set).flat_map(move |(low, high)| {
            let begins = (low > self.first).then_some(low);
            let ends = (high < self.last).then(|| high + 1);
            begins.into_iter().chain(ends)
        })
    }
}

/// The windows of fields that have been tested, but not exactly.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows(Vec<(Field, Window)>);

impl Windows {
    pub(super) fn of(&self, field: Field) -> Window {
        let found = self.0.iter().find(|(of, _)| *of == field);
        found.map_or(
            Window {
                first: 0,
                last: field.max_value(),
            },
            |(_, window)| *window,
        )
    }

    /// The same with another window for a field.
    pub(super) fn with(&self, field: Field, window: Window) -> Self {
        let others = self.0.iter().filter(|(of, _)| *of != field).copied();
        Self(others.chain([(field, window)]).collect())
    }
}

/// A condition as numbers: equal ones of a list have the same.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) subject: Subject,
    pub(super) condition: u32,
}

/// A list of which the diagram is made, from the back.
pub(super) struct List<'a> {
    pub(super) diagram: &'a mut Diagram,
    rules: &'a [(usize, FlatRule)],
    /// The conditions of each rule.
    pub(super) keys: Vec<Vec<Key>>,
    /// The rules that skips lead to.
    landings: BTreeSet<usize>,
    /// Where the part of the list ends that has no diagram yet.
    pub(super) end: usize,
    /// Diagrams of the list from a rule on, and of what else a state can end with.
    targets: HashMap<u32, Target>,
    /// The numbers of the latter.
    gotos: HashMap<Target, u32>,
    /// For each condition, the last count that met it.
    pub(super) seen: Vec<u32>,
    /// Number of counts.
    pub(super) counts: u32,
}

impl<'a> List<'a> {
    pub(super) fn new(diagram: &'a mut Diagram, rules: &'a [(usize, FlatRule)]) -> Self {
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
        debug_assert!(!skips_cross(rules), "see `normalise`");
        Self {
            diagram,
            rules,
            keys,
            landings: landings.collect(),
            end: rules.len(),
            targets: HashMap::new(),
            gotos: HashMap::new(),
            seen: vec![0; numbers.len()],
            counts: 0,
        }
    }

    /// The last rule before the end that skips lead to, or the first rule.
    pub(super) fn landing_before_end(&self) -> usize {
        let before = self.landings.range(..self.end).next_back();
        before.copied().unwrap_or(0)
    }

    /// From this rule on the list has a diagram.
    pub(super) fn end_at(&mut self, rule: usize, target: Target) {
        self.targets.insert(rule as u32, target);
        self.end = rule;
    }

    /// What a state ends with that goes on with a diagram.
    pub(super) fn goto(&mut self, target: Target) -> Pending {
        let next = (self.rules.len() + self.gotos.len()) as u32;
        let rule = *self.gotos.entry(target).or_insert(next);
        self.targets.insert(rule, target);
        Pending { rule, open: 0 }
    }

    pub(super) fn rule(&self, pending: Pending) -> &'a FlatRule {
        &self.rules[pending.rule as usize].1
    }

    const fn is_goto(&self, pending: Pending) -> bool {
        pending.rule as usize >= self.end
    }

    /// The state in which nothing has been tested, from a rule on.
    pub(super) fn state(&self, start: usize) -> Vec<Pending> {
        let whole = (start..self.end).map(|rule| Pending {
            rule: rule as u32,
            open: (1 << self.rules[rule].1.conditions.len()) - 1,
        });
        let goto = (self.end < self.rules.len()).then_some(Pending {
            rule: self.end as u32,
            open: 0,
        });
        self.normalise(whole.chain(goto))
    }

    /// Where the last rule of a state leads.
    ///
    /// # Panics
    ///
    /// If the rule is no last one.
    pub(super) fn target(&self, last: Pending) -> Target {
        if self.is_goto(last) {
            return self.targets[&last.rule];
        }
        let FlatRule { entry, outcome, .. } = self.rule(last);
        match outcome {
            Outcome::Decide(verdict) => Target::Leaf(*verdict, *entry),
            Outcome::Skip(position) => self.targets[&(self.landing(*position) as u32)],
        }
    }

    fn landing(&self, position: usize) -> usize {
        self.rules.partition_point(|(at, _)| *at < position)
    }

    /// Which condition of a pending rule is open and on a subject.
    pub(super) fn open_condition(&self, pending: Pending, subject: Subject) -> Option<usize> {
        if pending.open == 0 {
            return None;
        }
        let keys = &self.keys[pending.rule as usize];
        (0..keys.len()).find(|i| pending.open & (1 << i) != 0 && keys[*i].subject == subject)
    }

    /// What the open conditions of a pending rule are about.
    pub(super) fn open_subjects(&self, pending: Pending) -> impl Iterator<Item = Subject> + '_ {
        let keys = match pending.open {
            0 => &[],
            _ => &self.keys[pending.rule as usize][..],
        };
        let open = move |(i, _): &(usize, _)| pending.open & (1 << i) != 0;
        keys.iter()
            .enumerate()
            .filter(open)
            .map(|(_, key)| key.subject)
    }

    /// The open conditions of a pending rule.
    pub(super) fn open_conditions(&self, pending: Pending) -> impl Iterator<Item = &'a Condition> {
        let conditions = match pending.open {
            0 => &[],
            _ => &self.rule(pending).conditions[..],
        };
        let open = move |(i, _): &(usize, _)| pending.open & (1 << i) != 0;
        conditions
            .iter()
            .enumerate()
            .filter(open)
            .map(|(_, condition)| condition)
    }

    /// Leaves out what can no longer be reached: all behind a rule that is sure to match, and what a skip
    /// that is sure to happen goes over. That no other skip leads there is for the list to see to: within
    /// what one skip goes over, none leads beyond where it does. So it is with chains.
    pub(super) fn normalise(&self, rules: impl IntoIterator<Item = Pending>) -> Vec<Pending> {
        let mut state = Vec::new();
        let mut resume = 0;
        for pending in rules {
            let goto = self.is_goto(pending);
            if !goto && self.rules[pending.rule as usize].0 < resume {
                continue;
            }
            if pending.open != 0 {
                state.push(pending);
                continue;
            }
            match self
                .rules
                .get(pending.rule as usize)
                .map(|(_, rule)| rule.outcome)
            {
                Some(Outcome::Skip(position)) if !goto => {
                    resume = position;
                    let next = self.landing(position);
                    if next >= self.end {
                        state.push(Pending {
                            rule: next as u32,
                            open: 0,
                        });
                        break;
                    }
                }
                _ => {
                    state.push(pending);
                    break;
                }
            }
        }
        state
    }

    /// The states after a test that says yes or no.
    pub(super) fn either(&self, state: &[Pending], subject: Subject) -> [Vec<Pending>; 2] {
        [true, false].map(|hit| {
            let rest = state.iter().filter_map(|&pending| {
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
            });
            self.normalise(rest)
        })
    }
}

/// Whether a skip begins within what another one goes over and leads beyond where that leads.
fn skips_cross(rules: &[(usize, FlatRule)]) -> bool {
    // Where those lead that go over the rule, the nearest last.
    let mut landings: Vec<usize> = Vec::new();
    rules.iter().any(|(at, rule)| {
        landings.retain(|landing| landing > at);
        let Outcome::Skip(landing) = rule.outcome else {
            return false;
        };
        let crosses = landings.last().is_some_and(|nearest| landing > *nearest);
        landings.push(landing);
        crosses
    })
}

#[cfg(test)]
mod tests {
    use nwfilter_common::LeafVerdict;

    use super::*;

    #[test]
    fn skips_lead_to_the_same_end_or_nearer() {
        let rules = |skips: &[usize]| -> Vec<(usize, FlatRule)> {
            let rule = |(at, skip): (usize, &usize)| {
                let outcome = match skip {
                    0 => Outcome::Decide(LeafVerdict::Drop),
                    skip => Outcome::Skip(*skip),
                };
                let (entry, conditions) = (0, vec![]);
                let rule = FlatRule {
                    entry,
                    outcome,
                    conditions,
                };
                (at, rule)
            };
            skips.iter().enumerate().map(rule).collect()
        };
        for fine in [&[3, 3, 0, 0][..], &[4, 2, 4, 0, 0], &[1, 2, 3, 0]] {
            assert!(!skips_cross(&rules(fine)), "{fine:?}");
        }
        for crossing in [&[2, 3, 0, 0][..], &[3, 0, 4, 0, 0], &[4, 2, 5, 0, 0, 0]] {
            assert!(skips_cross(&rules(crossing)), "{crossing:?}");
        }
    }
}
