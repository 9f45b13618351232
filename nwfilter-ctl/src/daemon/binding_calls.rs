//! Calls that bind ports. What is acknowledged is on disk and in force, if its device is there.

use serde_json::{Value, json};
use tracing::info;

use super::{
    api::{ApiError, BindingInfo, ErrorKind, State},
    bindings::is_port,
    control::{Bound, Control},
    error::chain,
    filter_calls::invalid,
};
use crate::{
    format::format_binding,
    kernel::{self, Change},
    learn::Learner,
    model::Binding,
    parse::parse_binding,
};

impl Control {
    /// Filters a port, in place of its present binding if it has one and `replace` is true: then
    /// no frame sees neither.
    pub(super) fn bind(&mut self, xml: &str, replace: bool) -> Result<BindingInfo, ApiError> {
        let (binding, found) = parse_binding(xml);
        let binding = binding.ok_or_else(|| invalid("the binding", xml, &found))?;
        let port = binding.port.clone();
        if !is_port(&port) {
            let message = format!("`{port}` cannot be the name of a device");
            return Err(ApiError::new(ErrorKind::Invalid, message));
        }
        self.catch_up([port.as_str()]);
        let before = self.bindings.get(&port);
        if before.is_some() && !replace {
            let message = format!("{port} has a binding already");
            return Err(ApiError::new(ErrorKind::Exists, message));
        }
        let learner = self.learner(&binding);
        let addresses: Vec<_> = learner.iter().flat_map(Learner::addresses).collect();
        let prepared = self
            .shapes
            .prepare_learning(&binding, &self.filters, &addresses)
            .map_err(|error| ApiError::new(ErrorKind::Invalid, chain(&error)))?;
        let before = before.map(|bound| bound.binding.clone());
        let known = self.datapath.ports().get(&port);
        if known.is_some_and(|known| kernel::ifindex(&port) == Some(known.ifindex)) {
            // Another program may just have taken it off.
            let repaired = self.datapath.repair(&port);
            repaired.map_err(|error| ApiError::new(ErrorKind::Kernel, chain(&error)))?;
        }
        self.files
            .save(&binding)
            .map_err(|error| storage(&port, &error))?;
        let applied = match kernel::ifindex(&port) {
            Some(_) => self.datapath.apply(&[Change::Bind(prepared.bind(&port))]),
            None => Ok(()),
        };
        if let Err(error) = applied
            // Else it is a binding for a device that is not there.
            && kernel::ifindex(&port).is_some()
        {
            self.take_back(&port, before)?;
            return Err(ApiError::new(ErrorKind::Kernel, chain(&error)));
        }
        info!("{port}: bound to filter {}", binding.filter);
        let bound = Bound {
            binding: Ok(binding),
            prepared: Some(prepared),
            problem: None,
            stripped: None,
            learner,
        };
        if let Some(before) = self.bindings.insert(port.clone(), bound) {
            self.forget(&before);
        }
        self.shapes.collect();
        self.binding_info(&port)
    }

    /// Makes the file of a port what it was.
    fn take_back(
        &self,
        port: &str,
        before: Option<Result<Binding, String>>,
    ) -> Result<(), ApiError> {
        match before {
            Some(Ok(binding)) => self.files.save(&binding),
            Some(Err(_)) => Ok(()),
            None => self.files.remove(port),
        }
        .map_err(|error| storage(port, &error))
    }

    /// Filters a port no more.
    pub(super) fn unbind(&mut self, port: &str) -> Result<(), ApiError> {
        self.find_binding(port)?;
        self.files
            .remove(port)
            .map_err(|error| storage(port, &error))?;
        if let Some(bound) = self.bindings.remove(port) {
            self.forget(&bound);
        }
        self.shapes.collect();
        self.datapath
            .apply(&[Change::Unbind(port)])
            .map_err(|error| ApiError::new(ErrorKind::Kernel, chain(&error)))?;
        info!("{port}: binding removed");
        Ok(())
    }

    /// The document of a binding, in libvirt's form.
    pub(super) fn binding_dumpxml(&self, port: &str) -> Result<Value, ApiError> {
        match &self.find_binding(port)?.binding {
            Ok(binding) => Ok(json!(format_binding(binding))),
            Err(error) => Err(ApiError::new(ErrorKind::Invalid, error)),
        }
    }

    /// All bindings.
    pub(super) fn binding_list(&self) -> Vec<BindingInfo> {
        self.bindings
            .iter()
            .map(|(port, bound)| self.describe(port, bound))
            .collect()
    }

    /// A binding as callers see it.
    pub(super) fn binding_info(&self, port: &str) -> Result<BindingInfo, ApiError> {
        let bound = self.find_binding(port)?;
        Ok(self.describe(port, bound))
    }

    pub(super) fn find_binding(&self, port: &str) -> Result<&Bound, ApiError> {
        self.bindings
            .get(port)
            .ok_or_else(|| ApiError::new(ErrorKind::NotFound, format!("{port} has no binding")))
    }

    fn describe(&self, port: &str, bound: &Bound) -> BindingInfo {
        let enforced = self.datapath.ports().get(port);
        let state = match (kernel::ifindex(port), enforced) {
            (None, _) => State::Waiting,
            (Some(index), Some(state))
                if state.ifindex == index
                    && self.datapath.is_attached(port) != Some(false)
                    && self.datapath.is_intact(port).unwrap_or(false) =>
            {
                match (&bound.problem, &bound.prepared) {
                    (_, None) => State::Closed,
                    (Some(_), Some(_)) => State::Outdated,
                    (None, Some(prepared)) if prepared.own.is_some() => State::Learning,
                    (None, Some(_)) => State::Enforced,
                }
            }
            (Some(_), _) => State::Missing,
        };
        let binding = bound.binding.as_ref().ok();
        BindingInfo {
            port: port.to_owned(),
            filter: binding.map(|binding| binding.filter.clone()),
            mac: binding.map(|binding| binding.mac.to_string()),
            state,
            problem: match &bound.stripped {
                Some(stripped) if state == State::Missing => Some(stripped.clone()),
                _ => bound.problem.clone().or_else(|| {
                    let missing = "not filtered as it should be; bind it again, or see the log";
                    (state == State::Missing).then(|| missing.to_owned())
                }),
            },
            addresses: bound.learned(),
        }
    }
}

fn storage(port: &str, error: &std::io::Error) -> ApiError {
    let message = format!("the file of the binding of {port}: {error}");
    ApiError::new(ErrorKind::Storage, message)
}
