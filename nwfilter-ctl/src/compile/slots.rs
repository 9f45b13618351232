//! Which slot of the port record holds which address of the VM.

use std::{collections::BTreeSet, sync::Arc};

use nwfilter_common::{MAX_SLOT_RUN, SLOTS, Slot};

use crate::resolve::VariableElement;

/// What a slot is for. Two ports share an image if their slots are for the same in the same order,
/// whatever the values; inside a port, the values tell variables of different scopes apart.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Purpose {
    variable: VariableElement,
    parts: Vec<(u64, u64)>,
}

/// Slots handed out so far.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
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
    pub(super) fn embedded(&self) -> &BTreeSet<Arc<str>> {
        &self.embedded
    }

    /// Whether this variable's values are kept in slots.
    pub(super) fn holds(&self, variable: &VariableElement) -> bool {
        !self.embedded.contains(&variable.name)
    }

    /// The first of the slots (one for each of `parts`, which are values and masks) that hold an
    /// element of a variable.
    pub(super) fn slot(
        &mut self,
        variable: &VariableElement,
        parts: &[(u64, u64)],
    ) -> Result<u8, Full> {
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

    /// The values, by slot.
    pub(super) fn into_slots(self) -> Vec<Slot> {
        self.slots
    }
}
