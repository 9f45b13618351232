//! From one rule and the values of its variables to concrete rules (section 3.2 of the semantics
//! reference): iterators multiply. What one iterator does is in [`super::lockstep`].

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::model::{Attr, Attribute, Datum, Protocol, Rule, Selector, Semantics, Value};
use crate::parse::base;

use super::bindable::{self, Refusal};
use super::error::{Place, ReferencePath};
use super::lockstep::{Lockstep, Rows, Variable};
use super::scope::Scope;
use super::tree::Placed;
use super::value;
use super::value::Differs;
use super::{Instance, LimitKind, Limits, Origin, ResolveError, Test, VariableElement, Warning};

/// Collects the instances of rule after rule.
pub(super) struct Expander<'a> {
    semantics: Semantics,
    limits: &'a Limits,
    instances: Vec<Instance>,
    warnings: Vec<Warning>,
    warned: HashSet<Warning>,
    /// Values in all tests so far.
    tests: usize,
    /// One shared string per variable name.
    names: HashMap<&'a str, Arc<str>>,
    /// The rows of each iterator that was met in a scope.
    rows: HashMap<RowsKey<'a>, Rows>,
}

/// A scope, told from others by its address (all outlive the expansion), and the variables that an
/// iterator reads there.
type RowsKey<'a> = (*const Scope<'a>, Vec<(&'a str, bool)>);

/// An attribute that becomes a test.
struct Part<'a> {
    attribute: &'a Attribute,
    source: Source<'a>,
}

/// Where the value of a [`Part`] comes from.
#[derive(Clone, Copy)]
enum Source<'a> {
    Literal(&'a Datum),
    Element(Variable<'a>, u32),
    /// Position in the list of iterators.
    Iterator(Variable<'a>, usize),
}

impl<'a> Expander<'a> {
    pub(super) fn new(semantics: Semantics, limits: &'a Limits) -> Self {
        Self {
            semantics,
            limits,
            instances: Vec::new(),
            warnings: Vec::new(),
            warned: HashSet::new(),
            tests: 0,
            names: HashMap::new(),
            rows: HashMap::new(),
        }
    }

    pub(super) fn finish(self) -> (Vec<Instance>, Vec<Warning>) {
        (self.instances, self.warnings)
    }

    /// Adds the instances of a rule, all of whose variables have values.
    pub(super) fn expand(&mut self, placed: &Placed<'a>) -> Result<(), ResolveError> {
        let (mut parts, iterators) = self.parts(placed)?;
        parts.retain(|part| !self.is_lost(placed, part));
        let iterators = iterators.iter().map(|iterator| self.rows(placed, iterator));
        let iterators: Vec<Rows> = iterators.collect();
        let lengths = iterators.iter().map(|rows| rows.len());
        let count = lengths.fold(1, usize::saturating_mul);
        if count > self.limits.rules - self.instances.len() {
            return Err(self.too_much(LimitKind::Rules, placed));
        }
        let mut at = vec![0; iterators.len()];
        for _ in 0..count {
            let steps = iterators.iter().zip(&at);
            let steps: Vec<&[u32]> = steps.map(|(rows, at)| rows[*at].as_slice()).collect();
            self.push(placed, &parts, &steps)?;
            for (at, rows) in at.iter_mut().zip(&iterators) {
                *at += 1;
                if *at < rows.len() {
                    break;
                }
                *at = 0;
            }
        }
        Ok(())
    }

    /// Splits a rule into its tests and the iterators that they read, which are in the order of
    /// their speed: 0 first, then in order of appearance.
    fn parts(
        &mut self,
        placed: &Placed<'a>,
    ) -> Result<(Vec<Part<'a>>, Vec<Lockstep<'a>>), ResolveError> {
        let rule: &'a Rule = placed.rule;
        let mut parts = Vec::with_capacity(rule.attributes.len());
        let mut iterators: Vec<Lockstep<'a>> = Vec::new();
        let zero = |attribute: &Attribute| {
            matches!(&attribute.value, Value::Variable(access)
                if matches!(access.selector, Selector::Iterator { id: 0, .. }))
        };
        if rule.attributes.iter().any(zero) {
            iterators.push(Lockstep::new(0));
        }
        for attribute in &rule.attributes {
            let source = match &attribute.value {
                Value::Literal { datum, .. } => Source::Literal(datum),
                Value::Variable(access) => {
                    let Some(values) = placed.values(access) else {
                        let missing = placed.missing(attribute, access);
                        return Err(ResolveError::MissingVariables(vec![missing]));
                    };
                    if attribute.attr == Attr::Comment && self.semantics == Semantics::Libvirt {
                        return Err(ResolveError::CommentVariable {
                            site: Box::new(placed.filter.site(attribute.span)),
                        });
                    }
                    let name = access.name.as_str();
                    self.names.entry(name).or_insert_with(|| name.into());
                    let variable = Variable { name, values };
                    match access.selector {
                        Selector::Element(index) => Source::Element(variable, index),
                        Selector::Iterator { id, .. } => {
                            let position = iterators.iter().position(|other| other.id == id);
                            let position = position.unwrap_or_else(|| {
                                iterators.push(Lockstep::new(id));
                                iterators.len() - 1
                            });
                            let positive =
                                !attribute.negated || self.semantics == Semantics::Libvirt;
                            iterators[position]
                                .add(variable, positive, || placed.filter.site(attribute.span))?;
                            Source::Iterator(variable, position)
                        }
                    }
                }
            };
            parts.push(Part { attribute, source });
        }
        Ok((parts, iterators))
    }

    /// The steps of an iterator, worked out once per scope.
    fn rows(&mut self, placed: &Placed<'a>, iterator: &Lockstep<'a>) -> Rows {
        let key = (Rc::as_ptr(&placed.scope), iterator.key());
        let rows = self.rows.entry(key).or_insert_with(|| iterator.steps());
        Rc::clone(rows)
    }

    /// Whether libvirt loses this test.
    fn is_lost(&mut self, placed: &Placed<'a>, part: &Part<'a>) -> bool {
        let attr = part.attribute.attr;
        let lost = self.semantics == Semantics::Libvirt
            && !matches!(part.source, Source::Literal(_))
            && value::lost(placed.rule.protocol, attr);
        if lost {
            let site = placed.filter.site(part.attribute.span);
            self.warn(Warning::Lost { site, attr });
        }
        lost
    }

    /// Adds one instance; `steps` has the current one of each iterator.
    fn push(
        &mut self,
        placed: &Placed<'a>,
        parts: &[Part<'a>],
        steps: &[&[u32]],
    ) -> Result<(), ResolveError> {
        let rule = placed.rule;
        let mut tests = Vec::with_capacity(parts.len());
        for part in parts {
            let test = match part.source {
                Source::Literal(datum) => Test {
                    attr: part.attribute.attr,
                    negated: part.attribute.negated,
                    values: vec![datum.clone()],
                    variable: None,
                },
                Source::Element(variable, index) => self.test(placed, part, variable, &[index])?,
                Source::Iterator(variable, iterator) => {
                    self.test(placed, part, variable, steps[iterator])?
                }
            };
            self.tests += test.values.len();
            if self.tests > self.limits.tests {
                return Err(self.too_much(LimitKind::Tests, placed));
            }
            tests.push(test);
        }
        if let Some(refusal) = bindable::refusal(rule, &tests, self.semantics) {
            return Err(refused(placed, refusal));
        }
        let filter = placed.filter;
        let is_root = &**filter.chain() == "root";
        self.instances.push(Instance {
            origin: Origin {
                filter: Arc::clone(filter.name()),
                rule: placed.number,
                line: rule.line,
            },
            chain: Arc::clone(filter.chain()),
            chain_priority: if is_root { 0 } else { filter.filter().priority },
            priority: rule.priority,
            action: rule.action,
            direction: rule.direction,
            statematch: rule.statematch,
            protocol: rule.protocol,
            tests,
        });
        Ok(())
    }

    /// A test for the values of a variable at `indices`: the first one, or, where only negated
    /// tests read the iterator, every different one.
    fn test(
        &mut self,
        placed: &Placed<'a>,
        part: &Part<'a>,
        variable: Variable<'a>,
        indices: &[u32],
    ) -> Result<Test, ResolveError> {
        let attr = part.attribute.attr;
        let mut seen = HashSet::new();
        let mut values = Vec::with_capacity(1);
        for index in indices {
            let text = &variable.values[*index as usize];
            if indices.len() == 1 || seen.insert(text) {
                values.push(self.read(placed, part, variable, *index)?);
            }
            if !part.attribute.negated || self.semantics == Semantics::Libvirt {
                break;
            }
        }
        let name = Arc::clone(&self.names[variable.name]);
        if values.len() > 1 {
            let site = placed.filter.site(part.attribute.span);
            if completes_another(placed.rule, attr) {
                return Err(ResolveError::NegatedPairs {
                    site: Box::new(site),
                    attr,
                    variable: name,
                    values: values.len(),
                });
            }
            self.warn(Warning::NoneOf {
                site,
                attr,
                variable: Arc::clone(&name),
            });
        }
        Ok(Test {
            attr,
            negated: part.attribute.negated,
            values,
            variable: Some(VariableElement {
                name,
                index: indices[0],
            }),
        })
    }

    /// The value of a variable at `index`.
    fn read(
        &mut self,
        placed: &Placed<'a>,
        part: &Part<'a>,
        variable: Variable<'a>,
        index: u32,
    ) -> Result<Datum, ResolveError> {
        let attr = part.attribute.attr;
        let text = &variable.values[index as usize];
        let read = value::read(placed.rule.protocol, attr, text, self.semantics);
        let read = read.map_err(|reason| ResolveError::Value {
            site: Box::new(placed.filter.site(part.attribute.span)),
            attr,
            variable: variable.name.into(),
            index,
            text: text.clone(),
            reason,
        })?;
        if let Some(Differs(libvirt)) = read.differs {
            self.warn(Warning::ReadDifferently {
                site: placed.filter.site(part.attribute.span),
                attr,
                text: text.clone(),
                strict: read.datum.clone(),
                libvirt,
            });
        }
        Ok(read.datum)
    }

    /// Adds a warning unless it was given before.
    fn warn(&mut self, warning: Warning) {
        if self.warned.insert(warning.clone()) {
            self.warnings.push(warning);
        }
    }

    fn too_much(&self, limit: LimitKind, placed: &Placed<'a>) -> ResolveError {
        ResolveError::Limit {
            limit,
            maximum: limit.of(self.limits),
            place: Place::Filter(Box::new(placed.filter.site(placed.rule.span))),
            path: ReferencePath::default(),
        }
    }
}

/// The error for a concrete rule that cannot be bound.
fn refused(placed: &Placed<'_>, refusal: Refusal) -> ResolveError {
    let (Refusal::Empty(attr) | Refusal::Other(attr, _)) = refusal;
    let mut given = placed.rule.attributes.iter();
    let given = given.find(|attribute| attribute.attr == attr);
    let span = given.map_or(placed.rule.span, |attribute| attribute.span);
    let site = Box::new(placed.filter.site(span));
    match refusal {
        Refusal::Empty(_) => ResolveError::EmptyRange {
            site,
            start: base(attr).unwrap_or(attr),
        },
        Refusal::Other(_, reason) => ResolveError::Unbindable { site, reason },
    }
}

/// Whether the test on `attr` means something only together with another one of the rule.
fn completes_another(rule: &Rule, attr: Attr) -> bool {
    let has = |of: Attr| rule.attributes.iter().any(|other| other.attr == of);
    let is_icmp = matches!(
        rule.protocol,
        Protocol::Icmp | Protocol::IcmpV6 | Protocol::Ipv6
    );
    base(attr).is_some_and(has) || (attr == Attr::Code && is_icmp && has(Attr::Type))
}
