//! Leases on disk: one file per VM and hardware address, so that a VM has its addresses again when
//! it is bound again or the daemon starts again. A file that cannot be read concerns its VM alone,
//! and is kept.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use nwfilter_common::MacAddr;
use serde::{Deserialize, Serialize};
use tracing::warn;
use uuid::Uuid;

use super::file;
use crate::{
    learn::{Lease, Source},
    model::Binding,
};

/// Version of the files.
const SCHEMA: u32 = 1;
/// Longest file, in bytes.
const LIMIT: usize = 64 << 10;
/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Whose leases they are: a port may have another name next time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    owner: Uuid,
    mac: MacAddr,
}

impl Key {
    pub(super) const fn of(binding: &Binding) -> Self {
        Self {
            owner: binding.owner_uuid,
            mac: binding.mac,
        }
    }

    /// The name of the file.
    fn name(self) -> String {
        format!("{}-{}.json", self.owner, self.mac)
    }

    fn from_name(name: &str) -> Option<Self> {
        const UUID_LENGTH: usize = 36;
        let (owner, mac) = name.strip_suffix(".json")?.split_at_checked(UUID_LENGTH)?;
        let key = Self {
            owner: owner.parse().ok()?,
            mac: mac.strip_prefix('-')?.parse().ok()?,
        };
        (key.name() == name).then_some(key)
    }
}

/// A file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: u32,
    /// Times are those of this boot.
    boot: String,
    leases: Vec<Entry>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: IpAddr,
    source: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<IpAddr>,
    /// Seconds since the boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Name {
    Traffic,
    Neighbour,
    Dhcp,
}

impl From<&Lease> for Entry {
    fn from(lease: &Lease) -> Self {
        let (source, server) = match lease.source {
            Source::Traffic => (Name::Traffic, None),
            Source::Neighbour => (Name::Neighbour, None),
            Source::Dhcp { server } => (Name::Dhcp, Some(server)),
        };
        Self {
            address: lease.address,
            source,
            server,
            expires: lease.expires,
        }
    }
}

impl Entry {
    fn lease(&self) -> Option<Lease> {
        Some(Lease {
            address: self.address,
            source: match (self.source, self.server) {
                (Name::Traffic, None) => Source::Traffic,
                (Name::Neighbour, None) => Source::Neighbour,
                (Name::Dhcp, Some(server)) => Source::Dhcp { server },
                _ => return None,
            },
            expires: self.expires,
        })
    }
}

/// The directory of leases, and what was found in it.
#[derive(Debug)]
pub(super) struct LeaseFiles {
    directory: PathBuf,
    boot: String,
    leases: BTreeMap<Key, Vec<Lease>>,
    /// Files that cannot be read, and why.
    broken: BTreeMap<Key, String>,
}

impl LeaseFiles {
    /// Reads the directory, which is made if it is not there.
    pub(super) fn load(directory: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let boot = fs::read_to_string(BOOT_ID)?.trim().to_owned();
        let mut files = Self {
            directory,
            boot,
            leases: BTreeMap::new(),
            broken: BTreeMap::new(),
        };
        for entry in fs::read_dir(&files.directory)? {
            let entry = entry?;
            let Some(key) = entry.file_name().to_str().and_then(Key::from_name) else {
                continue;
            };
            match files.read(&entry.path()) {
                Ok(leases) => drop(files.leases.insert(key, leases)),
                Err(problem) => {
                    let problem = format!("{}: {problem}", entry.path().display());
                    warn!("{problem}; its VM has to get its addresses again");
                    files.broken.insert(key, problem);
                }
            }
        }
        Ok(files)
    }

    fn read(&self, path: &Path) -> Result<Vec<Lease>, String> {
        let text = file::read(path, LIMIT).map_err(|error| error.to_string())?;
        let document: Document = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if document.schema != SCHEMA {
            return Err(format!("schema {}, expected {SCHEMA}", document.schema));
        }
        let leases: Option<Vec<_>> = document.leases.iter().map(Entry::lease).collect();
        let leases = leases.ok_or("a lease has a server if and only if its source is `dhcp`")?;
        // No VM has lived on since another boot.
        Ok(if document.boot == self.boot {
            leases
        } else {
            Vec::new()
        })
    }

    /// What is known of a VM.
    pub(super) fn get(&self, key: Key) -> &[Lease] {
        self.leases.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Files that cannot be read.
    pub(super) fn problems(&self) -> impl Iterator<Item = &str> {
        self.broken.values().map(String::as_str)
    }

    /// Saves what is known of a VM. When this returns, it is on disk.
    pub(super) fn save(&mut self, key: Key, leases: &[Lease]) -> io::Result<()> {
        let path = self.directory.join(key.name());
        if self.broken.contains_key(&key) {
            if leases.is_empty() {
                return Ok(());
            }
            let aside = path.with_extension("broken");
            fs::hard_link(&path, &aside)?;
            warn!("{}: kept as {}", path.display(), aside.display());
        }
        if leases.is_empty() {
            file::remove(&path)?;
            self.leases.remove(&key);
        } else {
            let document = Document {
                schema: SCHEMA,
                boot: self.boot.clone(),
                leases: leases.iter().map(Entry::from).collect(),
            };
            file::write(&path, serde_json::to_string(&document)?.as_bytes())?;
            self.leases.insert(key, leases.to_vec());
        }
        self.broken.remove(&key);
        Ok(())
    }

    /// Removes the files in which nothing is valid any more.
    pub(super) fn tidy(&mut self, now: u64) {
        let over = self.leases.iter().filter(|(_, leases)| {
            let mut leases = leases.iter();
            !leases.any(|lease| lease.is_valid(now))
        });
        for key in over.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Err(error) = self.save(key, &[]) {
                warn!("{}: {error}", self.directory.join(key.name()).display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key {
        owner: Uuid::from_u128(7),
        mac: MacAddr([0x52, 0x54, 0, 0, 0, 1]),
    };

    fn leases() -> Vec<Lease> {
        let server = IpAddr::from([10, 0, 0, 254]);
        let lease = |address, source, expires| Lease {
            address,
            source,
            expires,
        };
        vec![
            lease([10, 0, 0, 1].into(), Source::Dhcp { server }, Some(77)),
            lease([10, 0, 0, 2].into(), Source::Dhcp { server }, None),
            lease([10, 0, 0, 3].into(), Source::Traffic, None),
            lease("fd00::1".parse().unwrap(), Source::Neighbour, None),
        ]
    }

    fn load(directory: &Path) -> LeaseFiles {
        LeaseFiles::load(directory.to_owned()).unwrap()
    }

    #[test]
    fn leases_survive_until_there_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("leases");
        load(&directory).save(KEY, &leases()).unwrap();
        let mut files = load(&directory);
        assert_eq!(files.get(KEY), leases());
        let other = Key {
            owner: Uuid::from_u128(8),
            ..KEY
        };
        assert_eq!(files.get(other), []);
        files.save(KEY, &[]).unwrap();
        assert_eq!(files.get(KEY), []);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }

    #[test]
    fn what_is_over_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = load(directory.path());
        files.save(KEY, &leases()[..1]).unwrap();
        files.tidy(76);
        assert_eq!(files.get(KEY).len(), 1);
        files.tidy(77);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn leases_of_another_boot_are_over() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = load(directory.path());
        files.boot = "another".into();
        files.save(KEY, &leases()).unwrap();
        assert_eq!(load(directory.path()).get(KEY), []);
        assert_eq!(load(directory.path()).problems().count(), 0);
    }

    #[test]
    fn a_broken_file_concerns_its_vm_alone_and_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = load(directory.path());
        files.save(KEY, &leases()).unwrap();
        let path = directory.path().join(KEY.name());
        let whole = fs::read_to_string(&path).unwrap();
        let other = Key {
            owner: Uuid::from_u128(8),
            ..KEY
        };
        let torn = &whole[..whole.len() / 2];
        let changed = [
            whole.replace(r#""schema":1"#, r#""schema":2"#),
            whole.replace(r#""server":"10.0.0.254","#, ""),
            whole.replace(r#""traffic""#, r#""magic""#),
            whole.replace("10.0.0.1", "10.0.0.256"),
        ];
        for text in [torn, ""]
            .into_iter()
            .chain(changed.iter().map(String::as_str))
        {
            assert_ne!(text, whole);
            fs::write(&path, text).unwrap();
            files.save(other, &leases()).unwrap();
            let mut files = load(directory.path());
            assert_eq!(files.get(KEY), []);
            assert_eq!(files.get(other), leases());
            let problem = files.problems().next().unwrap();
            assert!(problem.contains("0000-000000000007"), "{problem}");

            files.save(KEY, &[]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "kept");
            files.save(KEY, &leases()).unwrap();
            assert_eq!(load(directory.path()).get(KEY), leases());
            let aside = path.with_extension("broken");
            assert_eq!(fs::read_to_string(&aside).unwrap(), text, "kept aside");
            // What is there already is not replaced.
            fs::write(&path, text).unwrap();
            assert!(load(directory.path()).save(KEY, &leases()).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            fs::remove_file(aside).unwrap();
        }
    }

    #[test]
    fn only_names_of_keys_are_read() {
        assert_eq!(Key::from_name(&KEY.name()), Some(KEY));
        for name in [
            "README",
            ".json",
            "00000000-0000-0000-0000-000000000007.json",
            "00000000-0000-0000-0000-000000000007-52:54:0:0:0:1.json",
            "00000000-0000-0000-0000-000000000007-52:54:00:00:00:01.json.new",
        ] {
            assert_eq!(Key::from_name(name), None, "{name}");
        }
    }
}
