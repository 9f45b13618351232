//! Putting records into force, and taking them out.
//!
//! Every port has two records; the lowest bit of one global word says which one holds. A change
//! writes the records that do not hold, then flips the bit: all ports of the host switch at the same
//! instant, and a frame sees one side or the other.

use std::sync::Arc;

use nwfilter_common::{Counter, Global, PortRecord};

use super::{Datapath, PortState};
use crate::{
    fault,
    kernel::{
        KernelError,
        counters::{Pairs, difference},
        sys,
    },
};

/// A port that is ready for a change.
pub(super) struct Ready {
    pub(super) name: String,
    pub(super) state: PortState,
    pub(super) identities: Option<Arc<[u64]>>,
}

impl Datapath {
    /// Filters a port that was not.
    pub(super) fn add(&mut self, ready: Ready) -> Result<(), KernelError> {
        let Ready {
            name,
            state,
            identities,
        } = ready;
        // Nothing reads these before the interface has a program.
        for generation in [0, 1] {
            self.tables
                .set_record(state.number, generation, &state.record)?;
            fault::point();
        }
        self.tables.index(state.ifindex, state.number)?;
        self.ports.insert(name.clone(), state);
        if let Some(identities) = identities {
            self.identities.insert(name.clone(), identities);
        }
        let attached = self.attach(&name, state.ifindex);
        if attached.is_err() {
            self.forget(&name)?;
        }
        attached
    }

    /// Puts records of bound ports into force, all at one instant.
    pub(super) fn switch(&mut self, ready: &[Ready]) -> Result<(), KernelError> {
        let known: Vec<&Ready> = ready
            .iter()
            .filter(|ready| self.ports.get(&ready.name) != Some(&ready.state))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let spare = self.generation + 1;
        let written = known.iter().try_for_each(|ready| {
            let state = &ready.state;
            self.tables.set_record(state.number, spare, &state.record)
        });
        fault::point();
        let carried = self.carried(&known);
        for (_, to, counter) in &carried {
            self.counters.add(*to, *counter);
        }
        let flipped = written.and_then(|()| self.tables.set_global(Global::Generation, spare));
        if let Err(error) = flipped {
            // Or the next flip would put them into force.
            for Ready { name, .. } in known {
                if let Some(state) = self.ports.get(name) {
                    self.tables.set_record(state.number, spare, &state.record)?;
                }
            }
            return Err(error);
        }
        self.generation = spare;
        fault::point();
        sys::wait_for_programs()?;
        // What was counted since, by programs that began before the flip.
        for (from, to, before) in carried {
            if let [now] = self.counters.read(from, 1)[..] {
                self.counters.add(to, difference(now, before));
            }
        }
        for Ready { state, .. } in known {
            self.tables
                .set_record(state.number, spare + 1, &state.record)?;
        }
        fault::point();
        Ok(())
    }

    /// The counters that go on elsewhere: where they are, where they go on, and what they say.
    fn carried(&self, ready: &[&Ready]) -> Vec<(u32, u32, Counter)> {
        let mut pairs: Option<Pairs> = None;
        let mut carried = Vec::new();
        for Ready {
            name,
            state,
            identities,
        } in ready
        {
            let Some(before) = self.ports.get(name) else {
                continue;
            };
            let [from, to] = [before, state].map(|state| state.record.counters);
            if from == to {
                continue;
            }
            let old = self.identities.get(name);
            // Most ports have the same ones.
            if !pairs
                .as_ref()
                .is_some_and(|pairs| pairs.are_of(old, identities.as_ref()))
            {
                pairs = Some(Pairs::new(old, identities.as_ref()));
            }
            let counters = self.counters.read(from, before.counters().1);
            for &(old, new) in pairs.iter().flat_map(|pairs| &pairs.positions) {
                if let Some(counter) = counters.get(old as usize)
                    && *counter != Counter::default()
                {
                    carried.push((from + old, to + new, *counter));
                }
            }
        }
        carried
    }

    pub(super) fn unbind(&mut self, port: &str) -> Result<(), KernelError> {
        self.detach(port)?;
        self.forget(port)
    }

    pub(super) fn forget(&mut self, port: &str) -> Result<(), KernelError> {
        if let Some(state) = self.ports.remove(port) {
            self.remove_records(&state)?;
        }
        self.identities.remove(port);
        fault::point();
        Ok(())
    }

    pub(super) fn remove_records(&mut self, state: &PortState) -> Result<(), KernelError> {
        self.tables.unindex(state.ifindex)?;
        self.clear_records(state.number)
    }

    pub(super) fn clear_records(&mut self, number: u32) -> Result<(), KernelError> {
        for generation in [0, 1] {
            self.tables
                .set_record(number, generation, &PortRecord::default())?;
        }
        Ok(())
    }
}
