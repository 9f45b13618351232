//! Connection tracking: which connection a frame belongs to and what it does to it.
//!
//! A port has connections of its own; nothing is shared between ports. [`track`] classifies a frame
//! before the inet layer and changes nothing; [`commit`] creates or advances the connection once
//! the frame is known to pass. Both follow Linux's `nf_conntrack` with its defaults, except that
//! neither checksums nor TCP sequence numbers are looked at.
//!
//! The quota of a port fails closed: a frame that begins a connection over the quota is still
//! [`CtState::New`], but nothing is stored, so that no answer to it is ever
//! [`CtState::EstablishedReply`].

mod entry;
mod icmp;
mod key;
#[cfg(any(test, feature = "user"))]
mod memory;
mod quote;
mod recent;
mod tcp;
#[cfg(test)]
mod tests;
mod timeout;
mod track;

use core::{cell::Cell, ops::Deref};

use crate::{fragment::Fragment, limit::Limits, set::Sets};

pub use entry::{
    DEFAULT_QUOTA, Entry, TRACKING_COUNTERS, Tracking, TrackingCounter, sweep_verdict,
};
pub(crate) use icmp::is_icmp_query;
pub use key::{Key, Key4};
#[cfg(any(test, feature = "user"))]
pub use memory::MemoryTables;
pub use recent::{PLACES, RECENT, Recent};
pub use tcp::TcpState;
pub use timeout::{DEFAULT_TIMEOUTS, TIMEOUTS, Timeout, Timeouts, nanoseconds};
pub use track::track_usual;
pub(crate) use track::{Effect, Pending, Place, commit, track, write_key};

/// What became of a connection to be stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Added {
    /// It is in the table.
    Stored,
    /// There is one with this key, which stays.
    Exists,
    /// There is no room for it.
    Full,
}

/// Where connections, fragments and their settings live.
pub trait Tables: Limits + Sets {
    /// A connection in the table.
    type Connection: Deref<Target = Cell<Entry>>;
    /// A fragment in the table.
    type Fragment: Deref<Target = Fragment>;
    /// A connection that is remembered.
    type Recent: Deref<Target = Cell<Recent>>;

    /// `CLOCK_MONOTONIC`, nanoseconds; a few milliseconds late at the most.
    fn now(&self) -> u64;

    /// Ticks of the kernel's clock (`jiffies`), from any beginning.
    fn tick(&self) -> u64;

    /// The connection with this key, dead or alive.
    fn connection(&self, key: &Key) -> Option<Self::Connection>;

    /// Stores a connection.
    fn add_connection(&self, key: &Key, entry: &Entry) -> Added;

    /// Replaces a connection; `false` if there is none with this key.
    fn replace_connection(&self, key: &Key, entry: &Entry) -> bool;

    /// What this CPU remembers at an index less than [`RECENT`].
    fn recent(&self, index: u32) -> Option<Self::Recent>;

    /// How often connections of a place less than [`PLACES`] have changed, on any CPU.
    fn changes(&self, place: u32) -> u64;

    /// Counts a change. After it, whatever was read before counts as changed.
    fn changed(&self, place: u32);

    /// The fragment in a slot, see [`crate::fragment`].
    fn fragment(&self, slot: u32) -> Option<Self::Fragment>;

    /// Puts a fragment into a slot, if there is room.
    fn store_fragment(&self, slot: u32, fragment: &Fragment);

    /// Nanoseconds.
    fn timeout(&self, which: usize) -> u64;

    /// A counter of a port.
    fn counter(&self, port: u32, counter: TrackingCounter) -> u64;

    /// Adds one to a counter of a port.
    fn count(&self, port: u32, counter: TrackingCounter);

    /// Takes one from a counter of a port.
    fn uncount(&self, port: u32, counter: TrackingCounter);
}

use crate::{class::Class, image::FrameDirection};

/// Words of an image that say for which frames connections are tracked.
pub type TrackedClasses = [u32; 4];

/// The bit of a direction and class: `(word, bit)`.
#[inline(always)]
pub(crate) const fn tracked_bit(direction: FrameDirection, class: usize) -> (usize, u32) {
    let bit = (direction as usize) << 6 | class & 63;
    (bit >> 5, bit as u32 & 31)
}

/// For which frames connections must be tracked, given for which the inet layer's tables test
/// [`crate::Field::CtState`]: both directions of a class, and all that an ICMP error can quote if
/// ICMP is among them.
pub fn tracked_classes(tests: impl Fn(FrameDirection, Class) -> bool) -> TrackedClasses {
    let directions = [FrameDirection::In, FrameDirection::Out];
    let tested = |class| directions.iter().any(|&direction| tests(direction, class));
    let mut words = [0; 4];
    for &class in Class::ALL {
        let errors = if class.is_ip4() {
            tested(Class::Ip4Icmp)
        } else {
            class.is_ip6() && tested(Class::Ip6Icmp)
        };
        if errors || tested(class) {
            for direction in directions {
                let (word, bit) = tracked_bit(direction, class as usize);
                words[word] |= 1 << bit;
            }
        }
    }
    words
}
