//! Filter and binding documents after parsing: every value typed, variables still unresolved.

use std::collections::BTreeMap;

use nwfilter_common::MacAddr;
use uuid::Uuid;

use super::{Action, Attr, Datum, Direction, Protocol};

/// A range of bytes of a document.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A `<filter>` document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter {
    /// Non-empty.
    pub name: String,
    /// As given; one is made up at define time if there is none.
    pub uuid: Option<Uuid>,
    /// `root`, or a chain of a known prefix (`ipv4-ip`).
    pub chain: String,
    /// Priority of the chain, -1000 to 1000: as given, else the default of the chain's prefix.
    pub priority: i32,
    /// Rules and references in document order.
    pub entries: Vec<Entry>,
}

/// A child of a filter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Entry {
    /// `<rule>`
    Rule(Rule),
    /// `<filterref>`
    Reference(Reference),
}

/// A `<filterref>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// Name of the filter; it need not exist.
    pub filter: String,
    /// Parameters given here.
    pub parameters: Parameters,
    /// The element's start tag.
    pub span: Span,
}

/// A `<rule>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// What to do.
    pub action: Action,
    /// As written.
    pub direction: Direction,
    /// -1000 to 1000, default 500.
    pub priority: i32,
    /// False for `statematch='false'` or `'0'`.
    pub statematch: bool,
    /// The protocol of the first known child element.
    pub protocol: Protocol,
    /// In the order of [`Attr`], at most one of each name.
    pub attributes: Vec<Attribute>,
    /// The element's start tag.
    pub span: Span,
    /// Line of `span.start`, from 1.
    pub line: u32,
}

/// An attribute of a protocol element.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attribute {
    /// Its name.
    pub attr: Attr,
    /// Stands in an element with `match='no'`.
    pub negated: bool,
    /// What to test for.
    pub value: Value,
    /// The value's bytes, without quotes.
    pub span: Span,
}

/// The value of an attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// Known at parse time.
    Literal {
        /// The value.
        datum: Datum,
        /// A number given in hexadecimal, which is written back so.
        hex: bool,
    },
    /// `$NAME`, `$NAME[@N]`, `$NAME[I]`
    Variable(VariableAccess),
}

/// How a rule reads a variable.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct VariableAccess {
    /// Without `$`.
    pub name: String,
    /// Which of its values.
    pub selector: Selector,
}

/// Which values of a variable.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Selector {
    /// Each in turn, in step with the other accesses of the same iterator; `$NAME` is iterator 0
    /// written without it.
    Iterator {
        /// 0 to 1000.
        id: u16,
        /// Spelled out as `[@N]`.
        written: bool,
    },
    /// The one at this index, from 0.
    Element(u32),
}

/// Parameters of a binding or a filterref: names to lists of values, values in order of insertion.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parameters(pub BTreeMap<String, Vec<String>>);

/// A `<filterbinding>`: one port, its VM and the filter it uses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// Name of the VM.
    pub owner_name: String,
    /// UUID of the VM.
    pub owner_uuid: Uuid,
    /// Host-side device.
    pub port: String,
    /// Lower device of a macvtap.
    pub link: Option<String>,
    /// The VM's address.
    pub mac: MacAddr,
    /// Name of the filter.
    pub filter: String,
    /// Parameters of the outermost filterref.
    pub parameters: Parameters,
}
