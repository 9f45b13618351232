//! What a CPU remembers of connections: found by an index, without a search, for the usual frame that
//! changes nothing. Decides nothing by itself: what is remembered holds only as long as nobody has
//! changed the connection, and not for long.

use super::{Entry, entry::FRESH, key::KeyWords};
use crate::{
    field::{CtState, Field, Fields},
    image::FrameDirection,
};

/// Places of connections; a power of two.
pub const PLACES: usize = 4096;

/// Connections that a CPU remembers: one at each place for frames of either direction.
pub const RECENT: usize = 2 * PLACES;

/// A frame of TCP or UDP by its ends, in the order in which the frame has them: what all frames of a
/// connection have in common that go the same way.
#[derive(Clone, Copy)]
pub(super) struct Sight<const V6: bool> {
    /// As in [`Recent`].
    words: KeyWords,
    place: u32,
}

impl<const V6: bool> Sight<V6> {
    /// Of a frame that has ports. `port` is the port number.
    #[inline(always)]
    pub(super) fn of(fields: &Fields, port: u16) -> Self {
        let field = |field: Field| fields[field.index()];
        let ports = [field(Field::SrcPort), field(Field::DstPort)];
        let protocol = field(Field::IpProtocol);
        let family = if V6 { 6 } else { 4 };
        let rest = u64::from(port) << 32 | protocol << 48 | family << 56;
        let (words, high, low) = if V6 {
            let source = [Field::Ip6SrcHigh, Field::Ip6SrcLow].map(field);
            let destination = [Field::Ip6DstHigh, Field::Ip6DstLow].map(field);
            let [[a, b], [c, d]] = [source, destination];
            ([a, b, c, d, 0], a.wrapping_add(c), b.wrapping_add(d))
        } else {
            let [source, destination] = [Field::Ip4Src, Field::Ip4Dst].map(field);
            (
                [source << 32 | destination, 0, 0, 0, 0],
                0,
                source + destination,
            )
        };
        let [a, b, c, d, _] = words;
        Self {
            words: [a, b, c, d, rest | ports[0] | ports[1] << 16],
            place: mix(high, low, rest | (ports[0] + ports[1])),
        }
    }

    /// Place of the connection, less than [`PLACES`].
    #[inline(always)]
    pub(super) const fn place(&self) -> u32 {
        self.place
    }

    /// Where it is remembered for frames of a direction: less than [`RECENT`].
    #[inline(always)]
    pub(super) const fn index(&self, direction: FrameDirection) -> u32 {
        self.place << 1 | direction as u32
    }
}

/// A connection that a CPU remembers, as frames of one direction see it; or none, if the words are of no
/// frame. Only those are remembered whose frames change nothing, see [`super::track_usual`]. One cache
/// line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Recent {
    /// IPv6: source and destination, high half first. IPv4: both in the first word. Then what else a key
    /// has, with the ports in the frame's order.
    words: KeyWords,
    /// [`Entry::created`].
    created: u64,
    /// [`Entry::renewed`].
    renewed: u64,
    /// Discriminant of a [`CtState`].
    state: u32,
    /// Changes of connections of this place until then.
    changes: u32,
}

impl Recent {
    /// What to remember of a connection; `changes` were counted before it was read.
    #[inline(always)]
    pub(super) fn new<const V6: bool>(
        sight: &Sight<V6>,
        entry: &Entry,
        state: CtState,
        changes: u64,
    ) -> Self {
        Self {
            words: sight.words,
            created: entry.created,
            renewed: entry.renewed,
            state: state as u32,
            changes: changes as u32,
        }
    }

    /// State of the connection, the discriminant of a [`CtState`], if it is the one that is looked for and
    /// if it still holds. `since` is [`crate::PortRecord::since`].
    #[inline(always)]
    pub(super) fn state<const V6: bool>(
        &self,
        sight: &Sight<V6>,
        changes: u64,
        tick: u64,
        since: u64,
    ) -> Option<u64> {
        // Word by word: of arrays the compiler would make a call that compares bytes.
        let [a, b, c, d, rest] = sight.words;
        let mut other = (a ^ self.words[0]) | (rest ^ self.words[4]);
        if V6 {
            other |= (b ^ self.words[1]) | (c ^ self.words[2]) | (d ^ self.words[3]);
        }
        let holds = other == 0
            && self.changes == changes as u32
            && tick.wrapping_sub(self.renewed) <= FRESH
            && self.created >= since;
        holds.then_some(self.state.into())
    }
}

/// The place of the connection with this key, as [`Sight::place`] of its frames.
#[inline(always)]
pub(super) const fn place([a, b, c, d, rest]: KeyWords) -> u32 {
    const PORTS: u64 = u32::MAX as u64;
    let ports = (rest & 0xffff) + (rest >> 16 & 0xffff);
    mix(a.wrapping_add(c), b.wrapping_add(d), rest & !PORTS | ports)
}

/// A place from sums over both ends, so that it is the same from either end: of the high and the low
/// halves of the addresses, and of the ports with all else. Whoever makes connections share a place only
/// makes them be looked up each time.
#[inline(always)]
const fn mix(high: u64, low: u64, rest: u64) -> u32 {
    // Multipliers with bits all over, from the golden ratio and the roots of 2 and 3; the highest bits
    // of the products depend on all of the input.
    let sum = low.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ rest.wrapping_mul(0xbb67_ae85_84ca_a73b)
        ^ high.wrapping_mul(0x6a09_e667_f3bc_c909);
    (sum >> (u64::BITS - PLACES.ilog2())) as u32
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(C)`, only integers, no padding: see the size below.
    unsafe impl aya::Pod for super::Recent {}
}

const _: () = {
    assert!(PLACES.is_power_of_two());
    assert!(size_of::<Recent>() == 64);
};
