//! What stands between a binding and its rules, as findings with their places in the documents.

use std::collections::BTreeMap;

use super::{CliError, document, place, render::Checked};
use crate::{
    compile::CompileError,
    diag::{Code, Diagnostic, Severity, SourceFile, closest},
    model::{Binding, Entry, Span},
    prepare::PrepareError,
    resolve::{
        FilterDir, FilterSource as _, LoadedFilter, MissingVariable, Origin, Place, ReferencePath,
        ResolveError, Resolved, Site, SourceError, Warning,
    },
    xml::{self, Element, Limits},
};

/// The warnings of a resolved binding, by file.
pub(super) fn warnings(resolved: &Resolved) -> Vec<Checked> {
    let mut files: BTreeMap<&str, Checked> = BTreeMap::new();
    for warning in &resolved.warnings {
        let (site, code) = match warning {
            Warning::Lost { site, .. } => (site, Code::VariableVanishes),
            Warning::NoneOf { site, .. } => (site, Code::NegatedList),
            Warning::ReadDifferently { site, .. } => (site, Code::ReadDifferently),
        };
        let Some(filter) = resolved.filters.get(&site.filter) else {
            continue;
        };
        let found = Diagnostic::new(code, site.span, without_site(site, &warning.to_string()));
        files
            .entry(&site.filter)
            .or_insert_with(|| Checked {
                source: source_of(filter),
                found: Vec::new(),
            })
            .found
            .push(found);
    }
    files.into_values().collect()
}

/// Why there are no tables. An error means that a file cannot be read at all.
pub(super) fn prepare_error(
    error: &PrepareError,
    document: &SourceFile,
    binding: &Binding,
    filters: &FilterDir,
) -> Result<Vec<Checked>, CliError> {
    let context = Context {
        document,
        binding,
        filters,
    };
    match error {
        PrepareError::Resolve(error) => context.resolve(error),
        PrepareError::Compile(error) => Ok(context.compile(error)),
    }
}

struct Context<'a> {
    document: &'a SourceFile,
    binding: &'a Binding,
    filters: &'a FilterDir,
}

impl Context<'_> {
    fn resolve(&self, error: &ResolveError) -> Result<Vec<Checked>, CliError> {
        let plain = |code, site: &Site| {
            let message = without_site(site, &error.to_string());
            vec![self.at(site, Diagnostic::new(code, site.span, message))]
        };
        Ok(match error {
            ResolveError::Filter { name, error, path } => {
                return self.unusable(name, error, path);
            }
            ResolveError::Cycle { name, path } => {
                let message = format!("filter `{name}` refers to itself");
                vec![self.at_reference(path, Code::FilterLoop, &message, None)]
            }
            ResolveError::AddressUnknown(missing) => vec![self.missing(missing)],
            ResolveError::MissingVariables(missing) => missing
                .iter()
                .map(|missing| self.missing(missing))
                .collect(),
            ResolveError::Cardinality { site, .. } => plain(Code::UnequalLists, site),
            ResolveError::CommentVariable { site } | ResolveError::Unbindable { site, .. } => {
                refuse(plain(Code::CannotBind, site))
            }
            ResolveError::EmptyRange { site, .. } => refuse(plain(Code::EmptyRange, site)),
            ResolveError::NegatedPairs { site, .. } => refuse(plain(Code::NegatedList, site)),
            ResolveError::Value {
                site,
                attr,
                variable,
                index,
                text,
                reason,
            } => {
                let message = format!(
                    "`{text}`, value {index} of variable `{variable}`, does not fit `{attr}`"
                );
                let at = |span| {
                    let found = Diagnostic::new(Code::UnfitValue, span, message.clone());
                    match reason.strip_prefix("expected ") {
                        Some(expected) => found.expected(expected),
                        None => found.label(reason.as_str()),
                    }
                };
                match self.parameter(variable, text) {
                    Some(span) => {
                        let file = self.filter(&site.filter);
                        let reader = format!("read in {}:{}", file.name(), site.line);
                        vec![self.in_binding(at(span).help(reader))]
                    }
                    None => vec![self.at(site, at(site.span))],
                }
            }
            ResolveError::Limit {
                limit,
                maximum,
                place,
                path,
            } => {
                let message = format!("more than {maximum} {limit}");
                match place {
                    Place::Filter(site) => {
                        let found = Diagnostic::new(Code::TooLarge, site.span, message);
                        vec![self.at(site, with_way(found, path))]
                    }
                    Place::Binding(_) => vec![self.in_binding(Diagnostic::new(
                        Code::TooLarge,
                        self.reference(),
                        message,
                    ))],
                }
            }
        })
    }

    fn compile(&self, error: &CompileError) -> Vec<Checked> {
        match error {
            CompileError::Unsupported { origin, what } => {
                let message = format!("the datapath cannot test `{what}`");
                let source = self.filter(&origin.filter);
                let span = self.attribute(origin, |rule| {
                    rule.attributes
                        .iter()
                        .find(|attribute| attribute.attr == *what)
                        .map_or(rule.span, |attribute| attribute.span)
                });
                vec![Checked {
                    source,
                    found: vec![Diagnostic::new(Code::Unsupported, span, message)],
                }]
            }
            CompileError::TooLarge { .. }
            | CompileError::TooDeep { .. }
            | CompileError::TooManyLimits { .. } => vec![self.in_binding(Diagnostic::new(
                Code::TooLarge,
                self.reference(),
                error.to_string(),
            ))],
        }
    }

    /// A filter that is missing, or that its file does not hold.
    fn unusable(
        &self,
        name: &str,
        error: &SourceError,
        path: &ReferencePath,
    ) -> Result<Vec<Checked>, CliError> {
        Ok(vec![match error {
            SourceError::Missing => {
                let names: Vec<_> = self
                    .filters
                    .list()
                    .map(|filter| filter.name.to_owned())
                    .collect();
                let help = closest(name, names.iter().map(String::as_str))
                    .map(|name| format!("did you mean `{name}`?"));
                let message = format!("there is no filter `{name}`");
                self.at_reference(path, Code::MissingFilter, &message, help)
            }
            SourceError::Unreadable { path, error } => {
                return Err(CliError::File {
                    path: path.clone(),
                    source: std::io::Error::new(error.kind(), error.to_string()),
                });
            }
            SourceError::Invalid { path, text, found } => {
                let file = path.as_ref().map_or_else(
                    || format!("built-in/{name}.xml"),
                    |path| path.display().to_string(),
                );
                Checked {
                    source: SourceFile::new(file, &**text),
                    found: found
                        .iter()
                        .filter(|found| found.is_error())
                        .cloned()
                        .collect(),
                }
            }
            SourceError::Misnamed { path, found } => {
                let failed = |source| CliError::File {
                    path: path.clone(),
                    source,
                };
                let text = match document::read(path).map_err(failed)? {
                    Ok(text) => text,
                    // It has changed since.
                    Err(unusable) => return Ok(vec![unusable]),
                };
                let (root, _) = xml::read(&text, Limits::default());
                let span = root
                    .as_ref()
                    .and_then(|root| root.attribute("name"))
                    .map_or_else(Span::default, |attribute| attribute.span);
                let message = format!("the file of filter `{name}` holds a filter named `{found}`");
                let found = Diagnostic::new(Code::MisnamedFilter, span, message)
                    .expected(format!("`{name}`, the name of the file"));
                Checked {
                    source: SourceFile::new(path.display().to_string(), text),
                    found: vec![found],
                }
            }
        }])
    }

    fn missing(&self, missing: &MissingVariable) -> Checked {
        let source = self.filter(&missing.site.filter);
        let access = &source.text()[source.range(missing.site.span)];
        let name = &missing.access.name;
        let found = Diagnostic::new(
            Code::MissingVariable,
            missing.site.span,
            format!("`{access}` has no value"),
        )
        .expected(format!(
            "a `<parameter name='{name}' value='...'/>` in {} or in a `<filterref>` on the way here",
            self.document.name()
        ));
        Checked {
            source,
            found: vec![found],
        }
    }

    /// A finding on the reference that leads to a filter, in the binding or in another filter.
    fn at_reference(
        &self,
        path: &ReferencePath,
        code: Code,
        message: &str,
        help: Option<String>,
    ) -> Checked {
        let found = |span| {
            let mut found = Diagnostic::new(code, span, message);
            found.help = help;
            found
        };
        match path.0.split_last() {
            None => self.in_binding(found(self.reference())),
            Some((site, before)) => {
                let way = ReferencePath(before.to_vec());
                self.at(site, with_way(found(site.span), &way))
            }
        }
    }

    fn at(&self, site: &Site, found: Diagnostic) -> Checked {
        Checked {
            source: self.filter(&site.filter),
            found: vec![found],
        }
    }

    fn in_binding(&self, found: Diagnostic) -> Checked {
        Checked {
            source: self.document.clone(),
            found: vec![found],
        }
    }

    fn filter(&self, name: &str) -> SourceFile {
        self.filters.get(name).map_or_else(
            |_| SourceFile::new(format!("{name}.xml"), ""),
            |filter| source_of(&filter),
        )
    }

    /// A span of a rule.
    fn attribute(&self, origin: &Origin, span: impl Fn(&crate::model::Rule) -> Span) -> Span {
        let Ok(filter) = self.filters.get(&origin.filter) else {
            return Span::default();
        };
        let rules = filter
            .filter()
            .entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Rule(rule) => Some(rule),
                Entry::Reference(_) => None,
            });
        let mut rules = rules.skip(origin.rule as usize);
        rules.next().map_or_else(Span::default, span)
    }

    /// The value of the binding's attribute `filter`.
    fn reference(&self) -> Span {
        self.in_reference(|reference| Some(reference.attribute("filter")?.span))
            .unwrap_or_default()
    }

    /// The value of a parameter, if the binding gives it.
    fn parameter(&self, name: &str, value: &str) -> Option<Span> {
        let values = self.binding.parameters.0.get(name)?;
        if !values.iter().any(|given| given == value) {
            return None;
        }
        self.in_reference(|reference| {
            reference.children.iter().find_map(|child| {
                let given = child.attribute("value")?;
                let named = child.attribute("name")?.value == name;
                (named && given.value == value).then_some(given.span)
            })
        })
    }

    fn in_reference<T>(&self, find: impl FnOnce(&Element<'_>) -> Option<T>) -> Option<T> {
        let (root, _) = xml::read(self.document.text(), Limits::default());
        let root = root?;
        let binding = root.child("filterbinding").unwrap_or(&root);
        find(binding.child("filterref")?)
    }
}

fn source_of(filter: &LoadedFilter) -> SourceFile {
    SourceFile::new(place::file(filter), &**filter.text())
}

/// Errors that are only warnings as long as nobody binds the filter.
fn refuse(mut checked: Vec<Checked>) -> Vec<Checked> {
    for found in checked.iter_mut().flat_map(|file| &mut file.found) {
        found.severity = Severity::Error;
    }
    checked
}

/// With the references that lead to the place.
fn with_way(found: Diagnostic, path: &ReferencePath) -> Diagnostic {
    if path.0.is_empty() || found.help.is_some() {
        return found;
    }
    let way = path.to_string();
    found.help(way.trim().trim_matches(['(', ')']).to_owned())
}

/// A message without the place that it begins with, which is shown otherwise.
fn without_site(site: &Site, message: &str) -> String {
    let place = format!("{site}: ");
    message.strip_prefix(&place).unwrap_or(message).to_owned()
}
