//! Events out of the ring buffers.

use std::{
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use aya::{
    Pod,
    maps::{MapData, RingBuf},
};
use nwfilter_common::{DropEvent, LearnEvent};

/// The reading end of a ring buffer. Readable, in the sense of poll(2), when there are events.
pub struct Ring<T> {
    ring: RingBuf<MapData>,
    events: PhantomData<T>,
}

/// Frames that were dropped.
pub type DropEvents = Ring<DropEvent>;
/// Frames to learn from.
pub type LearnEvents = Ring<LearnEvent>;

impl<T> Ring<T> {
    pub(super) const fn new(ring: RingBuf<MapData>) -> Self {
        Self {
            ring,
            events: PhantomData,
        }
    }
}

impl<T> AsFd for Ring<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl<T> AsRawFd for Ring<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: Pod> Iterator for Ring<T> {
    type Item = T;

    /// The next event that is there; `None` when there is none now.
    fn next(&mut self) -> Option<T> {
        let item = self.ring.next()?;
        let bytes: &[u8] = &item;
        if bytes.len() < size_of::<T>() {
            return None;
        }
        // SAFETY: long enough, and every bit pattern is an event; the buffer is only 8-byte aligned
        // by convention, so read it unaligned.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }
}
