//! A connection as it is stored, and what a port may store. Part of the ABI.

use super::tcp::TcpState;
use crate::abi::PortRecord;

/// Connections that a port may have if its record does not say.
pub const DEFAULT_QUOTA: u32 = 16384;

/// Age at which connections that nobody has answered go first when a port comes close to its quota;
/// nanoseconds.
const PRESSURE_AGE: u64 = 5_000_000_000;

/// Age in [`Entry::renewed`] up to which a frame that only moves a connection's end leaves it alone: half
/// a second where the kernel's clock ticks a hundred times per second, less where it does more often.
pub(super) const FRESH: u64 = 50;

/// A connection. Times are `CLOCK_MONOTONIC` in nanoseconds, but for `renewed`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Entry {
    /// From then on the connection is as if absent.
    pub expires: u64,
    /// When it began.
    pub created: u64,
    /// When `expires` was written last, in ticks of the kernel's clock (`jiffies`), which is quicker to read
    /// than one in nanoseconds. Frames that change nothing but `expires` do so once in a while.
    pub renewed: u64,
    /// The TCP state in the lowest eight bits, [`Entry::REPLIED`], [`Entry::SECOND`],
    /// [`Entry::OUT`], [`Entry::LIMITED`].
    pub state: u32,
    /// Zero.
    pub reserved: u32,
}

impl Entry {
    /// Bit of `state`: the other side has answered.
    pub const REPLIED: u32 = 1 << 8;
    /// Bit of `state`: the second end of the key has begun, not the first.
    pub const SECOND: u32 = 1 << 9;
    /// Bit of `state`: began with a frame that left the VM.
    pub const OUT: u32 = 1 << 10;

    /// Bit of `state`: connection limits count it.
    pub const LIMITED: u32 = 1 << 11;

    /// Index of the end of the key that has begun.
    #[inline(always)]
    pub const fn original(&self) -> usize {
        (self.state / Self::SECOND) as usize & 1
    }

    /// Whether the other side has answered.
    #[inline(always)]
    pub const fn is_replied(&self) -> bool {
        self.state & Self::REPLIED != 0
    }

    /// The TCP state; [`TcpState::None`] for other protocols.
    pub const fn tcp(&self) -> TcpState {
        TcpState::from_index((self.state & 0xff) as usize)
    }

    /// Whether the connection counts. `since` is [`PortRecord::since`].
    #[inline(always)]
    pub const fn is_alive(&self, now: u64, since: u64) -> bool {
        self.expires > now && self.created >= since
    }

    /// Whether its end was moved so lately that frames that do only that leave it alone. No timeout is as
    /// short, so that an answered connection is alive then, if it is not from before
    /// [`PortRecord::since`] and TCP has not closed it.
    #[inline(always)]
    pub(super) const fn is_fresh(&self, tick: u64) -> bool {
        tick.wrapping_sub(self.renewed) <= FRESH
    }

    /// Whether frames have gone both ways and, in TCP, the handshake is over.
    #[inline(always)]
    const fn is_settled(&self) -> bool {
        let half_open = 1 << TcpState::SynSent as u32
            | 1 << TcpState::SynReceived as u32
            | 1 << TcpState::SynSent2 as u32;
        self.is_replied() && half_open >> (self.state & 0x1f) & 1 == 0
    }
}

/// Whether to remove a connection that nobody looks up: as counted by the answer, or not at all.
/// `record` is the port's, with interface index 0 if there is no such port; `entries` is its
/// [`TrackingCounter::Entries`].
#[inline(always)]
pub fn sweep_verdict(
    entry: &Entry,
    record: &PortRecord,
    entries: u64,
    now: u64,
) -> Option<TrackingCounter> {
    if record.ifindex == 0 || !entry.is_alive(now, record.since) {
        return Some(TrackingCounter::Expired);
    }
    let pressed = entries >= u64::from(record.quota() / 4 * 3);
    let old = entry.created + PRESSURE_AGE < now;
    (pressed && old && !entry.is_settled()).then_some(TrackingCounter::Evicted)
}

/// What is counted for a port; an index into [`Tracking`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum TrackingCounter {
    /// Connections stored now, those included that have expired and wait for the sweep.
    Entries = 0,
    /// Connections stored ever.
    Created = 1,
    /// Connections not stored because the port's quota was used up.
    OverQuota = 2,
    /// Connections not stored because the table of all ports was full.
    TableFull = 3,
    /// Frames that were [`crate::CtState::Invalid`].
    Invalid = 4,
    /// Connections removed by the sweep after they had expired or were flushed.
    Expired = 5,
    /// Connections removed by the sweep to make room.
    Evicted = 6,
    /// Members of connection limits now.
    Limited = 7,
}

/// Number of [`TrackingCounter`]s, rounded up to a cache line.
pub const TRACKING_COUNTERS: usize = 8;

/// The counters of a port.
pub type Tracking = [u64; TRACKING_COUNTERS];

#[cfg(feature = "user")]
mod user {
    use super::Entry;

    // SAFETY: `repr(C)`, only integers, no padding: see the size below.
    unsafe impl aya::Pod for Entry {}
}

const _: () = assert!(size_of::<Entry>() == 32);
