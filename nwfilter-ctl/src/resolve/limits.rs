//! How large a resolved binding may be. Every limit that is exceeded is an error that names it.

use std::fmt;

/// Bounds on what one binding may expand to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Filterrefs on the way from the binding's filter to the deepest one.
    pub depth: usize,
    /// Filters in the expanded tree; one that is referenced twice counts twice.
    pub filters: usize,
    /// Values of one variable.
    pub values: usize,
    /// Rules after expansion.
    pub rules: usize,
    /// Values in all tests of all rules after expansion.
    pub tests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            filters: 10_000,
            values: 10_000,
            rules: 100_000,
            tests: 1_000_000,
        }
    }
}

/// One of the [`Limits`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimitKind {
    /// [`Limits::depth`]
    Depth,
    /// [`Limits::filters`]
    Filters,
    /// [`Limits::values`]
    Values,
    /// [`Limits::rules`]
    Rules,
    /// [`Limits::tests`]
    Tests,
}

impl LimitKind {
    /// The bound that `limits` sets.
    pub(super) const fn of(self, limits: &Limits) -> usize {
        match self {
            Self::Depth => limits.depth,
            Self::Filters => limits.filters,
            Self::Values => limits.values,
            Self::Rules => limits.rules,
            Self::Tests => limits.tests,
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Depth => "references deep",
            Self::Filters => "filters in the expanded tree",
            Self::Values => "values of one variable",
            Self::Rules => "rules after expansion",
            Self::Tests => "values in the tests of all rules",
        })
    }
}
