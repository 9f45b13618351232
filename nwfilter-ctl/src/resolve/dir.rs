//! Filters of a directory over the built-in ones. Read once, when it is loaded; nothing is written
//! and nothing is watched here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::builtin::{self, Flavour};
use crate::diag::Diagnostic;
use crate::model::Semantics;
use crate::parse::parse_filter;
use crate::xml;

use super::{FilterSource, LoadedFilter, SourceError};

/// The filters `NAME.xml` of a directory, and the built-in ones that it does not replace.
///
/// A file that cannot be used is an error of the filter that it is named after, and of nothing
/// else; it does hide a built-in filter of that name. Files whose names begin with a dot or do not
/// end in `.xml` are not looked at, and neither are sub-directories.
#[derive(Clone, Debug)]
pub struct FilterDir {
    filters: BTreeMap<String, Result<Loaded, SourceError>>,
}

/// A usable filter.
#[derive(Clone, Debug)]
struct Loaded {
    filter: Arc<LoadedFilter>,
    warnings: Arc<[Diagnostic]>,
}

/// A filter of a [`FilterDir`].
#[derive(Clone, Debug)]
pub struct ListedFilter<'a> {
    /// Its name; that of the file if the filter cannot be used.
    pub name: &'a str,
    /// The filter, or why it cannot be used. A built-in filter has no path.
    pub filter: Result<&'a Arc<LoadedFilter>, &'a SourceError>,
    /// What parsing it warned of.
    pub warnings: &'a [Diagnostic],
}

impl FilterDir {
    /// The built-in filters alone.
    pub fn builtin(flavour: Flavour, semantics: Semantics) -> Self {
        let filters = builtin::names().filter_map(|name| {
            let text = builtin::builtin(name, flavour)?;
            Some((name.to_owned(), parse(name, text.into(), None, semantics)))
        });
        Self {
            filters: filters.collect(),
        }
    }

    /// The built-in filters and those of a directory.
    ///
    /// # Errors
    ///
    /// The directory cannot be read. What is wrong with single files is reported by
    /// [`FilterSource::get`] and [`FilterDir::list`].
    pub fn load(directory: &Path, flavour: Flavour, semantics: Semantics) -> io::Result<Self> {
        let mut loaded = Self::builtin(flavour, semantics);
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if let Some(name) = filter_name(&path) {
                let filter = read(&name, &path, semantics);
                loaded.filters.insert(name, filter);
            }
        }
        Ok(loaded)
    }

    /// All filters, sorted by name, unusable ones too.
    pub fn list(&self) -> impl ExactSizeIterator<Item = ListedFilter<'_>> {
        self.filters.iter().map(|(name, filter)| ListedFilter {
            name,
            filter: filter.as_ref().map(|loaded| &loaded.filter),
            warnings: filter.as_ref().map_or(&[], |loaded| &loaded.warnings),
        })
    }
}

impl FilterSource for FilterDir {
    fn get(&self, name: &str) -> Result<Arc<LoadedFilter>, SourceError> {
        match self.filters.get(name) {
            Some(Ok(loaded)) => Ok(Arc::clone(&loaded.filter)),
            Some(Err(error)) => Err(error.clone()),
            None => Err(SourceError::Missing),
        }
    }
}

/// The name of the filter that a file should hold, if it should hold one. A name that is not UTF-8
/// is shown with replacement characters; no filter can have it.
fn filter_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_string_lossy();
    let name = file.strip_suffix(".xml")?;
    let is_filter = !name.is_empty() && !name.starts_with('.') && !path.is_dir();
    is_filter.then(|| name.to_owned())
}

/// Reads a filter from a file.
fn read(name: &str, path: &Path, semantics: Semantics) -> Result<Loaded, SourceError> {
    let bytes = read_bounded(path).map_err(|error| SourceError::Unreadable {
        path: path.into(),
        error: Arc::new(error),
    })?;
    let text = xml::decode(&bytes).map_err(|found| SourceError::Invalid {
        path: Some(path.into()),
        text: String::from_utf8_lossy(&bytes).into(),
        found: [*found].into(),
    })?;
    parse(name, text.into(), Some(path.into()), semantics)
}

/// The bytes of a file, but no more than are needed to see that it is too large.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a named pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    let limit = xml::Limits::default().bytes as u64 + 1;
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses a filter and checks that it has the name of its file.
fn parse(
    name: &str,
    text: Arc<str>,
    path: Option<PathBuf>,
    semantics: Semantics,
) -> Result<Loaded, SourceError> {
    let (filter, found) = parse_filter(&text, semantics);
    match (filter, path) {
        (None, path) => Err(SourceError::Invalid {
            path,
            text,
            found: found.into(),
        }),
        (Some(filter), Some(path)) if filter.name != name => Err(SourceError::Misnamed {
            path,
            found: filter.name,
        }),
        (Some(filter), path) => Ok(Loaded {
            filter: Arc::new(LoadedFilter::new(filter, text, path)),
            warnings: found.into(),
        }),
    }
}
