//! The maps as typed tables: one method for each thing that is read or written. Keeps nothing.

use std::io;

use aya::{
    Ebpf,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError},
};
use nwfilter_common::{
    Answers, Global, MAX_PORTS, PAGE_WORDS, Page, PortRecord, WORD_LENGTH, names,
};

use super::KernelError;
use crate::compile::Image;

/// `BPF_F_INNER_MAP` of `linux/bpf.h`.
const BPF_F_INNER_MAP: u32 = 1 << 12;

/// Arrays of pages by image number.
type Inner = ArrayOfMaps<MapData, Array<MapData, Page>>;

/// The maps of a loaded object.
pub(super) struct Tables {
    globals: Array<MapData, u64>,
    port_hash: HashMap<MapData, u32, u32>,
    ports: Array<MapData, PortRecord>,
    images: Inner,
    pages: Inner,
    answers: Array<MapData, Answers>,
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
            port_hash: take(ebpf, names::PORT_HASH)?,
            ports: take(ebpf, names::PORTS)?,
            images: take(ebpf, names::IMAGES)?,
            pages: take(ebpf, names::PAGES)?,
            answers: take(ebpf, names::ANSWERS)?,
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

    /// Makes the number of a port known that is not the one its interface index asks for.
    pub(super) fn index(&mut self, ifindex: u32, port: u32) -> Result<(), KernelError> {
        if port == natural_number(ifindex) {
            return Ok(());
        }
        let failed = KernelError::map(names::PORT_HASH, "write");
        self.port_hash.insert(ifindex, port, 0).map_err(failed)
    }

    /// Forgets what [`Tables::index`] made known.
    pub(super) fn unindex(&mut self, ifindex: u32) -> Result<(), KernelError> {
        match self.port_hash.remove(&ifindex) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(())
            }
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
        let Some(mut words) = read_pages(&self.images, names::IMAGES, number)? else {
            return Ok(None);
        };
        // What follows may be left from a longer image that had this number.
        let length = words[WORD_LENGTH] as usize;
        if length > PAGE_WORDS
            && let Some(further) = read_pages(&self.pages, names::PAGES, number)?
        {
            words.extend(further);
        }
        words.truncate(length.next_multiple_of(PAGE_WORDS));
        Ok(Some(words))
    }

    /// Installs an image. Waits until no program uses what had that number before.
    pub(super) fn set_image(&mut self, number: u32, image: &Image) -> Result<(), KernelError> {
        let (first, further) = image.pages().split_at(1);
        if !further.is_empty() {
            write_pages(
                &mut self.pages,
                names::PAGES,
                number,
                further,
                BPF_F_INNER_MAP,
            )?;
        }
        write_pages(&mut self.images, names::IMAGES, number, first, 0)
    }

    pub(super) fn answers(&self, port: u32) -> Result<Answers, KernelError> {
        let failed = KernelError::map(names::ANSWERS, "read");
        self.answers.get(&port, 0).map_err(failed)
    }
}

const fn record_index(port: u32, generation: u64) -> u32 {
    port * 2 + (generation & 1) as u32
}

fn read_pages(
    outer: &Inner,
    name: &'static str,
    number: u32,
) -> Result<Option<Vec<u32>>, KernelError> {
    let failed = KernelError::map(name, "read");
    let pages = match outer.get(&number, 0) {
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

fn write_pages(
    outer: &mut Inner,
    name: &'static str,
    number: u32,
    pages: &[Page],
    flags: u32,
) -> Result<(), KernelError> {
    let failed = KernelError::map(name, "write");
    let mut map: Array<MapData, Page> = Array::create(pages.len() as u32, flags).map_err(failed)?;
    for (number, page) in pages.iter().enumerate() {
        map.set(number as u32, page, 0).map_err(failed)?;
    }
    outer.set(number, &map, 0).map_err(failed)
}

/// The port number with which the program finds an interface at once.
pub(super) const fn natural_number(ifindex: u32) -> u32 {
    ifindex % MAX_PORTS as u32
}
