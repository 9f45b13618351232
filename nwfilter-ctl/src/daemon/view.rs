//! Calls that look: one port in detail, and desired against observed.

use nwfilter_common::{FAULT_COUNTERS, Fault, PortRecord};

use super::{
    api::{
        ApiError, BindingInfo, ErrorKind, ImageInfo, PortInfo, RawPort, RuleCounter, State, Status,
    },
    control::Control,
    error::chain,
    filter_calls,
};
use crate::{
    compile::{Entry, decode},
    kernel::{KernelError, PortState},
    model::Semantics,
};

impl Control {
    /// What a port does.
    pub(super) fn show(&self, port: &str, raw: bool) -> Result<PortInfo, ApiError> {
        let kernel = |error: KernelError| ApiError::new(ErrorKind::Kernel, chain(&error));
        let bound = self.find_binding(port)?;
        let mut rules = Vec::new();
        if self.datapath.ports().contains_key(port) {
            let counters = self.datapath.counters(port).map_err(kernel)?;
            let (faults, counted) =
                counters.split_at((FAULT_COUNTERS as usize).min(counters.len()));
            let entries = bound
                .prepared
                .iter()
                .flat_map(|prepared| &prepared.shape.entries);
            for (entry, counter) in entries.zip(counted) {
                let origin = match entry {
                    Entry::Rule(origin) => Some(origin),
                    _ => None,
                };
                rules.push(RuleCounter {
                    filter: origin.map(|origin| origin.filter.to_string()),
                    line: origin.map(|origin| origin.line),
                    name: entry.to_string(),
                    packets: counter.packets,
                    bytes: counter.bytes,
                });
            }
            for fault in Fault::ALL {
                if let Some(counter) = faults.get(fault as usize)
                    && fault != Fault::None
                {
                    rules.push(RuleCounter {
                        filter: None,
                        line: None,
                        name: fault.as_str().to_owned(),
                        packets: counter.packets,
                        bytes: counter.bytes,
                    });
                }
            }
        }
        Ok(PortInfo {
            binding: self.binding_info(port)?,
            semantics: match self.config.semantics {
                Semantics::Strict => "strict",
                Semantics::Libvirt => "libvirt",
            }
            .to_owned(),
            rules,
            attached: self.datapath.attached(port).map(ToOwned::to_owned),
            image: self.image_info(port),
            raw: self.raw(port, raw).map_err(kernel)?,
        })
    }

    /// The tables of a port.
    fn image_info(&self, port: &str) -> Option<ImageInfo> {
        let ports = self.datapath.ports();
        let is_ready = |state: &&PortState| state.record.flags & PortRecord::READY != 0;
        let number = ports.get(port).filter(is_ready)?.record.image;
        let sharing = ports.values().filter(is_ready);
        Some(ImageInfo {
            number,
            words: self
                .bindings
                .get(port)?
                .prepared
                .as_ref()?
                .shape
                .image
                .used_words(),
            ports: sharing.filter(|state| state.record.image == number).count(),
        })
    }

    /// The record as the kernel has it, and, if `tables` is true, its image in words.
    fn raw(&self, port: &str, tables: bool) -> Result<Option<RawPort>, KernelError> {
        let Some(state) = self.datapath.read(port)? else {
            return Ok(None);
        };
        let bound = self.bindings.get(port);
        let prepared = bound.and_then(|bound| bound.prepared.as_ref());
        let words = if tables && state.record.flags & PortRecord::READY != 0 {
            self.datapath.image(state.record.image)?
        } else {
            None
        };
        Ok(Some(RawPort {
            side: self.datapath.side(),
            tables: words.map_or_else(Vec::new, |words| decode(&words)),
            ifindex: state.ifindex,
            number: state.number,
            image: state.record.image,
            image_words: prepared.map_or(0, |prepared| prepared.shape.image.used_words()),
            counters: state.record.counters,
            entries: state.record.entries,
            ready: state.record.flags & PortRecord::READY != 0,
            slots: state.record.slots[..prepared.map_or(0, |prepared| prepared.slots.len())]
                .iter()
                .map(|slot| format!("{:x}/{:x}", slot.value, slot.mask))
                .collect(),
        }))
    }

    /// Desired against observed.
    pub(super) fn status(&self) -> Result<Status, ApiError> {
        let mut bindings = self.binding_list();
        let unwanted = self.datapath.ports().keys();
        let unwanted = unwanted.filter(|port| !self.bindings.contains_key(*port));
        bindings.extend(unwanted.map(|port| BindingInfo {
            port: port.clone(),
            filter: None,
            mac: None,
            state: State::Unwanted,
            problem: Some("filtered, but no binding asks for it".into()),
            addresses: Vec::new(),
        }));
        let filters = self.filters.iter().filter(|(_, known)| known.is_err());
        Ok(Status {
            daemon: env!("CARGO_PKG_VERSION").to_owned(),
            bindings,
            filters: filters
                .map(|(name, known)| filter_calls::info(name, known))
                .collect(),
            sets: self.problems_of_sets().collect(),
            leases: self.leases.problems().map(ToOwned::to_owned).collect(),
            lost_learning: self
                .datapath
                .lost_learning()
                .map_err(|error| ApiError::new(ErrorKind::Kernel, chain(&error)))?,
            lost_events: self
                .datapath
                .lost_events()
                .map_err(|error| ApiError::new(ErrorKind::Kernel, chain(&error)))?,
        })
    }
}
