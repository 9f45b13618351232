//! The tables of connection tracking as userspace sees them: it reads what the program has stored,
//! and writes only the timeouts. What is dead is for the engine to say, and for its sweep to remove.

use std::{thread, time::Duration};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapData, MapError},
};
use nix::time::{ClockId, clock_gettime};
use nwfilter_common::{Entry, Key, Key4, Timeouts, Tracking, names};

use super::{KernelError, tables::take};

/// A connection of a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connection {
    /// Its ends and protocol.
    pub key: Key,
    /// Its state and times.
    pub entry: Entry,
}

/// The maps.
pub(super) struct Connections {
    v4: HashMap<MapData, Key4, Entry>,
    v6: HashMap<MapData, Key, Entry>,
    timeouts: Array<MapData, Timeouts>,
    tracking: Array<MapData, Tracking>,
}

impl Connections {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            v4: take(ebpf, names::CONNECTIONS4)?,
            v6: take(ebpf, names::CONNECTIONS6)?,
            timeouts: take(ebpf, names::TIMEOUTS)?,
            tracking: take(ebpf, names::TRACKING)?,
        })
    }

    /// What is stored for a port, dead connections included, in no order. Those that come or go
    /// meanwhile may or may not be among them.
    pub(super) fn of_port(&self, port: u32) -> Result<Vec<Connection>, KernelError> {
        let v4 = entries(&self.v4, names::CONNECTIONS4, |key| Key::from(&key));
        let v6 = entries(&self.v6, names::CONNECTIONS6, |key| key);
        v4.chain(v6)
            .filter(|found| !matches!(found, Ok(found) if u32::from(found.key.port) != port))
            .collect()
    }

    pub(super) fn tracking(&self, port: u32) -> Result<Tracking, KernelError> {
        let failed = KernelError::map(names::TRACKING, "read");
        self.tracking.get(&port, 0).map_err(failed)
    }

    pub(super) fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), KernelError> {
        let failed = KernelError::map(names::TIMEOUTS, "write");
        self.timeouts.set(0, timeouts, 0).map_err(failed)
    }
}

fn entries<K: Pod>(
    map: &HashMap<MapData, K, Entry>,
    name: &'static str,
    key: fn(K) -> Key,
) -> impl Iterator<Item = Result<Connection, KernelError>> {
    map.iter()
        // One that was removed between its key and its value.
        .filter(|found| !matches!(found, Err(MapError::KeyNotFound)))
        .map(move |found| match found {
            Ok((found, entry)) => Ok(Connection {
                key: key(found),
                entry,
            }),
            Err(error) => Err(KernelError::map(name, "read")(error)),
        })
}

/// The clock of the program, nanoseconds: it lags behind `CLOCK_MONOTONIC` by a few milliseconds, and
/// what begins now must not seem to have begun before.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits until the clock of the program has come to `time`, which is a tick away.
pub(super) fn wait_until(time: u64) {
    while now() < time {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Another value of [`nwfilter_common::PortRecord::limits`], which no port has had lately.
pub(super) fn epoch(before: Option<u32>) -> u32 {
    let milliseconds = (now() / 1_000_000) as u32;
    before.map_or(milliseconds, |before| {
        milliseconds.max(before.wrapping_add(1))
    })
}
