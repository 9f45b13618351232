//! Bindings in one line, for tests, demo and benchmarks.

use std::collections::BTreeMap;

use nwfilter_common::MacAddr;
use nwfilter_ctl::{
    builtin::Flavour,
    model::{Binding, Parameters, Semantics},
    prepare::{PrepareError, Prepared, prepare},
    resolve::FilterDir,
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
