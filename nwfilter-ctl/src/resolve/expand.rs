//! From one rule and the values of its variables to concrete rules (section 3.2 of the semantics
//! reference): accesses of one iterator advance in parallel, iterators multiply.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::model::{Attr, Attribute, Datum, Protocol, Rule, Selector, Semantics, Value};

use super::error::{Place, ReferencePath};
use super::scope::Scope;
use super::tree::Placed;
use super::value::Differs;
use super::{Instance, LimitKind, Limits, Origin, ResolveError, Test, VariableElement, Warning};
use super::{sign, value};

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

/// What an iterator walks over: the indices of each step. More than one only where negated tests
/// must hold for several values at once.
type Rows = Rc<[Vec<u32>]>;

/// A scope, told from others by its address (all outlive the expansion), and the variables that an
/// iterator reads there.
type RowsKey<'a> = (*const Scope<'a>, Vec<(&'a str, bool)>);

/// An attribute that becomes a test.
struct Part<'a> {
    attribute: &'a Attribute,
    negated: bool,
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

/// A variable that has values.
#[derive(Clone, Copy)]
struct Variable<'a> {
    name: &'a str,
    values: &'a [String],
}

/// An iterator of a rule: variables that advance together.
struct Lockstep<'a> {
    id: u16,
    /// The variables that it walks, each once; true where at least one test that is not negated
    /// reads it.
    variables: Vec<(Variable<'a>, bool)>,
    rows: Rows,
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
        let (mut parts, mut iterators) = self.parts(placed)?;
        for iterator in &mut iterators {
            iterator.rows = self.rows(placed, &iterator.variables);
        }
        parts.retain(|part| !self.is_lost(placed, part));

        let steps = iterators.iter().map(|iterator| iterator.rows.len());
        let count = steps.fold(1, usize::saturating_mul);
        if count > self.limits.rules - self.instances.len() {
            return Err(self.too_much(LimitKind::Rules, placed));
        }
        let mut at = vec![0; iterators.len()];
        for _ in 0..count {
            let rows: Vec<&[u32]> = iterators
                .iter()
                .zip(&at)
                .map(|(iterator, at)| iterator.rows[*at].as_slice())
                .collect();
            self.push(placed, &parts, &rows)?;
            for (at, iterator) in at.iter_mut().zip(&iterators) {
                *at += 1;
                if *at < iterator.rows.len() {
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
            let negated = sign::negated(rule, attribute.attr, attribute.negated, self.semantics);
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
                            let positive = !negated || self.semantics == Semantics::Libvirt;
                            iterators[position]
                                .add(variable, positive, || placed.filter.site(attribute.span))?;
                            Source::Iterator(variable, position)
                        }
                    }
                }
            };
            parts.push(Part {
                attribute,
                negated,
                source,
            });
        }
        Ok((parts, iterators))
    }

    /// The steps of an iterator: one for each different tuple of the values that positive tests
    /// read, in order of first appearance. In libvirt's reading every test counts as positive, so
    /// each step has a single tuple; in the strict one the values that only negated tests read are
    /// collected, and none of them may match.
    fn rows(&mut self, placed: &Placed<'a>, variables: &[(Variable<'a>, bool)]) -> Rows {
        let key = variables
            .iter()
            .map(|(variable, positive)| (variable.name, *positive));
        let key = (Rc::as_ptr(&placed.scope), key.collect());
        if let Some(rows) = self.rows.get(&key) {
            return Rc::clone(rows);
        }
        let length = variables
            .first()
            .map_or(0, |(variable, _)| variable.values.len());
        let mut rows: Vec<Vec<u32>> = Vec::new();
        let mut seen: HashMap<Vec<&str>, usize> = HashMap::new();
        for index in 0..length {
            let positive = variables.iter().filter(|(_, positive)| *positive);
            let tuple = positive.map(|(variable, _)| variable.values[index].as_str());
            let row = *seen.entry(tuple.collect()).or_insert_with(|| {
                rows.push(Vec::new());
                rows.len() - 1
            });
            rows[row].push(index as u32);
        }
        let rows: Rows = rows.into();
        self.rows.insert(key, Rc::clone(&rows));
        rows
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

    /// Adds one instance; `rows` has the current step of each iterator.
    fn push(
        &mut self,
        placed: &Placed<'a>,
        parts: &[Part<'a>],
        rows: &[&[u32]],
    ) -> Result<(), ResolveError> {
        let rule = placed.rule;
        let mut tests = Vec::with_capacity(parts.len());
        for part in parts {
            let test = match part.source {
                Source::Literal(datum) => Test {
                    attr: part.attribute.attr,
                    negated: part.negated,
                    values: vec![datum.clone()],
                    variable: None,
                },
                Source::Element(variable, index) => self.test(placed, part, variable, &[index])?,
                Source::Iterator(variable, iterator) => {
                    self.test(placed, part, variable, rows[iterator])?
                }
            };
            self.tests += test.values.len();
            if self.tests > self.limits.tests {
                return Err(self.too_much(LimitKind::Tests, placed));
            }
            tests.push(test);
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
            if !part.negated || self.semantics == Semantics::Libvirt {
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
            negated: part.negated,
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

impl<'a> Lockstep<'a> {
    fn new(id: u16) -> Self {
        Self {
            id,
            variables: Vec::new(),
            rows: Rc::new([]),
        }
    }

    /// Adds a variable that is read by a test.
    fn add(
        &mut self,
        variable: Variable<'a>,
        positive: bool,
        site: impl FnOnce() -> super::Site,
    ) -> Result<(), ResolveError> {
        let known = self
            .variables
            .iter_mut()
            .find(|(other, _)| other.name == variable.name);
        if let Some((_, is_positive)) = known {
            *is_positive |= positive;
            return Ok(());
        }
        if let Some((first, _)) = self.variables.first()
            && first.values.len() != variable.values.len()
        {
            return Err(ResolveError::Cardinality {
                site: Box::new(site()),
                iterator: self.id,
                first: (first.name.into(), first.values.len()),
                second: (variable.name.into(), variable.values.len()),
            });
        }
        self.variables.push((variable, positive));
        Ok(())
    }
}

/// Whether the test on `attr` means something only together with another one of the rule.
fn completes_another(rule: &Rule, attr: Attr) -> bool {
    let has = |of: Attr| rule.attributes.iter().any(|other| other.attr == of);
    let is_icmp = matches!(
        rule.protocol,
        Protocol::Icmp | Protocol::IcmpV6 | Protocol::Ipv6
    );
    sign::base(attr).is_some_and(has) || (attr == Attr::Code && is_icmp && has(Attr::Type))
}
