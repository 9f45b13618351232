//! From resolved rules to an image and the values of a port record. Pure and deterministic: no I/O,
//! no clock, nothing of the kernel; the same rules give the same bytes.

mod decode;
mod diagram;
mod encode;
mod exact;
mod lower;
mod print;
mod rows;
mod rule;
mod set;
mod slots;
mod specialise;
mod state;
#[cfg(test)]
mod tests;
mod trace;
mod tree;

use std::{collections::BTreeMap, fmt, sync::Arc};

use nwfilter_common::{FrameDirection, PAGE_WORDS, Page, Slot, TableLayer};

use self::diagram::Effort;
pub use self::{
    decode::decode,
    rule::{BitTest, Condition, FlatRule, LimitTest, Outcome, SetTest, SlotTest},
    set::ValueSet,
    slots::SlotSource,
    trace::{Considered, Ending, Known, Seen, trace},
};
use crate::{
    model::{Attr, Semantics},
    resolve::{Instance, Origin},
};

/// Most words of an image: 16 MiB.
pub const MAX_IMAGE_WORDS: usize = 4 << 20;

/// Compiled rules of one binding.
#[derive(Debug)]
pub struct Compiled {
    /// The match tables, shared by all ports with equal ones.
    pub image: Image,
    /// Values of this port that the image refers to.
    pub slots: Vec<Slot>,
    /// What the leaves of the image refer to. Two bindings may share an image and still have
    /// different entries: the same rules in files of other names.
    pub entries: Vec<Entry>,
    /// Nodes on the longest way that a frame can take through one layer's tables.
    pub steps: usize,
    /// What the slots were made from.
    pub sources: Vec<SlotSource>,
    /// The flat lists that the image was made from.
    pub lists: BTreeMap<(FrameDirection, TableLayer), Vec<FlatRule>>,
}

/// Match tables, ready for the kernel; see [`nwfilter_common::Page`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Image {
    words: Arc<[u32]>,
}

impl Image {
    /// What an image was installed as.
    pub(crate) fn from_words(words: Vec<u32>) -> Self {
        Self {
            words: words.into(),
        }
    }

    /// The words, a whole number of pages.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The pages.
    pub fn pages(&self) -> &[Page] {
        self.words.as_chunks::<PAGE_WORDS>().0
    }

    /// Words in use.
    pub fn used_words(&self) -> usize {
        self.words[nwfilter_common::WORD_LENGTH] as usize
    }
}

/// Who decides a frame.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Entry {
    /// No rule did: the layer's default, pass.
    EndOfLayer(TableLayer),
    /// A rule tests a header that the frame should have and has not: drop.
    Missing(TableLayer),
    /// A sub-chain ran off its end: pass (fact 1 of the semantics reference).
    EndOfChain(Arc<str>),
    /// A rule.
    Rule(Origin),
}

impl Entry {
    /// The entries that every image begins with.
    pub(crate) const DEFAULTS: [Self; 4] = [
        Self::EndOfLayer(TableLayer::Ethernet),
        Self::EndOfLayer(TableLayer::Inet),
        Self::Missing(TableLayer::Ethernet),
        Self::Missing(TableLayer::Inet),
    ];

    /// Number of [`Entry::Missing`] of a layer.
    pub(crate) const fn missing(layer: TableLayer) -> u32 {
        2 + layer as u32
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfLayer(TableLayer::Ethernet) => f.write_str("end of the Ethernet layer"),
            Self::EndOfLayer(TableLayer::Inet) => f.write_str("end of the inet layer"),
            Self::Missing(TableLayer::Ethernet) => f.write_str("missing header (Ethernet layer)"),
            Self::Missing(TableLayer::Inet) => f.write_str("missing header (inet layer)"),
            Self::EndOfChain(chain) => write!(f, "end of chain {chain}"),
            Self::Rule(Origin { filter, rule, line }) => write!(f, "{filter}#{rule} (line {line})"),
        }
    }
}

/// Why there is no image.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CompileError {
    /// A test that the datapath does not have.
    #[error("rule {rule} of filter {filter} (line {line}): `{what}` is not supported", rule = origin.rule,
        filter = origin.filter, line = origin.line)]
    Unsupported {
        /// The rule.
        origin: Origin,
        /// The attribute.
        what: Attr,
    },
    /// The tables would be larger than an image may be.
    #[error(
        "the match tables need more than {limit} words of 4 bytes, the limit of an image; \
         the list for frames {direction:?}, {layer:?} layer, has {rules} rules"
    )]
    TooLarge {
        /// [`MAX_IMAGE_WORDS`]
        limit: usize,
        /// Direction of the list that did not fit.
        direction: FrameDirection,
        /// Layer of the list that did not fit.
        layer: TableLayer,
        /// Its length.
        rules: usize,
    },
    /// A frame could be looked at by more connection limits than the datapath keeps.
    #[error(
        "a frame {direction:?} could be looked at by more than {limit} rules with `connlimit-above`"
    )]
    TooManyLimits {
        /// [`nwfilter_common::MAX_LOOKED`]
        limit: usize,
        /// Direction of the list.
        direction: FrameDirection,
    },
    /// A frame would take more steps through the tables than the datapath makes.
    #[error(
        "the list for frames {direction:?}, {layer:?} layer, has {rules} rules that are too unlike: \
         a frame would take more than {limit} steps through its match tables"
    )]
    TooDeep {
        /// [`nwfilter_common::MAX_STEPS`]
        limit: usize,
        /// Direction of the list.
        direction: FrameDirection,
        /// Layer of the list.
        layer: TableLayer,
        /// Its length.
        rules: usize,
    },
}

/// Compiles the rules of one binding.
///
/// # Errors
///
/// See [`CompileError`].
pub fn compile(instances: &[Instance], semantics: Semantics) -> Result<Compiled, CompileError> {
    compile_with(instances, semantics, Effort::USUAL)
}

/// As [`compile`], with the tables of long lists also for short ones: for tests.
///
/// # Errors
///
/// See [`CompileError`].
pub fn compile_as_long(
    instances: &[Instance],
    semantics: Semantics,
) -> Result<Compiled, CompileError> {
    compile_with(instances, semantics, Effort::TREES)
}

fn compile_with(
    instances: &[Instance],
    semantics: Semantics,
    efforts: &[Effort],
) -> Result<Compiled, CompileError> {
    let lists = lower::lower(instances, semantics)?;
    let (image, steps) = encode::image(&lists, semantics, efforts)?;
    Ok(Compiled {
        image,
        slots: lists.slots,
        sources: lists.sources,
        entries: lists.entries,
        steps,
        lists: lists.rules,
    })
}
