//! The engine in userspace, one frame after the other, and the list of rules it went by.

use std::{rc::Rc, time::Duration};

use nwfilter_common::{
    Class, CtState, Fault, FrameDirection, Hook, LeafVerdict, MemoryTables, PortRecord, TableLayer,
    Work, decide, parse,
};

use super::{super::load::Loaded, capture::Frame};
use crate::compile::{Considered, Ending, Seen, trace};

/// How often what is dead is removed, as by the daemon; nanoseconds.
const SWEEP: u64 = 5_000_000_000;

/// What happens to a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Decision {
    pub(super) verdict: LeafVerdict,
    pub(super) by: By,
}

/// Who decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum By {
    /// A rule or a default of a layer.
    Entry(TableLayer, u32),
    /// Neither; the frame is dropped.
    Fault(Fault),
}

/// A decision and what led to it.
pub(super) struct Why<'a> {
    pub(super) decision: Decision,
    /// What the frame is; not if it is no frame at all.
    pub(super) seen: Option<Sight>,
    /// The layers that the frame reached.
    pub(super) layers: Vec<Reached<'a>>,
}

/// A frame as the engine saw it.
pub(super) struct Sight {
    /// For a later fragment that of the first one, if it is known.
    pub(super) class: Class,
    pub(super) work: Box<Work>,
    /// With the address sets.
    pub(super) tables: Rc<MemoryTables>,
    /// If the tables asked for it.
    pub(super) connection: Option<CtState>,
}

/// A layer that a frame reached.
pub(super) struct Reached<'a> {
    pub(super) layer: TableLayer,
    /// The class whose tables decided.
    pub(super) class: Class,
    /// The rules that were reached.
    pub(super) rules: Vec<Considered<'a>>,
}

/// What the frames of one call have in common: they come in order, with their times, and each one
/// finds the connections that the ones before have made.
pub(super) struct Judge<'a> {
    loaded: &'a Loaded,
    times: bool,
    /// Time of the last sweep.
    swept: u64,
    record: PortRecord,
    tables: Rc<MemoryTables>,
    work: Box<Work>,
}

impl<'a> Judge<'a> {
    /// `times`: whether time passes as the frames say; otherwise it stands still.
    pub(super) fn new(loaded: &'a Loaded, times: bool) -> Self {
        let tables = MemoryTables::new();
        for (name, set) in &loaded.sets {
            tables.set(*name, set.keys());
        }
        Self {
            loaded,
            times,
            swept: 0,
            record: loaded.prepared.record(),
            tables: Rc::new(tables),
            work: Box::default(),
        }
    }

    /// Decides the next frame.
    pub(super) fn judge(&mut self, frame: &Frame, direction: FrameDirection) -> Why<'a> {
        let data = &frame.data[..];
        let image = &self.loaded.prepared.compiled.image;
        if let Some(time) = frame.time.filter(|_| self.times) {
            self.advance(time);
        }
        let hook = Hook {
            direction,
            port: 0,
            record: &self.record,
        };
        let verdict = decide(data, &hook, image.pages(), &*self.tables, &mut self.work);
        let by = match verdict.fault {
            Fault::None => By::Entry(verdict.layer, verdict.entry()),
            fault => By::Fault(fault),
        };
        let decision = Decision {
            verdict: verdict.verdict,
            by,
        };
        // Only asked whether it is a frame.
        let Some(headers) = parse(data, &mut self.work.fields.clone()) else {
            return Why {
                decision,
                seen: None,
                layers: Vec::new(),
            };
        };
        let class = self.work.class(TableLayer::Inet);
        Why {
            decision,
            seen: Some(Sight {
                class: class.unwrap_or(headers.class),
                work: self.work.clone(),
                tables: Rc::clone(&self.tables),
                connection: self.work.connection(),
            }),
            layers: self.layers(direction, by),
        }
    }

    /// Moves the clock to the time of a frame. Captures need not be in order; the clock does not go
    /// back. What is dead is removed as if the daemon ran, so that it does not use up the quota.
    fn advance(&mut self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let now = time.max(self.tables.clock.replace(time));
        self.tables.clock.set(now);
        if now - self.swept >= SWEEP {
            self.swept = now;
            self.tables.sweep(&self.record);
        } else {
            self.tables.sweep_members(&self.record);
        }
    }

    /// The layers that the last frame reached.
    fn layers(&self, direction: FrameDirection, by: By) -> Vec<Reached<'a>> {
        let compiled = &self.loaded.prepared.compiled;
        let mut layers = Vec::new();
        for layer in [TableLayer::Ethernet, TableLayer::Inet] {
            if matches!(by, By::Entry(last, _) if last < layer) {
                break;
            }
            let Some(class) = self.work.class(layer) else {
                break;
            };
            let seen = Seen {
                class,
                tables: &self.tables,
                work: &self.work,
                slots: &self.record.slots,
                layer,
                semantics: self.loaded.semantics,
            };
            layers.push(Reached {
                layer,
                class,
                rules: trace(&compiled.lists[&(direction, layer)], &seen),
            });
        }
        layers
    }
}

impl Why<'_> {
    /// What the list of rules says, which must be what the tables made of it say.
    pub(super) fn by_rules(&self) -> Option<Decision> {
        let Reached { layer, rules, .. } = self.layers.last()?;
        match rules.last()?.ending {
            Ending::Decided(verdict, entry) => Some(Decision {
                verdict,
                by: By::Entry(*layer, entry),
            }),
            Ending::NoMatch | Ending::Skip(_) => None,
        }
    }
}
