//! Writes the archive that a Linux kernel unpacks as its first root directory: cpio's "newc" format,
//! as the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst` describes it. Regular
//! files and directories only, all of them root's.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

/// Ends an archive.
const TRAILER: &str = "TRAILER!!!";
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// An archive that grows.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    /// What it holds, without the leading slash.
    names: BTreeSet<String>,
}

impl Archive {
    /// Adds a directory, and those that it is in, unless they are there.
    pub(crate) fn directory(&mut self, path: &str) -> Result<()> {
        let name = relative(path)?;
        let parents = name.match_indices('/').map(|(end, _)| &name[..end]);
        for directory in parents.chain([name]) {
            if self.names.insert(directory.to_owned()) {
                self.entry(directory, DIRECTORY, &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file that is not executable; its directories come along.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.regular(path, FILE, content)
    }

    /// Adds an executable file; its directories come along.
    pub(crate) fn program(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.regular(path, PROGRAM, content)
    }

    /// Whether there is a file or directory at an absolute path.
    pub(crate) fn contains(&self, path: &str) -> bool {
        relative(path).is_ok_and(|name| self.names.contains(name))
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry(TRAILER, 0, &[])?;
        Ok(self.bytes)
    }

    fn regular(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let name = relative(path)?;
        if let Some((directory, _)) = path.rsplit_once('/')
            && !directory.is_empty()
        {
            self.directory(directory)?;
        }
        if !self.names.insert(name.to_owned()) {
            bail!("{path} is twice in the archive");
        }
        self.entry(name, mode, content)
    }

    /// A header of thirteen numbers in hexadecimal, the name with a zero at its end, the content;
    /// name and content end at a multiple of four bytes.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len())
            .with_context(|| format!("{name} is too large for the archive"))?;
        let name_size = u32::try_from(name.len() + 1)?;
        let inode = u32::try_from(self.names.len())?;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let (user, group, modified, device, check) = (0, 0, 0, 0, 0);
        self.bytes.extend_from_slice(b"070701");
        for number in [
            inode, mode, user, group, links, modified, size, device, device, device, device,
            name_size, check,
        ] {
            self.bytes
                .extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The name of an absolute path inside the archive.
fn relative(path: &str) -> Result<&str> {
    match path.strip_prefix('/') {
        Some(name) if name.split('/').all(|part| !["", ".", ".."].contains(&part)) => Ok(name),
        _ => bail!("{path:?} is no absolute path without detours"),
    }
}

#[cfg(test)]
mod tests;
