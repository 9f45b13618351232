//! Files that are there whole or not at all, and the lock of the state directory.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::DaemonError;
use crate::fault;

/// Replaces a file so that whoever reads it, also after a crash, finds the old or the new content.
/// When this returns, it is on disk.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // Names that begin with a dot are read by nobody.
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    let temporary = directory.join(temporary);
    let written = write_new(&temporary, content).and_then(|()| {
        fault::point();
        fs::rename(&temporary, path)
    });
    if let Err(error) = written {
        // Of no use, and not in the way of the next attempt either.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fault::point();
    sync_directory(directory)?;
    fault::point();
    Ok(())
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Removes a file; that it is gone already is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => {
            fault::point();
            path.parent().map_or(Ok(()), sync_directory)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes sure that the names in a directory are on disk.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A whole text file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: usize) -> io::Result<String> {
    // Opening a named pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    let mut file = File::open(path)?.take(limit as u64 + 1);
    file.read_to_string(&mut text)?;
    if text.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// The right to change a state directory, held until dropped or the process ends.
#[derive(Debug)]
pub(super) struct StateLock(File);

impl Drop for StateLock {
    fn drop(&mut self) {
        // Closing it is not enough while a process that was just forked has a copy.
        let _ = self.0.unlock();
    }
}

impl StateLock {
    /// Takes it, or says that another daemon has it.
    pub(super) fn take(directory: &Path) -> Result<Self, DaemonError> {
        let path = directory.join("lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options
            .open(&path)
            .map_err(DaemonError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(DaemonError::Busy {
                path: directory.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(DaemonError::File {
                action: "lock",
                path,
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.xml");
        write(&path, b"one, which is longer").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.xml");
        write(&path, b"old").unwrap();
        // The temporary file cannot be opened.
        fs::create_dir(directory.path().join(".a.xml.new")).unwrap();
        assert!(write(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let first = StateLock::take(directory.path()).unwrap();
        assert!(matches!(
            StateLock::take(directory.path()),
            Err(DaemonError::Busy { .. })
        ));
        drop(first);
        StateLock::take(directory.path()).unwrap();
    }
}
