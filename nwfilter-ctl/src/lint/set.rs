//! Findings about several filters together: names that are taken twice, and loops of references.

use std::collections::HashMap;

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
