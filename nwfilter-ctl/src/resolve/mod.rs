//! From a binding and a tree of filters to concrete rules: sections 3 and 4.1 (step 1) of the
//! semantics reference. Pure and deterministic; reads nothing but its arguments.
//!
//! What is done here: the tree is walked depth first in document order, variables are substituted
//! and iterated, and their text is read as the chosen semantics ask. What is not: sorting, chains,
//! directions, and the meaning of a test. Literals and signs are passed on as `parse` left them (a
//! filter is to be parsed with the semantics that it is resolved with).

mod dir;
mod display;
mod error;
mod expand;
mod instance;
mod limits;
mod lockstep;
mod scope;
mod source;
mod tools;
mod tree;
mod value;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::model::{
    Attr, Binding, Datum, Parameters, Protocol, Selector, Semantics, Value, VariableAccess,
};

pub use dir::{FilterDir, ListedFilter};
pub use error::{MissingVariable, Place, ReferencePath, ResolveError, Site, SourceError, Warning};
pub use instance::{Instance, Origin, Test, VariableElement};
pub use limits::{LimitKind, Limits};
pub use source::{FilterSource, LoadedFilter};

use expand::Expander;
use scope::Scope;
use tree::Placed;

/// The VM's own address; the binding's, unless it is passed as a parameter.
const MAC: &str = "MAC";
/// The VM's IPv4 addresses, which may be learned.
const IP: &str = "IP";

/// A binding with nothing left to look up.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The rules, in the order of the walk.
    pub instances: Vec<Instance>,
    /// Every filter of the tree, by name.
    pub filters: BTreeMap<Arc<str>, Arc<LoadedFilter>>,
    /// What is worth telling, each once, in the order of the walk.
    pub warnings: Vec<Warning>,
}

/// Resolves a binding within the default [`Limits`].
///
/// # Errors
///
/// See [`ResolveError`]; the first problem in the order of the walk, but problems of the tree
/// (missing filters, cycles) before missing variables, and those before bad values.
pub fn resolve(
    binding: &Binding,
    filters: &dyn FilterSource,
    semantics: Semantics,
) -> Result<Resolved, ResolveError> {
    resolve_within(binding, filters, semantics, &Limits::default())
}

/// Resolves a binding within `limits`.
///
/// # Errors
///
/// As [`resolve`].
pub fn resolve_within(
    binding: &Binding,
    filters: &dyn FilterSource,
    semantics: Semantics,
    limits: &Limits,
) -> Result<Resolved, ResolveError> {
    let filters = tree::load(binding, filters, limits)?;
    let parameters = standard_parameters(binding);
    let scope = Scope::new(&parameters);
    let rules = tree::flatten(&binding.filter, &filters, &scope, limits)?;
    check_missing(&rules)?;
    let mut expander = Expander::new(semantics, limits);
    for placed in &rules {
        expander.expand(placed)?;
    }
    let (instances, warnings) = expander.finish();
    drop(rules);
    Ok(Resolved {
        instances,
        filters,
        warnings,
    })
}

/// The text of a binding's variable as an attribute of an element reads it; `None` if it cannot.
pub(crate) fn read_value(
    protocol: Protocol,
    attr: Attr,
    text: &str,
    semantics: Semantics,
) -> Option<Datum> {
    value::read(protocol, attr, text, semantics)
        .ok()
        .map(|read| read.datum)
}

/// The outermost parameters: the binding's, and `MAC` if they do not have it.
pub(crate) fn standard_parameters(binding: &Binding) -> Parameters {
    let mut parameters = binding.parameters.clone();
    let mac = parameters.0.entry(MAC.into()).or_default();
    if mac.is_empty() {
        mac.push(binding.mac.to_string());
    }
    parameters
}

/// Refuses a tree in which an access finds no value.
fn check_missing(rules: &[Placed<'_>]) -> Result<(), ResolveError> {
    let mut seen = HashSet::new();
    let mut missing = Vec::new();
    for placed in rules {
        for attribute in &placed.rule.attributes {
            let Value::Variable(access) = &attribute.value else {
                continue;
            };
            if placed.values(access).is_none() && seen.insert(identity(access)) {
                missing.push(placed.missing(attribute, access));
            }
        }
    }
    let is_address = |missing: &MissingVariable| identity(&missing.access) == (IP, Some(0), None);
    match missing.as_slice() {
        [] => Ok(()),
        [only] if is_address(only) => Err(ResolveError::AddressUnknown(Box::new(only.clone()))),
        _ => Err(ResolveError::MissingVariables(missing)),
    }
}

/// What makes two accesses the same: `$IP` and `$IP[@0]` are.
fn identity(access: &VariableAccess) -> (&str, Option<u16>, Option<u32>) {
    match access.selector {
        Selector::Iterator { id, .. } => (&access.name, Some(id), None),
        Selector::Element(index) => (&access.name, None, Some(index)),
    }
}

#[cfg(test)]
mod tests;
