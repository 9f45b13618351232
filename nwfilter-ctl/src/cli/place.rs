//! Where rules stand, in words: files, lines and entries. Renders no findings: see `render`.

use nwfilter_common::TableLayer;

use crate::{
    compile::Entry,
    resolve::{LoadedFilter, Origin, Resolved},
};

/// The file of a filter; what stands for one if the filter is built in.
pub(super) fn file(filter: &LoadedFilter) -> String {
    filter.path().map_or_else(
        || format!("built-in/{}.xml", filter.name()),
        |path| path.display().to_string(),
    )
}

/// `FILE:LINE` of a rule.
pub(super) fn of_rule(origin: &Origin, resolved: &Resolved) -> String {
    match resolved.filters.get(&origin.filter) {
        Some(filter) => format!("{}:{}", file(filter), origin.line),
        // Every rule comes from one of the filters.
        None => origin.to_string(),
    }
}

/// A rule's place, or which default it is.
pub(super) fn of_entry(entry: &Entry, resolved: &Resolved) -> String {
    match entry {
        Entry::Rule(origin) => of_rule(origin, resolved),
        default => default.to_string(),
    }
}

/// A stable word for why an entry decides.
pub(super) const fn reason(entry: &Entry) -> &'static str {
    match entry {
        Entry::EndOfLayer(_) => "end_of_layer",
        Entry::Missing(_) => "missing_header",
        Entry::EndOfChain(_) => "end_of_chain",
        Entry::Rule(_) => "rule",
    }
}

/// A layer for machines.
pub(super) const fn layer(layer: TableLayer) -> &'static str {
    match layer {
        TableLayer::Ethernet => "ethernet",
        TableLayer::Inet => "inet",
    }
}

/// A layer for people.
pub(super) const fn layer_title(layer: TableLayer) -> &'static str {
    match layer {
        TableLayer::Ethernet => "Ethernet",
        TableLayer::Inet => "inet",
    }
}
