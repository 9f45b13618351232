//! Generated filters and frames for the judges to disagree on. A case is what a person would write
//! down: filters and a binding as XML, frames as bytes. Built on proptest, so a failing case shrinks.
//!
//! Nothing here knows what a filter means; it only takes care that the parts meet often, and that
//! documents are valid.

mod attributes;
mod filter;
mod frame;
pub mod pool;
mod rule;
mod sequence;
#[cfg(test)]
mod tests;
mod text;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, bail};
use nwfilter_ctl::{
    diag::Diagnostic,
    model::{Family, Protocol, Semantics},
    parse::{parse_binding, parse_filter},
    resolve::{Instance, LoadedFilter, ResolveError, resolve},
};
use proptest::{prelude::*, strategy::Union};

pub use filter::FilterText;
pub use sequence::Sent;

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
            rules: 8,
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

/// Where a rule begins and, unless it is empty, ends.
const RULE: &str = "<rule ";
const RULE_END: &str = "</rule>";

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

    /// Number of rules in all filters.
    pub fn rules(&self) -> usize {
        let rules = |filter: &FilterText| filter.xml.matches(RULE).count();
        self.filters.iter().map(rules).sum()
    }

    /// The same without one rule, by its number among those of all filters.
    pub fn without_rule(&self, mut number: usize) -> Self {
        let mut case = self.clone();
        for FilterText { xml, .. } in &mut case.filters {
            let starts: Vec<usize> = xml.match_indices(RULE).map(|(at, _)| at).collect();
            if let Some(&start) = starts.get(number) {
                let rule = &xml[start..];
                let open = rule.find('>').map_or(rule.len(), |end| end + 1);
                let end = if rule[..open].ends_with("/>") {
                    open
                } else {
                    rule.find(RULE_END)
                        .map_or(rule.len(), |end| end + RULE_END.len())
                };
                xml.replace_range(start..start + end, "");
                break;
            }
            number -= starts.len();
        }
        case
    }

    /// Whether no rule contradicts itself, such as with a range that ends before it starts: these are
    /// refused when they are bound.
    fn is_bindable(&self, semantics: Semantics) -> bool {
        let Err(error) = self.resolve(semantics) else {
            return true;
        };
        !matches!(
            error.downcast_ref(),
            Some(ResolveError::EmptyRange { .. } | ResolveError::Unbindable { .. })
        )
    }
}

fn parsed<T>((document, found): (Option<T>, Vec<Diagnostic>), xml: &str) -> Result<T> {
    match document {
        Some(document) => Ok(document),
        None => bail!("{found:#?}\nin\n{xml}"),
    }
}

/// Cases. Each has a theme that its rules and frames are mostly about, or none.
pub fn case(options: Options) -> BoxedStrategy<Case> {
    let themes = Theme::ALL
        .iter()
        .filter(|theme| options.inet || !matches!(theme, Theme::InetV4 | Theme::InetV6))
        .filter(|theme| {
            options
                .focus
                .is_none_or(|focus| **theme == Theme::of(focus))
        });
    Union::new(themes.map(|theme| {
        (
            filter::tree(options, *theme),
            sequence::sequence(options, *theme),
        )
            .prop_map(|((filters, binding), frames)| Case {
                filters,
                binding,
                frames,
            })
            .prop_filter("can be bound", move |case| {
                case.is_bindable(options.semantics)
            })
    }))
    .boxed()
}

/// Only frames, for filters that come from elsewhere.
pub fn frames(options: Options) -> BoxedStrategy<Vec<Sent>> {
    Union::new(
        Theme::ALL
            .iter()
            .map(|theme| sequence::sequence(options, *theme)),
    )
    .boxed()
}

/// What the rules and frames of a case are mostly about: rules and frames of everything at once
/// rarely meet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Theme {
    /// Everything.
    Any,
    /// `ip`
    Ipv4,
    /// `ipv6`
    Ipv6,
    /// IPv4 in the inet layer.
    InetV4,
    /// IPv6 in the inet layer.
    InetV6,
    /// `arp` and `rarp`
    Arp,
    /// `vlan`, `stp`, `mac`
    Tags,
}

impl Theme {
    const ALL: &[Self] = &[
        Self::Any,
        Self::Ipv4,
        Self::Ipv6,
        Self::InetV4,
        Self::InetV4,
        Self::InetV6,
        Self::Arp,
        Self::Tags,
    ];

    /// The theme that an element belongs to.
    const fn of(element: Protocol) -> Self {
        match (element, element.family()) {
            (_, Some(Family::V4)) => Self::InetV4,
            (_, Some(Family::V6)) => Self::InetV6,
            (Protocol::Ip, _) => Self::Ipv4,
            (Protocol::Ipv6, _) => Self::Ipv6,
            (Protocol::Arp | Protocol::Rarp, _) => Self::Arp,
            (Protocol::Vlan | Protocol::Stp, _) => Self::Tags,
            _ => Self::Any,
        }
    }

    /// The elements that match something of the theme; empty for all.
    fn elements(self) -> &'static [Protocol] {
        use Protocol as P;
        match self {
            Self::Any => &[],
            Self::Ipv4 => &[P::None, P::Mac, P::Ip, P::Ip, P::Ip, P::Ip, P::All, P::Udp],
            Self::Ipv6 => &[
                P::None,
                P::Mac,
                P::Ipv6,
                P::Ipv6,
                P::Ipv6,
                P::Ipv6,
                P::AllIpv6,
            ],
            Self::InetV4 => &[
                P::Tcp,
                P::Tcp,
                P::Udp,
                P::Udp,
                P::Icmp,
                P::Icmp,
                P::All,
                P::All,
                P::Sctp,
                P::Esp,
            ],
            Self::InetV6 => &[
                P::TcpIpv6,
                P::TcpIpv6,
                P::UdpIpv6,
                P::UdpIpv6,
                P::IcmpV6,
                P::IcmpV6,
                P::AllIpv6,
                P::AllIpv6,
                P::SctpIpv6,
                P::AhIpv6,
            ],
            Self::Arp => &[P::None, P::Mac, P::Arp, P::Arp, P::Arp, P::Rarp],
            Self::Tags => &[P::None, P::Mac, P::Mac, P::Vlan, P::Vlan, P::Stp, P::Stp],
        }
    }
}
