//! From a binding and a tree of filters to concrete rules.

mod instance;

pub use instance::{Instance, Origin, Test, VariableElement};
