//! The address sets in the kernel: one trie for each, replaced as a whole.

use std::collections::BTreeSet;

use aya::{
    Ebpf,
    maps::{HashOfMaps, LpmTrie, MapData, MapError, lpm_trie::Key},
};
use nwfilter_common::{MAX_SET_ELEMENTS, MAX_SETS, SetKey, SetName, names};

use super::{KernelError, tables::take};

/// `BPF_F_NO_PREALLOC` of `linux/bpf.h`, which tries must have.
const BPF_F_NO_PREALLOC: u32 = 1;

type Trie = LpmTrie<MapData, [u8; SetKey::DATA], u32>;

/// Elements that are in the kernel, and not yet those of a set.
pub struct Filled(Trie);

impl Filled {
    /// Each element comes with whether it is an exception.
    ///
    /// # Errors
    ///
    /// When there are too many, or there is no memory.
    pub fn new(elements: impl IntoIterator<Item = (SetKey, bool)>) -> Result<Self, KernelError> {
        let failed = || KernelError::map(names::SETS, "write");
        let mut trie = Trie::create(MAX_SET_ELEMENTS, BPF_F_NO_PREALLOC).map_err(failed())?;
        for (key, exception) in elements {
            insert(&mut trie, &key, exception).map_err(failed())?;
        }
        Ok(Self(trie))
    }
}

/// The map of sets.
pub(super) struct Sets(HashOfMaps<MapData, SetName, Trie>);

impl Sets {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self(take(ebpf, names::SETS)?))
    }

    /// Makes or replaces sets, one after the other: of each, a frame sees the elements before or these.
    /// On an error, all are as they were.
    pub(super) fn replace(&mut self, sets: &[(SetName, Filled)]) -> Result<(), KernelError> {
        let failed = || KernelError::map(names::SETS, "write");
        let known: BTreeSet<SetName> = self.0.keys().collect::<Result<_, _>>().map_err(failed())?;
        let new = sets.iter().filter(|(name, _)| !known.contains(name));
        if known.len() + new.count() > MAX_SETS {
            return Err(KernelError::Full {
                what: "another set",
                limit: MAX_SETS,
            });
        }
        let mut before = Vec::new();
        for (name, Filled(trie)) in sets {
            let old = known.contains(name).then(|| self.0.get(name, 0));
            before.push((name, old.transpose().map_err(failed())?));
            if let Err(error) = self.0.insert(name, trie, 0) {
                for (name, old) in before {
                    // What was there a moment ago has its place.
                    let _ = match old {
                        Some(trie) => self.0.insert(name, &trie, 0),
                        None => self.0.remove(name),
                    };
                }
                return Err(failed()(error));
            }
        }
        Ok(())
    }

    /// Adds or removes one element of a set that is there.
    pub(super) fn change(
        &mut self,
        name: SetName,
        key: &SetKey,
        exception: Option<bool>,
    ) -> Result<(), KernelError> {
        let failed = || KernelError::map(names::SETS, "write");
        let mut trie = self.0.get(&name, 0).map_err(failed())?;
        let changed = match exception {
            Some(exception) => insert(&mut trie, key, exception),
            None => trie.remove(&trie_key(key)),
        };
        changed.map_err(failed())
    }

    /// Removes all sets but these.
    pub(super) fn retain(&mut self, wanted: &BTreeSet<SetName>) -> Result<(), KernelError> {
        let failed = || KernelError::map(names::SETS, "write");
        let names: Vec<SetName> = self.0.keys().collect::<Result<_, _>>().map_err(failed())?;
        for name in names.iter().filter(|name| !wanted.contains(name)) {
            self.0.remove(name).map_err(failed())?;
        }
        Ok(())
    }
}

fn insert(trie: &mut Trie, key: &SetKey, exception: bool) -> Result<(), MapError> {
    trie.insert(&trie_key(key), u32::from(!exception), 0)
}

fn trie_key(key: &SetKey) -> Key<[u8; SetKey::DATA]> {
    let mut data = [0; SetKey::DATA];
    data[0] = key.form;
    data[1] = key.protocol;
    data[2..4].copy_from_slice(&key.port);
    data[4..].copy_from_slice(&key.address);
    Key::new(key.prefix, data)
}
