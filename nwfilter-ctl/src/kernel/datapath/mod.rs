//! The loaded datapath: its ports, and what they use.
//!
//! `change` prepares what a change asks for, and `switch` puts it into force. `adopt` takes over what an
//! earlier process has left in the kernel, `pins` is where it is found. `devices` has the programs on
//! the devices of ports, `state` says what the kernel has and tells; `connections` and `sets` pass on
//! what is about those.

mod adopt;
mod change;
mod connections;
mod devices;
mod pins;
mod sets;
mod state;
mod switch;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
    sync::Arc,
};

use aya::{
    Ebpf,
    maps::{MapData, ProgramArray},
};
use nwfilter_common::{ABI_VERSION, FAULT_COUNTERS, FrameDirection, Global, PortRecord, Timeouts};

pub use self::change::{Bind, Change, Learn};
use self::pins::{lock_pins, prepare_pins};
use super::{
    AttachMode, KernelError, Run, attach::Attachment, connections::Connections, counters::Counters,
    object, sets::Sets, sys, tables::Tables,
};
use crate::compile::Image;

/// How to open the datapath.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where to pin; without it everything ends with this process.
    pub pins: Option<PathBuf>,
    /// How to attach.
    pub attach: AttachMode,
    /// Most connections of a port at a time; 0 for [`nwfilter_common::DEFAULT_QUOTA`].
    pub quota: u32,
    /// How long connections live; 0 for what Linux does.
    pub timeouts: Timeouts,
    /// Answers to rejected frames that a port sends per second; `None` for
    /// [`nwfilter_common::DEFAULT_ANSWERS`].
    pub answers: Option<u32>,
}

/// A bound port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortState {
    /// Interface index.
    pub ifindex: u32,
    /// Number in the datapath's tables.
    pub number: u32,
    /// The record that holds.
    pub record: PortRecord,
}

impl PortState {
    /// The run of counters.
    pub(super) const fn counters(&self) -> (u32, u32) {
        (self.record.counters, FAULT_COUNTERS + self.record.entries)
    }
}

/// The loaded datapath.
pub struct Datapath {
    ebpf: Ebpf,
    /// Without pins, the kernel empties it when nobody holds it.
    _answerers: ProgramArray<MapData>,
    tables: Tables,
    counters: Counters,
    sets: Sets,
    connections: Connections,
    options: Options,
    ports: BTreeMap<String, PortState>,
    attachments: HashMap<String, Vec<Attachment>>,
    images: HashMap<Image, u32>,
    /// What the entries of a port are, if that is known.
    identities: HashMap<String, Arc<[u64]>>,
    generation: u64,
    /// Held as long as this lives: what is pinned has one owner.
    lock: Option<fs::File>,
}

impl Datapath {
    /// Loads the program, with the maps and links that are pinned if there are any: their filters
    /// stay in force throughout.
    ///
    /// # Errors
    ///
    /// Without the necessary rights, without a BPF file system to pin on, when another process has
    /// the pin directory open, or when the kernel refuses something; what was pinned before is still
    /// there and in force.
    pub fn open(options: Options) -> Result<Self, KernelError> {
        let (maps, lock) = match &options.pins {
            Some(pins) => {
                let maps = prepare_pins(pins)?;
                (Some(maps), Some(lock_pins(pins)?))
            }
            None => (None, None),
        };
        let mut ebpf = object::load(maps.as_deref())?;
        let mut tables = Tables::new(&mut ebpf)?;
        tables.set_global(Global::AbiVersion, u64::from(ABI_VERSION))?;
        let counters = Counters::new(&mut ebpf)?;
        let rate = options.answers.map_or(0, |rate| u64::from(rate) + 1);
        tables.set_global(Global::AnswerRate, rate)?;
        let mut connections = Connections::new(&mut ebpf)?;
        connections.set_timeouts(&options.timeouts)?;
        let generation = tables.global(Global::Generation)?;
        let sets = Sets::new(&mut ebpf)?;
        let mut datapath = Self {
            sets,
            _answerers: object::set_answerers(&mut ebpf)?,
            ebpf,
            tables,
            counters,
            connections,
            options,
            ports: BTreeMap::new(),
            attachments: HashMap::new(),
            images: HashMap::new(),
            identities: HashMap::new(),
            generation,
            lock,
        };
        datapath.adopt()?;
        Ok(datapath)
    }

    /// The bound ports.
    pub const fn ports(&self) -> &BTreeMap<String, PortState> {
        &self.ports
    }

    /// Runs the program on a frame as if it had come to a port (`BPF_PROG_TEST_RUN`), `repeat`
    /// times.
    ///
    /// # Errors
    ///
    /// An unknown port, or a frame that the kernel does not take: it must have 14 bytes.
    pub fn test_run(
        &mut self,
        port: &str,
        direction: FrameDirection,
        frame: &[u8],
        repeat: u32,
    ) -> Result<Run, KernelError> {
        let ifindex = sys::ifindex(port).ok_or_else(|| KernelError::NoDevice {
            port: port.to_owned(),
        })?;
        let program = object::program_name(direction);
        object::test_run(&mut self.ebpf, program, ifindex, frame, repeat)
    }

    /// The programs, with the instructions that the verifier has looked at, if the kernel tells.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell of a program.
    pub fn verified_instructions(&self) -> Result<Vec<(&'static str, Option<u32>)>, KernelError> {
        object::verified_instructions(&self.ebpf)
    }

    /// Removes every filter from every port, and all pins.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub fn detach_all(mut self) -> Result<(), KernelError> {
        let names: Vec<String> = self.ports.keys().cloned().collect();
        for name in names {
            self.unbind(&name)?;
        }
        if let Some(pins) = self.options.pins.take() {
            fs::remove_dir_all(&pins).map_err(|source| KernelError::File {
                action: "remove",
                path: pins,
                source,
            })?;
        }
        Ok(())
    }

    fn known(&self, port: &str) -> Result<&PortState, KernelError> {
        self.ports.get(port).ok_or_else(|| KernelError::NoDevice {
            port: port.to_owned(),
        })
    }
}

impl Drop for Datapath {
    /// With pins, filters outlive us.
    fn drop(&mut self) {
        for attachment in self.attachments.drain().flat_map(|(_, attached)| attached) {
            if self.options.pins.is_some() {
                attachment.keep();
            } else {
                // Nobody is there to hear of an error.
                let _ = attachment.detach();
            }
        }
        if let Some(lock) = &self.lock {
            // Closing it is not enough while a process that was just forked has a copy.
            let _ = lock.unlock();
        }
    }
}
