//! The filters that the daemon knows: those of the filter directory over the built-in ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
    sync::Arc,
};

use tracing::warn;
use uuid::Uuid;

use super::file;
use crate::{
    builtin::{self, Flavour},
    model::{Entry, Filter, Semantics},
    parse::parse_filter,
    resolve::{FilterDir, FilterSource, LoadedFilter, SourceError},
};

/// A filter, or why its file cannot be used.
pub(crate) type Known = Result<Arc<LoadedFilter>, SourceError>;

/// All filters by name.
#[derive(Debug)]
pub(super) struct Filters {
    directory: PathBuf,
    semantics: Semantics,
    flavour: Flavour,
    known: BTreeMap<String, Known>,
}

impl Filters {
    /// Reads the directory; one that is not there is made.
    pub(super) fn load(
        directory: PathBuf,
        flavour: Flavour,
        semantics: Semantics,
    ) -> io::Result<Self> {
        let mut filters = Self {
            directory,
            semantics,
            flavour,
            known: BTreeMap::new(),
        };
        filters.reload()?;
        Ok(filters)
    }

    /// Reads the directory again.
    pub(super) fn reload(&mut self) -> io::Result<()> {
        let loaded = match FilterDir::load(&self.directory, self.flavour, self.semantics) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Err(error) = fs::create_dir_all(&self.directory) {
                    warn!("cannot create {}: {error}", self.directory.display());
                }
                FilterDir::builtin(self.flavour, self.semantics)
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

    /// All of them, sorted by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Known)> {
        self.known
            .iter()
            .map(|(name, known)| (name.as_str(), known))
    }

    /// One by its name or UUID.
    pub(super) fn find(&self, name_or_uuid: &str) -> Option<(&str, &Known)> {
        if let Some((name, known)) = self.known.get_key_value(name_or_uuid) {
            return Some((name, known));
        }
        let uuid: Uuid = name_or_uuid.parse().ok()?;
        self.with_uuid(uuid)
    }

    /// The one of that UUID.
    pub(super) fn with_uuid(&self, uuid: Uuid) -> Option<(&str, &Known)> {
        self.iter().find(|(_, known)| {
            known
                .as_ref()
                .is_ok_and(|filter| uuid_of(filter.filter()) == uuid)
        })
    }

    /// The file of a filter.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.xml"))
    }

    /// Saves a filter; from now on it is known. When this returns, it is on disk.
    pub(super) fn save(&mut self, filter: Arc<LoadedFilter>) -> io::Result<()> {
        let name = filter.name().to_string();
        file::write(&self.path(&name), filter.text().as_bytes())?;
        self.known.insert(name, Ok(filter));
        Ok(())
    }

    /// Removes the file of a filter. A built-in one of that name is known again.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        file::remove(&self.path(name))?;
        self.known.remove(name);
        if let Some(text) = builtin::builtin(name, self.flavour)
            && let (Some(filter), _) = parse_filter(text, self.semantics)
        {
            let filter = Arc::new(LoadedFilter::new(filter, text, None));
            self.known.insert(name.to_owned(), Ok(filter));
        }
        Ok(())
    }

    /// Makes a filter what it was before [`Filters::save`].
    pub(super) fn restore(&mut self, name: &str, before: Option<Known>) -> io::Result<()> {
        match before {
            Some(Ok(filter)) if filter.path().is_some() => self.save(filter),
            _ => self.remove(name),
        }
    }
}

/// The UUID of a filter; one made from its name, the same on every host, if its document has none.
pub(crate) fn uuid_of(filter: &Filter) -> Uuid {
    /// FNV-1a with 128 bits (RFC 9923): offset basis and prime.
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    filter.uuid.unwrap_or_else(|| {
        let hash = filter.name.bytes().fold(BASIS, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(PRIME)
        });
        uuid::Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid()
    })
}

/// The known filters, but with one other.
pub(super) struct With<'a> {
    /// The others.
    pub(super) filters: &'a Filters,
    /// The one.
    pub(super) filter: &'a Arc<LoadedFilter>,
}

impl FilterSource for With<'_> {
    fn get(&self, name: &str) -> Result<Arc<LoadedFilter>, SourceError> {
        if name == &**self.filter.name() {
            return Ok(Arc::clone(self.filter));
        }
        self.filters.get(name)
    }
}

/// Whether a filter refers to itself, directly or through others; then through which.
pub(super) fn cycle(filters: &dyn FilterSource, name: &str) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(filter) = filters.get(&next) else {
            continue;
        };
        for entry in &filter.filter().entries {
            let Entry::Reference(reference) = entry else {
                continue;
            };
            if reference.filter == name {
                return Some(next);
            }
            if seen.insert(reference.filter.clone()) {
                open.push(reference.filter.clone());
            }
        }
    }
    None
}

impl FilterSource for Filters {
    fn get(&self, name: &str) -> Result<Arc<LoadedFilter>, SourceError> {
        self.known
            .get(name)
            .cloned()
            .unwrap_or(Err(SourceError::Missing))
    }
}
