//! The layout of an image: match tables as pages of 32-bit words.
//!
//! An image holds four decision diagrams per class of frames: one per direction and layer. A
//! diagram is a directed acyclic graph of nodes; each tests one field, or a field against values of
//! the port record, and names the next node; its leaves name the verdict and the *entry* (the rule
//! or default) that decided. Images hold no address of a particular VM, so ports with the same
//! filter share one.
//!
//! Word addresses count from the start of the image. A node never crosses a page, so that the
//! kernel program finds it with one lookup. Page 0 begins with the header and the roots.

use crate::class::CLASSES;

/// Words of a page; a power of two.
pub const PAGE_WORDS: usize = 4096;

/// A page of an image.
pub type Page = [u32; PAGE_WORDS];

/// First word of an image.
pub const IMAGE_MAGIC: u32 = u32::from_le_bytes(*b"NWFi");

/// Word that holds [`IMAGE_MAGIC`].
pub const WORD_MAGIC: usize = 0;
/// Word that holds [`crate::ABI_VERSION`].
pub const WORD_ABI: usize = 1;
/// Word that holds the number of words in use.
pub const WORD_LENGTH: usize = 2;
/// Word that holds the number of entries.
pub const WORD_ENTRIES: usize = 3;

/// First of the four words of [`crate::TrackedClasses`]: bit `direction * 64 + class` is set when
/// connections are tracked for such frames. Made by [`crate::tracked_classes`].
pub const WORD_TRACKED: usize = 4;
/// Word that holds the image's [`flag`]s.
pub const WORD_FLAGS: usize = 8;

/// Word that holds the number of connection limits.
pub const WORD_LIMITS: usize = 9;

/// Flags of an image: what differs between `semantics = strict` and `libvirt`, and what few images
/// need.
pub mod flag {
    /// In the Ethernet layer, later fragments have the fields of the first one.
    pub const ETHERNET_FRAGMENTS: u32 = 1;
    /// In the inet layer, later fragments have the fields of the first one.
    pub const INET_FRAGMENTS: u32 = 2;
    /// A DHCP request that leaves the VM opens the way for its answer.
    pub const DHCP_ANSWERS: u32 = 4;
    /// Dropped frames advance connections that exist: those to the VM always, those from the VM if
    /// the Ethernet layer accepts them. Otherwise only frames that pass do.
    pub const DROPPED_ADVANCE: u32 = 8;
    /// Some table asks for TCP options.
    pub const TCP_OPTIONS: u32 = 16;
    /// `semantics = strict`.
    pub const STRICT: u32 = ETHERNET_FRAGMENTS | INET_FRAGMENTS | DHCP_ANSWERS;
    /// `semantics = libvirt`.
    pub const LIBVIRT: u32 = INET_FRAGMENTS | DROPPED_ADVANCE;
}

/// Word of the first root.
pub const ROOTS: usize = 16;

/// First word that nodes may use.
pub const NODES: usize = ROOTS + 4 * CLASSES;

/// Most nodes on a way from a root to a leaf; the compiler keeps to it, and the program drops a
/// frame that it would take further. Usual ways have less than ten; long ones are those through the
/// parts of a list of thousands of unlike rules.
pub const MAX_STEPS: usize = 1 << 16;

/// Direction of a frame, seen from the VM.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum FrameDirection {
    /// Enters the VM: TC egress of the port.
    In = 0,
    /// Leaves the VM: TC ingress of the port.
    Out = 1,
}

/// The two layers; see `DESIGN.md` section 2.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum TableLayer {
    /// ebtables' part.
    Ethernet = 0,
    /// iptables' part.
    Inet = 1,
}

/// Word that holds the root of a diagram; `class` is the discriminant of a [`crate::Class`].
#[inline(always)]
pub const fn root_word(direction: FrameDirection, layer: TableLayer, class: usize) -> usize {
    ROOTS + ((direction as usize) << 1 | layer as usize) * CLASSES + class % CLASSES
}

/// What a leaf says.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum LeafVerdict {
    /// The frame passes this layer.
    Accept = 0,
    /// The frame is discarded.
    Drop = 1,
    /// The frame is discarded, with an answer in the inet layer.
    Reject = 2,
    /// Only as a root: there is no such layer for this class of frames.
    NoLayer = 3,
}

/// Refers to a node or, with the top bit set, is a leaf itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(transparent)]
pub struct NodeRef(pub u32);

impl NodeRef {
    const LEAF: u32 = 1 << 31;
    const VERDICT_SHIFT: u32 = 28;
    const ENTRY: u32 = (1 << Self::VERDICT_SHIFT) - 1;

    /// A leaf.
    pub const fn leaf(verdict: LeafVerdict, entry: u32) -> Self {
        Self(Self::LEAF | (verdict as u32) << Self::VERDICT_SHIFT | entry & Self::ENTRY)
    }

    /// Whether this is a leaf.
    #[inline(always)]
    pub const fn is_leaf(self) -> bool {
        self.0 & Self::LEAF != 0
    }

    /// The verdict of a leaf.
    #[inline(always)]
    pub const fn verdict(self) -> LeafVerdict {
        match (self.0 >> Self::VERDICT_SHIFT) & 7 {
            0 => LeafVerdict::Accept,
            2 => LeafVerdict::Reject,
            3 => LeafVerdict::NoLayer,
            _ => LeafVerdict::Drop,
        }
    }

    /// The entry of a leaf: an index into the image's list of rules and defaults.
    #[inline(always)]
    pub const fn entry(self) -> u32 {
        self.0 & Self::ENTRY
    }
}

/// Kinds of nodes. The first word of a node is `kind | field << 8 | argument << 16`.
pub mod kind {
    /// Field equals a 32-bit value: `[head, value, yes, no]`.
    pub const EQUAL32: u32 = 0;
    /// Field equals a 64-bit value: `[head, low, high, yes, no]`.
    pub const EQUAL64: u32 = 1;
    /// Search over 32-bit keys; the argument is L = 1 to [`MAX_LEVELS`]:
    /// `[head, 2^L - 1 ascending keys, 2^L children]`. The child is the one with as many keys before
    /// it as are not larger than the field. Unused keys are at the end, with the last child.
    pub const SEARCH32: u32 = 2;
    /// As [`SEARCH32`] with keys of two words, low word first.
    pub const SEARCH64: u32 = 3;
    /// Field is one of some slots of the port record; the argument is `first | count << 8`:
    /// `[head, yes, no]`.
    pub const SLOTS: u32 = 4;
    /// As [`SLOTS`] for an IPv6 address: the field and the next one against pairs of slots, `count`
    /// pairs.
    pub const SLOT_PAIRS: u32 = 5;
    /// A bit of the field is set; the argument is its number: `[head, yes, no]`.
    pub const BIT: u32 = 6;
    /// Bit rows, see `rows.rs`: `[head, tables, up to 65 children]`. The field is
    /// `narrow tables | wide tables << 4`, the argument the offset of the children.
    pub const ROWS: u32 = 7;
    /// A connection limit looks at the frame; the argument is its number, the field
    /// [`crate::Field::CtState`]: `[head, most, yes, no]`, yes if the source is above. Has an effect,
    /// so only behind all other tests of its rule, and only in the inet layer.
    pub const LIMIT: u32 = 8;
    /// The frame is in a set; the argument is [`crate::set_argument`], the field the first one of an
    /// address: `[head, 8 words of the set's name, yes, no]`. Only in the inet layer.
    pub const SET: u32 = 9;

    /// Largest L of a search.
    pub const MAX_LEVELS: u32 = 6;
}

/// The first word of a node.
pub const fn head(kind: u32, field: usize, argument: u32) -> u32 {
    kind | (field as u32) << 8 | argument << 16
}
