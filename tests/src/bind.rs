//! Bindings in one line, for tests, demo and benchmarks.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Result, anyhow};
use nwfilter_common::MacAddr;
use nwfilter_ctl::{
    builtin::Flavour,
    model::{Binding, Parameters, Semantics},
    parse::parse_filter,
    prepare::{PrepareError, Prepared, prepare},
    resolve::{FilterDir, FilterSource, LoadedFilter, SourceError},
};

/// A binding of a VM that has no name worth mentioning. A repeated parameter makes a list.
pub fn binding(port: &str, mac: MacAddr, filter: &str, parameters: &[(&str, &str)]) -> Binding {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for &(name, value) in parameters {
        values
            .entry(name.to_owned())
            .or_default()
            .push(value.to_owned());
    }
    Binding {
        owner_name: "vm".to_owned(),
        owner_uuid: uuid::Uuid::nil(),
        port: port.to_owned(),
        link: None,
        mac,
        filter: filter.to_owned(),
        parameters: Parameters(values),
    }
}

/// Rules and tables of a built-in filter for a VM.
///
/// # Errors
///
/// See [`PrepareError`].
pub fn prepared(
    port: &str,
    mac: MacAddr,
    filter: &str,
    parameters: &[(&str, &str)],
) -> Result<Prepared, PrepareError> {
    let filters = FilterDir::builtin(Flavour::default(), Semantics::Strict);
    prepare(
        &binding(port, mac, filter, parameters),
        &filters,
        Semantics::Strict,
    )
}

/// Rules and tables of a filter given as XML, which may refer to built-in ones.
///
/// # Errors
///
/// What is wrong with the filter.
pub fn prepared_given(
    port: &str,
    mac: MacAddr,
    text: &str,
    parameters: &[(&str, &str)],
) -> Result<Prepared> {
    let (filter, findings) = parse_filter(text, Semantics::Strict);
    let filter = filter.ok_or_else(|| anyhow!("{findings:?}"))?;
    let binding = binding(port, mac, &filter.name, parameters);
    let filters = Given {
        builtin: FilterDir::builtin(Flavour::default(), Semantics::Strict),
        given: Arc::new(LoadedFilter::new(filter, text, None)),
    };
    Ok(prepare(&binding, &filters, Semantics::Strict)?)
}

/// The built-in filters and one more.
struct Given {
    builtin: FilterDir,
    given: Arc<LoadedFilter>,
}

impl FilterSource for Given {
    fn get(&self, name: &str) -> Result<Arc<LoadedFilter>, SourceError> {
        if **self.given.name() == *name {
            return Ok(Arc::clone(&self.given));
        }
        self.builtin.get(name)
    }
}
