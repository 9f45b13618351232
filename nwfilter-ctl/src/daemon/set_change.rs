//! Changes that put whole sets into the kernel. Filling a set of 100,000 elements takes a second, so the
//! loop begins such a change, another thread works it out, and the loop puts it into force. What is about
//! single elements is done in `set_calls`.

use std::{fmt, sync::Arc};

use nwfilter_common::SetName;
use serde_json::{Value, json};

use super::{
    api::{ApiError, Call, ErrorKind},
    control::Control,
    set_calls::{invalid, kernel},
};
use crate::{
    address_set::{AddressSet, Element, SetError, set_name},
    fault,
    kernel::Filled,
};

/// A change that was begun.
pub(super) struct SetChange {
    call: Call,
    /// What is added to, or removed from.
    base: Option<Arc<AddressSet>>,
    /// How often it has begun anew, because that has changed.
    rounds: u32,
}

/// A change that has begun anew so often is worked out in the loop: others who change the set all the time
/// must not hold it up for ever.
const MAX_ROUNDS: u32 = 2;

/// A change that was worked out: its sets are in the kernel, and still without effect.
pub(super) struct FilledSets {
    change: SetChange,
    sets: Result<Vec<NewSet>, ApiError>,
}

/// What became of a call.
pub(super) enum Outcome {
    /// It is done; the answer.
    Done(Value),
    /// It is a change of sets that is to be worked out first: begun, or begun anew because the set that it
    /// is about has changed meanwhile.
    Begun(SetChange),
}

/// A set that is in the kernel, and still without effect.
pub(super) struct NewSet {
    pub(super) name: String,
    pub(super) set: AddressSet,
    pub(super) filled: (SetName, Filled),
}

impl NewSet {
    fn new(name: &str, set: AddressSet) -> Result<Self, ApiError> {
        let key = set_name(name).map_err(|error| invalid(&error))?;
        let filled = Filled::new(set.keys()).map_err(|error| kernel(&error))?;
        Ok(Self {
            name: name.to_owned(),
            set,
            filled: (key, filled),
        })
    }
}

impl SetChange {
    /// Works out the change, for as long as it takes.
    pub(super) fn fill(self) -> FilledSets {
        let sets = self.sets();
        fault::gate();
        FilledSets { change: self, sets }
    }

    fn sets(&self) -> Result<Vec<NewSet>, ApiError> {
        let sets: Vec<(&String, AddressSet)> = match &self.call {
            Call::SetCreate { name, elements } => vec![(name, with(None, elements)?)],
            Call::SetImport { sets } => sets
                .iter()
                .map(|(name, elements)| Ok((name, with(None, elements)?)))
                .collect::<Result<_, ApiError>>()?,
            Call::SetAdd { name, elements } => vec![(name, with(self.base.as_deref(), elements)?)],
            Call::SetDel { name, elements } => {
                vec![(name, without(name, self.base.as_deref(), elements)?)]
            }
            _ => vec![],
        };
        let sets = sets.into_iter();
        sets.map(|(name, set)| NewSet::new(name, set)).collect()
    }
}

/// A set with these elements, too.
pub(super) fn with(base: Option<&AddressSet>, elements: &[String]) -> Result<AddressSet, ApiError> {
    let mut set = base.cloned().unwrap_or_default();
    let texts = elements.iter().map(String::as_str);
    set.add(texts).map_err(|error| invalid(&error))?;
    Ok(set)
}

/// The set of this name without these elements, all of which it has.
pub(super) fn without(
    name: &str,
    base: Option<&AddressSet>,
    elements: &[String],
) -> Result<AddressSet, ApiError> {
    let mut set = base.cloned().unwrap_or_default();
    let parsed: Result<Vec<Element>, SetError> =
        elements.iter().map(|element| element.parse()).collect();
    for element in parsed.map_err(|error| invalid(&error))? {
        if !set.remove(&element) {
            let message = format!("`{element}` is not in the set `{name}`");
            return Err(ApiError::new(ErrorKind::NotFound, message));
        }
    }
    Ok(set)
}

impl Control {
    /// Begins a change.
    pub(super) fn begin_set_change(&self, call: Call) -> Result<SetChange, ApiError> {
        let base = match &call {
            Call::SetCreate { name, .. } => {
                self.check_new_set(name)?;
                None
            }
            Call::SetAdd { name, .. } | Call::SetDel { name, .. } => Some(self.find_set(name)?),
            _ => None,
        };
        Ok(SetChange {
            call,
            base,
            rounds: 0,
        })
    }

    /// Puts a change into force.
    pub(super) fn finish_set_change(&mut self, filled: FilledSets) -> Result<Outcome, ApiError> {
        let FilledSets { change, mut sets } = filled;
        fault::begin(change.call.name());
        let now = self.begin_set_change(change.call)?;
        if now.base.as_ref().map(Arc::as_ptr) != change.base.as_ref().map(Arc::as_ptr) {
            let rounds = change.rounds + 1;
            if rounds < MAX_ROUNDS {
                return Ok(Outcome::Begun(SetChange { rounds, ..now }));
            }
            sets = now.sets();
        }
        let mut infos = self.replace_sets(sets?)?;
        Ok(Outcome::Done(match now.call {
            Call::SetImport { .. } => json!(infos),
            _ => json!(infos.pop()),
        }))
    }
}

impl fmt::Debug for FilledSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.sets.iter().flatten().map(|set| &set.name);
        f.debug_list().entries(names).finish()
    }
}
