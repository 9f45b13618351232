//! XML to a small tree whose names and values know their bytes in the document. Knows nothing of
//! filters. Document type declarations, and with them every entity but the five predefined ones,
//! are refused.

mod read;
mod text;
mod tree;

pub(crate) use read::read_into;
pub use read::{Limits, read};
pub use text::{decode, escape};
pub use tree::{Attribute, Element};

#[cfg(test)]
mod tests;
