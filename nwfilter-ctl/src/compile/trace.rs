//! A flat list walked rule by rule for one frame, to tell people why it was decided so. Decides
//! nothing: that is the engine's work, with tables made of the same lists.

use nwfilter_common::{
    Class, Field, Knowledge, LeafVerdict, MAX_SLOT_RUN, MemoryTables, SLOTS, Slot, TableLayer,
    Work, set_argument,
};

use super::{
    Entry,
    rule::{Condition, FlatRule, Outcome, SlotTest},
    specialise::{knowledge, overlooks},
};
use crate::model::Semantics;

/// A frame as one layer's rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What the parser made of it.
    pub class: Class,
    /// The address sets.
    pub tables: &'a MemoryTables,
    /// What the engine made of it.
    pub work: &'a Work,
    /// The addresses of its port.
    pub slots: &'a [Slot; SLOTS],
    /// The layer.
    pub layer: TableLayer,
    /// How the rules were compiled.
    pub semantics: Semantics,
}

/// What is known of a field in a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known {
    /// This value.
    Value(u64),
    /// The frame should have it and has not.
    Missing,
    /// Frames of this kind do not have it, and rules do not mind.
    Ignored,
    /// Frames of this kind do not have it.
    Absent,
}

impl Seen<'_> {
    /// What is known of a field.
    pub fn known(&self, field: Field) -> Known {
        match knowledge(self.class, field, self.layer, self.semantics) {
            Knowledge::Constant(value) => Known::Value(value),
            Knowledge::Present => Known::Value(self.work.fields[field.index()]),
            Knowledge::Missing => Known::Missing,
            Knowledge::Ignored => Known::Ignored,
            Knowledge::Absent => Known::Absent,
        }
    }

    fn holds(&self, condition: &Condition) -> Option<bool> {
        if overlooks(self.class, condition, self.layer, self.semantics) {
            return Some(false);
        }
        let field = condition.field();
        match (self.known(field), condition) {
            (Known::Value(value), Condition::In(_, set)) => Some(set.contains(value)),
            (Known::Value(value), Condition::Slots(test, negated)) => {
                Some(self.in_slots(*test, value) != *negated)
            }
            (Known::Value(value), Condition::Bit(test, wanted)) => {
                Some((value >> test.bit & 1 != 0) == *wanted)
            }
            (Known::Value(_), Condition::Limit(test, above)) => {
                let was_above = self.work.limit(u32::from(test.number));
                Some(was_above == Some(*above))
            }
            (Known::Value(_), Condition::Set(test, wanted)) => {
                let argument = set_argument(test.dimensions.into(), test.destinations.into());
                let contained = self.tables.contains(self.work, &test.name, argument);
                Some(contained == *wanted)
            }
            (Known::Ignored, _) => Some(true),
            (Known::Absent, _) => Some(false),
            (Known::Missing, _) => None,
        }
    }

    fn in_slots(&self, test: SlotTest, value: u64) -> bool {
        let stride = usize::from(test.stride());
        let count = usize::from(test.count).min(MAX_SLOT_RUN);
        let same = |slot: &Slot, value: u64| value & slot.mask == slot.value;
        (0..count).any(|nth| {
            let at = usize::from(test.first) + nth * stride;
            let first = same(&self.slots[at % SLOTS], value);
            match test.field.low_half() {
                None => first,
                Some(low) => {
                    first && same(&self.slots[(at + 1) % SLOTS], self.work.fields[low.index()])
                }
            }
        })
    }
}

impl Condition {
    /// The field it is about; of an IPv6 address the first half.
    pub const fn field(&self) -> Field {
        match self {
            Self::In(field, _) => *field,
            Self::Slots(test, _) => test.field,
            Self::Bit(test, _) => test.field,
            Self::Limit(..) => Field::CtState,
            Self::Set(test, _) => test.field,
        }
    }
}

/// A rule that was reached.
#[derive(Clone, Debug)]
pub struct Considered<'a> {
    /// Its position in the list.
    pub index: usize,
    /// The rule.
    pub rule: &'a FlatRule,
    /// Its conditions up to the first one that fails; `None` if the field is missing.
    pub tests: Vec<(&'a Condition, Option<bool>)>,
    /// What came of it.
    pub ending: Ending,
}

/// What comes of a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// A condition fails.
    NoMatch,
    /// The frame is decided, by this entry.
    Decided(LeafVerdict, u32),
    /// On with the rule at this position.
    Skip(usize),
}

/// The rules of a list that a frame reaches, in order; the last one decides.
pub fn trace<'a>(list: &'a [FlatRule], frame: &Seen<'_>) -> Vec<Considered<'a>> {
    let mut reached = Vec::new();
    let mut index = 0;
    while let Some(rule) = list.get(index) {
        let considered = consider(index, rule, frame);
        let ending = considered.ending;
        reached.push(considered);
        index = match ending {
            Ending::NoMatch => index + 1,
            Ending::Skip(target) => target.max(index + 1),
            Ending::Decided(..) => break,
        };
    }
    reached
}

fn consider<'a>(index: usize, rule: &'a FlatRule, frame: &Seen<'_>) -> Considered<'a> {
    let mut tests = Vec::new();
    for condition in &rule.conditions {
        let holds = frame.holds(condition);
        tests.push((condition, holds));
        if holds == Some(false) {
            break;
        }
    }
    let ending = if tests.iter().any(|(_, holds)| *holds == Some(false)) {
        Ending::NoMatch
    } else if tests.iter().any(|(_, holds)| holds.is_none()) {
        Ending::Decided(LeafVerdict::Drop, Entry::missing(frame.layer))
    } else {
        match rule.outcome {
            Outcome::Decide(verdict) => Ending::Decided(verdict, rule.entry),
            Outcome::Skip(target) => Ending::Skip(target),
        }
    };
    Considered {
        index,
        rule,
        tests,
        ending,
    }
}
