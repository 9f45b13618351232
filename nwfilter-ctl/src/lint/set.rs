//! Findings about several filters together: names that are taken twice, loops of references, and
//! chains of one tree whose order nobody has fixed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::view::{is_inet, rules};
use crate::{
    diag::{Code, Diagnostic},
    model::{Entry, Filter, Reference, Span},
};

/// Findings, each with the index of the filter that it concerns.
///
/// Loops of a single filter are the parser's to report.
pub fn lint_set(filters: &[&Filter]) -> Vec<(usize, Diagnostic)> {
    let mut found = Vec::new();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (index, filter) in filters.iter().enumerate() {
        if by_name.contains_key(filter.name.as_str()) {
            let message = format!(
                "filter `{}` is defined by another document too",
                filter.name
            );
            found.push((
                index,
                Diagnostic::new(Code::DuplicateFilter, Span::default(), message),
            ));
        } else {
            by_name.insert(&filter.name, index);
        }
    }
    loops(filters, &by_name, &mut found);
    chains(filters, &by_name, &mut found);
    found
}

/// The references of a filter.
fn references(filter: &Filter) -> Vec<&Reference> {
    filter
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Reference(reference) => Some(reference),
            Entry::Rule(_) => None,
        })
        .collect()
}

/// A depth-first search without recursion: the number of filters is the user's.
fn loops(
    filters: &[&Filter],
    by_name: &HashMap<&str, usize>,
    found: &mut Vec<(usize, Diagnostic)>,
) {
    let edges: Vec<_> = filters.iter().map(|filter| references(filter)).collect();
    let mut seen = vec![false; filters.len()];
    for start in 0..filters.len() {
        // The filters from `start` to the current one, each with the number of edges followed.
        let mut path = vec![(start, 0)];
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        while let Some((filter, followed)) = path.last_mut() {
            let filter = *filter;
            let Some(reference) = edges[filter].get(*followed) else {
                path.pop();
                continue;
            };
            *followed += 1;
            let Some(target) = by_name.get(reference.filter.as_str()).copied() else {
                continue;
            };
            if let Some(at) = path.iter().position(|(on_path, _)| *on_path == target) {
                if target != filter {
                    let names = path[at..]
                        .iter()
                        .map(|(index, _)| filters[*index].name.as_str());
                    let names: Vec<_> = names.chain([filters[target].name.as_str()]).collect();
                    let message = format!(
                        "filters refer to each other in a loop: {}",
                        names.join(", ")
                    );
                    found.push((
                        filter,
                        Diagnostic::new(Code::FilterLoop, reference.span, message),
                    ));
                }
            } else if !std::mem::replace(&mut seen[target], true) {
                path.push((target, 0));
            }
        }
    }
}

/// The filters that end up in one binding together, for each filter that no other one refers to.
fn trees(filters: &[&Filter], by_name: &HashMap<&str, usize>) -> Vec<Vec<usize>> {
    let targets = |index: usize| {
        let names = references(filters[index]).into_iter();
        names.filter_map(|reference| by_name.get(reference.filter.as_str()).copied())
    };
    let referred: HashSet<usize> = (0..filters.len()).flat_map(targets).collect();
    let tops = (0..filters.len()).filter(|index| !referred.contains(index));
    tops.map(|top| {
        let mut tree = vec![top];
        let mut seen = HashSet::from([top]);
        let mut next = 0;
        while let Some(index) = tree.get(next).copied() {
            tree.extend(targets(index).filter(|target| seen.insert(*target)));
            next += 1;
        }
        tree
    })
    .collect()
}

/// Chains with two priorities, and chains for the same frames with the same priority.
fn chains(
    filters: &[&Filter],
    by_name: &HashMap<&str, usize>,
    found: &mut Vec<(usize, Diagnostic)>,
) {
    let mut told = HashSet::new();
    for tree in trees(filters, by_name) {
        // The filters that give a chain its rules.
        let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for index in tree {
            let filter = filters[index];
            if filter.chain != "root" && rules(filter).any(|rule| !is_inet(rule)) {
                members.entry(&filter.chain).or_default().push(index);
            }
        }
        let priority = |index: usize| filters[index].priority;
        for (chain, members) in &members {
            let other = members
                .iter()
                .copied()
                .find(|index| priority(*index) != priority(members[0]));
            let Some(other) = other.filter(|_| told.insert((*chain, *chain))) else {
                continue;
            };
            let message = format!(
                "chain `{chain}` has priority {} here and {} in filter `{}`",
                priority(other),
                priority(members[0]),
                filters[members[0]].name
            );
            found.push((
                other,
                at_rules(filters[other], Code::ChainPrioritiesDiffer, message),
            ));
        }
        let mut known: Vec<(&str, usize)> = Vec::new();
        for (chain, members) in &members {
            let first = members[0];
            let twin = known.iter().find(|(other, index)| {
                priority(*index) == priority(first) && same_frames(chain, other)
            });
            if let Some((other, index)) = twin
                && told.insert((other, chain))
            {
                let message = format!(
                    "chains `{other}` (in filter `{}`) and `{chain}` have the same priority",
                    filters[*index].name
                );
                let warning = at_rules(filters[first], Code::ChainOrder, message)
                    .label(format!(
                        "here `{other}` comes first, by its name; in libvirt either may"
                    ))
                    .help("give one of the chains another priority");
                found.push((first, warning));
            }
            known.push((chain, first));
        }
    }
}

/// A warning at the first rule of a filter.
fn at_rules(filter: &Filter, code: Code, message: String) -> Diagnostic {
    let span = rules(filter)
        .next()
        .map_or(Span::default(), |rule| rule.span);
    Diagnostic::new(code, span, message)
}

/// A frame can get into both chains.
fn same_frames(left: &str, right: &str) -> bool {
    const KINDS: [&str; 6] = ["ipv4", "ipv6", "arp", "rarp", "vlan", "stp"];
    // `mac` chains get all frames.
    let kind = |chain: &str| KINDS.iter().position(|prefix| chain.starts_with(prefix));
    match (kind(left), kind(right)) {
        (Some(left), Some(right)) => left == right,
        _ => true,
    }
}
