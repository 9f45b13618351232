//! The product's compiler and engine in userspace as one of the judges.

use std::net::IpAddr;

use anyhow::{Result, bail};
use nwfilter_common::{
    FIELD_WORDS, Fault, FrameDirection as Direction, Hook, LeafVerdict, MemoryTables, PortRecord,
    SetName, TableLayer, Work,
};
use nwfilter_ctl::{
    compile::{CompileError, Compiled, Entry, compile, compile_as_long},
    model::{Layer, Semantics},
    resolve::Instance,
};

use super::{Decider, sets::address_key};
use crate::judge::{Cause, Decision, FrameDirection, Verdict};

/// The engine with the image and the record of one port.
pub struct Engine {
    name: &'static str,
    compiled: Compiled,
    record: PortRecord,
    tables: MemoryTables,
    work: Box<Work>,
}

impl Engine {
    /// Compiles the rules of a port.
    ///
    /// # Errors
    ///
    /// What the compiler refuses.
    pub fn new(instances: &[Instance], semantics: Semantics) -> Result<Self, CompileError> {
        compile(instances, semantics).map(|compiled| Self::with(compiled, "engine"))
    }

    /// As [`Engine::new`], with the tables of long lists.
    ///
    /// # Errors
    ///
    /// As [`Engine::new`].
    pub fn as_long(instances: &[Instance], semantics: Semantics) -> Result<Self, CompileError> {
        compile_as_long(instances, semantics).map(|compiled| Self::with(compiled, "trees"))
    }

    fn with(compiled: Compiled, name: &'static str) -> Self {
        let mut record = PortRecord {
            // Any but 0, which would say that there is no port.
            ifindex: 1,
            entries: compiled.entries.len() as u32,
            flags: PortRecord::READY,
            ..PortRecord::default()
        };
        record.slots[..compiled.slots.len()].copy_from_slice(&compiled.slots);
        let mut work = Box::new(Work::new());
        // A field that the parser did not write must not be read: make it a wild value.
        work.fields = [0xdead_beef_dead_beef; FIELD_WORDS];
        let tables = MemoryTables::new();
        for (name, elements) in super::sets::sets() {
            tables.set(name, elements);
        }
        Self {
            name,
            compiled,
            record,
            tables,
            work,
        }
    }
}

impl Engine {
    /// Has an address set of the host contain these addresses, and nothing else.
    ///
    /// # Panics
    ///
    /// If no set can have this name.
    pub fn set(&mut self, name: &str, members: &[IpAddr]) {
        let name = SetName::new(name).expect("a name of a set");
        let elements = members.iter().map(|member| (address_key(*member), false));
        self.tables.set(name, elements);
    }

    /// What the compiler made.
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }
}

impl Decider for Engine {
    fn name(&self) -> &'static str {
        self.name
    }

    fn decide(&mut self, direction: FrameDirection, frame: &[u8], now: u64) -> Result<Decision> {
        let direction = match direction {
            FrameDirection::In => Direction::In,
            FrameDirection::Out => Direction::Out,
        };
        let pages = self.compiled.image.pages();
        let hook = Hook {
            direction,
            port: 0,
            record: &self.record,
        };
        self.tables.clock.set(now);
        // What has timed out counts for a limit until it is swept, and so does what was closed while it
        // counted for a router that had complained about it (decision 0041).
        self.tables.sweep_members(&self.record);
        let verdict = nwfilter_common::decide(frame, &hook, pages, &self.tables, &mut self.work);
        match verdict.fault {
            Fault::None => {}
            Fault::ShortFrame => {
                return Ok(Decision {
                    verdict: Verdict::Drop,
                    layer: Layer::Ethernet,
                    cause: Cause::Missing,
                });
            }
            fault => bail!("{}", fault.as_str()),
        }
        let layer = match verdict.layer {
            TableLayer::Ethernet => Layer::Ethernet,
            TableLayer::Inet => Layer::Inet,
        };
        let cause = match self.compiled.entries.get(verdict.entry() as usize) {
            Some(Entry::Rule(origin)) => Cause::Rule(origin.clone()),
            Some(Entry::EndOfChain(chain)) => Cause::EndOfChain(chain.to_string()),
            Some(Entry::EndOfLayer(of)) if *of == verdict.layer => Cause::EndOfLayer,
            Some(Entry::Missing(of)) if *of == verdict.layer => Cause::Missing,
            other => bail!(
                "entry {} of {:?} is {other:?}",
                verdict.entry(),
                verdict.layer
            ),
        };
        let verdict = match verdict.verdict {
            LeafVerdict::Accept => Verdict::Accept,
            LeafVerdict::Drop => Verdict::Drop,
            LeafVerdict::Reject => Verdict::Reject,
            LeafVerdict::NoLayer => bail!("a leaf says that there is no layer"),
        };
        Ok(Decision {
            verdict,
            layer,
            cause,
        })
    }
}
