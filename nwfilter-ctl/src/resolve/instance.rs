//! What resolving yields: concrete rules, in the order in which the tree of filters is walked.
//! Neither sorted nor expanded into directions: that is `compile`'s work (sections 4.1 to 4.6 of
//! the semantics reference), and independently the test interpreter's.

use std::sync::Arc;

use crate::model::{Action, Attr, Datum, Direction, Protocol};

/// One rule of one filter with every variable substituted. A rule whose variables have several
/// values yields several consecutive instances with the same [`Origin`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instance {
    /// The rule in its XML file.
    pub origin: Origin,
    /// Chain of the filter that holds the rule (`root`, `ipv4-ip`, ...).
    pub chain: Arc<str>,
    /// Priority of that chain, -1000 to 1000; 0 for `root`.
    pub chain_priority: i32,
    /// Priority of the rule, -1000 to 1000.
    pub priority: i32,
    /// What to do on a match.
    pub action: Action,
    /// As written.
    pub direction: Direction,
    /// False for `statematch='false'`.
    pub statematch: bool,
    /// The protocol element.
    pub protocol: Protocol,
    /// The tests, all of which must hold, in the order of [`Attr`]; at most one per attribute.
    pub tests: Vec<Test>,
}

/// Where a rule stands.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    /// Name of the filter.
    pub filter: Arc<str>,
    /// Position among the filter's rules, from 0 (filterrefs are not counted).
    pub rule: u32,
    /// Line of the `<rule` in the filter's document, from 1.
    pub line: u32,
}

/// One attribute of an [`Instance`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Test {
    /// The attribute.
    pub attr: Attr,
    /// True when the test is negated (`match='no'`, after the fix-ups that the semantics ask for).
    pub negated: bool,
    /// The value to test for. In [`crate::model::Semantics::Strict`], a negated test on a variable
    /// with several values has several: the field must be none of them. If a positive test of the
    /// rule reads the same iterator, that is only those that stand where the list of the positive
    /// test has this instance's value. Otherwise exactly one. A mask, range end or code that
    /// completes a test with several values has one, which is shared by all of them.
    pub values: Vec<Datum>,
    /// The variable that the value came from, if any.
    pub variable: Option<VariableElement>,
}

/// The part of a variable that a value came from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct VariableElement {
    /// Name, without `$`.
    pub name: Arc<str>,
    /// Index into the variable's list of values, from 0; of the first if a test has several.
    pub index: u32,
}
