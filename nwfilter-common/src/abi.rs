//! The layout of the BPF maps, the names of maps and programs, and the version of all that.

use crate::{
    ct::DEFAULT_QUOTA,
    image::{FrameDirection, TableLayer},
};

/// Grows with every change to a layout or a meaning that both sides share: types and constants of
/// this module, of `image`, `field` and `class`. Pinned objects of another version are replaced.
pub const ABI_VERSION: u32 = 6;

/// Names of maps and programs in the object, which are also their names below the pin directory.
pub mod names {
    /// [`super::Global`] by [`super::Global`] index.
    pub const GLOBALS: &str = "GLOBALS";
    /// Port number by interface index, for ports whose number is not their interface index modulo
    /// [`super::MAX_PORTS`].
    pub const PORT_HASH: &str = "PORT_HASH";
    /// [`super::PortRecord`] by `2 * port + generation & 1`.
    pub const PORTS: &str = "PORTS";
    /// Arrays of one [`crate::Page`], the first of an image, by image number.
    pub const IMAGES: &str = "IMAGES";
    /// Arrays of the further pages of an image, by image number. Apart from the first pages, because
    /// the kernel looks faster into arrays that all have the same length.
    pub const PAGES: &str = "PAGES";
    /// [`super::Counter`]s; each port has a run of them.
    pub const COUNTERS: &str = "COUNTERS";
    /// [`super::Tally`] by CPU times [`super::TALLIES`] plus place; mapped into memory. Its size is set
    /// when the object is loaded; a CPU that has none adds to the counters at once.
    pub const TALLIES: &str = "TALLIES";
    /// Ring buffer of [`super::DropEvent`]s.
    pub const EVENTS: &str = "EVENTS";
    /// [`crate::Entry`] by [`crate::Key4`]: the IPv4 connections of all ports. Elements are allocated
    /// when they are needed; the size may be set when the object is loaded.
    pub const CONNECTIONS4: &str = "CONNECTIONS4";
    /// [`crate::Entry`] by [`crate::Key`]: as above, IPv6.
    pub const CONNECTIONS6: &str = "CONNECTIONS6";
    /// Per-CPU [`crate::Recent`] by `2 * place + direction`.
    pub const REMEMBERED: &str = "REMEMBERED";
    /// How often connections of a place have changed.
    pub const CHANGES: &str = "CHANGES";
    /// [`crate::Fragment`] by slot.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// One [`crate::Timeouts`].
    pub const TIMEOUTS: &str = "TIMEOUTS";
    /// [`crate::Tracking`] by port number; only the program writes it.
    pub const TRACKING: &str = "TRACKING";
    /// Ring buffer of [`crate::LearnEvent`]s.
    pub const LEARNING: &str = "LEARNING";
    /// What [`crate::admit`] remembers, by `2 * port + direction`.
    pub const LEARN_LIMITS: &str = "LEARN_LIMITS";
    /// When a member's connection was created by [`crate::Member`]: the connections that limits count.
    pub const MEMBERS: &str = "MEMBERS";
    /// [`crate::Count`] by [`crate::Source`].
    pub const COUNTS: &str = "COUNTS";
    /// [`crate::Answers`] by port number; only the program writes it.
    pub const ANSWERS: &str = "ANSWERS";
    /// Per-CPU working memory.
    pub const SCRATCH: &str = "SCRATCH";
    /// The classifier for frames that enter the VM.
    pub const PROGRAM_IN: &str = "nwfilter_in";
    /// The classifier for frames that leave the VM.
    pub const PROGRAM_OUT: &str = "nwfilter_out";
    /// Tries of [`crate::SetKey`]s by [`crate::SetName`]; 1 for an element, 0 for an exception.
    pub const SETS: &str = "SETS";
    /// The programs that answer rejected frames, by [`super::FrameDirection`].
    pub const ANSWERERS: &str = "ANSWERERS";
    /// Answers rejected frames that would have entered the VM.
    pub const PROGRAM_ANSWER_IN: &str = "nwfilter_answer_in";
    /// Answers rejected frames that the VM has sent.
    pub const PROGRAM_ANSWER_OUT: &str = "nwfilter_answer_out";
    /// Removes dead connections and fragments; to be run with `BPF_PROG_TEST_RUN` on any frame, every
    /// few seconds and after a flush. Is attached nowhere.
    pub const PROGRAM_SWEEP: &str = "nwfilter_sweep";
}

/// Most ports at a time; a power of two.
pub const MAX_PORTS: usize = 4096;
/// Most images at a time.
pub const MAX_IMAGES: usize = 4096;
/// Counters for all ports together.
pub const MAX_COUNTERS: usize = 1 << 19;
/// Slots of a port record; a power of two.
pub const SLOTS: usize = 16;
/// Most slots (or pairs of slots) that one node compares with.
pub const MAX_SLOT_RUN: usize = 8;
/// Connections of all ports together, for each IP version, unless the loader asks for another number.
pub const MAX_CONNECTIONS: usize = 1 << 19;
/// Packets that are under way in fragments, of all ports together.
pub const MAX_FRAGMENTS: usize = 1 << 16;
/// `skb->mark` of an answer on its way to the port's other hook, which takes it off. Together with
/// what an answer looks like, see [`crate::is_answer`].
pub const ANSWER_MARK: u32 = u32::from_le_bytes(*b"NWFa");
/// Bytes of the ring buffer for events.
pub const EVENTS_BYTES: usize = 1 << 20;
/// Bytes of a frame that an event carries.
pub const SNAPSHOT_LEN: usize = 96;

/// Indices of the array of global words.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Global {
    /// Its lowest bit chooses between the two records of every port: flipping it switches all ports
    /// of the host at once.
    Generation = 0,
    /// Non-zero while somebody reads drop events.
    Events = 1,
    /// Events that found the ring buffer full.
    LostEvents = 2,
    /// [`ABI_VERSION`] of what is loaded.
    AbiVersion = 3,
    /// Frames to learn from that found their ring buffer full, or were too many.
    LostLearning = 4,
    /// Answers to rejected frames that a port sends per second, plus 1; 0 for
    /// [`crate::DEFAULT_ANSWERS`].
    AnswerRate = 5,
}

/// Number of global words.
pub const GLOBAL_COUNT: usize = 6;

/// A value of a port for nodes to compare with: matches when `field & mask == value`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Slot {
    /// Already masked.
    pub value: u64,
    /// Bits that count.
    pub mask: u64,
}

/// What differs between ports that share an image.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct PortRecord {
    /// Interface index; a record with another one than the frame's is not used.
    pub ifindex: u32,
    /// Image number.
    pub image: u32,
    /// First counter of the port.
    pub counters: u32,
    /// Entries of the image; a frame that a larger entry decides is dropped.
    pub entries: u32,
    /// [`PortRecord::READY`], and those of [`PortRecord::LEARN`].
    pub flags: u32,
    /// Most connections at a time; 0 for [`crate::DEFAULT_QUOTA`].
    pub quota: u32,
    /// Connections and fragments from before count no more: when the port was made, or when its
    /// connections were last flushed. `CLOCK_MONOTONIC`, nanoseconds.
    pub since: u64,
    /// The VM's hardware address, from which or for which frames must be to learn from them: as
    /// [`crate::MacAddr::to_u64`]. Decides no frame.
    pub mac: u64,
    /// Changes with the image and when connections are flushed: what limits have counted before
    /// counts no more.
    pub limits: u32,
    /// Zero.
    pub reserved: u32,
    /// Addresses of the VM, as the image numbers them.
    pub slots: [Slot; SLOTS],
}

impl PortRecord {
    /// Flag: the image is valid. Without it nothing passes.
    pub const READY: u32 = 1;
    /// Flag: userspace gets messages between DHCP client and server.
    pub const LEARN_DHCP: u32 = 1 << 8;
    /// Flag: userspace gets what the VM sends over IPv4, and its ARP packets.
    pub const LEARN_USED: u32 = 1 << 9;
    /// Flag: userspace gets messages between DHCPv6 client and server.
    pub const LEARN_DHCP6: u32 = 1 << 10;
    /// Flag: userspace gets the VM's neighbour discovery.
    pub const LEARN_CLAIMED: u32 = 1 << 11;
    /// All flags that say what userspace gets to learn from.
    pub const LEARN: u32 =
        Self::LEARN_DHCP | Self::LEARN_USED | Self::LEARN_DHCP6 | Self::LEARN_CLAIMED;

    /// Most connections at a time.
    #[inline(always)]
    pub const fn quota(&self) -> u32 {
        if self.quota == 0 {
            DEFAULT_QUOTA
        } else {
            self.quota
        }
    }
}

/// Frames and bytes that a rule, a default or a fault decided.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Counter {
    /// Frames; a segmentation-offload frame counts as the frames it stands for.
    pub packets: u64,
    /// Bytes from the Ethernet header on.
    pub bytes: u64,
}

/// Frames that one CPU has counted and not yet added to their [`Counter`]: adding to memory that all CPUs
/// share takes longer than all else that is done for most frames. A CPU has [`TALLIES`] of these; the
/// one at the counter's index modulo [`TALLIES`] holds what it has counted until another counter
/// needs its place.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Tally {
    /// Index of the counter, plus 1; 0 while there is none.
    pub counter: u64,
    /// What is to be added to it.
    pub count: Counter,
}

/// Tallies of a CPU; a power of two.
pub const TALLIES: usize = 256;

/// Why a frame was dropped when no rule or default did it. Its counter is the one at this index
/// from the start of the port's run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Fault {
    /// None: a rule or a default decided.
    None = 0,
    /// Shorter than an Ethernet header.
    ShortFrame = 1,
    /// The interface has a classifier but no port record: the binding is being made or removed.
    NoRecord = 2,
    /// The port has no valid image: its filter could not be built.
    NoImage = 3,
    /// The image leads nowhere. A bug.
    BadImage = 4,
}

/// Counters at the start of a port's run that count [`Fault`]s; those of entries follow.
pub const FAULT_COUNTERS: u32 = 8;

impl Fault {
    /// Every fault, by discriminant.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::ShortFrame,
        Self::NoRecord,
        Self::NoImage,
        Self::BadImage,
    ];

    /// One or two words for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ShortFrame => "short frame",
            Self::NoRecord => "no port record",
            Self::NoImage => "no valid filter",
            Self::BadImage => "bad image",
        }
    }
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A dropped frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub struct DropEvent {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub time: u64,
    /// Interface index of the port.
    pub ifindex: u32,
    /// Port number.
    pub port: u32,
    /// Image number.
    pub image: u32,
    /// The entry that decided, if `fault` is [`Fault::None`].
    pub entry: u32,
    /// Length of the frame in bytes.
    pub length: u32,
    /// [`FrameDirection`].
    pub direction: u8,
    /// [`TableLayer`].
    pub layer: u8,
    /// [`Fault`].
    pub fault: u8,
    /// Bytes of `snapshot` in use.
    pub captured: u8,
    /// Start of the frame.
    pub snapshot: [u8; SNAPSHOT_LEN],
}

impl DropEvent {
    /// The direction, if valid.
    pub const fn direction(&self) -> Option<FrameDirection> {
        match self.direction {
            0 => Some(FrameDirection::In),
            1 => Some(FrameDirection::Out),
            _ => None,
        }
    }

    /// The layer, if valid.
    pub const fn layer(&self) -> Option<TableLayer> {
        match self.layer {
            0 => Some(TableLayer::Ethernet),
            1 => Some(TableLayer::Inet),
            _ => None,
        }
    }
}

#[cfg(feature = "user")]
mod user {
    use super::{Counter, DropEvent, PortRecord, Slot};

    // SAFETY: `repr(C)`, only integers, and no padding: the sizes asserted below are the sums of the
    // sizes of the fields.
    unsafe impl aya::Pod for Slot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PortRecord {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Counter {}
    // SAFETY: as above.
    unsafe impl aya::Pod for DropEvent {}
}

const _: () = {
    assert!(MAX_PORTS.is_power_of_two());
    assert!(TALLIES.is_power_of_two());
    assert!(size_of::<Tally>() == 24);
    assert!(size_of::<PortRecord>() == 48 + SLOTS * 16);
    assert!(size_of::<Counter>() == 16);
    assert!(size_of::<DropEvent>() == 32 + SNAPSHOT_LEN);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CLASSES, Count, Entry, FIELD_WORDS, Field, Fragment, Key, Key4, LearnEvent, Member, NODES,
        PAGE_WORDS, PLACES, RECENT, Recent, SetKey, Source, Timeouts, Tracking, kind,
    };

    /// What pins of a version hold. Two changes that are made apart from each other touch the same lines
    /// here, so that they cannot both be the same version unnoticed.
    #[test]
    fn another_layout_is_another_version() {
        let kinds = [
            kind::EQUAL32,
            kind::EQUAL64,
            kind::SEARCH32,
            kind::SEARCH64,
            kind::SLOTS,
            kind::SLOT_PAIRS,
            kind::BIT,
            kind::ROWS,
            kind::LIMIT,
            kind::SET,
        ];
        let tables = [
            FIELD_WORDS,
            Field::ALL.len(),
            CLASSES,
            NODES,
            PAGE_WORDS,
            PLACES,
            RECENT,
        ];
        let sizes = [
            size_of::<PortRecord>(),
            size_of::<DropEvent>(),
            size_of::<LearnEvent>(),
            size_of::<Entry>(),
            size_of::<Key>(),
            size_of::<Key4>(),
            size_of::<Recent>(),
            size_of::<Fragment>(),
            size_of::<Member>(),
            size_of::<Source>(),
            size_of::<Count>(),
            size_of::<SetKey>(),
            size_of::<Timeouts>(),
            size_of::<Tracking>(),
        ];
        assert_eq!(
            (ABI_VERSION, kinds, tables, sizes),
            (
                6,
                [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
                [64, 46, 64, 272, 4096, 4096, 8192],
                [304, 128, 1560, 32, 40, 16, 64, 168, 64, 32, 16, 24, 128, 64],
            )
        );
    }
}
