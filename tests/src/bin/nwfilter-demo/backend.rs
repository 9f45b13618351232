//! What the demonstration asks of a filter: the only module here that knows how filters reach the
//! kernel.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result, anyhow, bail};
use nwfilter_common::{
    FAULT_COUNTERS, Fault, FrameDirection, Hook, LeafVerdict, MemoryTables, Work, decide,
};
use nwfilter_ctl::{
    builtin::Flavour,
    kernel::{Change, Datapath, Options},
    model::Semantics,
    parse::parse_filter,
    prepare::{Prepared, prepare},
    resolve::{FilterDir, FilterSource, LoadedFilter, SourceError},
};
use nwfilter_tests::{
    bind::binding,
    net::{Direction, NetNs},
};
use serde::Serialize;

use super::network::Port;

/// What filters the ports.
pub(crate) trait Backend {
    /// Enforces the filter on a port of `host`, in both directions, until the backend is dropped.
    fn bind(&mut self, host: &NetNs, port: &Port) -> Result<()>;

    /// The rules of a port with what they have counted, in an order that
    /// does not change.
    fn counters(&self, port: &Port) -> Result<Vec<Counter>>;

    /// What should become of a frame, according to the same filter in userspace. Asked in the order
    /// in which frames are sent, since connections matter.
    fn explain(&mut self, port: &Port, direction: Direction, frame: &[u8]) -> Result<Decision>;
}

/// What one rule of one port has counted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Counter {
    /// The rule, as an operator would look for it.
    pub(crate) rule: String,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// A verdict with its reason.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Decision {
    pub(crate) passes: bool,
    /// The rule or default that decided.
    pub(crate) rule: String,
}

/// clean-traffic, or the filter in a file.
pub(crate) fn connect(filter: Option<&Path>) -> Result<Box<dyn Backend>> {
    let filters = Filters::load(filter)?;
    let datapath = Datapath::open(Options::default())?;
    Ok(Box::new(Kernel {
        filters,
        datapath,
        ports: BTreeMap::new(),
    }))
}

/// The built-in filters, and the one from the command line.
struct Filters {
    builtin: FilterDir,
    name: String,
    given: Option<Arc<LoadedFilter>>,
}

impl Filters {
    fn load(file: Option<&Path>) -> Result<Self> {
        let builtin = FilterDir::builtin(Flavour::default(), Semantics::Strict);
        let Some(path) = file else {
            return Ok(Self {
                builtin,
                name: "clean-traffic".to_owned(),
                given: None,
            });
        };
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let (filter, findings) = parse_filter(&text, Semantics::Strict);
        let Some(filter) = filter else {
            let messages: Vec<_> = findings
                .iter()
                .map(|finding| finding.message.as_str())
                .collect();
            bail!(
                "{}: {} (`nwfilter-ctl check` shows where)",
                path.display(),
                messages.join("; ")
            );
        };
        let name = filter.name.clone();
        let given = Arc::new(LoadedFilter::new(filter, text, Some(path.to_owned())));
        Ok(Self {
            builtin,
            name,
            given: Some(given),
        })
    }
}

impl FilterSource for Filters {
    fn get(&self, name: &str) -> Result<Arc<LoadedFilter>, SourceError> {
        match &self.given {
            Some(given) if &**given.name() == name => Ok(Arc::clone(given)),
            _ => self.builtin.get(name),
        }
    }
}

/// The real thing. Nothing is pinned: it ends with this process.
struct Kernel {
    filters: Filters,
    datapath: Datapath,
    ports: BTreeMap<String, Prepared>,
}

impl Kernel {
    fn prepared(&self, port: &Port) -> Result<&Prepared> {
        let name = &port.vm.port;
        self.ports
            .get(name)
            .ok_or_else(|| anyhow!("{name} has no filter"))
    }
}

impl Backend for Kernel {
    fn bind(&mut self, host: &NetNs, port: &Port) -> Result<()> {
        let name = &port.vm.port;
        let address = port.address.to_string();
        let binding = binding(name, port.vm.mac, &self.filters.name, &[("IP", &address)]);
        let prepared = prepare(&binding, &self.filters, Semantics::Strict)?;
        let bind = Change::Bind(prepared.bind(name));
        let datapath = &mut self.datapath;
        host.run(move || datapath.apply(&[bind]))?;
        self.ports.insert(name.clone(), prepared);
        Ok(())
    }

    fn counters(&self, port: &Port) -> Result<Vec<Counter>> {
        let entries = &self.prepared(port)?.compiled.entries;
        let counters = self.datapath.counters(&port.vm.port)?;
        let (faults, rules) = counters.split_at(FAULT_COUNTERS as usize);
        let faults = Fault::ALL
            .iter()
            .map(ToString::to_string)
            .zip(faults)
            .skip(1);
        let rules = entries.iter().map(ToString::to_string).zip(rules);
        let named = faults.chain(rules).map(|(rule, counter)| Counter {
            rule,
            packets: counter.packets,
            bytes: counter.bytes,
        });
        Ok(named.collect())
    }

    fn explain(&mut self, port: &Port, direction: Direction, frame: &[u8]) -> Result<Decision> {
        let prepared = self.prepared(port)?;
        let direction = match direction {
            Direction::In => FrameDirection::In,
            Direction::Out => FrameDirection::Out,
        };
        let pages = prepared.compiled.image.pages();
        let hook = Hook {
            direction,
            port: 0,
            record: &prepared.record(),
        };
        let verdict = decide(frame, &hook, pages, &MemoryTables::new(), &mut Work::new());
        let entry = &prepared.compiled.entries[verdict.entry() as usize];
        Ok(Decision {
            passes: verdict.verdict == LeafVerdict::Accept,
            rule: match verdict.fault {
                Fault::None => entry.to_string(),
                fault => fault.to_string(),
            },
        })
    }
}

/// No filter.
#[derive(Debug)]
pub(crate) struct Open;

impl Backend for Open {
    fn bind(&mut self, _: &NetNs, _: &Port) -> Result<()> {
        Ok(())
    }

    fn counters(&self, _: &Port) -> Result<Vec<Counter>> {
        Ok(Vec::new())
    }

    fn explain(&mut self, _: &Port, _: Direction, _: &[u8]) -> Result<Decision> {
        Ok(Decision {
            passes: true,
            rule: "no filter".to_owned(),
        })
    }
}
