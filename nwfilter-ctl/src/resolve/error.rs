//! Why a binding cannot be resolved, and what is worth a warning although it can. Data with plain
//! messages; showing the source line is left to whoever has a terminal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diag::{Diagnostic, Position, SourceFile};
use crate::model::{Attr, Datum, Selector, Span, VariableAccess};

use super::LimitKind;

/// A place in a filter's document.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Site {
    /// Name of the filter.
    pub filter: Arc<str>,
    /// Line of `span.start`, from 1.
    pub line: u32,
    /// The bytes in question: an attribute's value or a start tag.
    pub span: Span,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter `{}`, line {}", self.filter, self.line)
    }
}

/// The filterrefs that lead from the binding's filter to where something is wrong; empty if it is
/// the binding's filter itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReferencePath(pub Vec<Site>);

impl fmt::Display for ReferencePath {
    /// ` (referenced by filter A, line 1, referenced by ...)`, innermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        for (nth, site) in self.0.iter().rev().enumerate() {
            let lead = if nth == 0 { " (" } else { ", " };
            write!(f, "{lead}referenced by {site}")?;
        }
        f.write_str(")")
    }
}

/// A variable access that finds no value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissingVariable {
    /// The access.
    pub access: VariableAccess,
    /// Where it stands first.
    pub site: Site,
    /// The attribute that it stands in.
    pub attr: Attr,
}

impl fmt::Display for MissingVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}, `{}`)",
            Written(&self.access),
            self.site,
            self.attr
        )
    }
}

/// A variable access as libvirt names it: `IP`, `IP[0]`, `IP[@1]`. `IP[@0]` is `IP`.
pub(super) struct Written<'a>(pub(super) &'a VariableAccess);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)?;
        match self.0.selector {
            Selector::Iterator { id: 0, .. } => Ok(()),
            Selector::Iterator { id, .. } => write!(f, "[@{id}]"),
            Selector::Element(index) => write!(f, "[{index}]"),
        }
    }
}

/// Why a source cannot deliver a filter.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// No such filter.
    #[error("there is no such filter")]
    Missing,
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Arc<std::io::Error>,
    },
    /// The document is not a filter.
    #[error("{}", invalid(path.as_deref(), text, found))]
    Invalid {
        /// The file; `None` if it does not come from one.
        path: Option<PathBuf>,
        /// The document, with replacement characters for what is not UTF-8.
        text: Arc<str>,
        /// What is wrong with it; at least one error.
        found: Arc<[Diagnostic]>,
    },
    /// The file holds a filter of another name.
    #[error("{}: holds a filter named `{found}`; the name must be that of the file", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The name in the document.
        found: String,
    },
}

/// The first error of a document, as one line.
fn invalid(path: Option<&Path>, text: &str, found: &[Diagnostic]) -> String {
    let name = path.map_or_else(|| "not a filter".into(), |path| path.display().to_string());
    let mut errors = found.iter().filter(|found| found.is_error());
    let Some(first) = errors.next() else {
        return name;
    };
    let file = SourceFile::new(name, text);
    let Position { line, column } = file.position(first.primary.span.start);
    let expected = first.expected.as_ref();
    let expected = expected.map_or_else(String::new, |expected| format!(", expected {expected}"));
    let others = match errors.count() {
        0 => String::new(),
        1 => " (and another error)".into(),
        more => format!(" (and {more} other errors)"),
    };
    let name = file.name();
    format!(
        "{name}:{line}:{column}: {}{expected}{others}",
        first.message
    )
}

/// Why a binding cannot be resolved.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResolveError {
    /// A filter is missing or unusable.
    #[error("filter `{name}`: {error}{path}")]
    Filter {
        /// Its name.
        name: String,
        /// What is wrong with it.
        error: SourceError,
        /// How it came to be wanted.
        path: ReferencePath,
    },
    /// A filter refers to itself, directly or through others.
    #[error("filter `{name}` refers to itself{path}")]
    Cycle {
        /// A filter of the cycle, the one that is met first.
        name: Arc<str>,
        /// The references from the binding's filter up to the one that closes the cycle.
        path: ReferencePath,
    },
    /// Nothing but the addresses of the VM is missing: `IP`, and only through iterator 0. They may
    /// be learned.
    #[error("the VM's addresses are not known: no value for variable {0}")]
    AddressUnknown(Box<MissingVariable>),
    /// Variables are missing, and not only `IP`. Each once, in the order in which they are met.
    #[error("no value for {}", list(.0))]
    MissingVariables(Vec<MissingVariable>),
    /// Two lists that one iterator walks in parallel differ in length.
    #[error(
        "{site}: `{}` with {} values and `{}` with {} values are read by the same iterator \
         {iterator}, which needs lists of equal length",
        first.0, first.1, second.0, second.1
    )]
    Cardinality {
        /// The second of the two accesses.
        site: Box<Site>,
        /// The iterator's number.
        iterator: u16,
        /// First variable and its number of values.
        first: (String, usize),
        /// Second variable and its number of values.
        second: (String, usize),
    },
    /// The value of a variable does not fit the attribute.
    #[error(
        "{site}: `{text}`, value {index} of variable `{variable}`, does not fit `{attr}`: {reason}"
    )]
    Value {
        /// The access.
        site: Box<Site>,
        /// The attribute.
        attr: Attr,
        /// The variable.
        variable: Arc<str>,
        /// Position in its list, from 0.
        index: u32,
        /// The value.
        text: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A variable in `comment`, with which libvirt cannot set up a rule.
    #[error("{site}: libvirt cannot use a variable in `comment`")]
    CommentVariable {
        /// The access.
        site: Box<Site>,
    },
    /// A range that ends before it starts.
    #[error("{site}: the range ends before `{start}`; nothing is in it")]
    EmptyRange {
        /// The end.
        site: Box<Site>,
        /// The attribute with the start.
        start: Attr,
    },
    /// A rule that contradicts itself, or that libvirt cannot set up.
    #[error("{site}: the rule cannot be bound: {reason}")]
    Unbindable {
        /// The attribute at fault.
        site: Box<Site>,
        /// What is wrong.
        reason: &'static str,
    },
    /// Lists in both halves of a negated test, such as address and mask: "none of them" is not
    /// something that one rule can test.
    #[error(
        "{site}: a negated `{attr}` takes one value, but variable `{variable}` has {values} \
         different ones; write one rule with match='no' for each"
    )]
    NegatedPairs {
        /// The access.
        site: Box<Site>,
        /// The mask, range end or code.
        attr: Attr,
        /// The variable.
        variable: Arc<str>,
        /// How many different values.
        values: usize,
    },
    /// Too large.
    #[error("{place}: more than {maximum} {limit}{path}")]
    Limit {
        /// What there is too much of.
        limit: LimitKind,
        /// How much is allowed.
        maximum: usize,
        /// Where it was noticed.
        place: Place,
        /// The references that lead there.
        path: ReferencePath,
    },
}

impl ResolveError {
    /// The place in a filter that is wrong, if there is one: the access, or the reference that leads
    /// to a filter which is missing, unusable or the beginning of a cycle.
    pub fn site(&self) -> Option<&Site> {
        match self {
            Self::Filter { path, .. } | Self::Cycle { path, .. } => path.0.last(),
            Self::AddressUnknown(missing) => Some(&missing.site),
            Self::MissingVariables(missing) => missing.first().map(|missing| &missing.site),
            Self::Cardinality { site, .. }
            | Self::Value { site, .. }
            | Self::CommentVariable { site }
            | Self::EmptyRange { site, .. }
            | Self::Unbindable { site, .. }
            | Self::NegatedPairs { site, .. } => Some(site),
            Self::Limit { place, .. } => match place {
                Place::Binding(_) => None,
                Place::Filter(site) => Some(site),
            },
        }
    }
}

/// What a [`ResolveError::Limit`] is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// The binding of this port.
    Binding(String),
    /// A rule or a filterref.
    Filter(Box<Site>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binding(port) => write!(f, "binding of `{port}`"),
            Self::Filter(site) => site.fmt(f),
        }
    }
}

/// The missing variables of a message.
fn list(missing: &[MissingVariable]) -> String {
    let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
    let noun = if names.len() == 1 {
        "variable"
    } else {
        "variables"
    };
    format!("{noun} {}", names.join(", "))
}

/// Something that resolves, but not to what libvirt makes of it, or not to what is written.
#[derive(Clone, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Warning {
    /// [`crate::model::Semantics::Libvirt`]: a test that libvirt loses because its value is a
    /// variable; the rule matches more than it says.
    #[error("{site}: libvirt loses the test `{attr}`, whose value is a variable")]
    Lost {
        /// The access.
        site: Site,
        /// The attribute.
        attr: Attr,
    },
    /// [`crate::model::Semantics::Strict`]: `match='no'` with a list means none of its values here.
    /// libvirt makes one rule of each value, and together they match everything.
    #[error(
        "{site}: `{attr}` must be none of the values of `{variable}`; libvirt makes one negated \
         rule of each, and together they match everything"
    )]
    NoneOf {
        /// The access.
        site: Site,
        /// The attribute.
        attr: Attr,
        /// The variable.
        variable: Arc<str>,
    },
    /// [`crate::model::Semantics::Strict`]: ebtables or iptables, to which libvirt hands the values
    /// of variables as they are, read this one differently or not at all.
    #[error("{site}: `{text}` in `{attr}` is read as {strict} here, {} by libvirt", read_as(.libvirt.as_ref()))]
    ReadDifferently {
        /// The access.
        site: Site,
        /// The attribute.
        attr: Attr,
        /// The value.
        text: String,
        /// What it means.
        strict: Datum,
        /// What libvirt's tools make of it; `None` if they refuse it.
        libvirt: Option<Datum>,
    },
}

/// The second half of a message.
fn read_as(datum: Option<&Datum>) -> String {
    datum.map_or_else(|| "refused".into(), |datum| format!("as {datum}"))
}
