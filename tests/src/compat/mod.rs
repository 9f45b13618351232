//! What libvirt does with a catalogue of rules and frames, and what we do: the naive judge and the
//! engine, both in the reading of libvirt. The catalogue is fixed and covers the language element by
//! element, attribute by attribute and row by row of the matrix of 4.6; see [`catalogue`].
//!
//! Nothing here decides anything. Differences are only accepted if [`Reason::of`] explains them.

mod ends;
mod page;
mod reason;
mod report;
mod rows;
mod run;
#[cfg(test)]
mod tests;

pub use self::{
    page::page,
    reason::Reason,
    report::{Report, Said},
    rows::{catalogue, sample},
    run::{NEEDS, run},
};

use std::{fmt::Write as _, net::IpAddr};

use crate::generate::{Case, FilterText, Sent};
use ends::OWN;

/// Rules that one question is about, and the frames that ask it.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// `<rule>` elements.
    pub rules: Vec<String>,
    /// In order. Each row has addresses of its own, so rows do not see each other's connections.
    pub frames: Vec<Sent>,
}

/// Rows that one binding asks about: binding takes libvirt a second, a frame takes it nothing.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What the rows are about.
    pub name: &'static str,
    /// Independent of each other.
    pub rows: Vec<Row>,
    /// What the main filter has after the rules of the rows.
    pub last: String,
    /// Chain and priority of the main filter, as attributes.
    pub chain: &'static str,
    /// Filters that `last` refers to.
    pub others: Vec<FilterText>,
    /// Parameters of the binding.
    pub parameters: Vec<(&'static str, &'static str)>,
    /// Address sets of the host, each with a name of its own.
    pub sets: Vec<(&'static str, Vec<IpAddr>)>,
    /// Whether the peer's side is the host itself. Frames to the VM are then datagrams of the host's,
    /// which no list of the inet layer sees and nobody is asked about.
    pub host: bool,
    /// Whether the kernel's clock must tick before each frame: connection limits look for ended
    /// connections once a tick.
    pub ticks: bool,
    /// Whether the kernel's connection tracking gets to see the frames: only then does it put
    /// fragments together.
    pub tracked: bool,
}

impl Batch {
    /// Rows in the root chain and nothing else.
    fn new(name: &'static str, rows: Vec<Row>) -> Self {
        Self {
            name,
            rows,
            last: String::new(),
            chain: "",
            others: Vec::new(),
            parameters: Vec::new(),
            sets: Vec::new(),
            host: false,
            ticks: false,
            tracked: false,
        }
    }

    /// The documents, with the frames of all rows.
    pub fn case(&self) -> Case {
        let mut xml = format!("<filter name='main'{}>\n", self.chain);
        for rule in self.rows.iter().flat_map(|row| &row.rules) {
            xml.push_str(rule);
            xml.push('\n');
        }
        xml.push_str(&self.last);
        xml.push_str("</filter>\n");
        let mut filters = vec![FilterText {
            name: "main".to_owned(),
            xml,
        }];
        filters.extend(self.others.iter().cloned());
        let mut binding = format!(
            "<filterbinding><owner><name>vm</name>\
             <uuid>5f4b2a0c-6f0e-4a6d-9a0f-0d5f3c1b7e21</uuid></owner><portdev name='vnet0'/>\
             <mac address='{OWN}'/><filterref filter='main'>"
        );
        for (name, value) in &self.parameters {
            // Writing to a String does not fail.
            let _ = write!(binding, "<parameter name='{name}' value='{value}'/>");
        }
        binding.push_str("</filterref></filterbinding>\n");
        Case {
            filters,
            binding,
            frames: self
                .rows
                .iter()
                .flat_map(|row| row.frames.clone())
                .collect(),
        }
    }
}
