//! The engine's memory for one frame. Too large for the kernel's stack, and the verifier follows no
//! values through it, so that what the engine keeps here does not multiply its work.

use crate::{
    answer::{AnswerBytes, NO_ANSWER},
    class::Class,
    ct::{Key, Pending},
    field::{CtState, FIELD_WORDS, Field, Fields, word},
    fragment::Fragment,
    image::TableLayer,
    limit::{Looked, Member, Source},
    set::{SET_NAME_WORDS, SetKey, SetName},
};

/// Memory for one frame at a time; what an earlier frame left in it does not matter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub struct Work {
    /// The frame's fields.
    pub fields: Fields,
    /// The frame's connection, or the one that an error is about.
    pub(crate) key: Key,
    /// What the frame does to its connection if it passes.
    pub(crate) pending: Pending,
    /// The packet that the frame is a fragment of.
    pub(crate) fragment: Fragment,
    /// The frame's connection and a limit.
    pub(crate) member: Member,
    /// What counts that.
    pub(crate) source: Source,
    /// The limits that have looked at the frame.
    pub(crate) looked: Looked,
    /// The set that is looked into.
    pub(crate) set_name: SetName,
    /// What is looked for there.
    pub(crate) set_key: SetKey,
    /// The answer to a rejected frame.
    pub(crate) answer: AnswerBytes,
}

impl Work {
    /// Memory that no frame has used yet.
    pub const fn new() -> Self {
        Self {
            fields: [0; FIELD_WORDS],
            key: Key::new(),
            pending: Pending::new(),
            fragment: Fragment::new(),
            member: Member::new(),
            source: Member::new().counted_by(),
            looked: Looked::new(),
            set_name: SetName([0; SET_NAME_WORDS]),
            set_key: SetKey {
                prefix: 0,
                form: 0,
                protocol: 0,
                port: [0; 2],
                address: [0; 16],
            },
            answer: NO_ANSWER,
        }
    }

    /// Class by which a layer saw the frame that was decided last: a later fragment may have been seen
    /// as the first one. `None` if it was no frame.
    pub fn class(&self, layer: TableLayer) -> Option<Class> {
        let class = usize::try_from(self.fields[class_word(layer)]).ok()?;
        Class::ALL.get(class).copied()
    }

    /// Whether the frame is about to begin a connection.
    #[inline(always)]
    pub(crate) fn begins(&self) -> bool {
        self.pending.begins()
    }

    /// Whether the frame is about to change its connection. Only holds if the connection was not merely
    /// remembered.
    #[inline(always)]
    pub fn is_pending(&self) -> bool {
        self.pending.is_pending()
    }

    /// The bytes of [`crate::answer`].
    #[inline(always)]
    pub const fn answer(&self) -> *const u8 {
        self.answer.as_ptr().cast()
    }

    /// What a connection limit said of the frame that was decided last: whether its source was above.
    /// `None` if it did not look.
    pub fn limit(&self, number: u32) -> Option<bool> {
        let looks = usize::try_from(self.fields[word::LOOKED]).ok()?;
        self.looked.answer(looks, number)
    }

    /// State of the connection of the frame that was decided last; `None` if nobody asked.
    pub const fn connection(&self) -> Option<CtState> {
        if self.fields[word::TRACKED] == 0 {
            return None;
        }
        CtState::from_number(self.fields[Field::CtState.index()])
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}

/// The word that holds the class by which a layer goes.
#[inline(always)]
pub(crate) const fn class_word(layer: TableLayer) -> usize {
    match layer {
        TableLayer::Ethernet => word::ETHERNET_CLASS,
        TableLayer::Inet => word::INET_CLASS,
    }
}

/// Reads a word from memory, even if the compiler knows what was written there.
#[inline(always)]
pub(crate) fn recall<T: Copy>(place: &T) -> T {
    // SAFETY: a reference is valid to read from; volatile only so that it is not optimised away.
    unsafe { core::ptr::read_volatile(place) }
}

/// Writes a word by itself. Of neighbouring ones the compiler would make a call of `memset`, which goes
/// byte by byte.
#[inline(always)]
pub(crate) fn put(place: &mut u64, value: u64) {
    // SAFETY: a reference is valid to write to; volatile only so that it is not joined to others.
    unsafe { core::ptr::write_volatile(place, value) }
}

/// Takes a number through memory, so that the verifier no longer knows which one it is. Otherwise it
/// would walk all that follows once for each class of frames.
#[inline(always)]
pub(crate) fn forget(fields: &mut Fields, value: u64) -> u64 {
    fields[word::FORGET] = value;
    recall(&fields[word::FORGET])
}
