//! What filters and bindings say, typed: the vocabulary that parser, resolver, compiler and the
//! tests share. No parsing, no meaning: what a rule does to a frame is decided by `compile`.

mod filter;
mod language;
mod value;

pub use filter::{
    Attribute, Binding, Entry, Filter, Parameters, Reference, Rule, Selector, Span, Value,
    VariableAccess,
};
pub use language::{Action, Attr, Direction, Family, Layer, Protocol, Semantics};
pub use value::{CtStates, Datum, SetDirection, TCP_FLAG_NAMES, TcpFlags};
