//! What the kernel has, as against what was put there, and what it tells: counters and events.

use aya::maps::{MapData, RingBuf};
use nwfilter_common::{Answers, Counter, Global, names};

use super::{Datapath, PortState};
use crate::kernel::{DropEvents, KernelError, LearnEvents, tables};

impl Datapath {
    /// A port as the kernel's maps have it now; `None` for an unknown one.
    ///
    /// # Errors
    ///
    /// A map that cannot be read.
    pub fn read(&self, port: &str) -> Result<Option<PortState>, KernelError> {
        let Some(known) = self.ports.get(port) else {
            return Ok(None);
        };
        let record = self.tables.record(known.number, self.generation)?;
        Ok(Some(PortState { record, ..*known }))
    }

    /// The words of an image as the kernel has them.
    ///
    /// # Errors
    ///
    /// A map that cannot be read.
    pub fn image(&self, number: u32) -> Result<Option<Vec<u32>>, KernelError> {
        self.tables.image(number)
    }

    /// Which of the two records of every port holds.
    pub const fn side(&self) -> u64 {
        self.generation & 1
    }

    /// Whether the kernel's maps have what was put there, in force, for a port.
    ///
    /// # Errors
    ///
    /// A map that cannot be read.
    pub fn is_intact(&self, port: &str) -> Result<bool, KernelError> {
        let in_force = self.tables.global(Global::Generation)? == self.generation;
        let now = self.read(port)?;
        Ok(in_force && now.as_ref() == self.ports.get(port))
    }

    /// The counters of a port: first [`nwfilter_common::FAULT_COUNTERS`] for faults, then
    /// one for each entry.
    ///
    /// # Errors
    ///
    /// An unknown port.
    pub fn counters(&self, port: &str) -> Result<Vec<Counter>, KernelError> {
        let (first, count) = self.known(port)?.counters();
        Ok(self.counters.read(first, count))
    }

    /// How many rejected frames of a port were answered, and how many were not.
    ///
    /// # Errors
    ///
    /// An unknown port, or a map that cannot be read.
    pub fn answers(&self, port: &str) -> Result<Answers, KernelError> {
        self.tables.answers(self.known(port)?.number)
    }

    /// Begins to report drops. There is one ring buffer: a second reader takes events away from the
    /// first.
    ///
    /// # Errors
    ///
    /// When the ring buffer cannot be opened, or has been taken before.
    pub fn events(&mut self) -> Result<DropEvents, KernelError> {
        let ring: RingBuf<MapData> = tables::take(&mut self.ebpf, names::EVENTS)?;
        self.tables.set_global(Global::Events, 1)?;
        Ok(DropEvents::new(ring))
    }

    /// Turns reports of drops on or off.
    ///
    /// # Errors
    ///
    /// When the map cannot be written.
    pub fn report_drops(&mut self, on: bool) -> Result<(), KernelError> {
        self.tables.set_global(Global::Events, on.into())
    }

    /// Events that were lost because nobody read them in time.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn lost_events(&self) -> Result<u64, KernelError> {
        self.tables.global(Global::LostEvents)
    }

    /// Frames from which something may be learned; also those that came while nobody was here.
    ///
    /// # Errors
    ///
    /// When the ring buffer cannot be opened, or has been taken before.
    pub fn learning(&mut self) -> Result<LearnEvents, KernelError> {
        let ring: RingBuf<MapData> = tables::take(&mut self.ebpf, names::LEARNING)?;
        Ok(LearnEvents::new(ring))
    }

    /// Frames to learn from that were lost because nobody read them in time, or were too many.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn lost_learning(&self) -> Result<u64, KernelError> {
        self.tables.global(Global::LostLearning)
    }
}
