//! What a CPU remembers of connections: found by an index, without a search, for the usual frame that
//! changes nothing. Decides nothing by itself: what is remembered holds only as long as nobody has
//! changed the connection, and not for long.

use super::{Entry, entry::FRESH, key::KeyWords};

/// Connections that a CPU remembers; a power of two.
pub const RECENT: usize = 4096;

/// A connection that a CPU remembers, or none, if the key is no connection's. One cache line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Recent {
    /// The connection.
    key: KeyWords,
    /// [`Entry::created`].
    created: u64,
    /// [`Entry::renewed`].
    renewed: u64,
    /// [`Entry::state`].
    state: u32,
    /// Changes of connections of this place until then.
    changes: u32,
}

impl Recent {
    /// What to remember of a connection; `changes` were counted before it was read.
    #[inline(always)]
    pub(super) fn new(key: KeyWords, entry: &Entry, changes: u64) -> Self {
        Self {
            key,
            created: entry.created,
            renewed: entry.renewed,
            state: entry.state,
            changes: changes as u32,
        }
    }

    /// The connection, if it is the one that is looked for and if it still holds. It does not say when
    /// it ends: that is later.
    #[inline(always)]
    pub(super) fn entry(&self, key: KeyWords, changes: u64, tick: u64) -> Option<Entry> {
        // Word by word: of arrays the compiler would make a call that compares bytes.
        let [a, b, c, d, rest] = self.key;
        let other = (a ^ key[0]) | (b ^ key[1]) | (c ^ key[2]) | (d ^ key[3]) | (rest ^ key[4]);
        let holds = other == 0
            && self.changes == changes as u32
            && tick.wrapping_sub(self.renewed) <= FRESH;
        holds.then_some(Entry {
            expires: u64::MAX,
            created: self.created,
            renewed: self.renewed,
            state: self.state,
            reserved: 0,
        })
    }
}

/// The place of a connection among those that are remembered, less than [`RECENT`]. Whoever makes
/// connections share a place only makes them be looked up each time.
#[inline(always)]
pub(super) const fn place([a, b, c, d, rest]: KeyWords) -> u32 {
    // Multipliers with bits all over, from the golden ratio and the roots of 2, 3 and 5; the highest
    // bits of the products depend on all of the input.
    let sum = b.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ d.wrapping_mul(0x6a09_e667_f3bc_c909)
        ^ rest.wrapping_mul(0xbb67_ae85_84ca_a73b)
        ^ (a ^ c.rotate_left(32)).wrapping_mul(0x3c6e_f372_fe94_f82b);
    (sum >> (u64::BITS - RECENT.ilog2())) as u32
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(C)`, only integers, no padding: see the size below.
    unsafe impl aya::Pod for super::Recent {}
}

const _: () = {
    assert!(RECENT.is_power_of_two());
    assert!(size_of::<Recent>() == 64);
};
