//! Address sets on disk: `NAME.set`, one element per line. One that cannot be read stays what it was in the
//! kernel.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use super::file;
use crate::address_set::{AddressSet, set_name};

/// Most bytes of a file: a set of the largest size.
const MOST_BYTES: usize = 64 << 20;

/// The directory of sets.
#[derive(Debug)]
pub(super) struct SetFiles {
    directory: PathBuf,
}

impl SetFiles {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// All sets by name, and for each that cannot be used why. A directory that is not there is made
    /// when it is needed.
    pub(super) fn load(&self) -> io::Result<BTreeMap<String, Result<AddressSet, String>>> {
        let mut sets = BTreeMap::new();
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(sets),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if let Some(name) = name.strip_suffix(".set")
                && set_name(name).is_ok()
            {
                let text = file::read(&self.path(name), MOST_BYTES);
                let set = text.map_err(|error| error.to_string());
                let set = set
                    .and_then(|text| AddressSet::parse(&text).map_err(|error| error.to_string()));
                sets.insert(name.to_owned(), set);
            }
        }
        Ok(sets)
    }

    /// Saves a set. When this returns, it is on disk.
    pub(super) fn save(&self, name: &str, set: &AddressSet) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let text: String = set.lines().map(|line| line + "\n").collect();
        file::write(&self.path(name), text.as_bytes())
    }

    /// Removes a set.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        file::remove(&self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.set"))
    }
}
