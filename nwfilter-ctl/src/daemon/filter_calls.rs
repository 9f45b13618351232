//! Calls that define and remove filters: the rules of section 1.4 of the semantics reference. A
//! filter in use changes for all its bindings at one instant, or not at all.

use std::sync::Arc;

use serde_json::{Value, json};
use tracing::info;
use uuid::Uuid;

use super::{
    api::{ApiError, ErrorKind, FilterInfo, Finding},
    control::Control,
    error::chain,
    filters::{Known, With, cycle, uuid_of},
};
use crate::{
    diag::{Diagnostic, SourceFile},
    format::format_filter,
    kernel::{self, Change},
    model::Filter,
    parse::parse_filter,
    resolve::LoadedFilter,
    shapes::{Shaped, Shapes},
};

impl Control {
    /// Adds a filter or changes one.
    pub(super) fn define(&mut self, xml: &str) -> Result<FilterInfo, ApiError> {
        let (filter, found) = parse_filter(xml, self.config.semantics);
        let filter = filter.ok_or_else(|| invalid("the filter", xml, &found))?;
        check_name(&filter.name)?;
        let filter = self.with_uuid(filter)?;
        let before = self
            .filters
            .find(&filter.name)
            .map(|(_, known)| known.clone());
        let filter = self.normal(&filter)?;
        if let Some(Ok(before)) = &before
            && before.path().is_some()
            && format_filter(before.filter()) == **filter.text()
        {
            return Ok(info(filter.name(), &Ok(filter.clone())));
        }
        let with = With {
            filters: &self.filters,
            filter: &filter,
        };
        if let Some(through) = cycle(&with, filter.name()) {
            let message = format!(
                "filter `{}` would refer to itself: `{through}` refers to it",
                filter.name()
            );
            return Err(ApiError::new(ErrorKind::Invalid, message));
        }
        let mut shapes = self.shapes.without(filter.name());
        let rebuilt = self.rebuild(&with, &mut shapes)?;
        self.filters.save(Arc::clone(&filter)).map_err(|error| {
            let path = self.filters.path(filter.name());
            ApiError::new(ErrorKind::Storage, format!("{}: {error}", path.display()))
        })?;
        if let Err(error) = self.switch(rebuilt) {
            let undone = self.filters.restore(filter.name(), before);
            let mut message = error.message;
            if let Err(error) = undone {
                let path = self.filters.path(filter.name());
                message = format!(
                    "{message}; and {} keeps the new text: {error}",
                    path.display()
                );
            }
            return Err(ApiError::new(error.kind, message));
        }
        shapes.collect();
        self.shapes = shapes;
        info!("filter {} defined", filter.name());
        Ok(info(filter.name(), &Ok(filter.clone())))
    }

    /// Removes a filter. Other filters may still refer to it.
    pub(super) fn undefine(&mut self, name_or_uuid: &str) -> Result<(), ApiError> {
        let (name, known) = self.find_filter(name_or_uuid)?;
        if let Ok(filter) = known
            && filter.path().is_none()
        {
            let message = format!("filter `{name}` is built in and has no file to remove");
            return Err(ApiError::new(ErrorKind::Invalid, message));
        }
        let name = name.to_owned();
        let users: Vec<&str> = self
            .bindings
            .iter()
            .filter(|(port, bound)| bound.uses(&name) && kernel::ifindex(port).is_some())
            .map(|(port, _)| port.as_str())
            .collect();
        if !users.is_empty() {
            let message = format!(
                "filter `{name}` is used by the binding of {}",
                users.join(", ")
            );
            return Err(ApiError::new(ErrorKind::InUse, message));
        }
        self.shapes = self.shapes.without(&name);
        self.filters.remove(&name).map_err(|error| {
            let path = self.filters.path(&name);
            ApiError::new(ErrorKind::Storage, format!("{}: {error}", path.display()))
        })?;
        info!("filter {name} removed");
        Ok(())
    }

    /// The document of a filter, in libvirt's form.
    pub(super) fn dumpxml(&self, name_or_uuid: &str) -> Result<Value, ApiError> {
        let (_, known) = self.find_filter(name_or_uuid)?;
        let filter = known
            .as_ref()
            .map_err(|error| ApiError::new(ErrorKind::Invalid, chain(error)))?;
        let mut filter = filter.filter().clone();
        filter.uuid = Some(uuid_of(&filter));
        Ok(json!(format_filter(&filter)))
    }

    /// All filters.
    pub(super) fn list(&self) -> Vec<FilterInfo> {
        self.filters
            .iter()
            .map(|(name, known)| info(name, known))
            .collect()
    }

    fn find_filter(&self, name_or_uuid: &str) -> Result<(&str, &Known), ApiError> {
        self.filters.find(name_or_uuid).ok_or_else(|| {
            let message = format!("there is no filter `{name_or_uuid}`");
            ApiError::new(ErrorKind::NotFound, message)
        })
    }

    /// The filter with the UUID that it has or gets, if that and its name fit what there is.
    fn with_uuid(&self, mut filter: Filter) -> Result<Filter, ApiError> {
        let exists = |message| Err(ApiError::new(ErrorKind::Exists, message));
        if let Some(uuid) = filter.uuid
            && let Some((name, _)) = self.filters.with_uuid(uuid)
            && name != filter.name
        {
            return exists(format!("filter `{name}` has the UUID {uuid} already"));
        }
        match self.filters.find(&filter.name) {
            None => {}
            Some((_, Ok(before))) => {
                let uuid = uuid_of(before.filter());
                if filter.uuid != Some(uuid) {
                    return exists(format!(
                        "filter `{}` exists with the UUID {uuid}; give that to change it",
                        filter.name
                    ));
                }
            }
            Some((_, Err(error))) => {
                return exists(format!(
                    "filter `{}` exists, but its file cannot be used: {}; repair or remove it, \
                     then reload",
                    filter.name,
                    chain(error)
                ));
            }
        }
        filter.uuid.get_or_insert_with(Uuid::new_v4);
        Ok(filter)
    }

    /// The filter as it is saved, and read again at the next start.
    fn normal(&self, filter: &Filter) -> Result<Arc<LoadedFilter>, ApiError> {
        let text = format_filter(filter);
        let (again, found) = parse_filter(&text, self.config.semantics);
        let again = again.ok_or_else(|| invalid("the filter in normal form", &text, &found))?;
        let path = self.filters.path(&filter.name);
        Ok(Arc::new(LoadedFilter::new(again, text, Some(path))))
    }

    /// New tables for the bindings that a changed filter is part of, and for those that have none:
    /// it may be what they lack.
    fn rebuild(
        &self,
        filters: &With<'_>,
        shapes: &mut Shapes,
    ) -> Result<Vec<(String, Shaped)>, ApiError> {
        let name = filters.filter.name();
        let mut rebuilt = Vec::new();
        for (port, bound) in &self.bindings {
            let Ok(binding) = &bound.binding else {
                continue;
            };
            if !bound.uses(name) && bound.problem.is_none() {
                continue;
            }
            let addresses = bound.addresses();
            match shapes.prepare_learning(binding, filters, &addresses) {
                Ok(prepared) => rebuilt.push((port.clone(), prepared)),
                Err(_) if bound.problem.is_some() => {}
                Err(error) => {
                    let message = format!("the binding of {port}: {}", chain(&error));
                    return Err(ApiError::new(ErrorKind::Invalid, message));
                }
            }
        }
        Ok(rebuilt)
    }

    /// Puts new tables into force, all at one instant.
    pub(super) fn switch(&mut self, rebuilt: Vec<(String, Shaped)>) -> Result<(), ApiError> {
        self.catch_up(rebuilt.iter().map(|(port, _)| port.as_str()));
        let (known, new): (Vec<_>, Vec<_>) = rebuilt
            .into_iter()
            .partition(|(port, _)| self.datapath.ports().contains_key(port));
        loop {
            let there = known
                .iter()
                .filter(|(port, _)| kernel::ifindex(port).is_some());
            let changes: Vec<_> = there
                .clone()
                .map(|(port, prepared)| Change::Bind(prepared.bind(port)))
                .collect();
            let Err(error) = self.datapath.apply(&changes) else {
                break;
            };
            if there.count() == changes.len() {
                return Err(ApiError::new(ErrorKind::Kernel, chain(&error)));
            }
            // A device has vanished on the way, which is nothing to fail for.
        }
        let names: Vec<String> = new.iter().map(|(port, _)| port.clone()).collect();
        for (port, prepared) in known.into_iter().chain(new) {
            if let Some(bound) = self.bindings.get_mut(&port) {
                bound.prepared = Some(prepared);
                bound.problem = None;
            }
        }
        // Whether they can be bound is not a question of the filter.
        self.enforce(&names);
        Ok(())
    }
}

/// A filter as callers see it.
pub(crate) fn info(name: &str, known: &Known) -> FilterInfo {
    FilterInfo {
        name: name.to_owned(),
        uuid: known
            .as_ref()
            .ok()
            .map(|filter| uuid_of(filter.filter()).to_string()),
        builtin: known.as_ref().is_ok_and(|filter| filter.path().is_none()),
        problem: known.as_ref().err().map(|error| chain(error)),
    }
}

/// Refuses names that cannot be those of files.
fn check_name(name: &str) -> Result<(), ApiError> {
    let fits = !name.starts_with('.') && !name.contains(['/', '\0']) && name.len() <= 200;
    if fits {
        return Ok(());
    }
    let message = format!(
        "filter `{name}` cannot be saved: its name must have at most 200 bytes, no `/`, and no `.` \
         at its beginning"
    );
    Err(ApiError::new(ErrorKind::Invalid, message))
}

/// The error for a document that cannot be used.
pub(super) fn invalid(what: &str, text: &str, found: &[Diagnostic]) -> ApiError {
    let file = SourceFile::new("", text);
    let findings = found.iter().map(|found| {
        let position = file.position(found.primary.span.start);
        let expected = found.expected.as_ref();
        let expected =
            expected.map_or_else(String::new, |expected| format!(", expected {expected}"));
        Finding {
            line: position.line,
            column: position.column,
            severity: found.severity.as_str().to_owned(),
            code: found.code.to_string(),
            message: format!("{}{expected}", found.message),
        }
    });
    let findings: Vec<Finding> = findings.collect();
    let first = found.iter().position(Diagnostic::is_error);
    let message = match first.and_then(|first| findings.get(first)) {
        Some(first) => format!(
            "{what} is invalid: line {}, column {}: {}",
            first.line, first.column, first.message
        ),
        None => format!("{what} is invalid"),
    };
    ApiError {
        kind: ErrorKind::Invalid,
        message,
        findings,
    }
}
