//! The counters, which the program and we both see in the same memory: reading one, or adding to one,
//! takes no system call and disturbs no frame.
//!
//! A CPU keeps what it has counted last in a tally of its own until it needs the tally for another
//! counter (see [`Tally`]); what a counter says is what is in both.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, AsRawFd},
    ptr::{self, NonNull},
    slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aya::{Ebpf, maps::Map};
use nwfilter_common::{Counter, FAULT_COUNTERS, TALLIES, Tally, names};

use super::KernelError;

/// A [`Counter`] that others write to: packets and bytes.
type SharedCounter = [AtomicU64; 2];
/// A [`Tally`] that a CPU writes to: the counter's index plus 1, packets, bytes.
type SharedTally = [AtomicU64; 3];

const _: () = assert!(size_of::<Counter>() == size_of::<SharedCounter>());
const _: () = assert!(size_of::<Tally>() == size_of::<SharedTally>());

/// How often to look again when tallies move while they are read. What is read then may lack what is
/// just on its way from a tally to its counter.
const ATTEMPTS: usize = 8;

/// All counters of the host.
#[derive(Debug)]
pub(super) struct Counters {
    counters: Mapping<SharedCounter>,
    tallies: Mapping<SharedTally>,
}

impl Counters {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            counters: Mapping::new(ebpf, names::COUNTERS)?,
            tallies: Mapping::new(ebpf, names::TALLIES)?,
        })
    }

    /// A run of counters; empty if there is no such run.
    pub(super) fn read(&self, first: u32, count: u32) -> Vec<Counter> {
        (first..first + count)
            .map_while(|index| self.read_one(index))
            .collect()
    }

    fn read_one(&self, index: u32) -> Option<Counter> {
        let [packets, bytes] = self.counters.all().get(index as usize)?;
        let mut tallied = self.tallied(index);
        for _ in 0..ATTEMPTS {
            let counted = (
                packets.load(Ordering::Acquire),
                bytes.load(Ordering::Acquire),
            );
            let before = std::mem::replace(&mut tallied, self.tallied(index));
            if before == tallied {
                return Some(Counter {
                    packets: counted.0 + tallied.packets,
                    bytes: counted.1 + tallied.bytes,
                });
            }
        }
        Some(Counter {
            packets: packets.load(Ordering::Acquire) + tallied.packets,
            bytes: bytes.load(Ordering::Acquire) + tallied.bytes,
        })
    }

    /// What is yet to be added to a counter, on all CPUs.
    fn tallied(&self, index: u32) -> Counter {
        let mut sum = Counter::default();
        let place = index as usize % TALLIES;
        for [counter, packets, bytes] in self.tallies.all().iter().skip(place).step_by(TALLIES) {
            if counter.load(Ordering::Acquire) == u64::from(index) + 1 {
                sum.packets += packets.load(Ordering::Acquire);
                sum.bytes += bytes.load(Ordering::Acquire);
            }
        }
        sum
    }

    /// Counters that something is yet to be added to.
    pub(super) fn counting(&self) -> impl Iterator<Item = u32> {
        self.tallies
            .all()
            .iter()
            .filter_map(|[counter, ..]| counter.load(Ordering::Acquire).checked_sub(1))
            .filter_map(|counter| u32::try_from(counter).ok())
    }

    /// Zeroes a run that nothing counts into.
    pub(super) fn clear(&self, first: u32, count: u32) {
        let (first, count) = (first as usize, count as usize);
        let run = self.counters.all().get(first..first + count);
        for counter in run.unwrap_or(&[]).iter().flatten() {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Adds to a counter, whoever else does.
    pub(super) fn add(&self, index: u32, more: Counter) {
        if let Some([packets, bytes]) = self.counters.all().get(index as usize) {
            packets.fetch_add(more.packets, Ordering::Relaxed);
            bytes.fetch_add(more.bytes, Ordering::Relaxed);
        }
    }
}

/// An array of the kernel in this process's memory. `T` is an array of atomic words.
#[derive(Debug)]
struct Mapping<T> {
    start: NonNull<T>,
    length: usize,
}

// SAFETY: the memory is shared by design, and read and written by atomic operations only.
unsafe impl<T> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Mapping<T> {}

impl<T> Mapping<T> {
    fn new(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, KernelError> {
        let Some(Map::Array(map)) = ebpf.take_map(name) else {
            return Err(KernelError::Incomplete(name));
        };
        let info = map.info().map_err(KernelError::map(name, "look at"))?;
        let length = info.max_entries() as usize;
        // SAFETY: a new mapping, of the whole map; it stays when the descriptor is closed.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length * size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        match NonNull::new(memory.cast::<T>()) {
            Some(start) if memory != libc::MAP_FAILED => Ok(Self { start, length }),
            _ => Err(KernelError::Syscall {
                call: "mmap",
                source: io::Error::last_os_error(),
            }),
        }
    }

    fn all(&self) -> &[T] {
        // SAFETY: the mapping has that many elements of atomic words, of which any value is valid,
        // and lives as long as this value.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nobody refers to any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length * size_of::<T>()) };
    }
}

/// What was counted between two looks.
pub(super) const fn difference(now: Counter, before: Counter) -> Counter {
    Counter {
        packets: now.packets.wrapping_sub(before.packets),
        bytes: now.bytes.wrapping_sub(before.bytes),
    }
}

/// Which counters of a port's old run go on in its new one.
pub(super) struct Pairs {
    of: [Option<Arc<[u64]>>; 2],
    /// Positions in the old run and in the new one.
    pub(super) positions: Vec<(u32, u32)>,
}

impl Pairs {
    /// Those of faults, and of entries that are in both.
    pub(super) fn new(old: Option<&Arc<[u64]>>, new: Option<&Arc<[u64]>>) -> Self {
        let mut positions: Vec<_> = (0..FAULT_COUNTERS).map(|fault| (fault, fault)).collect();
        if let (Some(old), Some(new)) = (old, new) {
            let places: HashMap<u64, u32> = new.iter().copied().zip(FAULT_COUNTERS..).collect();
            for (identity, from) in old.iter().zip(FAULT_COUNTERS..) {
                positions.extend(places.get(identity).map(|to| (from, *to)));
            }
        }
        Self {
            of: [old, new].map(Option::<&Arc<[u64]>>::cloned),
            positions,
        }
    }

    /// Whether they are of these very entries.
    pub(super) fn are_of(&self, old: Option<&Arc<[u64]>>, new: Option<&Arc<[u64]>>) -> bool {
        let is = |known: &Option<Arc<[u64]>>, other: Option<&Arc<[u64]>>| match (known, other) {
            (Some(known), Some(other)) => Arc::ptr_eq(known, other),
            (None, None) => true,
            _ => false,
        };
        is(&self.of[0], old) && is(&self.of[1], new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_faults_and_of_what_stays_go_on() {
        let list = |identities: &[u64]| Some(Arc::from(identities));
        let (old, new) = (list(&[1, 2, 3]), list(&[3, 4, 1]));
        let pairs = Pairs::new(old.as_ref(), new.as_ref());
        let entries = &pairs.positions[FAULT_COUNTERS as usize..];
        assert_eq!(
            entries,
            [
                (FAULT_COUNTERS, FAULT_COUNTERS + 2),
                (FAULT_COUNTERS + 2, FAULT_COUNTERS)
            ]
        );
        assert!(pairs.are_of(old.as_ref(), new.as_ref()));
        assert!(!pairs.are_of(new.as_ref(), old.as_ref()));
        assert_eq!(
            Pairs::new(None, new.as_ref()).positions.len(),
            FAULT_COUNTERS as usize
        );
    }
}
