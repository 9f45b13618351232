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
    sync::Arc,
};

use aya::{
    Ebpf,
    maps::{MapData, ProgramArray, RingBuf},
};
use nwfilter_common::{
    ABI_VERSION, Answers, Counter, FAULT_COUNTERS, FrameDirection, Global, MAX_PORTS, MacAddr,
    PortRecord, SLOTS, SetKey, SetName, Slot, Timeouts, Tracking, names,
};

use super::{
    AttachMode, DropEvents, KernelError, LearnEvents, Run,
    attach::{self, Attachment},
    connections::{self, Connection, Connections},
    counters::{Counters, Pairs, difference},
    object,
    plan::Plan,
    sets::{Filled, Sets},
    sys,
    tables::{self, Tables},
};
use crate::{chain::chain, compile::Image, fault};

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
    /// What the entries are: the counter of one goes on where tables are replaced by others that
    /// have it, too. Without it, they begin at zero, unless the tables stay the same.
    pub identities: Option<&'a Arc<[u64]>>,
    /// What the VM's addresses are learned from.
    pub learn: Learn,
}

/// What a VM's addresses are learned from; by default nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Learn {
    /// Flags of [`PortRecord::LEARN`].
    pub flags: u32,
    /// The VM's hardware address.
    pub mac: MacAddr,
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

/// A port that is ready for a change.
struct Ready {
    name: String,
    state: PortState,
    identities: Option<Arc<[u64]>>,
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
            _lock: lock,
        };
        datapath.adopt()?;
        Ok(datapath)
    }

    /// Takes over the ports that the maps know. What cannot be attached is left for the next change of
    /// its port; see [`Datapath::is_attached`].
    fn adopt(&mut self) -> Result<(), KernelError> {
        if let Some(pins) = &self.options.pins {
            attach::settle(&links_dir(pins))?;
        }
        // Spare records may be half written; no program may still read them.
        sys::wait_for_programs()?;
        for number in 0..MAX_PORTS as u32 {
            let record = self.tables.record(number, self.generation)?;
            let spare = self.tables.record(number, self.generation + 1)?;
            if record.ifindex == 0 {
                if spare != record {
                    self.clear_records(number)?;
                }
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
            // As if it had just been written: we may have been stopped in between.
            if spare != record {
                self.tables
                    .set_record(number, self.generation + 1, &record)?;
            }
            self.tables.index(record.ifindex, number)?;
            if record.flags & PortRecord::READY != 0
                && !self.images.values().any(|known| *known == record.image)
                && let Some(words) = self.tables.image(record.image)?
            {
                self.images.insert(Image::from_words(words), record.image);
            }
            if let Err(error) = self.attach(&name, record.ifindex) {
                tracing::error!("{name}: {}", chain(&error));
            }
            self.ports.insert(name, state);
        }
        fault::point();
        Ok(())
    }

    fn attach(&mut self, port: &str, ifindex: u32) -> Result<(), KernelError> {
        let links = self.options.pins.as_deref().map(links_dir);
        let mode = self.options.attach;
        let attached = attach::attach(&mut self.ebpf, mode, links.as_deref(), port, ifindex)?;
        self.attachments.insert(port.to_owned(), attached);
        Ok(())
    }

    /// Removes what an earlier version or an earlier name has left: to be called when all that
    /// should be in force is, because until then it may be all that filters a port.
    ///
    /// # Errors
    ///
    /// When a pin cannot be read or removed.
    pub fn remove_strangers(&self) -> Result<(), KernelError> {
        let Some(pins) = &self.options.pins else {
            return Ok(());
        };
        let attached = self.attachments.values().flatten();
        attach::remove_strangers(&links_dir(pins), self.ports.keys(), attached)?;
        remove_other_versions(pins)
    }

    /// Makes changes, all at the same instant: a frame of any port sees the state before or the
    /// state after them. On an error nothing has changed, except that some ports of a list of *new*
    /// ones may already be bound. That a port is not attached which was not before is no error of the
    /// change: see [`Datapath::is_attached`].
    ///
    /// # Errors
    ///
    /// A device that does not exist, a full table, or what the kernel refuses.
    pub fn apply(&mut self, changes: &[Change<'_>]) -> Result<(), KernelError> {
        let mut plan = Plan::new(
            self.ports.values(),
            self.images.values().copied(),
            self.counters.counting(),
        );
        let mut ready = Vec::new();
        for change in changes {
            if let Change::Bind(bind) = change {
                ready.push(self.prepare(bind, &mut plan)?);
            }
        }
        fault::point();
        let (known, new): (Vec<_>, Vec<_>) = ready
            .into_iter()
            .partition(|ready| self.ports.contains_key(&ready.name));
        // They may fail, and then nothing else has changed.
        for ready in new {
            self.add(ready)?;
        }
        self.switch(&known)?;
        for Ready {
            name,
            state,
            identities,
        } in known
        {
            self.ports.insert(name.clone(), state);
            match identities {
                Some(identities) => _ = self.identities.insert(name.clone(), identities),
                None => _ = self.identities.remove(&name),
            }
            // It was not before either; see `is_attached`.
            if !self.attachments.contains_key(&name)
                && let Err(error) = self.attach(&name, state.ifindex)
            {
                tracing::error!("{name}: {}", chain(&error));
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
    fn prepare(&mut self, bind: &Bind<'_>, plan: &mut Plan) -> Result<Ready, KernelError> {
        let Bind {
            port,
            image,
            slots,
            entries,
            identities,
            learn,
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
        if self
            .ports
            .get(port)
            .is_some_and(|known| known.ifindex != ifindex)
        {
            // A new device of the same name.
            self.detach(port)?;
            self.forget(port)?;
        }
        let image_number = match image {
            Some(image) => self.install(image, plan)?,
            None => 0,
        };
        let known = self.ports.get(port).copied();
        let same = known.filter(|known| {
            known.record.entries == entries && known.record.image == image_number && image.is_some()
        });
        let counters = match same {
            Some(known) => known.record.counters,
            None => {
                let count = FAULT_COUNTERS + entries;
                let first = plan.counters(count)?;
                self.counters.clear(first, count);
                first
            }
        };
        let number = match known {
            Some(known) => known.number,
            None => plan.port(ifindex)?,
        };
        let limits = known.map(|known| known.record.limits);
        let mut record = PortRecord {
            ifindex,
            image: image_number,
            counters,
            entries,
            mac: learn.mac.to_u64(),
            flags: learn.flags & PortRecord::LEARN
                | if image.is_some() {
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
        Ok(Ready {
            name: port.to_owned(),
            state: PortState {
                ifindex,
                number,
                record,
            },
            identities: identities.map(Arc::clone),
        })
    }

    /// The number of an image, which is installed if it is new.
    fn install(&mut self, image: &Image, plan: &mut Plan) -> Result<u32, KernelError> {
        if let Some(number) = plan.same_image(image) {
            return Ok(number);
        }
        let number = match self.images.get(image) {
            Some(number) => *number,
            None => {
                let number = plan.image()?;
                self.tables.set_image(number, image)?;
                self.images.insert(image.clone(), number);
                number
            }
        };
        plan.remember(image, number);
        Ok(number)
    }

    /// Filters a port that was not.
    fn add(&mut self, ready: Ready) -> Result<(), KernelError> {
        let Ready {
            name,
            state,
            identities,
        } = ready;
        // Nothing reads these before the interface has a program.
        for generation in [0, 1] {
            self.tables
                .set_record(state.number, generation, &state.record)?;
            fault::point();
        }
        self.tables.index(state.ifindex, state.number)?;
        self.ports.insert(name.clone(), state);
        if let Some(identities) = identities {
            self.identities.insert(name.clone(), identities);
        }
        let attached = self.attach(&name, state.ifindex);
        if attached.is_err() {
            self.forget(&name)?;
        }
        attached
    }

    /// Puts records of bound ports into force, all at one instant.
    fn switch(&mut self, ready: &[Ready]) -> Result<(), KernelError> {
        let known: Vec<&Ready> = ready
            .iter()
            .filter(|ready| self.ports.get(&ready.name) != Some(&ready.state))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let spare = self.generation + 1;
        let written = known.iter().try_for_each(|ready| {
            let state = &ready.state;
            self.tables.set_record(state.number, spare, &state.record)
        });
        fault::point();
        let carried = self.carried(&known);
        for (_, to, counter) in &carried {
            self.counters.add(*to, *counter);
        }
        let flipped = written.and_then(|()| self.tables.set_global(Global::Generation, spare));
        if let Err(error) = flipped {
            // Or the next flip would put them into force.
            for Ready { name, .. } in known {
                if let Some(state) = self.ports.get(name) {
                    self.tables.set_record(state.number, spare, &state.record)?;
                }
            }
            return Err(error);
        }
        self.generation = spare;
        fault::point();
        sys::wait_for_programs()?;
        // What was counted since, by programs that began before the flip.
        for (from, to, before) in carried {
            if let [now] = self.counters.read(from, 1)[..] {
                self.counters.add(to, difference(now, before));
            }
        }
        for Ready { state, .. } in known {
            self.tables
                .set_record(state.number, spare + 1, &state.record)?;
        }
        fault::point();
        Ok(())
    }

    /// The counters that go on elsewhere: where they are, where they go on, and what they say.
    fn carried(&self, ready: &[&Ready]) -> Vec<(u32, u32, Counter)> {
        let mut pairs: Option<Pairs> = None;
        let mut carried = Vec::new();
        for Ready {
            name,
            state,
            identities,
        } in ready
        {
            let Some(before) = self.ports.get(name) else {
                continue;
            };
            let [from, to] = [before, state].map(|state| state.record.counters);
            if from == to {
                continue;
            }
            let old = self.identities.get(name);
            // Most ports have the same ones.
            if !pairs
                .as_ref()
                .is_some_and(|pairs| pairs.are_of(old, identities.as_ref()))
            {
                pairs = Some(Pairs::new(old, identities.as_ref()));
            }
            let counters = self.counters.read(from, before.counters().1);
            for &(old, new) in pairs.iter().flat_map(|pairs| &pairs.positions) {
                if let Some(counter) = counters.get(old as usize)
                    && *counter != Counter::default()
                {
                    carried.push((from + old, to + new, *counter));
                }
            }
        }
        carried
    }

    fn detach(&mut self, port: &str) -> Result<(), KernelError> {
        for attachment in self.attachments.remove(port).into_iter().flatten() {
            attachment.detach()?;
            fault::point();
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
        self.identities.remove(port);
        fault::point();
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
    /// An unknown port.
    pub fn counters(&self, port: &str) -> Result<Vec<Counter>, KernelError> {
        let (first, count) = self.known(port)?.counters();
        Ok(self.counters.read(first, count))
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

    /// Frames from which something may be learned; also those that came while nobody was here.
    ///
    /// # Errors
    ///
    /// When the ring buffer cannot be opened, or has been taken before.
    pub fn learning(&mut self) -> Result<LearnEvents, KernelError> {
        let ring: RingBuf<MapData> = tables::take(&mut self.ebpf, names::LEARNING)?;
        Ok(LearnEvents::new(ring))
    }

    /// Turns reports of drops on or off.
    ///
    /// # Errors
    ///
    /// When the map cannot be written.
    pub fn report_drops(&mut self, on: bool) -> Result<(), KernelError> {
        self.tables.set_global(Global::Events, on.into())
    }

    /// Puts the program back on the device of a port where somebody else has taken it off. Says in which
    /// directions that was needed.
    ///
    /// # Errors
    ///
    /// What the kernel refuses; the direction that it does not refuse is filtered again.
    pub fn repair(&mut self, port: &str) -> Result<Vec<&'static str>, KernelError> {
        let ifindex = self.known(port)?.ifindex;
        let links = self.options.pins.as_deref().map(links_dir);
        if let Some(links) = &links {
            // It may be gone with what was in it.
            fs::create_dir_all(links).map_err(|source| KernelError::File {
                action: "create",
                path: links.clone(),
                source,
            })?;
        }
        let Some(attached) = self.attachments.get_mut(port) else {
            self.attach(port, ifindex)?;
            return Ok(vec!["in", "out"]);
        };
        let mode = self.options.attach;
        attach::repair(
            &mut self.ebpf,
            mode,
            links.as_deref(),
            port,
            ifindex,
            attached,
        )
    }

    /// Whether the program is on the device that it was attached to, in both directions: it is not
    /// when that device is gone, even if another one has got its name and index. `None` for an
    /// unknown port, and where that cannot be told.
    pub fn is_attached(&self, port: &str) -> Option<bool> {
        let ifindex = self.ports.get(port)?.ifindex;
        let mut attached = true;
        let Some(attachments) = self.attachments.get(port) else {
            return Some(false);
        };
        for attachment in attachments {
            attached &= attachment.is_on(ifindex)?;
        }
        Some(attached)
    }

    /// How the programs are attached to a port.
    pub fn attached(&self, port: &str) -> Option<&'static str> {
        self.attachments.get(port)?.first().map(Attachment::as_str)
    }

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

    /// Follows devices that have got other names, also those of each other: what they have stays in
    /// force.
    ///
    /// # Errors
    ///
    /// When a pin cannot be renamed.
    pub fn rename(&mut self, renamed: &[(String, String)]) -> Result<(), KernelError> {
        let mut moving = Vec::new();
        for (old, new) in renamed {
            if let Some(state) = self.ports.remove(old) {
                let attached = self.attachments.remove(old);
                let identities = self.identities.remove(old);
                moving.push((new.clone(), state, attached, identities));
            }
        }
        if let Some(pins) = &self.options.pins {
            attach::settle(&links_dir(pins))?;
        }
        for (name, state, attached, identities) in moving {
            if let Some(identities) = identities {
                self.identities.insert(name.clone(), identities);
            }
            // What could not be attached before may be now.
            if let Some(mut attached) = attached {
                attach::follow(&mut attached, &name);
                self.attachments.insert(name.clone(), attached);
            }
            self.ports.insert(name, state);
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

    /// Frames to learn from that were lost because nobody read them in time, or were too many.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn lost_learning(&self) -> Result<u64, KernelError> {
        self.tables.global(Global::LostLearning)
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
        self.replace_sets(&[(name, Filled::new(elements)?)])
    }

    /// Makes or replaces address sets, one after the other, each for all ports at the same instant.
    ///
    /// # Errors
    ///
    /// When there are too many sets; then all are as they were.
    pub fn replace_sets(&mut self, sets: &[(SetName, Filled)]) -> Result<(), KernelError> {
        self.sets.replace(sets)
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
        self.switch(&[Ready {
            name: port.to_owned(),
            state,
            identities: None,
        }])?;
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

/// Removes the maps of other versions of the layout, which nobody uses any more.
fn remove_other_versions(pins: &Path) -> Result<(), KernelError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| KernelError::File {
            action,
            path,
            source,
        }
    };
    let own = format!("v{ABI_VERSION}");
    for entry in fs::read_dir(pins).map_err(failed("read", pins))? {
        let entry = entry.map_err(failed("read", pins))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let version = name.strip_prefix('v');
        if version.is_some_and(|version| version.parse::<u32>().is_ok()) && name != own {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}
