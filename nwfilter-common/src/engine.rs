//! The engine: decides a frame with an image and a port record. The same code runs in the kernel
//! and in userspace; what differs is where frame, pages and fields live.

use crate::{
    abi::{Fault, PortRecord},
    ct::{Tables, tracked_bit},
    field::{Fields, word},
    image::{
        FrameDirection, LeafVerdict, NodeRef, Page, TableLayer, WORD_FLAGS, WORD_TRACKED, flag,
        root_word,
    },
    limit::flow,
    packet::Packet,
    parts::{Parts, Whole},
    rows::rows,
    walk::{at, quick_walk},
    work::{Work, class_word, put, recall},
};

/// Where the pages of one image live, and how to go through them.
pub trait Pages {
    /// A page by number; `None` behind the last one.
    fn page(&self, number: u32) -> Option<&Page>;

    /// Calls `body` until it says `false`, `times` times at the most. A method, because the kernel's
    /// verifier would walk through every round of an ordinary loop.
    fn repeat<F: FnMut() -> bool>(&self, times: u32, body: F);

    /// Takes the test of a node with bit rows. A method, so that the kernel program can verify it by
    /// itself.
    #[inline(always)]
    fn rows(&self, page: &Page, address: u32, fields: &Fields) -> NodeRef {
        rows(page, address as usize, fields)
    }
}

impl Pages for [Page] {
    fn page(&self, number: u32) -> Option<&Page> {
        self.get(number as usize)
    }

    fn repeat<F: FnMut() -> bool>(&self, times: u32, mut body: F) {
        for _ in 0..times {
            if !body() {
                break;
            }
        }
    }
}

/// What happens to a frame, and who decided it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Pass or not.
    pub verdict: LeafVerdict,
    /// The layer that decided last.
    pub layer: TableLayer,
    /// Entry that decided in the Ethernet layer; valid if `fault` is [`Fault::None`].
    pub ethernet: u32,
    /// Entry that decided in the inet layer; valid if `layer` is [`TableLayer::Inet`].
    pub inet: u32,
    /// Set when neither rule nor default decided; the frame is dropped.
    pub fault: Fault,
}

impl Verdict {
    /// A frame that no rule got to see.
    #[inline(always)]
    pub const fn fault(fault: Fault) -> Self {
        Self {
            verdict: LeafVerdict::Drop,
            layer: TableLayer::Ethernet,
            ethernet: 0,
            inet: 0,
            fault,
        }
    }

    /// The entry that decided.
    #[inline(always)]
    pub const fn entry(&self) -> u32 {
        match self.layer {
            TableLayer::Ethernet => self.ethernet,
            TableLayer::Inet => self.inet,
        }
    }
}

/// Where a frame was seen.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// Seen from the VM.
    pub direction: FrameDirection,
    /// Port number.
    pub port: u32,
    /// The port's record.
    pub record: &'a PortRecord,
}

/// Decides a frame. `work` is working memory.
#[inline(always)]
pub fn decide<P: Packet + ?Sized, I: Pages + ?Sized, T: Tables + ?Sized>(
    packet: &P,
    hook: &Hook<'_>,
    image: &I,
    tables: &T,
    work: &mut Work,
) -> Verdict {
    let Some(first) = image.page(0) else {
        return Verdict::fault(Fault::NoImage);
    };
    let whole = Whole {
        packet,
        hook: *hook,
        image,
        tables,
    };
    decide_by(&whole, hook, first, work)
}

/// As [`decide`], by the engine's parts; `first` is the first page of the image.
#[inline(always)]
pub fn decide_by<C: Parts>(parts: &C, hook: &Hook<'_>, first: &Page, work: &mut Work) -> Verdict {
    let Hook {
        direction, record, ..
    } = *hook;
    for (word, none) in [
        (word::TRACKED, 0),
        (word::FLOW, flow::NONE),
        (word::LOOKED, 0),
    ] {
        put(&mut work.fields[word], none);
    }
    if !parts.read(work) {
        return Verdict::fault(Fault::ShortFrame);
    }
    // Read anew each time, so that the verifier does not remember how the last test went.
    let has = |flags| recall(&first[WORD_FLAGS]) & flags != 0;
    if recall(&work.fields[word::FRAGMENT]) > 1
        && has(flag::ETHERNET_FRAGMENTS | flag::INET_FRAGMENTS)
    {
        parts.adopt(work);
    }
    let leaf = find_leaf(parts, hook, first, TableLayer::Ethernet, work);
    if !leaf.is_leaf() || leaf.entry() >= record.entries {
        return Verdict::fault(Fault::BadImage);
    }
    let mut verdict = Verdict {
        verdict: leaf.verdict(),
        layer: TableLayer::Ethernet,
        ethernet: leaf.entry(),
        inet: 0,
        fault: Fault::None,
    };

    let passes = matches!(verdict.verdict, LeafVerdict::Accept);
    let tracked = is_tracked(first, direction, work)
        && (passes || matches!(direction, FrameDirection::In) && has(flag::DROPPED_ADVANCE));
    let changes = tracked && parts.track(work);
    if passes && has(flag::TCP_OPTIONS) {
        parts.options(work);
    }
    if passes {
        let leaf = find_leaf(parts, hook, first, TableLayer::Inet, work);
        if !leaf.is_leaf() || leaf.entry() >= record.entries {
            return Verdict::fault(Fault::BadImage);
        }
        if !matches!(leaf.verdict(), LeafVerdict::NoLayer) {
            verdict.layer = TableLayer::Inet;
            verdict.verdict = leaf.verdict();
            verdict.inet = leaf.entry();
        }
    }

    let accepted = matches!(verdict.verdict, LeafVerdict::Accept);
    if changes {
        parts.commit(accepted, work);
    }
    if tracked && recall(&work.fields[word::LOOKED]) != 0 {
        parts.join(work);
    }
    if accepted
        && recall(&work.fields[word::FRAGMENT]) == 1
        && has(flag::ETHERNET_FRAGMENTS | flag::INET_FRAGMENTS)
    {
        parts.lend(work);
    }
    verdict
}

/// The leaf that the frame leads to in a layer.
#[inline(always)]
fn find_leaf<C: Parts>(
    parts: &C,
    hook: &Hook<'_>,
    first: &Page,
    layer: TableLayer,
    work: &mut Work,
) -> NodeRef {
    let class = recall(&work.fields[class_word(layer)]) as usize;
    let root = NodeRef(at(first, root_word(hook.direction, layer, class)));
    let node = quick_walk(first, root, &work.fields, &hook.record.slots);
    if node.is_leaf() {
        node
    } else {
        parts.walk(layer, node, work)
    }
}

/// Whether the inet layer's tables for the frame ask for its connection. The state of later fragments
/// is that of the first one.
#[inline(always)]
fn is_tracked(first: &Page, direction: FrameDirection, work: &Work) -> bool {
    let class = recall(&work.fields[word::INET_CLASS]) as usize;
    let (words, bit) = tracked_bit(direction, class);
    at(first, WORD_TRACKED + words) >> bit & 1 != 0
        && class == recall(&work.fields[word::PARSED]) as usize
}
