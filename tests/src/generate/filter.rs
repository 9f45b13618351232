//! Filters and their binding as XML: a tree of a few filters in a few chains, with parameters.

use std::fmt::Write as _;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    Options, Theme, pool,
    rule::{Rule, Rules},
};

/// The filter that the binding names.
const MAIN: &str = "main";

/// A document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FilterText {
    /// The filter's name.
    pub name: String,
    /// The `<filter>` document.
    pub xml: String,
}

/// The filters of a tree, and the binding to its top. The rules are mostly about the theme.
pub(super) fn tree(options: Options, theme: Theme) -> BoxedStrategy<(Vec<FilterText>, String)> {
    let others = vec(other(options, theme), 0..=options.filters);
    let rules = Rules::new(false, options);
    let chain = prop_oneof![4 => Just("root".to_owned()), 1 => chains()];
    (chain, others, parameters())
        .prop_flat_map(move |(chain, others, parameters)| {
            let own = vec(rules.of_chain(&chain, theme), 0..=options.rules);
            // Where each of the others is referenced among the rules, and what it is given.
            let references = vec((any::<prop::sample::Index>(), local()), others.len());
            let priority = option::weighted(0.3, priorities());
            (Just((chain, others, parameters)), own, references, priority)
        })
        .prop_map(|((chain, others, parameters), own, references, priority)| {
            let mut entries: Vec<String> = own.iter().map(ToString::to_string).collect();
            for (number, (at, local)) in references.iter().enumerate() {
                let at = at.index(entries.len() + 1);
                entries.insert(at, reference(&name(number), local));
            }
            let mut filters = vec![FilterText {
                name: MAIN.to_owned(),
                xml: document(MAIN, &chain, priority, &entries),
            }];
            for (
                number,
                Other {
                    chain,
                    priority,
                    rules,
                },
            ) in others.iter().enumerate()
            {
                let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
                let name = name(number);
                let xml = document(&name, chain, *priority, &rules);
                filters.push(FilterText { name, xml });
            }
            (filters, binding(&parameters))
        })
        .boxed()
}

fn name(number: usize) -> String {
    format!("filter-{number}")
}

/// A referenced filter.
#[derive(Clone, Debug)]
struct Other {
    chain: String,
    priority: Option<i32>,
    rules: Vec<Rule>,
}

fn other(options: Options, theme: Theme) -> BoxedStrategy<Other> {
    let all = Rules::new(true, options);
    (chains(), option::weighted(0.5, priorities()))
        .prop_flat_map(move |(chain, priority)| {
            let rules = vec(all.of_chain(&chain, theme), 0..=options.rules);
            (Just(chain), Just(priority), rules)
        })
        .prop_map(|(chain, priority, rules)| Other {
            chain,
            priority,
            rules,
        })
        .boxed()
}

fn chains() -> BoxedStrategy<String> {
    let names = [
        "root", "root", "mac", "mac-a", "vlan", "stp", "arp", "arp-a", "rarp", "ipv4", "ipv4",
        "ipv4-a", "ipv4-b", "ipv6", "ipv6-a",
    ];
    select(names.map(ToOwned::to_owned).to_vec()).boxed()
}

fn priorities() -> BoxedStrategy<i32> {
    select(vec![-1000, -710, -700, -500, -499, 0, 500, 501, 1000]).boxed()
}

/// Names with lists of values.
type Lists = Vec<(&'static str, Vec<String>)>;

/// Parameters that only a reference gives.
fn local() -> BoxedStrategy<Lists> {
    (list(pool::IPV4, 1..=2), list(pool::PORTS, 1..=2))
        .prop_map(|(ips, ports)| vec![("LOCAL", ips), ("LOCALPORT", ports)])
        .boxed()
}

/// Parameters of the binding. `MAC` is added by whoever resolves it; `IP` is given.
fn parameters() -> BoxedStrategy<Lists> {
    (
        list(&pool::IPV4[..4], 1..=3),
        list(pool::IPV6, 1..=2),
        list(pool::PORTS, 2..=3),
        list(pool::MACS, 2..=3),
        list(pool::VLANS, 1..=2),
    )
        .prop_map(|(ips, ipv6s, ports, macs, vlans)| {
            vec![
                ("IP", ips),
                ("IPV6", ipv6s),
                ("PORTS", ports),
                ("MACS", macs),
                ("VLANS", vlans),
            ]
        })
        .boxed()
}

fn list<T: ToString>(
    pool: &[T],
    length: std::ops::RangeInclusive<usize>,
) -> BoxedStrategy<Vec<String>> {
    vec(
        select(pool.iter().map(ToString::to_string).collect::<Vec<_>>()),
        length,
    )
    .boxed()
}

fn document(name: &str, chain: &str, priority: Option<i32>, entries: &[String]) -> String {
    let mut xml = format!("<filter name='{name}'");
    if chain != "root" || priority.is_some() {
        let _ = write!(xml, " chain='{chain}'");
    }
    if let Some(priority) = priority {
        let _ = write!(xml, " priority='{priority}'");
    }
    xml.push_str(">\n");
    for entry in entries {
        xml.push_str(entry);
    }
    xml.push_str("</filter>\n");
    xml
}

fn reference(filter: &str, parameters: &Lists) -> String {
    let mut xml = format!("  <filterref filter='{filter}'>\n");
    for (name, values) in parameters {
        for value in values {
            let _ = writeln!(xml, "    <parameter name='{name}' value='{value}'/>");
        }
    }
    xml.push_str("  </filterref>\n");
    xml
}

fn binding(parameters: &Lists) -> String {
    format!(
        "<filterbinding>\n  <owner>\n    <name>vm</name>\n    \
         <uuid>5f4b2a0c-6f0e-4a6d-9a0f-0d5f3c1b7e21</uuid>\n  </owner>\n  \
         <portdev name='vnet0'/>\n  <mac address='{}'/>\n{}</filterbinding>\n",
        pool::VM,
        reference(MAIN, parameters)
    )
}
