//! Whether a frame arrives, also when it does not, without waiting for what never comes: after the
//! frame goes a marker that nobody drops. Frames of one CPU keep their order on veth, tap and bridge,
//! so when the marker is there and the frame is not, it was dropped.

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
use nwfilter_common::MacAddr;

use super::Endpoint;
use crate::frame::{Ethernet, LOCAL_EXPERIMENTAL, padded};

/// A frame of no protocol, different for each sequence number.
pub fn marker(source: MacAddr, destination: MacAddr, sequence: u64) -> Vec<u8> {
    let body = [b"marker".as_slice(), &sequence.to_be_bytes()].concat();
    padded(Ethernet::new(source, destination).frame(LOCAL_EXPERIMENTAL, &body))
}

/// A way between two ends of wires, and the way of the markers.
pub struct Probe<'a> {
    from: &'a dyn Endpoint,
    to: &'a dyn Endpoint,
    marker_from: &'a dyn Endpoint,
    marker_to: &'a dyn Endpoint,
    marker: Box<dyn Fn(u64) -> Vec<u8> + 'a>,
    sequence: u64,
}

impl<'a> Probe<'a> {
    /// Markers go the same way as frames, so broadcast [`marker`]s must pass it.
    pub fn new(from: &'a dyn Endpoint, to: &'a dyn Endpoint) -> Self {
        Self {
            from,
            to,
            marker_from: from,
            marker_to: to,
            marker: Box::new(|sequence| {
                let source = MacAddr([0x02, b'm', b'a', b'r', b'k', 0]);
                marker(source, MacAddr::BROADCAST, sequence)
            }),
            sequence: 0,
        }
    }

    /// Markers go another way, past the filter under test. It must have at least as many hops (veth
    /// pairs) as the way of the frames, or a marker may overtake them.
    pub fn marker_way(mut self, from: &'a dyn Endpoint, to: &'a dyn Endpoint) -> Self {
        (self.marker_from, self.marker_to) = (from, to);
        self
    }

    /// Markers of another kind: frames that the filter under test passes, different for each
    /// sequence number.
    pub fn marker(mut self, marker: impl Fn(u64) -> Vec<u8> + 'a) -> Self {
        self.marker = Box::new(marker);
        self
    }

    /// Whether `frame` arrives, byte for byte.
    ///
    /// # Errors
    ///
    /// If it cannot be sent, or if the marker does not arrive.
    pub fn arrives(&mut self, frame: &[u8]) -> Result<bool> {
        let arrived = self.send(frame)?;
        Ok(arrived.iter().any(|other| other == frame))
    }

    /// The same for each of `frames`, one after the other. A frame has arrived also if it was held
    /// back until a later one was sent, as fragments are by whoever puts them together.
    ///
    /// # Errors
    ///
    /// As for [`Probe::arrives`].
    pub fn arrivals(&mut self, frames: &[Vec<u8>]) -> Result<Vec<bool>> {
        self.arrivals_like(frames, |sent, arrived| sent == arrived)
    }

    /// The same where a frame may change on its way: `same` says whether the first becomes the second.
    ///
    /// # Errors
    ///
    /// As for [`Probe::arrives`].
    pub fn arrivals_like(
        &mut self,
        frames: &[Vec<u8>],
        same: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Result<Vec<bool>> {
        let mut verdicts = vec![false; frames.len()];
        for (index, frame) in frames.iter().enumerate() {
            for other in self.send(frame)? {
                // The latest that is the same: two equal frames are told apart by when they come.
                let sent = (0..=index)
                    .rev()
                    .find(|sent| !verdicts[*sent] && same(&frames[*sent], &other));
                if let Some(sent) = sent {
                    verdicts[sent] = true;
                }
            }
        }
        Ok(verdicts)
    }

    /// Sends `frame` and returns what arrives between it and its marker, in order.
    ///
    /// # Errors
    ///
    /// As for [`Probe::arrives`].
    pub fn send(&mut self, frame: &[u8]) -> Result<Vec<Vec<u8>>> {
        in_order(|| self.send_pinned(frame))
    }

    fn send_pinned(&mut self, frame: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.to.drain()?;
        if !std::ptr::addr_eq(self.marker_to, self.to) {
            // What a host says to everybody must not leave the marker without room.
            self.marker_to.drain()?;
        }
        self.sequence += 1;
        let marker = (self.marker)(self.sequence);
        self.from.send(frame)?;
        self.marker_from.send(&marker).context("send the marker")?;

        let mut arrived = Vec::new();
        self.marker_to
            .expect(&mut |other| {
                let found = other == marker;
                if !found {
                    arrived.push(other.to_vec());
                }
                found
            })
            .context("wait for the marker")?;
        if !std::ptr::addr_eq(self.marker_to, self.to) {
            arrived = self.to.drain()?;
            arrived.retain(|other| *other != marker);
        }
        Ok(arrived)
    }
}

/// Runs `action` on one CPU, so that what it sends keeps its order even across wires.
///
/// # Errors
///
/// Those of `action`, and if the thread cannot choose its CPU.
pub fn in_order<T>(action: impl FnOnce() -> Result<T>) -> Result<T> {
    let _pinned = Pinned::here()?;
    action()
}

/// Keeps the current thread on its CPU: frames that it sends are queued where they were sent.
struct Pinned(CpuSet);

impl Pinned {
    fn here() -> Result<Self> {
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this).context("read the thread's CPUs")?;
        let mut only = CpuSet::new();
        only.set(sched_getcpu()?)?;
        sched_setaffinity(this, &only).context("stay on one CPU")?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Failing to let go again costs speed, not truth.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.0);
    }
}
