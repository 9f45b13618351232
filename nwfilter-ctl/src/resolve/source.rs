//! Where filters come from. The resolver asks for them by name; what stands behind the name (a
//! directory, the daemon's store, a test's map) is the source's affair.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{Filter, Span};

use super::SourceError;

/// A parsed filter with the text that it came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadedFilter {
    filter: Filter,
    name: Arc<str>,
    chain: Arc<str>,
    text: Arc<str>,
    path: Option<PathBuf>,
}

impl LoadedFilter {
    /// `text` is what `filter` was parsed from; `path` is the file that holds it, `None` for a
    /// built-in filter.
    pub fn new(filter: Filter, text: impl Into<Arc<str>>, path: Option<PathBuf>) -> Self {
        Self {
            name: filter.name.as_str().into(),
            chain: filter.chain.as_str().into(),
            filter,
            text: text.into(),
            path,
        }
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The chain of its rules.
    pub fn chain(&self) -> &Arc<str> {
        &self.chain
    }

    /// The document.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The file, or `None` for a built-in filter.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The line, from 1, on which a span of the document starts.
    pub fn line(&self, span: Span) -> u32 {
        let before = self.text.get(..span.start).unwrap_or_default();
        let newlines = before.matches('\n').count();
        u32::try_from(newlines)
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }
}

/// Finds filters by name.
pub trait FilterSource {
    /// The filter of that name.
    ///
    /// # Errors
    ///
    /// [`SourceError::Missing`] if there is none, another if there is one that cannot be used.
    fn get(&self, name: &str) -> Result<Arc<LoadedFilter>, SourceError>;
}

/// The plainest source: a map from names to filters.
impl FilterSource for BTreeMap<String, Arc<LoadedFilter>> {
    fn get(&self, name: &str) -> Result<Arc<LoadedFilter>, SourceError> {
        BTreeMap::get(self, name)
            .cloned()
            .ok_or(SourceError::Missing)
    }
}
