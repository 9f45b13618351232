//! The engine in userspace, one frame after the other, and the list of rules it went by.

use nwfilter_common::{
    Class, FIELD_WORDS, Fault, Fields, FrameDirection, LeafVerdict, PortRecord, TableLayer, decide,
    parse,
};

use super::{super::load::Loaded, capture::Frame};
use crate::compile::{Considered, Ending, Seen, trace};

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
    /// The frame's class and fields; not if it is no frame at all.
    pub(super) seen: Option<(Class, Fields)>,
    /// The rules of each layer that the frame reached.
    pub(super) layers: Vec<(TableLayer, Vec<Considered<'a>>)>,
}

/// What the frames of one call have in common. The table of connections belongs here: frames come
/// in order, with their times, and `judge` is the only place that hands them to the engine.
pub(super) struct Judge<'a> {
    loaded: &'a Loaded,
    record: PortRecord,
}

impl<'a> Judge<'a> {
    pub(super) fn new(loaded: &'a Loaded) -> Self {
        Self {
            loaded,
            record: loaded.prepared.record(),
        }
    }

    /// Decides the next frame.
    pub(super) fn judge(&mut self, frame: &Frame, direction: FrameDirection) -> Why<'a> {
        let data = &frame.data[..];
        let compiled = &self.loaded.prepared.compiled;
        let mut fields: Fields = [0; FIELD_WORDS];
        let pages = compiled.image.pages();
        let verdict = decide(data, direction, &self.record, pages, &mut fields);
        let by = match verdict.fault {
            Fault::None => By::Entry(verdict.layer, verdict.entry()),
            fault => By::Fault(fault),
        };
        let decision = Decision {
            verdict: verdict.verdict,
            by,
        };
        // The fields stay as the engine saw them, the connection's state included.
        let Some(headers) = parse(data, &mut fields.clone()) else {
            return Why {
                decision,
                seen: None,
                layers: Vec::new(),
            };
        };
        let mut layers = Vec::new();
        for layer in [TableLayer::Ethernet, TableLayer::Inet] {
            if matches!(by, By::Entry(last, _) if last < layer) {
                break;
            }
            let seen = Seen {
                class: headers.class,
                fields: &fields,
                slots: &self.record.slots,
                layer,
                semantics: self.loaded.semantics,
            };
            layers.push((layer, trace(&compiled.lists[&(direction, layer)], &seen)));
        }
        Why {
            decision,
            seen: Some((headers.class, fields)),
            layers,
        }
    }
}

impl Why<'_> {
    /// What the list of rules says, which must be what the tables made of it say.
    pub(super) fn by_rules(&self) -> Option<Decision> {
        let (layer, reached) = self.layers.last()?;
        match reached.last()?.ending {
            Ending::Decided(verdict, entry) => Some(Decision {
                verdict,
                by: By::Entry(*layer, entry),
            }),
            Ending::NoMatch | Ending::Skip(_) => None,
        }
    }
}
