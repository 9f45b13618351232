//! Tests of the compiler: what lists and images look like. Whether they decide rightly is for the
//! judges of the `tests` crate.

mod images;
mod large;
mod lists;
mod overlapping;

use std::{collections::BTreeMap, sync::Arc};

use nwfilter_common::{Hook, MemoryTables, PortRecord, Verdict, Work, decide};

use super::*;
use crate::{
    builtin::Flavour,
    model::Binding,
    parse::{parse_binding, parse_filter},
    resolve::{FilterDir, LoadedFilter, resolve},
};

const MAC: &str = "52:54:00:00:00:01";

fn binding(filter: &str, mac: &str, parameters: &[(&str, &str)]) -> Binding {
    let parameters: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("<parameter name='{name}' value='{value}'/>"))
        .collect();
    let parameters = parameters.concat();
    let xml = format!(
        "<filterbinding><owner><name>vm</name><uuid>5f4b2a0c-6f0e-4a6d-9a0f-0d5f3c1b7e21</uuid></owner>\
         <portdev name='vnet0'/><mac address='{mac}'/>\
         <filterref filter='{filter}'>{parameters}</filterref></filterbinding>"
    );
    let (binding, found) = parse_binding(&xml);
    binding.unwrap_or_else(|| panic!("{found:?}"))
}

/// A built-in filter for a VM.
fn builtin(filter: &str, mac: &str, parameters: &[(&str, &str)]) -> Compiled {
    let filters = FilterDir::builtin(Flavour::default(), Semantics::Strict);
    let binding = binding(filter, mac, parameters);
    let resolved = resolve(&binding, &filters, Semantics::Strict).unwrap();
    compile(&resolved.instances, Semantics::Strict).unwrap()
}

/// A filter of these entries.
pub(super) fn instances(entries: &str) -> Vec<Instance> {
    let xml = format!("<filter name='main'>{entries}</filter>");
    let (filter, found) = parse_filter(&xml, Semantics::Strict);
    let filter = filter.unwrap_or_else(|| panic!("{found:?}"));
    let loaded = Arc::new(LoadedFilter::new(filter, xml.as_str(), None));
    let filters = BTreeMap::from([("main".to_owned(), loaded)]);
    let binding = binding("main", MAC, &[("IP", "10.0.0.1")]);
    resolve(&binding, &filters, Semantics::Strict)
        .unwrap()
        .instances
}

pub(super) fn compiled(entries: &str) -> Compiled {
    compile(&instances(entries), Semantics::Strict).unwrap()
}

/// What an image makes of a frame from the VM, on a port without addresses.
fn verdict(compiled: &Compiled, frame: &[u8], tables: &MemoryTables, work: &mut Work) -> Verdict {
    let record = PortRecord {
        entries: compiled.entries.len() as u32,
        flags: PortRecord::READY,
        ..PortRecord::default()
    };
    let hook = Hook {
        direction: FrameDirection::Out,
        port: 0,
        record: &record,
    };
    decide(frame, &hook, compiled.image.pages(), tables, work)
}
