//! The address sets in the kernel: one trie for each, replaced as a whole.

use std::collections::BTreeSet;

use aya::{
    Ebpf,
    maps::{HashOfMaps, LpmTrie, MapData, MapError, lpm_trie::Key},
};
use nwfilter_common::{MAX_SET_ELEMENTS, SetKey, SetName, names};

use super::{KernelError, tables::take};

/// `BPF_F_NO_PREALLOC` of `linux/bpf.h`, which tries must have.
const BPF_F_NO_PREALLOC: u32 = 1;

type Trie = LpmTrie<MapData, [u8; SetKey::DATA], u32>;

/// The map of sets.
pub(super) struct Sets(HashOfMaps<MapData, SetName, Trie>);

impl Sets {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self(take(ebpf, names::SETS)?))
    }

    /// Makes or replaces a set: a frame sees the elements before or these. Each comes with whether it is
    /// an exception.
    pub(super) fn replace(
        &mut self,
        name: SetName,
        elements: impl IntoIterator<Item = (SetKey, bool)>,
    ) -> Result<(), KernelError> {
        let failed = || KernelError::map(names::SETS, "write");
        let mut trie = Trie::create(MAX_SET_ELEMENTS, BPF_F_NO_PREALLOC).map_err(failed())?;
        for (key, exception) in elements {
            insert(&mut trie, &key, exception).map_err(failed())?;
        }
        self.0.insert(name, &trie, 0).map_err(failed())
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
