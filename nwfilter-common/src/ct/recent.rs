//! What a CPU remembers of connections: found by an index, without a search, for the usual frame that
//! changes nothing. Decides nothing by itself: what is remembered holds only as long as nobody has
//! changed the connection, and not for long.

use core::cell::Cell;

use super::{Entry, entry::FRESH, key::KeyWords};
use crate::{
    field::{CtState, Field, Fields},
    image::FrameDirection,
    work::recall,
};

/// Places of connections; a power of two.
pub const PLACES: usize = 4096;

/// Connections that a CPU remembers: one at each place for frames of either direction.
pub const RECENT: usize = 2 * PLACES;

/// A frame of TCP or UDP by its ends, in the order in which the frame has them: what all frames of a
/// connection have in common that go the same way. Reads the fields whenever it is asked, because there
/// are more than a program can keep at hand.
#[derive(Clone, Copy)]
pub(super) struct Sight<const V6: bool> {
    /// Port number.
    port: u16,
}

impl<const V6: bool> Sight<V6> {
    /// A frame that has ports. `port` is the port number.
    pub(super) const fn new(port: u16) -> Self {
        Self { port }
    }

    /// Place of the connection, less than [`PLACES`].
    #[inline(always)]
    pub(super) fn place(self, fields: &Fields) -> u32 {
        let field = |field: Field| recall(&fields[field.index()]);
        let sum = |a, b| field(a).wrapping_add(field(b));
        let rest = self.rest(fields) | sum(Field::SrcPort, Field::DstPort);
        if V6 {
            let high = sum(Field::Ip6SrcHigh, Field::Ip6DstHigh);
            mix(high, sum(Field::Ip6SrcLow, Field::Ip6DstLow), rest)
        } else {
            mix(0, sum(Field::Ip4Src, Field::Ip4Dst), rest)
        }
    }

    /// As in [`Recent`].
    #[inline(always)]
    fn words(self, fields: &Fields) -> KeyWords {
        let field = |field: Field| recall(&fields[field.index()]);
        let rest = self.rest(fields) | field(Field::SrcPort) | field(Field::DstPort) << 16;
        if V6 {
            [
                field(Field::Ip6SrcHigh),
                field(Field::Ip6SrcLow),
                field(Field::Ip6DstHigh),
                field(Field::Ip6DstLow),
                rest,
            ]
        } else {
            let ends = field(Field::Ip4Src) << 32 | field(Field::Ip4Dst);
            [ends, 0, 0, 0, rest]
        }
    }

    /// What a key has beside addresses and ports, as in [`KeyWords`].
    #[inline(always)]
    fn rest(self, fields: &Fields) -> u64 {
        let protocol = recall(&fields[Field::IpProtocol.index()]);
        let family = if V6 { 6 } else { 4 };
        u64::from(self.port) << 32 | protocol << 48 | family << 56
    }
}

/// Where a connection is remembered for frames of a direction: less than [`RECENT`].
#[inline(always)]
pub(super) const fn index(place: u32, direction: FrameDirection) -> u32 {
    place << 1 | direction as u32
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
    /// What to remember of a frame's connection; `changes` were counted before it was read.
    #[inline(always)]
    pub(super) fn new<const V6: bool>(
        sight: Sight<V6>,
        fields: &Fields,
        entry: &Entry,
        state: CtState,
        changes: u64,
    ) -> Self {
        Self {
            words: sight.words(fields),
            created: entry.created,
            renewed: entry.renewed,
            state: state as u32,
            changes: changes as u32,
        }
    }

    /// State of the frame's connection, the discriminant of a [`CtState`], if it is this one and still
    /// holds. `since` is [`crate::PortRecord::since`].
    #[inline(always)]
    pub(super) fn state<const V6: bool>(
        this: &Cell<Self>,
        sight: Sight<V6>,
        fields: &Fields,
        [changes, tick, since]: [u64; 3],
    ) -> Option<u64> {
        // SAFETY: a cell's content is valid, and nothing writes to it as long as this reference lives. One
        // word after the other is read from there: a copy would take more of the program's stack than
        // it has.
        let this = unsafe { &*this.as_ptr() };
        // Word by word: of arrays the compiler would make a call that compares bytes.
        let [a, b, c, d, rest] = sight.words(fields);
        let mut other = (a ^ this.words[0]) | (rest ^ this.words[4]);
        if V6 {
            other |= (b ^ this.words[1]) | (c ^ this.words[2]) | (d ^ this.words[3]);
        }
        let holds = other == 0
            && this.changes == changes as u32
            && tick.wrapping_sub(this.renewed) <= FRESH
            && this.created >= since;
        holds.then_some(this.state.into())
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
