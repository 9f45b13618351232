//! Drop events out of the ring buffer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::maps::{MapData, RingBuf};
use nwfilter_common::DropEvent;

/// The reading end of the ring buffer. Readable, in the sense of poll(2), when there are events.
pub struct DropEvents(pub(super) RingBuf<MapData>);

impl AsFd for DropEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for DropEvents {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Iterator for DropEvents {
    type Item = DropEvent;

    /// The next event that is there; `None` when there is none now.
    fn next(&mut self) -> Option<DropEvent> {
        let item = self.0.next()?;
        let bytes: &[u8] = &item;
        if bytes.len() < size_of::<DropEvent>() {
            return None;
        }
        // SAFETY: long enough, and every bit pattern is an event; the buffer is only 8-byte aligned
        // by convention, so read it unaligned.
        Some(unsafe { bytes.as_ptr().cast::<DropEvent>().read_unaligned() })
    }
}
