//! The maps as typed tables: one method for each thing that is read or written. Keeps nothing.

use aya::{
    Ebpf,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError},
};
use nwfilter_common::{
    Counter, Global, MAX_COUNTERS, PORT_INDEX_LEN, Page, PortIndex, PortRecord, names,
};

use super::KernelError;
use crate::compile::Image;

/// `BPF_F_INNER_MAP` of `linux/bpf.h`.
const BPF_F_INNER_MAP: u32 = 1 << 12;

/// The maps of a loaded object.
pub(super) struct Tables {
    globals: Array<MapData, u64>,
    port_index: Array<MapData, PortIndex>,
    port_hash: HashMap<MapData, u32, u32>,
    ports: Array<MapData, PortRecord>,
    images: ArrayOfMaps<MapData, Array<MapData, Page>>,
    counters: Array<MapData, Counter>,
}

/// Takes a map out of the object.
pub(super) fn take<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, KernelError> {
    let map = ebpf.take_map(name).ok_or(KernelError::Incomplete(name))?;
    T::try_from(map).map_err(KernelError::map(name, "use"))
}

impl Tables {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            globals: take(ebpf, names::GLOBALS)?,
            port_index: take(ebpf, names::PORT_INDEX)?,
            port_hash: take(ebpf, names::PORT_HASH)?,
            ports: take(ebpf, names::PORTS)?,
            images: take(ebpf, names::IMAGES)?,
            counters: take(ebpf, names::COUNTERS)?,
        })
    }

    pub(super) fn global(&self, global: Global) -> Result<u64, KernelError> {
        let failed = KernelError::map(names::GLOBALS, "read");
        self.globals.get(&(global as u32), 0).map_err(failed)
    }

    pub(super) fn set_global(&mut self, global: Global, value: u64) -> Result<(), KernelError> {
        let failed = KernelError::map(names::GLOBALS, "write");
        self.globals.set(global as u32, value, 0).map_err(failed)
    }

    /// All interfaces that have a port number.
    pub(super) fn indexed(&self) -> Result<Vec<PortIndex>, KernelError> {
        let mut ports = Vec::new();
        for index in 0..PORT_INDEX_LEN as u32 {
            let failed = KernelError::map(names::PORT_INDEX, "read");
            let entry = self.port_index.get(&index, 0).map_err(failed)?;
            if entry.ifindex != 0 {
                ports.push(entry);
            }
        }
        for entry in self.port_hash.iter() {
            let (ifindex, port) = entry.map_err(KernelError::map(names::PORT_HASH, "read"))?;
            ports.push(PortIndex { ifindex, port });
        }
        Ok(ports)
    }

    /// Makes an interface's port number known.
    pub(super) fn index(&mut self, ifindex: u32, port: u32) -> Result<(), KernelError> {
        let at = ifindex % PORT_INDEX_LEN as u32;
        let present = self
            .port_index
            .get(&at, 0)
            .map_err(KernelError::map(names::PORT_INDEX, "read"))?;
        if present.ifindex == 0 || present.ifindex == ifindex {
            let entry = PortIndex { ifindex, port };
            self.port_index
                .set(at, entry, 0)
                .map_err(KernelError::map(names::PORT_INDEX, "write"))
        } else {
            let failed = KernelError::map(names::PORT_HASH, "write");
            self.port_hash.insert(ifindex, port, 0).map_err(failed)
        }
    }

    /// Forgets an interface's port number.
    pub(super) fn unindex(&mut self, ifindex: u32) -> Result<(), KernelError> {
        let at = ifindex % PORT_INDEX_LEN as u32;
        let present = self
            .port_index
            .get(&at, 0)
            .map_err(KernelError::map(names::PORT_INDEX, "read"))?;
        if present.ifindex == ifindex {
            let none = PortIndex::default();
            return self
                .port_index
                .set(at, none, 0)
                .map_err(KernelError::map(names::PORT_INDEX, "write"));
        }
        match self.port_hash.remove(&ifindex) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(KernelError::map(names::PORT_HASH, "write")(error)),
        }
    }

    pub(super) fn record(&self, port: u32, generation: u64) -> Result<PortRecord, KernelError> {
        let failed = KernelError::map(names::PORTS, "read");
        self.ports
            .get(&record_index(port, generation), 0)
            .map_err(failed)
    }

    pub(super) fn set_record(
        &mut self,
        port: u32,
        generation: u64,
        record: &PortRecord,
    ) -> Result<(), KernelError> {
        let failed = KernelError::map(names::PORTS, "write");
        self.ports
            .set(record_index(port, generation), record, 0)
            .map_err(failed)
    }

    /// The words of an installed image; `None` if there is none of that number.
    pub(super) fn image(&self, number: u32) -> Result<Option<Vec<u32>>, KernelError> {
        let failed = KernelError::map(names::IMAGES, "read");
        let pages = match self.images.get(&number, 0) {
            Ok(pages) => pages,
            Err(MapError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut words = Vec::new();
        for page in 0..pages.len() {
            words.extend_from_slice(&pages.get(&page, 0).map_err(failed)?);
        }
        Ok(Some(words))
    }

    /// Installs an image. Waits until no program uses what had that number before.
    pub(super) fn set_image(&mut self, number: u32, image: &Image) -> Result<(), KernelError> {
        let failed = KernelError::map(names::IMAGES, "write");
        let pages = image.pages();
        let mut map: Array<MapData, Page> =
            Array::create(pages.len() as u32, BPF_F_INNER_MAP).map_err(failed)?;
        for (number, page) in pages.iter().enumerate() {
            map.set(number as u32, page, 0).map_err(failed)?;
        }
        self.images.set(number, &map, 0).map_err(failed)
    }

    pub(super) fn counter(&self, index: u32) -> Result<Counter, KernelError> {
        let failed = KernelError::map(names::COUNTERS, "read");
        self.counters.get(&index, 0).map_err(failed)
    }

    /// Zeroes a run of counters.
    pub(super) fn clear_counters(&mut self, first: u32, count: u32) -> Result<(), KernelError> {
        let failed = KernelError::map(names::COUNTERS, "write");
        for index in first..(first + count).min(MAX_COUNTERS as u32) {
            self.counters
                .set(index, Counter::default(), 0)
                .map_err(failed)?;
        }
        Ok(())
    }
}

const fn record_index(port: u32, generation: u64) -> u32 {
    port * 2 + (generation & 1) as u32
}
