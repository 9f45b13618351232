//! Generated filters and frames for the judges to disagree on. A case is what a person would write
//! down: filters and a binding as XML, frames as bytes. Built on proptest, so a failing case shrinks.
//!
//! Nothing here knows what a filter means; it only takes care that the parts meet often, and that
//! documents are valid.

mod filter;
mod frame;
pub mod pool;
mod rule;
mod sequence;
#[cfg(test)]
mod tests;

use std::fmt;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, bail};
use nwfilter_ctl::{
    diag::Diagnostic,
    model::{Protocol, Semantics},
    parse::{parse_binding, parse_filter},
    resolve::{Instance, LoadedFilter, resolve},
};
use proptest::prelude::*;

pub use filter::FilterText;
pub use sequence::Sent;

use crate::judge::FrameDirection;

/// What to generate.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent choices, set by name"
)]
pub struct Options {
    /// Leaves out what is refused under these semantics.
    pub semantics: Semantics,
    /// Only elements of the Ethernet layer if false.
    pub inet: bool,
    /// Filters besides the main one, at most.
    pub filters: usize,
    /// Rules in each filter, at most.
    pub rules: usize,
    /// Frames, at most; at least one.
    pub frames: usize,
    /// Combinations that the semantics accept and ignore: a mask without its address, the end of a
    /// range without its start, a range beside a network, an ICMP code without a type.
    pub ignored_combinations: bool,
    /// `continue` in the inet layer, which libvirt refuses at bind.
    pub continue_in_inet: bool,
    /// `connlimit-above`.
    pub limits: bool,
    /// `ipset` with `ipsetflags`; the sets are called `set` and `other`.
    pub sets: bool,
    /// Rules that look at connections: `state`, and accepting ones without `statematch='false'`.
    pub connections: bool,
    /// `option` of `tcp`.
    pub tcp_options: bool,
    /// Pauses between frames.
    pub time: bool,
    /// Only rules of this element, and mostly frames that it may match.
    pub focus: Option<Protocol>,
}

impl Options {
    /// Everything that is not ambiguous, in a size that shrinks quickly.
    pub fn new(semantics: Semantics) -> Self {
        Self {
            semantics,
            inet: true,
            filters: 3,
            rules: 6,
            frames: 12,
            ignored_combinations: false,
            continue_in_inet: false,
            limits: true,
            sets: false,
            connections: true,
            tcp_options: true,
            time: true,
            focus: None,
        }
    }

    fn allows(self, element: Protocol) -> bool {
        let wanted = self.focus.is_none_or(|focus| element == focus);
        wanted && (self.inet || element.family().is_none())
    }
}

/// Filters, a binding and frames.
#[derive(Clone, Eq, PartialEq)]
pub struct Case {
    /// The binding's filter and those that it refers to.
    pub filters: Vec<FilterText>,
    /// The `<filterbinding>` document.
    pub binding: String,
    /// In order of time.
    pub frames: Vec<Sent>,
}

impl Case {
    /// Parses and resolves the documents.
    ///
    /// # Errors
    ///
    /// What parser or resolver find wrong; a generated case has nothing wrong.
    pub fn resolve(&self, semantics: Semantics) -> Result<Vec<Instance>> {
        let mut filters = BTreeMap::new();
        for FilterText { name, xml } in &self.filters {
            let filter = parsed(parse_filter(xml, semantics), xml)?;
            let loaded = Arc::new(LoadedFilter::new(filter, xml.as_str(), None));
            filters.insert(name.clone(), loaded);
        }
        let binding = parsed(parse_binding(&self.binding), &self.binding)?;
        let resolved = resolve(&binding, &filters, semantics).context("resolving the binding")?;
        Ok(resolved.instances)
    }
}

fn parsed<T>((document, found): (Option<T>, Vec<Diagnostic>), xml: &str) -> Result<T> {
    match document {
        Some(document) => Ok(document),
        None => bail!("{found:#?}\nin\n{xml}"),
    }
}

/// Cases.
pub fn case(options: Options) -> BoxedStrategy<Case> {
    (filter::tree(options), sequence::sequence(options))
        .prop_map(|((filters, binding), frames)| Case {
            filters,
            binding,
            frames,
        })
        .boxed()
}

/// Only frames, for filters that come from elsewhere.
pub fn frames(options: Options) -> BoxedStrategy<Vec<Sent>> {
    sequence::sequence(options)
}

impl fmt::Display for Case {
    /// The documents as they are, then one line per frame: direction, seconds since the first frame,
    /// hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for filter in &self.filters {
            f.write_str(&filter.xml)?;
        }
        f.write_str(&self.binding)?;
        let start = self.frames.first().map_or(0, |frame| frame.now);
        for frame in &self.frames {
            let direction = match frame.direction {
                FrameDirection::In => "in",
                FrameDirection::Out => "out",
            };
            write!(f, "{direction} {} ", (frame.now - start) / 1_000_000_000)?;
            for byte in &frame.bytes {
                write!(f, "{byte:02x}")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

/// As [`Display`](fmt::Display): proptest shows a failing case this way.
impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}
