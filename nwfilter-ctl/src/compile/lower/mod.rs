//! From resolved instances to flat lists, one per layer and direction: sections 4.1 to 4.6 of the
//! semantics reference. Knows rules, chains and directions; nothing of frames or tables.

mod conditions;
mod ethernet;
mod inet;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use nwfilter_common::{Class, FrameDirection, Knowledge, MAX_SLOT_RUN, Slot, TableLayer};

use self::conditions::{Conjunction, Stop};
use super::{
    CompileError, Entry,
    rule::{Condition, FlatRule, Outcome, SlotTest},
    slots::{SlotSource, SlotTable},
};
use crate::{
    model::{Family, Layer, Semantics},
    resolve::Instance,
};

/// The flat lists of one binding.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// By direction and layer.
    pub(super) rules: BTreeMap<(FrameDirection, TableLayer), Vec<FlatRule>>,
    /// Families for which there is an inet layer.
    pub(super) inet_v4: bool,
    /// See [`Lists::inet_v4`].
    pub(super) inet_v6: bool,
    /// What the rules' entries stand for.
    pub(super) entries: Vec<Entry>,
    /// Values of the port record.
    pub(super) slots: Vec<Slot>,
    /// What these were made from.
    pub(super) sources: Vec<SlotSource>,
}

/// Both directions.
pub(super) const DIRECTIONS: [FrameDirection; 2] = [FrameDirection::In, FrameDirection::Out];

/// Lowers the rules of one binding.
pub(super) fn lower(instances: &[Instance], semantics: Semantics) -> Result<Lists, CompileError> {
    let mut slots = SlotTable::default();
    loop {
        match Lowering::new(instances, semantics, slots).run() {
            Ok(lists) => return Ok(lists),
            Err((Stop::Error(error), _)) => return Err(error),
            Err((Stop::Full(full), mut embedded)) => {
                embedded.insert(full.0);
                slots = SlotTable::without(embedded);
            }
        }
    }
}

struct Lowering<'a> {
    instances: &'a [Instance],
    semantics: Semantics,
    slots: SlotTable,
    entries: Entries,
    /// Connection limits so far.
    limits: u16,
}

impl<'a> Lowering<'a> {
    fn new(instances: &'a [Instance], semantics: Semantics, slots: SlotTable) -> Self {
        Self {
            instances,
            semantics,
            slots,
            entries: Entries::default(),
            limits: 0,
        }
    }

    fn run(mut self) -> Result<Lists, (Stop, BTreeSet<Arc<str>>)> {
        let mut lists = Lists::default();
        for direction in DIRECTIONS {
            for layer in [TableLayer::Ethernet, TableLayer::Inet] {
                let rules = match layer {
                    TableLayer::Ethernet => self.ethernet(direction),
                    TableLayer::Inet => self.inet(direction),
                };
                match rules {
                    Ok(rules) => lists.rules.insert((direction, layer), merge_runs(rules)),
                    Err(stop) => return Err((stop, self.slots.into_embedded())),
                };
            }
        }
        let has = |family| {
            self.instances
                .iter()
                .any(|i| i.protocol.family() == Some(family))
        };
        lists.inet_v4 = has(Family::V4);
        lists.inet_v6 = has(Family::V6);
        lists.entries = self.entries.list;
        (lists.slots, lists.sources) = self.slots.finish();
        Ok(lists)
    }

    /// The instances of one layer in evaluation order: those of root filters first, then by rule
    /// priority, ties as in the walk of the tree.
    fn sorted(&self, layer: Layer) -> Vec<&'a Instance> {
        let mut sorted: Vec<_> = self
            .instances
            .iter()
            .filter(|i| i.protocol.layer() == layer)
            .collect();
        sorted.sort_by_key(|instance| (&*instance.chain != ROOT, instance.priority));
        sorted
    }
}

/// The chain that frames start in.
const ROOT: &str = "root";

/// Numbers of the entries: the same cause has the same number.
#[derive(Debug)]
struct Entries {
    list: Vec<Entry>,
    numbers: BTreeMap<Entry, u32>,
}

impl Default for Entries {
    fn default() -> Self {
        let mut entries = Self {
            list: vec![],
            numbers: BTreeMap::new(),
        };
        for entry in Entry::DEFAULTS {
            entries.number(entry);
        }
        entries
    }
}

impl Entries {
    fn number(&mut self, entry: Entry) -> u32 {
        let next = self.list.len() as u32;
        *self.numbers.entry(entry).or_insert_with_key(|entry| {
            self.list.push(entry.clone());
            next
        })
    }

    fn rule(&mut self, instance: &Instance) -> u32 {
        self.number(Entry::Rule(instance.origin.clone()))
    }

    fn end_of_chain(&mut self, chain: &Arc<str>) -> u32 {
        self.number(Entry::EndOfChain(Arc::clone(chain)))
    }
}

/// Adds one flat rule for each alternative.
fn push(rules: &mut Vec<FlatRule>, entry: u32, outcome: Outcome, alternatives: Vec<Conjunction>) {
    for conditions in alternatives {
        if let Some(conditions) = simplify(conditions) {
            rules.push(FlatRule {
                entry,
                outcome,
                conditions,
            });
        }
    }
}

/// Intersects the sets of each field; `None` when no frame can satisfy them. Sets that hold all values
/// or none stay where the field may be missing: whoever tests a missing field drops the frame.
fn simplify(conditions: Conjunction) -> Option<Conjunction> {
    let mut simple: Conjunction = Vec::with_capacity(conditions.len());
    for condition in conditions {
        let same = simple.iter().position(|known| match (known, &condition) {
            (Condition::In(field, _), Condition::In(other, _)) => field == other,
            (known, condition) => known == condition,
        });
        match (same.map(|i| &mut simple[i]), condition) {
            (Some(Condition::In(_, set)), Condition::In(_, more)) => *set = set.intersection(&more),
            (Some(_), _) => {}
            (None, condition) => simple.push(condition),
        }
    }
    let known = |field| {
        let missing = |class: &Class| class.knows(field) == Knowledge::Missing;
        !Class::ALL.iter().any(missing)
    };
    let impossible = simple.iter().any(
        |condition| matches!(condition, Condition::In(field, set) if set.is_empty() && known(*field)),
    );
    (!impossible).then_some(simple)
}

/// Joins consecutive rules that differ only in which of a run of slots they compare with: the rules
/// that a variable with several values makes of one.
fn merge_runs(rules: Vec<FlatRule>) -> Vec<FlatRule> {
    if rules
        .iter()
        .any(|rule| matches!(rule.outcome, Outcome::Skip(_)))
    {
        // Targets are positions: keep them. Runs inside chains are merged before they are placed.
        return rules;
    }
    merge(rules)
}

fn merge(rules: Vec<FlatRule>) -> Vec<FlatRule> {
    let mut merged: Vec<FlatRule> = Vec::with_capacity(rules.len());
    for rule in rules {
        if !merged
            .last_mut()
            .is_some_and(|last| extend_run(last, &rule))
        {
            merged.push(rule);
        }
    }
    merged
}

fn extend_run(last: &mut FlatRule, next: &FlatRule) -> bool {
    if last.entry != next.entry
        || last.outcome != next.outcome
        || last.conditions.len() != next.conditions.len()
    {
        return false;
    }
    let pairs = last.conditions.iter().zip(&next.conditions);
    let mut different = pairs
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .map(|(i, _)| i);
    let (Some(i), None) = (different.next(), different.next()) else {
        return false;
    };
    match (&mut last.conditions[i], &next.conditions[i]) {
        (Condition::Slots(a, false), Condition::Slots(b, false))
            if a.field == b.field
                && a.first + a.count * a.stride() == b.first
                && usize::from(a.count + b.count) <= MAX_SLOT_RUN =>
        {
            *a = SlotTest {
                count: a.count + b.count,
                ..*a
            };
            true
        }
        _ => false,
    }
}
