//! The counters, which the program and we both see in the same memory: reading one, or adding to one,
//! takes no system call and disturbs no frame.

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
use nwfilter_common::{Counter, FAULT_COUNTERS, MAX_COUNTERS, names};

use super::KernelError;

/// A [`Counter`] that others write to: packets and bytes.
type Shared = [AtomicU64; 2];

const _: () = assert!(size_of::<Counter>() == size_of::<Shared>());

/// All counters of the host.
#[derive(Debug)]
pub(super) struct Counters(NonNull<Shared>);

// SAFETY: the memory is shared by design, and read and written by atomic operations only.
unsafe impl Send for Counters {}

impl Counters {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let Some(Map::Array(map)) = ebpf.take_map(names::COUNTERS) else {
            return Err(KernelError::Incomplete(names::COUNTERS));
        };
        // SAFETY: a new mapping, of the whole map; it stays when the descriptor is closed.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                MAX_COUNTERS * size_of::<Shared>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        match NonNull::new(memory.cast::<Shared>()) {
            Some(memory_at) if memory != libc::MAP_FAILED => Ok(Self(memory_at)),
            _ => Err(KernelError::Syscall {
                call: "mmap",
                source: io::Error::last_os_error(),
            }),
        }
    }

    fn all(&self) -> &[Shared] {
        // SAFETY: the mapping is as long as that, zero or counted up by the kernel, and lives as
        // long as this value.
        unsafe { slice::from_raw_parts(self.0.as_ptr(), MAX_COUNTERS) }
    }

    /// A run of counters; empty if there is no such run.
    pub(super) fn read(&self, first: u32, count: u32) -> Vec<Counter> {
        self.run(first, count).iter().map(value).collect()
    }

    /// Zeroes a run that nothing counts into.
    pub(super) fn clear(&self, first: u32, count: u32) {
        for counter in self.run(first, count).iter().flatten() {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Adds to a counter, whoever else does.
    pub(super) fn add(&self, index: u32, more: Counter) {
        if let Some([packets, bytes]) = self.all().get(index as usize) {
            packets.fetch_add(more.packets, Ordering::Relaxed);
            bytes.fetch_add(more.bytes, Ordering::Relaxed);
        }
    }

    fn run(&self, first: u32, count: u32) -> &[Shared] {
        let first = first as usize;
        self.all().get(first..first + count as usize).unwrap_or(&[])
    }
}

fn value([packets, bytes]: &Shared) -> Counter {
    Counter {
        packets: packets.load(Ordering::Relaxed),
        bytes: bytes.load(Ordering::Relaxed),
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nobody refers to any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), MAX_COUNTERS * size_of::<Shared>()) };
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
