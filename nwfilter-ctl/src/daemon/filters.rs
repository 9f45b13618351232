//! The filters that the daemon knows: those of the filter directory over the built-in ones.

use std::{collections::BTreeMap, fs, io, path::PathBuf, sync::Arc};

use tracing::warn;

use crate::{
    builtin::Flavour,
    model::Semantics,
    resolve::{FilterDir, FilterSource, LoadedFilter, SourceError},
};

/// A filter, or why its file cannot be used.
pub(super) type Known = Result<Arc<LoadedFilter>, SourceError>;

/// All filters by name.
#[derive(Debug)]
pub(super) struct Filters {
    directory: PathBuf,
    semantics: Semantics,
    known: BTreeMap<String, Known>,
}

impl Filters {
    /// Reads the directory; one that is not there is made.
    pub(super) fn load(directory: PathBuf, semantics: Semantics) -> io::Result<Self> {
        let mut filters = Self {
            directory,
            semantics,
            known: BTreeMap::new(),
        };
        filters.reload()?;
        Ok(filters)
    }

    /// Reads the directory again.
    pub(super) fn reload(&mut self) -> io::Result<()> {
        let loaded = match FilterDir::load(&self.directory, Flavour::default(), self.semantics) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Err(error) = fs::create_dir_all(&self.directory) {
                    warn!("cannot create {}: {error}", self.directory.display());
                }
                FilterDir::builtin(Flavour::default(), self.semantics)
            }
            other => other?,
        };
        let known = loaded.list().map(|listed| {
            let known = listed.filter.map(Arc::clone).map_err(Clone::clone);
            (listed.name.to_owned(), known)
        });
        self.known = known.collect();
        for (name, known) in &self.known {
            if let Err(error) = known {
                warn!("filter {name} cannot be used: {error}");
            }
        }
        Ok(())
    }
}

impl FilterSource for Filters {
    fn get(&self, name: &str) -> Result<Arc<LoadedFilter>, SourceError> {
        self.known
            .get(name)
            .cloned()
            .unwrap_or(Err(SourceError::Missing))
    }
}
