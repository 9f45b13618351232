//! What should be enforced, and what is: the state of the control plane and how it changes. No
//! sockets and no waiting here.

use std::{collections::BTreeMap, sync::Arc};

use nwfilter_common::MacAddr;
use tracing::{debug, error, info, warn};

use super::{
    Config, DaemonError, bindings::BindingFiles, error::chain, filters::Filters,
    leases::LeaseFiles, set_files::SetFiles,
};
use crate::{
    address_set::AddressSet,
    fault,
    kernel::{self, Bind, Change, Datapath, KernelError, Learn, Options},
    learn::Learner,
    model::Binding,
    shapes::{Shaped, Shapes},
};

/// A port that is to be filtered.
#[derive(Debug)]
pub(super) struct Bound {
    /// The binding, or why its file cannot be used.
    pub(super) binding: Result<Binding, String>,
    /// What is enforced while its device is there; nothing passes if there is nothing.
    pub(super) prepared: Option<Shaped>,
    /// Why it is not what the binding asks for.
    pub(super) problem: Option<String>,
    /// Why what another program took off the device is not back on it.
    pub(super) stripped: Option<String>,
    /// What is known of the VM's addresses.
    pub(super) learner: Option<Learner>,
}

impl Bound {
    fn new(binding: Result<Binding, String>) -> Self {
        Self {
            binding,
            prepared: None,
            problem: None,
            stripped: None,
            learner: None,
        }
    }

    /// Makes the tables anew. If there are none, those that were made before go on.
    pub(super) fn prepare(&mut self, filters: &Filters, shapes: &mut Shapes) {
        let prepared = match &self.binding {
            Ok(binding) => shapes
                .prepare_learning(binding, filters, &self.addresses())
                .map_err(|error| chain(&error)),
            Err(error) => Err(error.clone()),
        };
        match prepared {
            Ok(prepared) => {
                self.prepared = Some(prepared);
                self.problem = None;
            }
            Err(problem) => self.problem = Some(problem),
        }
    }

    /// Whether a filter is part of what is enforced, or would be.
    pub(super) fn uses(&self, filter: &str) -> bool {
        match (&self.prepared, &self.binding) {
            (Some(prepared), _) => prepared.uses(filter),
            (None, Ok(binding)) => binding.filter == filter,
            (None, Err(_)) => false,
        }
    }

    fn change<'a>(&'a self, port: &'a str) -> Change<'a> {
        Change::Bind(match &self.prepared {
            Some(prepared) => prepared.bind(port),
            None => closed(port),
        })
    }
}

/// Lets nothing pass.
const fn closed(port: &str) -> Bind<'_> {
    Bind {
        port,
        image: None,
        slots: &[],
        entries: 0,
        learn: Learn {
            flags: 0,
            mac: MacAddr([0; 6]),
        },
        identities: None,
    }
}

/// The control plane.
pub(super) struct Control {
    pub(super) config: Config,
    pub(super) datapath: Datapath,
    pub(super) filters: Filters,
    /// What bindings have in common, with the filters as they are.
    pub(super) shapes: Shapes,
    pub(super) files: BindingFiles,
    pub(super) bindings: BTreeMap<String, Bound>,
    pub(super) leases: LeaseFiles,
    pub(super) sets: BTreeMap<String, Arc<AddressSet>>,
    /// Sets whose files cannot be used, and why.
    pub(super) broken_sets: BTreeMap<String, String>,
    pub(super) set_files: SetFiles,
}

impl Control {
    /// Reads everything from disk, takes over what is pinned, and makes it what it should be.
    pub(super) fn start(config: Config) -> Result<Self, DaemonError> {
        fault::begin("start");
        let filters = Filters::load(config.filter_dir.clone(), config.builtins, config.semantics)
            .map_err(DaemonError::file("read", &config.filter_dir))?;
        let files = BindingFiles::new(config.bindings_dir());
        let loaded = files
            .load()
            .map_err(DaemonError::file("read", config.bindings_dir()))?;
        let leases = LeaseFiles::load(config.leases_dir())
            .map_err(DaemonError::file("read", config.leases_dir()))?;
        let datapath = Datapath::open(Options {
            pins: Some(config.pin_dir.clone()),
            attach: config.attach,
            quota: config.connections.per_port,
            timeouts: config.connections.timeouts(),
            answers: config.answers_per_second,
        })?;
        let mut control = Self {
            shapes: Shapes::new(config.semantics),
            sets: BTreeMap::new(),
            broken_sets: BTreeMap::new(),
            set_files: SetFiles::new(config.sets_dir()),
            config,
            datapath,
            filters,
            files,
            leases,
            bindings: loaded
                .into_iter()
                .map(|(port, binding)| (port, Bound::new(binding)))
                .collect(),
        };
        control.remember();
        control.load_sets()?;
        control.prepare_all();
        control.release_unwanted();
        let ports: Vec<String> = control.bindings.keys().cloned().collect();
        control.enforce(&ports);
        control.datapath.remove_strangers()?;
        Ok(control)
    }

    /// Reads all filters and sets again. What cannot be used any more stays enforced as it was.
    pub(super) fn reload(&mut self) {
        fault::begin("reload");
        // Before the filters, which may be new, too, and name them.
        if let Err(error) = self.load_sets() {
            error!("{}; sets stay as they were", chain(&error));
        }
        if let Err(error) = self.filters.reload() {
            let directory = self.config.filter_dir.display();
            error!("cannot read {directory}: {error}; filters stay as they were");
            return;
        }
        self.prepare_all();
        let ports: Vec<String> = self.bindings.keys().cloned().collect();
        self.enforce(&ports);
        info!("filters and sets read again: {}", self.summary());
    }

    fn prepare_all(&mut self) {
        self.shapes = Shapes::new(self.config.semantics);
        for (port, bound) in &mut self.bindings {
            bound.prepare(&self.filters, &mut self.shapes);
            if let Some(problem) = &bound.problem {
                let instead = match bound.prepared {
                    Some(_) => "what it had stays in force",
                    None => "nothing passes",
                };
                warn!("{port}: {problem}; {instead}");
            }
        }
    }

    /// Removes filters that no binding asks for: it was deleted while nobody was here to see.
    pub(super) fn release_unwanted(&mut self) {
        let ports = self.datapath.ports().keys();
        let unwanted: Vec<String> = ports
            .filter(|port| !self.bindings.contains_key(*port))
            .cloned()
            .collect();
        for port in unwanted {
            info!("{port}: no binding any more, removing its filter");
            if let Err(error) = self.datapath.apply(&[Change::Unbind(&port)]) {
                error!("{port}: {}", chain(&error));
            }
        }
    }

    /// Puts bindings into force whose devices are there: all at one instant, or, where that cannot
    /// be done, each for itself, so that one bad binding is the only one to suffer.
    pub(super) fn enforce(&mut self, ports: &[String]) {
        let bindings = &mut self.bindings;
        let present: Vec<&str> = ports
            .iter()
            .map(String::as_str)
            .filter(|port| bindings.contains_key(*port) && kernel::ifindex(port).is_some())
            .collect();
        let changes: Vec<_> = present
            .iter()
            .map(|port| bindings[*port].change(port))
            .collect();
        let Err(error) = self.datapath.apply(&changes) else {
            return;
        };
        debug!("all at once: {}; one after the other", chain(&error));
        for port in present {
            let result = self.datapath.apply(&[bindings[port].change(port)]);
            let Err(error) = result else { continue };
            if matches!(error, KernelError::NoDevice { .. }) {
                continue;
            }
            let problem = chain(&error);
            error!("{port}: {problem}; nothing passes");
            if let Err(error) = self.datapath.apply(&[Change::Bind(closed(port))]) {
                error!("{port}: cannot even be closed: {}", chain(&error));
            }
            if let Some(bound) = bindings.get_mut(port) {
                bound.prepared = None;
                bound.problem = Some(problem);
            }
        }
    }

    /// One line on how things are.
    pub(super) fn summary(&self) -> String {
        let problems = self
            .bindings
            .values()
            .filter(|bound| bound.problem.is_some());
        format!(
            "{} bindings, {} ports filtered, {} problems",
            self.bindings.len(),
            self.datapath.ports().len(),
            problems.count()
        )
    }
}
