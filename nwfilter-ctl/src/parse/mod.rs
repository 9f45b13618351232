//! From text to the model: which attributes each element has and how their values are spelled.
//! Sections 1 and 2 of the semantics reference. No expansion of variables: that is `resolve`.

mod attributes;
mod binding;
mod document;
mod element;
mod filter;
mod fixup;
mod rule;
mod value;
mod variable;

pub use attributes::{AttributeSpec, Kind, Names, Support, alias, attributes, spec};
pub use document::{Document, parse_binding, parse_document, parse_filter};
pub use filter::{CHAINS, default_chain_priority};
pub use fixup::base;
pub use rule::{ACTIONS, DIRECTIONS};
pub use value::{ParsedValue, ValueError, parse_literal, parse_value};
pub use variable::{VariableError, parse_variable};

#[cfg(test)]
mod tests;
