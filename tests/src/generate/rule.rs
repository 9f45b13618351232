//! Rules as XML: every element, some of its attributes in either sign, as far as they go together.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use nwfilter_ctl::model::{Attr, Layer, Protocol};
use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};

use super::{
    Options, Theme,
    attributes::{Group, groups},
};

/// A `<rule>`.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    action: &'static str,
    direction: &'static str,
    priority: Option<i32>,
    statematch: Option<&'static str>,
    element: Protocol,
    groups: Vec<Group>,
}

/// Rules by their element. Made once and shared, because there is much to make.
#[derive(Clone)]
pub(super) struct Rules(BTreeMap<Protocol, BoxedStrategy<Rule>>);

impl Rules {
    /// Rules for filters that are referenced, and so have parameters of their own (`local`), or for
    /// the main one.
    pub(super) fn new(local: bool, options: Options) -> Self {
        let elements = Protocol::ALL
            .iter()
            .filter(|element| options.allows(**element));
        Self(
            elements
                .map(|element| (*element, rule_of(*element, local, options)))
                .collect(),
        )
    }

    /// A rule of this element.
    ///
    /// # Panics
    ///
    /// When the options leave the element out.
    #[cfg(test)]
    pub(super) fn of_element(&self, element: Protocol) -> BoxedStrategy<Rule> {
        self.0[&element].clone()
    }

    /// A rule for a filter of this chain in a case of this theme.
    pub(super) fn of_chain(&self, chain: &str, theme: Theme) -> BoxedStrategy<Rule> {
        let some = |elements: &[Protocol]| {
            let rules: Vec<_> = elements
                .iter()
                .filter_map(|element| self.0.get(element))
                .cloned()
                .collect();
            if rules.is_empty() {
                self.any()
            } else {
                Union::new(rules).boxed()
            }
        };
        let of_chain = favourites(chain);
        if of_chain.is_empty() {
            prop_oneof![4 => some(theme.elements()), 1 => self.any()].boxed()
        } else {
            prop_oneof![3 => some(of_chain), 2 => some(theme.elements()), 1 => self.any()].boxed()
        }
    }

    fn any(&self) -> BoxedStrategy<Rule> {
        Union::new(self.0.values().cloned()).boxed()
    }
}

/// The elements that match something in a chain; empty for root, where all do.
fn favourites(chain: &str) -> &'static [Protocol] {
    use Protocol as P;
    match chain {
        chain if chain.starts_with("ipv4") => &[P::None, P::Mac, P::Ip, P::Ip, P::Ip, P::All],
        chain if chain.starts_with("ipv6") => &[P::None, P::Mac, P::Ipv6, P::Ipv6, P::AllIpv6],
        chain if chain.starts_with("arp") => &[P::None, P::Mac, P::Arp, P::Arp, P::Arp],
        chain if chain.starts_with("rarp") => &[P::None, P::Mac, P::Rarp, P::Rarp],
        chain if chain.starts_with("vlan") => &[P::None, P::Mac, P::Vlan, P::Vlan, P::Stp],
        chain if chain.starts_with("stp") => &[P::None, P::Mac, P::Stp, P::Stp],
        chain if chain.starts_with("mac") => &[P::None, P::Mac, P::Mac],
        _ => &[],
    }
}

fn rule_of(element: Protocol, local: bool, options: Options) -> BoxedStrategy<Rule> {
    let inet = element.layer() == Layer::Inet;
    let actions: &[&'static str] = if inet && !options.continue_in_inet {
        &["accept", "accept", "drop", "reject", "return"]
    } else {
        &["accept", "drop", "drop", "return", "reject", "continue"]
    };
    let groups = groups(element, local, options);
    let groups = if groups.is_empty() {
        Just(Vec::new()).boxed()
    } else {
        // Few tests, so that rules match often.
        let counts = prop_oneof![2 => Just(0_usize), 4 => Just(1), 3 => Just(2), 1 => Just(3)];
        let groups = Union::new(groups);
        counts
            .prop_flat_map(move |count| vec(groups.clone(), count))
            .boxed()
    };
    let priorities = select(vec![-1000, -750, -500, 0, 100, 499, 500, 501, 1000]);
    let statematch = option::weighted(0.15, select(vec!["false", "0", "true", "1"]));
    (
        select(actions),
        select(vec!["in", "out", "inout"]),
        option::weighted(0.4, priorities),
        statematch,
        groups,
    )
        .prop_map(move |(action, direction, priority, statematch, groups)| {
            let groups = compatible(element, direction, groups);
            let needs_state = inet && action == "accept" && direction != "inout";
            let statematch = if needs_state && !options.connections {
                Some("false")
            } else {
                statematch
            };
            Rule {
                action,
                direction,
                priority,
                statematch,
                element,
                groups,
            }
        })
        .boxed()
}

/// Drops the groups that would make the rule unusable beside earlier ones.
fn compatible(element: Protocol, direction: &str, groups: Vec<Group>) -> Vec<Group> {
    let mut kept: Vec<Group> = Vec::new();
    let needs = groups.iter().find_map(|group| group.needs);
    for mut group in groups {
        let repeats = group.attributes.iter().any(|(attr, _)| {
            kept.iter()
                .any(|other| other.attributes.iter().any(|(seen, _)| seen == attr))
        });
        let has = |wanted| group.attributes.iter().any(|(attr, _)| *attr == wanted);
        // ebtables cannot swap the source of a BPDU.
        let unswappable = element == Protocol::Stp && direction == "inout" && has(Attr::SrcMacAddr);
        let another_protocol = group.needs.is_some_and(|this| Some(this) != needs)
            || needs.is_some() && has(Attr::IpProtocol);
        if repeats || unswappable || another_protocol {
            continue;
        }
        let masks = [
            Attr::SrcIpMask,
            Attr::DstIpMask,
            Attr::ArpSrcIpMask,
            Attr::ArpDstIpMask,
        ];
        if group
            .attributes
            .iter()
            .any(|(attr, value)| masks.contains(attr) && value == "0")
        {
            group.negated = false; // Refused when negated.
        }
        kept.push(group);
    }
    // A range that ends before it starts is refused; these hold whatever the list has.
    for (start, end) in [
        (Attr::SrcPortStart, Attr::SrcPortEnd),
        (Attr::DstPortStart, Attr::DstPortEnd),
    ] {
        let attributes = || kept.iter().flat_map(|group| &group.attributes);
        let is_list =
            |wanted| attributes().any(|(attr, value)| *attr == wanted && value.starts_with('$'));
        let (start_is_list, end_is_list) = (is_list(start), is_list(end));
        for (attr, value) in kept.iter_mut().flat_map(|group| &mut group.attributes) {
            if start_is_list && *attr == end {
                "65535".clone_into(value);
            } else if end_is_list && !start_is_list && *attr == start {
                "0".clone_into(value);
            }
        }
    }
    // Networks and ranges of one side exclude each other, unless asked for as one group.
    for (network, range) in [
        (Attr::SrcIpAddr, Attr::SrcIpFrom),
        (Attr::DstIpAddr, Attr::DstIpFrom),
    ] {
        let has = |group: &Group, wanted| group.attributes.iter().any(|(attr, _)| *attr == wanted);
        if kept.iter().any(|group| has(group, network)) {
            kept.retain(|group| has(group, network) || !has(group, range));
        }
    }
    // One iterator walks lists of one length; the others here have iterators of their own.
    let mut values = kept
        .iter()
        .flat_map(|group| &group.attributes)
        .map(|(_, value)| value);
    if values.any(|value| value == "$IP" || value == "$IP[@0]") {
        for (_, value) in kept.iter_mut().flat_map(|group| &mut group.attributes) {
            if value == "$MAC" {
                "$MAC[0]".clone_into(value);
            }
        }
    }
    if let Some(protocol) = needs {
        let protocol = vec![(Attr::IpProtocol, protocol.to_owned())];
        kept.insert(
            0,
            Group {
                attributes: protocol,
                negated: false,
                needs: None,
            },
        );
    }
    kept
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  <rule action='{}' direction='{}'",
            self.action, self.direction
        )?;
        if let Some(priority) = self.priority {
            write!(f, " priority='{priority}'")?;
        }
        if let Some(statematch) = self.statematch {
            write!(f, " statematch='{statematch}'")?;
        }
        if self.element == Protocol::None {
            return f.write_str("/>\n");
        }
        f.write_str(">\n")?;
        let has_negated = self.groups.iter().any(|group| group.negated);
        for negated in [false, true] {
            let groups: Vec<_> = self
                .groups
                .iter()
                .filter(|g| g.negated == negated)
                .collect();
            if groups.is_empty() && (negated || has_negated) {
                continue;
            }
            write!(f, "    <{}", self.element)?;
            if negated {
                f.write_str(" match='no'")?;
            }
            for (attr, value) in groups.into_iter().flat_map(|group| &group.attributes) {
                write!(f, " {attr}='{value}'")?;
            }
            f.write_str("/>\n")?;
        }
        f.write_str("  </rule>\n")
    }
}
