//! Exact diagrams: each node tests one field or the like, and each of those is tested at most once on a
//! way.
//!
//! The construction is that of firewall decision diagrams (Gouda and Liu, "Structured firewall
//! design", 2007): a state is what is left of the list after some tests; equal states are one node.

use std::collections::{BTreeSet, HashMap};

use nwfilter_common::Field;

use super::{
    diagram::{Node, Target},
    rule::Condition,
    state::{List, Pending, Subject, Windows},
};

/// The exact diagram of the rules from `start` to before the end of what is left of the list, and what
/// follows; `None` if it needs more work than `limit`.
pub(super) fn part(list: &mut List<'_>, start: usize, limit: usize) -> Option<Target> {
    let state = list.state(start);
    diagram(list, state, &Windows::default(), limit)
}

/// The exact diagram of a state, for values in these windows; `None` if it needs more work than `limit`.
pub(super) fn diagram(
    list: &mut List<'_>,
    state: Vec<Pending>,
    windows: &Windows,
    limit: usize,
) -> Option<Target> {
    let nodes = list.diagram.nodes.len();
    let mut states = States {
        work: state.len(),
        list,
        windows,
        targets: HashMap::new(),
        limit,
    };
    let target = states.target(state);
    if target.is_none() {
        list.diagram.truncate(nodes);
    }
    target
}

/// The states of one diagram.
struct States<'a, 'b> {
    list: &'a mut List<'b>,
    windows: &'a Windows,
    targets: HashMap<Vec<Pending>, Target>,
    /// Rules in all states.
    work: usize,
    limit: usize,
}

impl States<'_, '_> {
    fn normalise(&mut self, rules: impl IntoIterator<Item = Pending>) -> Vec<Pending> {
        let state = self.list.normalise(rules);
        self.work += state.len();
        state
    }

    /// The diagram of a state; `None` if there are too many.
    fn target(&mut self, state: Vec<Pending>) -> Option<Target> {
        let first = *state.first()?;
        if first.open == 0 {
            return Some(self.list.target(first));
        }
        if let Some(target) = self.targets.get(&state) {
            return Some(*target);
        }
        if self.work > self.limit {
            return None;
        }
        let target = match self.choose(&state) {
            Subject::Field(field) => self.split(&state, field)?,
            subject => self.either(&state, subject)?,
        };
        self.targets.insert(state, target);
        Some(target)
    }

    /// What to test next: of what the first rule tests, what most rules test, and in most ways.
    fn choose(&mut self, state: &[Pending]) -> Subject {
        let first = state[0];
        let mut open: Vec<Subject> = self.list.open_subjects(first).collect();
        // A limit looks only at what all other tests of its rule match.
        if !matches!(open[..], [_]) {
            open.retain(|subject| !matches!(subject, Subject::Limit(_)));
        }
        let mut best = None;
        for subject in open {
            let score = self.score(state, subject);
            if best.is_none_or(|(best, _)| score > best) {
                best = Some((score, subject));
            }
        }
        best.map_or(Subject::Field(Field::SrcMac), |(_, subject)| subject)
    }

    /// How many rules test a subject, and in how many ways.
    fn score(&mut self, state: &[Pending], subject: Subject) -> (usize, usize) {
        self.list.counts += 1;
        let (mut rules, mut ways) = (0, 0);
        for &pending in state {
            if let Some(i) = self.list.open_condition(pending, subject) {
                let condition = self.list.keys[pending.rule as usize][i].condition;
                let seen = &mut self.list.seen[condition as usize];
                ways += usize::from(*seen != self.list.counts);
                *seen = self.list.counts;
                rules += 1;
            }
        }
        (rules, ways)
    }

    /// A test that says yes or no.
    fn either(&mut self, state: &[Pending], subject: Subject) -> Option<Target> {
        let [yes, no] = self.list.either(state, subject);
        self.work += yes.len() + no.len();
        let (yes, no) = (self.target(yes)?, self.target(no)?);
        // A limit counts whatever comes of it.
        if yes == no && !matches!(subject, Subject::Limit(_)) {
            return Some(yes);
        }
        subject
            .node(yes, no)
            .map(|node| self.list.diagram.add(node))
    }

    /// Goes through the field's values from low to high, keeping the rules that hold there.
    fn split(&mut self, state: &[Pending], field: Field) -> Option<Target> {
        let window = self.windows.of(field);
        let mut indifferent = Vec::new();
        // What begins or ends to hold where; `true` sorts behind `false`, so ends come first.
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        let mut decided = Vec::with_capacity(state.len());
        for (i, &pending) in state.iter().enumerate() {
            let Some(at) = self.list.open_condition(pending, Subject::Field(field)) else {
                indifferent.push(i);
                decided.push(pending);
                continue;
            };
            decided.push(Pending {
                open: pending.open & !(1 << at),
                ..pending
            });
            let Condition::In(_, set) = &self.list.rule(pending).conditions[at] else {
                continue;
            };
            for (low, high) in window.part_of(set) {
                events.push((low, true, i));
                if high < window.last {
                    events.push((high + 1, false, i));
                }
            }
        }
        events.sort_unstable();

        let mut bounds = Vec::new();
        let mut targets: Vec<Target> = Vec::new();
        let mut holding = BTreeSet::new();
        let mut events = events.into_iter().peekable();
        let mut at = window.first;
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
            _ => Some(self.list.diagram.add(Node::Split(field, bounds, targets))),
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
