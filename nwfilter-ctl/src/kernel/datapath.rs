//! Ports and what they use: allocation, the atomic switch, and taking over what is pinned.
//!
//! Every port has two records; the lowest bit of one global word says which one holds. A change
//! writes the records that do not hold, then flips the bit: all ports of the host switch at the same
//! instant, and a frame sees one side or the other.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, TryLockError},
    io,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::{MapData, ProgramArray, RingBuf},
};
use nwfilter_common::{
    ABI_VERSION, Answers, Counter, FAULT_COUNTERS, FrameDirection, Global, MAX_COUNTERS,
    MAX_IMAGES, MAX_PORTS, PortRecord, SLOTS, SetKey, SetName, Slot, Timeouts, Tracking, names,
};

use super::{
    AttachMode, DropEvents, KernelError, Run,
    attach::{self, Attachment},
    connections::{self, Connection, Connections},
    object,
    sets::Sets,
    sys,
    tables::{self, Tables},
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

/// A change of one port.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// Filter a port from now on, or filter it otherwise.
    Bind(Bind<'a>),
    /// Filter the port no more.
    Unbind(&'a str),
}

/// What to bind.
#[derive(Clone, Copy, Debug)]
pub struct Bind<'a> {
    /// Name of the device, in this network namespace.
    pub port: &'a str,
    /// Its tables; `None` lets nothing pass.
    pub image: Option<&'a Image>,
    /// Its addresses, at most [`SLOTS`].
    pub slots: &'a [Slot],
    /// Number of entries of the tables.
    pub entries: u32,
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
    const fn counters(&self) -> (u32, u32) {
        (self.record.counters, FAULT_COUNTERS + self.record.entries)
    }
}

/// The loaded datapath.
pub struct Datapath {
    ebpf: Ebpf,
    /// Without pins, the kernel empties it when nobody holds it.
    _answerers: ProgramArray<MapData>,
    tables: Tables,
    sets: Sets,
    connections: Connections,
    options: Options,
    ports: BTreeMap<String, PortState>,
    attachments: HashMap<String, Vec<Attachment>>,
    images: HashMap<Vec<u32>, u32>,
    generation: u64,
    /// Ports whose spare record is out of date since the last flip.
    stale: BTreeSet<String>,
    /// Held as long as this lives: what is pinned has one owner.
    _lock: Option<fs::File>,
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
            connections,
            options,
            ports: BTreeMap::new(),
            attachments: HashMap::new(),
            images: HashMap::new(),
            generation,
            stale: BTreeSet::new(),
            _lock: lock,
        };
        datapath.adopt()?;
        Ok(datapath)
    }

    /// Takes over the ports that the maps know.
    fn adopt(&mut self) -> Result<(), KernelError> {
        for number in 0..MAX_PORTS as u32 {
            let record = self.tables.record(number, self.generation)?;
            if record.ifindex == 0 {
                continue;
            }
            let state = PortState {
                ifindex: record.ifindex,
                number,
                record,
            };
            let Some(name) = sys::ifname(record.ifindex) else {
                // The device is gone.
                self.remove_records(&state)?;
                continue;
            };
            if record.flags & PortRecord::READY != 0
                && let Some(words) = self.tables.image(record.image)?
            {
                self.images.insert(words, record.image);
            }
            // As if it had just been written: we may have been stopped in between.
            self.tables.index(record.ifindex, number)?;
            self.attach(&name, record.ifindex)?;
            self.stale.insert(name.clone());
            self.ports.insert(name, state);
        }
        if let Some(pins) = &self.options.pins {
            // Of devices that are gone, or have another name now and other links.
            attach::remove_strangers(&links_dir(pins), self.attachments.values().flatten())?;
        }
        // The spare records may be half written; no program may still read them.
        sys::wait_for_programs()
    }

    fn attach(&mut self, port: &str, ifindex: u32) -> Result<(), KernelError> {
        let links = self.options.pins.as_deref().map(links_dir);
        let mode = self.options.attach;
        let attached = attach::attach(&mut self.ebpf, mode, links.as_deref(), port, ifindex)?;
        self.attachments.insert(port.to_owned(), attached);
        Ok(())
    }

    /// Makes changes, all at the same instant: a frame of any port sees the state before or the
    /// state after them. On an error nothing has changed, except that some ports of a list of *new*
    /// ones may already be bound.
    ///
    /// # Errors
    ///
    /// A device that does not exist, a full table, or what the kernel refuses.
    pub fn apply(&mut self, changes: &[Change<'_>]) -> Result<(), KernelError> {
        let mut ready = Vec::new();
        for change in changes {
            if let Change::Bind(bind) = change {
                ready.push(self.prepare(bind, &ready)?);
            }
        }
        self.switch(&ready)?;
        for (name, state) in ready {
            let known = self.ports.insert(name.clone(), state);
            if !self.attachments.contains_key(&name)
                && let Err(error) = self.attach(&name, state.ifindex)
            {
                if known.is_none() {
                    self.forget(&name)?;
                }
                return Err(error);
            }
        }
        for change in changes {
            if let Change::Unbind(port) = change {
                self.unbind(port)?;
            }
        }
        self.collect();
        Ok(())
    }

    /// Everything that a binding needs, still without effect.
    fn prepare(
        &mut self,
        bind: &Bind<'_>,
        planned: &[(String, PortState)],
    ) -> Result<(String, PortState), KernelError> {
        let Bind {
            port,
            image,
            slots,
            entries,
        } = *bind;
        let ifindex = sys::ifindex(port).ok_or_else(|| KernelError::NoDevice {
            port: port.to_owned(),
        })?;
        if slots.len() > SLOTS {
            return Err(KernelError::Full {
                what: "addresses of a port",
                limit: SLOTS,
            });
        }
        if let Some(known) = self
            .ports
            .get(port)
            .filter(|known| known.ifindex != ifindex)
        {
            // A new device of the same name.
            let stale = *known;
            self.detach(port)?;
            self.remove_records(&stale)?;
            self.ports.remove(port);
        }
        let image_number = match image {
            Some(image) => self.install(image, planned)?,
            None => 0,
        };
        let known = self.ports.get(port).copied();
        let same = known.filter(|known| {
            known.record.entries == entries && known.record.image == image_number && image.is_some()
        });
        let counters = match same {
            Some(known) => known.record.counters,
            None => self.allocate_counters(FAULT_COUNTERS + entries, planned)?,
        };
        let number = match known {
            Some(known) => known.number,
            None => self.allocate_port(ifindex, planned)?,
        };
        let limits = known.map(|known| known.record.limits);
        let mut record = PortRecord {
            ifindex,
            image: image_number,
            counters,
            entries,
            flags: if image.is_some() {
                PortRecord::READY
            } else {
                0
            },
            quota: self.options.quota,
            since: known.map_or_else(connections::now, |known| known.record.since),
            limits: match limits {
                Some(limits) if same.is_some() => limits,
                limits => connections::epoch(limits),
            },
            ..PortRecord::default()
        };
        record.slots[..slots.len()].copy_from_slice(slots);
        Ok((
            port.to_owned(),
            PortState {
                ifindex,
                number,
                record,
            },
        ))
    }

    /// The number of an image, which is installed if it is new.
    fn install(
        &mut self,
        image: &Image,
        planned: &[(String, PortState)],
    ) -> Result<u32, KernelError> {
        if let Some(number) = self.images.get(image.words()) {
            return Ok(*number);
        }
        let used: BTreeSet<u32> = self
            .images
            .values()
            .copied()
            .chain(planned.iter().map(|(_, state)| state.record.image))
            .collect();
        let number = (0..MAX_IMAGES as u32)
            .find(|number| !used.contains(number))
            .ok_or(KernelError::Full {
                what: "another filter",
                limit: MAX_IMAGES,
            })?;
        self.tables.set_image(number, image)?;
        self.images.insert(image.words().to_vec(), number);
        Ok(number)
    }

    fn allocate_port(
        &self,
        ifindex: u32,
        planned: &[(String, PortState)],
    ) -> Result<u32, KernelError> {
        let used: BTreeSet<u32> = self.states(planned).map(|state| state.number).collect();
        [tables::natural_number(ifindex)]
            .into_iter()
            .chain(0..MAX_PORTS as u32)
            .find(|number| !used.contains(number))
            .ok_or(KernelError::Full {
                what: "another port",
                limit: MAX_PORTS,
            })
    }

    /// A zeroed run of counters: the first gap that is large enough.
    fn allocate_counters(
        &mut self,
        count: u32,
        planned: &[(String, PortState)],
    ) -> Result<u32, KernelError> {
        let mut runs: Vec<_> = self.states(planned).map(PortState::counters).collect();
        runs.sort_unstable();
        let mut first = 0;
        for (start, length) in runs {
            if start.saturating_sub(first) >= count {
                break;
            }
            first = first.max(start + length);
        }
        if first + count > MAX_COUNTERS as u32 {
            return Err(KernelError::Full {
                what: "the counters of a filter",
                limit: MAX_COUNTERS,
            });
        }
        self.tables.clear_counters(first, count)?;
        Ok(first)
    }

    fn states<'a>(
        &'a self,
        planned: &'a [(String, PortState)],
    ) -> impl Iterator<Item = &'a PortState> {
        self.ports
            .values()
            .chain(planned.iter().map(|(_, state)| state))
    }

    /// Writes records and flips the generation.
    fn switch(&mut self, ready: &[(String, PortState)]) -> Result<(), KernelError> {
        let spare = self.generation + 1;
        let (known, new): (Vec<_>, Vec<_>) = ready
            .iter()
            .partition(|(name, _)| self.ports.contains_key(name));
        if !known.is_empty() {
            if !self.stale.is_empty() {
                // Programs that began before the last flip may still read what is now spare.
                sys::wait_for_programs()?;
            }
            for name in &self.stale {
                if let Some(state) = self.ports.get(name) {
                    self.tables.set_record(state.number, spare, &state.record)?;
                }
            }
            self.stale.clear();
            for (name, state) in &known {
                self.tables.set_record(state.number, spare, &state.record)?;
                self.stale.insert(name.clone());
            }
            self.tables.set_global(Global::Generation, spare)?;
            self.generation = spare;
        }
        // Nothing reads these before their interface has a program.
        for (_, state) in new {
            for generation in [0, 1] {
                self.tables
                    .set_record(state.number, generation, &state.record)?;
            }
            self.tables.index(state.ifindex, state.number)?;
        }
        Ok(())
    }

    fn detach(&mut self, port: &str) -> Result<(), KernelError> {
        for attachment in self.attachments.remove(port).into_iter().flatten() {
            attachment.detach()?;
        }
        Ok(())
    }

    fn unbind(&mut self, port: &str) -> Result<(), KernelError> {
        self.detach(port)?;
        self.forget(port)
    }

    fn forget(&mut self, port: &str) -> Result<(), KernelError> {
        if let Some(state) = self.ports.remove(port) {
            self.remove_records(&state)?;
        }
        self.stale.remove(port);
        Ok(())
    }

    fn remove_records(&mut self, state: &PortState) -> Result<(), KernelError> {
        self.tables.unindex(state.ifindex)?;
        self.clear_records(state.number)
    }

    fn clear_records(&mut self, number: u32) -> Result<(), KernelError> {
        for generation in [0, 1] {
            self.tables
                .set_record(number, generation, &PortRecord::default())?;
        }
        Ok(())
    }

    /// Forgets the images that no port uses; their numbers, and with them their memory, are used
    /// again by the next ones.
    fn collect(&mut self) {
        let used: BTreeSet<u32> = self
            .ports
            .values()
            .map(|state| state.record.image)
            .collect();
        self.images.retain(|_, number| used.contains(number));
    }

    /// The bound ports.
    pub const fn ports(&self) -> &BTreeMap<String, PortState> {
        &self.ports
    }

    /// The counters of a port: first [`FAULT_COUNTERS`] for faults, then one for each entry.
    ///
    /// # Errors
    ///
    /// An unknown port, or a map that cannot be read.
    pub fn counters(&self, port: &str) -> Result<Vec<Counter>, KernelError> {
        let (first, count) = self.known(port)?.counters();
        (first..first + count)
            .map(|index| self.tables.counter(index))
            .collect()
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
        Ok(DropEvents(ring))
    }

    /// Turns reports of drops on or off.
    ///
    /// # Errors
    ///
    /// When the map cannot be written.
    pub fn report_drops(&mut self, on: bool) -> Result<(), KernelError> {
        self.tables.set_global(Global::Events, on.into())
    }

    /// Whether the program is on the device that it was attached to, in both directions: it is not
    /// when that device is gone, even if another one has got its name and index. `None` for an
    /// unknown port, and where the kernel has no links that could be asked.
    pub fn is_attached(&self, port: &str) -> Option<bool> {
        let ifindex = self.ports.get(port)?.ifindex;
        let mut attached = true;
        for attachment in self.attachments.get(port)? {
            attached &= attachment.is_on(ifindex)?;
        }
        Some(attached)
    }

    /// Follows a device that has got another name: what it has stays in force.
    ///
    /// # Errors
    ///
    /// When a pin cannot be renamed.
    pub fn rename(&mut self, old: &str, new: &str) -> Result<(), KernelError> {
        if let Some(mut attached) = self.attachments.remove(old) {
            let renamed = attach::rename(&mut attached, new);
            self.attachments.insert(new.to_owned(), attached);
            renamed?;
        }
        if let Some(state) = self.ports.remove(old) {
            self.ports.insert(new.to_owned(), state);
        }
        if self.stale.remove(old) {
            self.stale.insert(new.to_owned());
        }
        Ok(())
    }

    /// Events that were lost because nobody read them in time.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn lost_events(&self) -> Result<u64, KernelError> {
        self.tables.global(Global::LostEvents)
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

    /// The connections that are stored for a port, in no order; see [`nwfilter_common::Entry::is_alive`].
    ///
    /// # Errors
    ///
    /// An unknown port, or a map that cannot be read.
    pub fn connections(&self, port: &str) -> Result<Vec<Connection>, KernelError> {
        self.connections.of_port(self.known(port)?.number)
    }

    /// Makes or replaces an address set, for all ports at the same instant. Each element comes with whether
    /// it is an exception.
    ///
    /// # Errors
    ///
    /// When there are too many sets or elements.
    pub fn replace_set(
        &mut self,
        name: SetName,
        elements: impl IntoIterator<Item = (SetKey, bool)>,
    ) -> Result<(), KernelError> {
        self.sets.replace(name, elements)
    }

    /// Adds an element to a set, with whether it is an exception, or removes one (`None`).
    ///
    /// # Errors
    ///
    /// When there is no such set, or no such element to remove.
    pub fn change_set(
        &mut self,
        name: SetName,
        key: &SetKey,
        exception: Option<bool>,
    ) -> Result<(), KernelError> {
        self.sets.change(name, key, exception)
    }

    /// Removes all address sets but these.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn retain_sets(&mut self, wanted: &BTreeSet<SetName>) -> Result<(), KernelError> {
        self.sets.retain(wanted)
    }

    /// How many rejected frames of a port were answered, and how many were not.
    ///
    /// # Errors
    ///
    /// An unknown port, or a map that cannot be read.
    pub fn answers(&self, port: &str) -> Result<Answers, KernelError> {
        self.tables.answers(self.known(port)?.number)
    }

    /// The clock of connections and fragments, in nanoseconds.
    pub fn now(&self) -> u64 {
        connections::now()
    }

    /// What connection tracking has counted for a port, by [`nwfilter_common::TrackingCounter`].
    ///
    /// # Errors
    ///
    /// An unknown port, or a map that cannot be read.
    pub fn tracking(&self, port: &str) -> Result<Tracking, KernelError> {
        self.connections.tracking(self.known(port)?.number)
    }

    /// Forgets the connections and fragments of a port.
    ///
    /// # Errors
    ///
    /// An unknown port, or a map that cannot be written.
    pub fn flush(&mut self, port: &str) -> Result<(), KernelError> {
        let mut state = *self.known(port)?;
        // What began in the same tick of the clock is forgotten, too.
        state.record.since = connections::now() + 1;
        state.record.limits = connections::epoch(Some(state.record.limits));
        self.switch(&[(port.to_owned(), state)])?;
        self.ports.insert(port.to_owned(), state);
        connections::wait_until(state.record.since);
        self.sweep()
    }

    /// Removes dead connections and fragments; to be called every few seconds.
    ///
    /// # Errors
    ///
    /// When the program cannot be run.
    pub fn sweep(&mut self) -> Result<(), KernelError> {
        object::sweep(&mut self.ebpf)
    }

    fn known(&self, port: &str) -> Result<&PortState, KernelError> {
        self.ports.get(port).ok_or_else(|| KernelError::NoDevice {
            port: port.to_owned(),
        })
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
}

impl Drop for Datapath {
    /// With pins, filters outlive us.
    fn drop(&mut self) {
        if self.options.pins.is_some() {
            for attachment in self.attachments.drain().flat_map(|(_, attached)| attached) {
                attachment.keep();
            }
        }
    }
}

fn links_dir(pins: &Path) -> PathBuf {
    pins.join("links")
}

/// Makes sure that nobody else changes what is pinned. A directory can be locked although it is on
/// a BPF file system, which has no files to write to.
fn lock_pins(pins: &Path) -> Result<fs::File, KernelError> {
    let failed = |source| KernelError::File {
        action: "lock",
        path: pins.to_owned(),
        source,
    };
    let directory = fs::File::open(pins).map_err(failed)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(KernelError::Busy {
            path: pins.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes the pin directory and returns that of this version's maps.
fn prepare_pins(pins: &Path) -> Result<PathBuf, KernelError> {
    let maps = pins.join(format!("v{ABI_VERSION}"));
    let existing = pins.ancestors().find(|path| path.exists()).unwrap_or(pins);
    let on_bpffs = sys::is_bpffs(existing).map_err(|source| KernelError::File {
        action: "examine",
        path: existing.to_owned(),
        source,
    })?;
    if !on_bpffs {
        return Err(KernelError::NoBpffs {
            path: pins.to_owned(),
        });
    }
    for path in [&maps, &links_dir(pins)] {
        fs::create_dir_all(path).map_err(|source| {
            if source.kind() == io::ErrorKind::PermissionDenied {
                KernelError::NotPermitted
            } else {
                KernelError::File {
                    action: "create",
                    path: path.clone(),
                    source,
                }
            }
        })?;
    }
    Ok(maps)
}
