//! Which slot of the port record holds which address of the VM.

use std::{collections::BTreeSet, sync::Arc};

use nwfilter_common::{MAX_SLOT_RUN, SLOTS, Slot};

use crate::{
    model::{Attr, Protocol},
    resolve::VariableElement,
};

/// What a slot is for. Two ports share an image if their slots are for the same in the same order,
/// whatever the values; inside a port, the values tell variables of different scopes apart.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Purpose {
    variable: VariableElement,
    parts: Vec<(u64, u64)>,
}

/// A value that is compared with by way of slots: which one, and how it was read. Each way of reading
/// a value once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SlotSource {
    /// The variable's element.
    pub variable: VariableElement,
    /// The element that it was read for.
    pub protocol: Protocol,
    /// The attribute that it was read for.
    pub attr: Attr,
    /// The first slot that holds it.
    pub first: u8,
    /// The masks of these slots, from the first.
    pub masks: Vec<u64>,
}

/// Slots handed out so far.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
    sources: Vec<SlotSource>,
    purposes: Vec<(Purpose, u8)>,
    slots: Vec<Slot>,
    /// Variables with more values than slots can hold; theirs go into the image.
    embedded: BTreeSet<Arc<str>>,
}

/// There is no slot left: this variable's values must go into the image.
#[derive(Debug)]
pub(super) struct Full(pub(super) Arc<str>);

impl SlotTable {
    /// An empty table for another try, without slots for these variables.
    pub(super) fn without(embedded: BTreeSet<Arc<str>>) -> Self {
        Self {
            embedded,
            ..Self::default()
        }
    }

    /// The variables that get no slots.
    pub(super) fn into_embedded(self) -> BTreeSet<Arc<str>> {
        self.embedded
    }

    /// Whether this variable's values are kept in slots.
    pub(super) fn holds(&self, variable: &VariableElement) -> bool {
        !self.embedded.contains(&variable.name)
    }

    /// The first of the slots (one for each of `parts`, which are values and masks) that hold an
    /// element of a variable that an attribute tests.
    pub(super) fn slot(
        &mut self,
        variable: &VariableElement,
        (protocol, attr): (Protocol, Attr),
        parts: &[(u64, u64)],
    ) -> Result<u8, Full> {
        let first = self.number(variable, parts)?;
        let source = SlotSource {
            variable: variable.clone(),
            protocol,
            attr,
            first,
            masks: parts.iter().map(|&(_, mask)| mask).collect(),
        };
        if !self.sources.contains(&source) {
            self.sources.push(source);
        }
        Ok(first)
    }

    fn number(&mut self, variable: &VariableElement, parts: &[(u64, u64)]) -> Result<u8, Full> {
        let purpose = Purpose {
            variable: variable.clone(),
            parts: parts.to_vec(),
        };
        if let Some((_, first)) = self.purposes.iter().find(|(known, _)| *known == purpose) {
            return Ok(*first);
        }
        let too_many = variable.index as usize >= MAX_SLOT_RUN;
        if too_many || self.slots.len() + parts.len() > SLOTS {
            return Err(Full(Arc::clone(&variable.name)));
        }
        let first = self.slots.len() as u8;
        self.slots.extend(parts.iter().map(|&(value, mask)| Slot {
            value: value & mask,
            mask,
        }));
        self.purposes.push((purpose, first));
        Ok(first)
    }

    /// The values, by slot, and what they were made from.
    pub(super) fn finish(self) -> (Vec<Slot>, Vec<SlotSource>) {
        (self.slots, self.sources)
    }
}
