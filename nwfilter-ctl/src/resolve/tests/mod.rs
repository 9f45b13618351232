//! Tests of the resolver. Filters are written in a notation of their own, one entry a line:
//!
//! ```text
//! out drop 400 ip srcipaddr=$A !dstipaddr=192.0.2.1
//! ref other A=1,2 B=3
//! ```
//!
//! so that they say nothing about XML; the built-in filters and the examples are tested as XML.

mod dir;
mod properties;
mod semantics;
mod tree;
mod variables;

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::{Limits, LoadedFilter, ResolveError, Resolved, resolve, resolve_within};
use crate::model::{
    Action, Attr, Attribute, Binding, Direction, Entry, Filter, Parameters, Protocol, Reference,
    Rule, Semantics, Span, Value,
};
use crate::parse::{parse_value, parse_variable};

/// Filters by name.
#[derive(Clone, Debug, Default)]
struct Filters(BTreeMap<String, Arc<LoadedFilter>>);

impl Filters {
    /// Adds a filter of the root chain.
    fn root(self, name: &str, text: &str) -> Self {
        self.chain(name, "root", 0, text)
    }

    /// Adds a filter.
    fn chain(mut self, name: &str, chain: &str, priority: i32, text: &str) -> Self {
        let filter = Filter {
            name: name.into(),
            uuid: None,
            chain: chain.into(),
            priority,
            entries: entries(text),
        };
        let loaded = LoadedFilter::new(filter, text, None);
        self.0.insert(name.into(), Arc::new(loaded));
        self
    }

    /// Resolves a binding of filter `top`.
    fn resolve(&self, parameters: &str, semantics: Semantics) -> Result<Resolved, ResolveError> {
        resolve(&binding(parameters), &self.0, semantics)
    }

    fn resolve_within(&self, parameters: &str, limits: Limits) -> Result<Resolved, ResolveError> {
        resolve_within(&binding(parameters), &self.0, Semantics::Strict, &limits)
    }

    /// The tests of the instances, in the strict semantics.
    fn tests(&self, parameters: &str) -> Vec<String> {
        tests(&self.resolve(parameters, Semantics::Strict).unwrap())
    }

    /// The error, in the strict semantics.
    fn error(&self, parameters: &str) -> ResolveError {
        self.resolve(parameters, Semantics::Strict).unwrap_err()
    }
}

/// A single filter, named `top`.
fn top(text: &str) -> Filters {
    Filters::default().root("top", text)
}

/// A binding of `top`; parameters as in a reference: `A=1,2 B=3`.
fn binding(parameters: &str) -> Binding {
    Binding {
        owner_name: "vm".into(),
        owner_uuid: Uuid::nil(),
        port: "vnet0".into(),
        link: None,
        mac: "52:54:00:00:00:01".parse().unwrap(),
        filter: "top".into(),
        parameters: parameters_of(parameters.split_whitespace()),
    }
}

/// The tests of each instance.
fn tests(resolved: &Resolved) -> Vec<String> {
    let instances = resolved.instances.iter();
    instances
        .map(|instance| {
            let tests: Vec<_> = instance.tests.iter().map(ToString::to_string).collect();
            tests.join(" ")
        })
        .collect()
}

fn parameters_of<'a>(words: impl Iterator<Item = &'a str>) -> Parameters {
    let pairs = words.map(|word| {
        let (name, values) = word.split_once('=').unwrap();
        (name.into(), values.split(',').map(Into::into).collect())
    });
    Parameters(pairs.collect())
}

fn entries(text: &str) -> Vec<Entry> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| entry(text, u32::try_from(number).unwrap() + 1, line))
        .collect()
}

fn entry(text: &str, line_number: u32, line: &str) -> Entry {
    let span = |part: &str| {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        let end = start + part.len();
        Span { start, end }
    };
    let line = line.trim();
    let mut words = line.split_whitespace().peekable();
    let direction = match words.next().unwrap() {
        "ref" => {
            return Entry::Reference(Reference {
                filter: words.next().unwrap().into(),
                parameters: parameters_of(words),
                span: span(line),
            });
        }
        "in" => Direction::In,
        "out" => Direction::Out,
        "inout" => Direction::InOut,
        other => panic!("{other}"),
    };
    let action = match words.next().unwrap() {
        "accept" => Action::Accept,
        "drop" => Action::Drop,
        "reject" => Action::Reject,
        "return" => Action::Return,
        "continue" => Action::Continue,
        other => panic!("{other}"),
    };
    let priority = words.next_if(|word| word.parse::<i32>().is_ok());
    let protocol = words.next().unwrap_or("none");
    let protocol = Protocol::from_name(protocol).unwrap();
    let attributes = words.map(|word| {
        let (name, value) = word.split_once('=').unwrap();
        let attr = Attr::from_name(name.trim_start_matches('!')).unwrap();
        Attribute {
            attr,
            negated: name.starts_with('!'),
            value: match parse_variable(value) {
                Some(access) => Value::Variable(access.unwrap()),
                None => Value::Literal {
                    datum: parse_value(protocol, attr, value).unwrap(),
                    hex: false,
                },
            },
            span: span(value),
        }
    });
    let mut attributes: Vec<_> = attributes.collect();
    attributes.sort_by_key(|attribute| attribute.attr);
    Entry::Rule(Rule {
        action,
        direction,
        priority: priority.map_or(500, |priority| priority.parse().unwrap()),
        statematch: true,
        protocol,
        attributes,
        span: span(line),
        line: line_number,
    })
}
