//! Address sets on disk: `NAME.set`, one element per line. One that cannot be read stays what it was in the
//! kernel.
//!
//! Several sets that change together are written to a directory of their own first. Giving that its other
//! name is the instant at which they all have changed; what is left to do then is done by whoever comes next.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use super::file;
use crate::{
    address_set::{AddressSet, set_name},
    fault,
};

/// Most bytes of a file: a set of the largest size.
const MOST_BYTES: usize = 64 << 20;

/// Directories of sets that change together: not all there yet, and all there.
const BEGUN: &str = ".import";
const DONE: &str = ".import-done";

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
        self.settle()?;
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
                let path = self.path(name);
                let text = file::read(&path, MOST_BYTES).map_err(|error| error.to_string());
                let set = text
                    .and_then(|text| AddressSet::parse(&text).map_err(|error| error.to_string()))
                    .map_err(|error| format!("{}: {error}", path.display()));
                sets.insert(name.to_owned(), set);
            }
        }
        Ok(sets)
    }

    /// Saves a set. When this returns, it is on disk.
    pub(super) fn save(&self, name: &str, set: &AddressSet) -> io::Result<()> {
        self.settle()?;
        fs::create_dir_all(&self.directory)?;
        file::write(&self.path(name), text(set).as_bytes())
    }

    /// Saves sets, all or none. When this returns, they are on disk.
    pub(super) fn save_all(&self, sets: &[(&str, &AddressSet)]) -> io::Result<()> {
        if let [(name, set)] = sets {
            return self.save(name, set);
        }
        self.settle()?;
        let begun = self.directory.join(BEGUN);
        fs::create_dir_all(&begun)?;
        for (name, set) in sets {
            file::write(&begun.join(file_name(name)), text(set).as_bytes())?;
        }
        fs::rename(&begun, self.directory.join(DONE))?;
        fault::point();
        file::sync_directory(&self.directory)?;
        self.settle()
    }

    /// Removes a set.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.settle()?;
        file::remove(&self.path(name))
    }

    /// Ends what was begun, or undoes it.
    fn settle(&self) -> io::Result<()> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        };
        gone(fs::remove_dir_all(self.directory.join(BEGUN)))?;
        let done = self.directory.join(DONE);
        let files = match fs::read_dir(&done) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        for file in files {
            let file = file?;
            fs::rename(file.path(), self.directory.join(file.file_name()))?;
            fault::point();
        }
        file::sync_directory(&self.directory)?;
        fs::remove_dir(&done)?;
        fault::point();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(file_name(name))
    }
}

fn file_name(name: &str) -> String {
    format!("{name}.set")
}

fn text(set: &AddressSet) -> String {
    set.lines().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> AddressSet {
        AddressSet::parse(text).unwrap()
    }

    #[test]
    fn sets_change_together_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sets");
        let files = SetFiles::new(path.clone());
        let (old, new) = (set("10.0.0.1"), set("10.0.0.2"));
        files.save_all(&[("a", &old), ("b", &old)]).unwrap();
        files.save_all(&[("b", &new), ("c", &new)]).unwrap();
        let expected = [("a", &old), ("b", &new), ("c", &new)];
        let expected: BTreeMap<_, _> = expected
            .into_iter()
            .map(|(name, set)| (name.to_owned(), Ok(set.clone())))
            .collect();
        assert_eq!(files.load().unwrap(), expected);

        // Stopped before the instant, and after.
        fs::create_dir(path.join(BEGUN)).unwrap();
        fs::write(path.join(BEGUN).join("a.set"), "10.0.0.9\n").unwrap();
        assert_eq!(files.load().unwrap(), expected);
        fs::create_dir(path.join(DONE)).unwrap();
        fs::write(path.join(DONE).join("a.set"), "10.0.0.9\n").unwrap();
        // Something newer is not replaced later.
        files.save("b", &old).unwrap();
        let now = files.load().unwrap();
        assert_eq!(now["a"], Ok(set("10.0.0.9")));
        assert_eq!(now["b"], Ok(old));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 3, "nothing is left");
    }

    #[test]
    fn a_file_that_is_no_set_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.set"), "10.0.0.1\nnonsense\n").unwrap();
        let loaded = SetFiles::new(directory.path().to_owned()).load().unwrap();
        let error = loaded["a"].as_ref().unwrap_err();
        assert!(error.contains("a.set: `nonsense`"), "{error}");
    }
}
