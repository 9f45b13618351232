//! Warnings about what a filter says, as opposed to how it is spelled: rules that do nothing, that
//! cannot be bound by libvirt, that libvirt's backends read differently, that hide each other.
//! Works on one filter at a time and looks at no other.

mod backends;
mod cover;
mod order;
mod rule;
mod set;
mod view;

pub use set::lint_set;

use crate::{
    diag::Diagnostic,
    model::{Filter, Semantics},
};

/// All warnings about a filter, in document order.
pub fn lint_filter(filter: &Filter, semantics: Semantics) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for rule in view::rules(filter) {
        rule::rule(filter, rule, semantics, &mut found);
    }
    order::hidden(filter, &mut found);
    order::ends(filter, &mut found);
    found.extend(backends::differ(filter));
    found.sort_by_key(|found| (found.primary.span.start, found.primary.span.end));
    found
}

#[cfg(test)]
mod tests;
