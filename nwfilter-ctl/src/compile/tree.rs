//! Trees, for lists whose exact diagram would be too large: rules that overlap in many fields. Searches
//! over a few shares of one field after the other (Gupta and `McKeown`, "Packet classification using
//! hierarchical intelligent cuttings", 1999) lead to short lists, which become bit rows. Says nothing
//! of how those are made.
//!
//! A share may cut through what a rule asks for; then the rule stays open there, and the field may be
//! tested again further down. Where no search makes a list shorter, it is cut into parts, each of which
//! goes on with the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nwfilter_common::{Field, MAX_LOOKED, kind};

use super::{
    diagram::{Effort, Node, Target},
    exact, rows,
    rule::Condition,
    state::{List, Pending, Subject, Window, Windows},
};

/// Most shares of a search: as many as one node has children.
const SHARES: usize = 1 << kind::MAX_LEVELS;
/// How many times as large as a list all shares of it together may be.
const GROWTH: usize = 5;
/// What a list costs, in rules, however short it is.
const OVERHEAD: usize = 24;

/// The tree of the rules from `start` to before the end of what is left of the list, and what follows.
pub(super) fn part(list: &mut List<'_>, start: usize, effort: Effort) -> Target {
    let state = list.state(start);
    let budget = effort.copies * cost(&state);
    let mut tree = Tree {
        list,
        effort,
        targets: HashMap::new(),
    };
    tree.target(state, &Windows::default(), budget)
}

/// What a state costs, in rules.
const fn cost(state: &[Pending]) -> usize {
    match state.len() {
        0 | 1 => 0,
        length => OVERHEAD + length,
    }
}

/// How far a state is from being decided. A rule with fewer open conditions is nearer to matching all that
/// is left, and then ends the list; so it counts for less.
fn openness(state: &[Pending]) -> usize {
    let of = |pending: &Pending| (pending.open.count_ones() as usize).pow(2);
    state.iter().map(of).sum()
}

/// What searching a field makes of a state.
struct Cut {
    field: Field,
    /// Where the shares begin.
    firsts: Vec<u64>,
    states: Vec<Vec<Pending>>,
    /// What all of them cost.
    cost: usize,
    /// The [`openness`] of the one that has most.
    most: usize,
    /// Most limits too many in one of them.
    excess: usize,
}

/// What a state's diagram depends on: its rules, and the windows of what they still test.
type Key = (Vec<Pending>, Vec<(Field, Window)>);

struct Tree<'a, 'b> {
    list: &'a mut List<'b>,
    effort: Effort,
    targets: HashMap<Key, Target>,
}

impl Tree<'_, '_> {
    /// The diagram of a state, for values in these windows. What its copies of rules may cost together is
    /// about the budget.
    fn target(&mut self, state: Vec<Pending>, windows: &Windows, budget: usize) -> Target {
        if let [only] = state[..] {
            return self.list.target(only);
        }
        let fields: BTreeSet<Field> = state
            .iter()
            .flat_map(|pending| self.list.open_conditions(*pending))
            .filter_map(|condition| match condition {
                Condition::In(field, _) => Some(*field),
                _ => None,
            })
            .collect();
        let window = |field: &Field| (*field, windows.of(*field));
        let key = (state, fields.iter().map(window).collect());
        if let Some(target) = self.targets.get(&key) {
            return *target;
        }
        let state = &key.0;
        let target = match self.leaf(state, windows) {
            Some(target) => target,
            None => match self.best_cut(state, windows, &fields, budget) {
                Some(cut) => self.search(cut, windows, budget),
                None => self.in_turn(state, windows, budget),
            },
        };
        self.targets.insert(key, target);
        target
    }

    /// The diagram of a short state: exact, or rows.
    fn leaf(&mut self, state: &[Pending], windows: &Windows) -> Option<Target> {
        let rules = state.len() - 1;
        if rules > self.effort.rows {
            return None;
        }
        let rows = rows::node(self.list, state, windows);
        let limit = match (rules, &rows) {
            (1, _) => usize::MAX,
            (_, Some(_)) => self.effort.instead_of_rows(rules),
            (_, None) => 40 * rules + 200,
        };
        exact::diagram(self.list, state.to_vec(), windows, limit)
            .or_else(|| rows.map(|node| self.list.diagram.add(node)))
    }

    /// The search that leaves the least to be done for what it costs; `None` if none is worth it.
    fn best_cut(
        &self,
        state: &[Pending],
        windows: &Windows,
        fields: &BTreeSet<Field>,
        budget: usize,
    ) -> Option<Cut> {
        let limit = budget.min(GROWTH * cost(state));
        // Less openness is worth more than less cost; but a list that fits rows needs no less.
        let enough = self.effort.rows * 3 / 4;
        let score = |cost: usize, openness: usize| {
            let openness = openness.max(enough) as u128;
            cost as u128 * openness * openness
        };
        let excess = self.excess(state);
        let mut best: Option<Cut> = None;
        for &field in fields {
            let bounds = self.bounds(state, field, windows);
            let mut shares = SHARES;
            while shares > 1 {
                let firsts = quantiles(windows.of(field).first, &bounds, shares);
                shares = firsts.len().min(shares) / 2;
                let Some(mut cut) = self.cut(state, field, windows.of(field).last, firsts, limit)
                else {
                    continue;
                };
                if excess > 0 {
                    let states = cut.states.iter().map(|state| self.excess(state));
                    cut.excess = states.max().unwrap_or(0);
                }
                let worth = |cut: &Cut| (cut.excess, score(cut.cost, cut.most));
                let better = |best: &Cut| worth(&cut) < worth(best);
                if best.as_ref().is_none_or(better) {
                    best = Some(cut);
                }
            }
        }
        // More limits than may look at a frame are to be told apart at any price.
        best.filter(|cut| {
            cut.excess < excess || score(cut.cost, cut.most) <= score(cost(state), openness(state))
        })
    }

    /// Where the field's tests begin and end to hold in its window, ascending, each as often as it occurs.
    fn bounds(&self, state: &[Pending], field: Field, windows: &Windows) -> Vec<u64> {
        let window = windows.of(field);
        let mut bounds = Vec::new();
        for &pending in state {
            if let Some(Condition::In(_, set)) = self.open(pending, Subject::Field(field)) {
                bounds.extend(window.bounds_of(set));
            }
        }
        bounds.sort_unstable();
        bounds
    }

    fn open(&self, pending: Pending, subject: Subject) -> Option<&Condition> {
        let open = self.list.open_condition(pending, subject);
        open.map(|i| &self.list.rule(pending).conditions[i])
    }

    /// The rules in each share of a field's window; `None` if that costs more than `limit`.
    fn cut(
        &self,
        state: &[Pending],
        field: Field,
        last: u64,
        firsts: Vec<u64>,
        limit: usize,
    ) -> Option<Cut> {
        let mut states: Vec<Vec<Pending>> = vec![Vec::new(); firsts.len()];
        let mut cost = firsts.len() * OVERHEAD;
        let window = Window {
            first: firsts[0],
            last,
        };
        let last_of = |share: usize| firsts.get(share + 1).map_or(last, |next| next - 1);
        let mut add = |share: usize, pending: Pending| {
            let state: &mut Vec<Pending> = &mut states[share];
            let before = state.last();
            // Nothing follows a rule that is sure to match; and no rule is there twice.
            if before.is_none_or(|before| before.open != 0 && before.rule != pending.rule) {
                state.push(pending);
                cost += 1;
            }
            cost <= limit
        };
        for &pending in state {
            let Some(i) = self.list.open_condition(pending, Subject::Field(field)) else {
                for share in 0..firsts.len() {
                    if !add(share, pending) {
                        return None;
                    }
                }
                continue;
            };
            let Condition::In(_, set) = &self.list.rule(pending).conditions[i] else {
                continue;
            };
            let closed = Pending {
                open: pending.open & !(1 << i),
                ..pending
            };
            for (low, high) in window.part_of(set) {
                let share_of = |value| firsts.partition_point(|first| *first <= value) - 1;
                let (from, to) = (share_of(low), share_of(high));
                for (share, first) in firsts.iter().enumerate().take(to + 1).skip(from) {
                    let covers = low <= *first && last_of(share) <= high;
                    if !add(share, if covers { closed } else { pending }) {
                        return None;
                    }
                }
            }
        }
        let most = states.iter().map(|state| openness(state)).max()?;
        Some(Cut {
            field,
            firsts,
            states,
            cost,
            most,
            excess: 0,
        })
    }

    /// The node of a search.
    fn search(&mut self, cut: Cut, windows: &Windows, budget: usize) -> Target {
        let end = windows.of(cut.field).last;
        let lasts: Vec<u64> = cut.firsts[1..]
            .iter()
            .map(|next| next - 1)
            .chain([end])
            .collect();
        let mut bounds = Vec::new();
        let mut targets: Vec<Target> = Vec::new();
        for ((state, first), last) in cut.states.into_iter().zip(cut.firsts).zip(lasts) {
            let share = budget * cost(&state) / cut.cost;
            let windows = windows.with(cut.field, Window { first, last });
            let target = self.target(state, &windows, share);
            if targets.last() != Some(&target) {
                if !targets.is_empty() {
                    bounds.push(first);
                }
                targets.push(target);
            }
        }
        match targets[..] {
            [only] => only,
            _ => self
                .list
                .diagram
                .add(Node::Split(cut.field, bounds, targets)),
        }
    }

    /// One part of a state after the other, from the back: as long ones as rows can have. Rules with tests
    /// that rows cannot have are alone, unless most rules take the same test.
    fn in_turn(&mut self, state: &[Pending], windows: &Windows, budget: usize) -> Target {
        if let Some((subject, states)) = self.common(state, budget) {
            return self.either(subject, states, windows, budget);
        }
        let (rules, last) = state.split_at(state.len() - 1);
        let mut parts: Vec<&[Pending]> = rules
            .chunk_by(|a, b| !self.is_special(*a) && !self.is_special(*b))
            .collect();
        let one = parts.len() == 1;
        let mut next = last[0];
        while let Some(part) = parts.pop() {
            let (before, part) = if one {
                part.split_at(part.len() - self.fitting(part, next, windows))
            } else {
                part.split_at(0)
            };
            parts.extend((!before.is_empty()).then_some(before));
            let budget = budget * part.len() / rules.len();
            let target = self.target([part, &[next]].concat(), windows, budget);
            next = self.list.goto(target);
        }
        self.list.target(next)
    }

    /// How many rules at the end of a part rows can have; at least one, which is less than all.
    fn fitting(&self, part: &[Pending], next: Pending, windows: &Windows) -> usize {
        let most = part.len().min(self.effort.rows);
        let fits = |count: &usize| {
            let part = &part[part.len() - count..];
            rows::node(self.list, &[part, &[next]].concat(), windows).is_some()
        };
        // As many as possible: what fits together also fits in part.
        let (mut fitting, mut beyond) = (1, most + 1);
        while beyond - fitting > 1 {
            let middle = fitting.midpoint(beyond);
            if fits(&middle) {
                fitting = middle;
            } else {
                beyond = middle;
            }
        }
        fitting
    }

    /// By a test that says yes or no, and its states.
    fn either(
        &mut self,
        subject: Subject,
        states: [Vec<Pending>; 2],
        windows: &Windows,
        budget: usize,
    ) -> Target {
        let whole: usize = states.iter().map(|state| cost(state)).sum();
        let [yes, no] = states.map(|state| {
            let budget = budget * cost(&state) / whole.max(1);
            self.target(state, windows, budget)
        });
        match subject.node(yes, no) {
            Some(node) if yes != no => self.list.diagram.add(node),
            _ => yes,
        }
    }

    /// The open tests of a rule that rows cannot have.
    fn specials(&self, pending: Pending) -> impl Iterator<Item = Subject> + '_ {
        let open = self.list.open_subjects(pending);
        open.filter(|subject| !matches!(subject, Subject::Field(_)))
    }

    fn is_special(&self, pending: Pending) -> bool {
        self.specials(pending).next().is_some()
    }

    /// A test that is to be taken once for all rules, and the states after it: at least half of the rules
    /// take it, or an eighth and the budget has room for both states. It has no effect.
    fn common(&self, state: &[Pending], budget: usize) -> Option<(Subject, [Vec<Pending>; 2])> {
        let rules = state.len() - 1;
        let mut counts: BTreeMap<Subject, usize> = BTreeMap::new();
        for subject in state.iter().flat_map(|pending| self.specials(*pending)) {
            if !matches!(subject, Subject::Limit(_)) {
                *counts.entry(subject).or_default() += 1;
            }
        }
        // The first of those that most take.
        let (subject, count) = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
        let states = self.list.either(state, subject);
        let together: usize = states.iter().map(|state| cost(state)).sum();
        let common = 2 * count >= rules || 8 * count >= rules && together <= budget;
        common.then_some((subject, states))
    }

    /// Connection limits of a state beyond those that may look at a frame.
    fn excess(&self, state: &[Pending]) -> usize {
        let limited = |pending: &&Pending| {
            let mut specials = self.specials(**pending);
            specials.any(|subject| matches!(subject, Subject::Limit(_)))
        };
        let limits = state.iter().filter(limited).count();
        limits.saturating_sub(MAX_LOOKED)
    }
}

/// Where so many shares of a window begin, or less, if they have as many of the bounds each as possible.
fn quantiles(first: u64, bounds: &[u64], shares: usize) -> Vec<u64> {
    let mut firsts = vec![first];
    let mut distinct = bounds.to_vec();
    distinct.dedup();
    if distinct.len() < shares {
        firsts.extend(distinct);
    } else {
        firsts.extend((1..shares).map(|share| bounds[share * bounds.len() / shares]));
        firsts.dedup();
    }
    firsts
}
