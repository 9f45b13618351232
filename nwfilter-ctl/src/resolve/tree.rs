//! The walk over the tree of filters below a binding: depth first, in document order. Finds missing
//! filters and cycles; variables are not looked at here.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::{
    Attribute, Binding, Entry, Parameters, Reference, Rule, Selector, Span, VariableAccess,
};

use super::error::{Place, ReferencePath};
use super::scope::Scope;
use super::{FilterSource, LimitKind, Limits, LoadedFilter, MissingVariable, ResolveError, Site};

/// The filters that a binding uses, by name.
pub(super) type Filters = BTreeMap<Arc<str>, Arc<LoadedFilter>>;

/// One occurrence of a rule in the expanded tree.
pub(super) struct Placed<'a> {
    pub(super) filter: &'a LoadedFilter,
    /// Position among the rules of the filter.
    pub(super) number: u32,
    pub(super) rule: &'a Rule,
    pub(super) scope: Rc<Scope<'a>>,
}

impl<'a> Placed<'a> {
    /// The values of the variable of an access, if the access finds one.
    pub(super) fn values(&self, access: &VariableAccess) -> Option<&'a [String]> {
        let values = self.scope.get(&access.name)?;
        match access.selector {
            Selector::Element(index) if index as usize >= values.len() => None,
            _ => Some(values),
        }
    }

    /// The report of an access that finds none.
    pub(super) fn missing(
        &self,
        attribute: &Attribute,
        access: &VariableAccess,
    ) -> MissingVariable {
        MissingVariable {
            access: access.clone(),
            site: self.filter.site(attribute.span),
            attr: attribute.attr,
        }
    }
}

impl LoadedFilter {
    /// A place in this filter's document.
    pub(super) fn site(&self, span: Span) -> Site {
        Site {
            filter: Arc::clone(self.name()),
            line: self.line(span),
            span,
        }
    }
}

/// Loads the binding's filter and all that it refers to.
pub(super) fn load(
    binding: &Binding,
    source: &dyn FilterSource,
    limits: &Limits,
) -> Result<Filters, ResolveError> {
    check_values(&binding.parameters, limits, || {
        Place::Binding(binding.port.clone())
    })?;
    let mut loader = Loader {
        source,
        limits,
        filters: Filters::new(),
        path: Vec::new(),
    };
    loader.visit(&binding.filter)?;
    Ok(loader.filters)
}

/// The state of [`load`].
struct Loader<'a> {
    source: &'a dyn FilterSource,
    limits: &'a Limits,
    filters: Filters,
    path: Vec<Site>,
}

impl Loader<'_> {
    fn visit(&mut self, name: &str) -> Result<(), ResolveError> {
        if self.path.iter().any(|site| &*site.filter == name) {
            return Err(ResolveError::Cycle {
                name: name.into(),
                path: ReferencePath(self.path.clone()),
            });
        }
        if self.filters.contains_key(name) {
            return Ok(());
        }
        let loaded = self
            .source
            .get(name)
            .map_err(|error| ResolveError::Filter {
                name: name.into(),
                error,
                path: ReferencePath(self.path.clone()),
            })?;
        self.filters.insert(name.into(), Arc::clone(&loaded));
        for entry in &loaded.filter().entries {
            let Entry::Reference(reference) = entry else {
                continue;
            };
            let site = loaded.site(reference.span);
            check_values(&reference.parameters, self.limits, || {
                Place::Filter(Box::new(site.clone()))
            })?;
            self.path.push(site);
            check_depth(self.path.len(), self.limits, || self.path.clone())?;
            self.visit(&reference.filter)?;
            self.path.pop();
        }
        Ok(())
    }
}

/// The rules of the binding's filter and all that it refers to, in order.
pub(super) fn flatten<'a>(
    root: &str,
    filters: &'a Filters,
    scope: &Rc<Scope<'a>>,
    limits: &'a Limits,
) -> Result<Vec<Placed<'a>>, ResolveError> {
    let mut walk = Walk {
        filters,
        limits,
        rules: Vec::new(),
        visited: 0,
        path: Vec::new(),
    };
    if let Some(filter) = filters.get(root) {
        walk.visit(filter, scope)?;
    }
    Ok(walk.rules)
}

/// The state of [`flatten`].
struct Walk<'a> {
    filters: &'a Filters,
    limits: &'a Limits,
    rules: Vec<Placed<'a>>,
    visited: usize,
    path: Vec<(&'a LoadedFilter, &'a Reference)>,
}

impl<'a> Walk<'a> {
    fn visit(
        &mut self,
        filter: &'a LoadedFilter,
        scope: &Rc<Scope<'a>>,
    ) -> Result<(), ResolveError> {
        self.visited += 1;
        if self.visited > self.limits.filters {
            let place = Place::Filter(Box::new(filter.site(Span::default())));
            return Err(self.too_much(LimitKind::Filters, place));
        }
        let mut number = 0;
        for entry in &filter.filter().entries {
            match entry {
                Entry::Rule(rule) => {
                    if self.rules.len() == self.limits.rules {
                        let place = Place::Filter(Box::new(filter.site(rule.span)));
                        return Err(self.too_much(LimitKind::Rules, place));
                    }
                    self.rules.push(Placed {
                        filter,
                        number,
                        rule,
                        scope: Rc::clone(scope),
                    });
                    number += 1;
                }
                Entry::Reference(reference) => {
                    self.path.push((filter, reference));
                    check_depth(self.path.len(), self.limits, || self.sites())?;
                    if let Some(next) = self.filters.get(reference.filter.as_str()) {
                        self.visit(next, &scope.inside(&reference.parameters))?;
                    }
                    self.path.pop();
                }
            }
        }
        Ok(())
    }

    fn sites(&self) -> Vec<Site> {
        let sites = self.path.iter();
        sites
            .map(|(filter, reference)| filter.site(reference.span))
            .collect()
    }

    fn too_much(&self, limit: LimitKind, place: Place) -> ResolveError {
        ResolveError::Limit {
            limit,
            maximum: limit.of(self.limits),
            place,
            path: ReferencePath(self.sites()),
        }
    }
}

/// Refuses lists that are too long.
fn check_values(
    parameters: &Parameters,
    limits: &Limits,
    place: impl FnOnce() -> Place,
) -> Result<(), ResolveError> {
    if parameters
        .0
        .values()
        .all(|list| list.len() <= limits.values)
    {
        return Ok(());
    }
    Err(ResolveError::Limit {
        limit: LimitKind::Values,
        maximum: limits.values,
        place: place(),
        path: ReferencePath::default(),
    })
}

/// Refuses trees that are too deep; `path` ends with the reference that is one too many.
fn check_depth(
    depth: usize,
    limits: &Limits,
    path: impl FnOnce() -> Vec<Site>,
) -> Result<(), ResolveError> {
    if depth <= limits.depth {
        return Ok(());
    }
    let mut path = path();
    let last = path.pop().map_or(Place::Binding(String::new()), |site| {
        Place::Filter(Box::new(site))
    });
    Err(ResolveError::Limit {
        limit: LimitKind::Depth,
        maximum: limits.depth,
        place: last,
        path: ReferencePath(path),
    })
}
