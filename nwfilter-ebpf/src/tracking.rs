//! The maps of connection tracking, as the engine's tables.

use core::cell::Cell;

use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::{Array, HashMap, HashOfMaps, LpmTrie, PerCpuArray, lpm_trie::Key as TrieKey},
    helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns},
    macros::btf_map,
};
use nwfilter_common::{
    Added, Count, Entry, Fragment, Key, Key4, Limits, MAX_CONNECTIONS, MAX_FRAGMENTS, MAX_PORTS,
    MAX_SETS, Member, PLACES, RECENT, Recent, SetKey, SetName, Sets, Source, Tables, Timeouts,
    Tracking, TrackingCounter, nanoseconds,
};

use crate::maps::{add, add_in_order};

const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
pub(crate) static CONNECTIONS4: HashMap<Key4, Entry, MAX_CONNECTIONS, ON_DEMAND> = HashMap::new();
#[btf_map]
pub(crate) static CONNECTIONS6: HashMap<Key, Entry, MAX_CONNECTIONS, ON_DEMAND> = HashMap::new();
#[btf_map]
pub(crate) static FRAGMENTS: HashMap<u32, Fragment, MAX_FRAGMENTS, ON_DEMAND> = HashMap::new();
#[btf_map]
static REMEMBERED: PerCpuArray<Recent, RECENT> = PerCpuArray::new();
#[btf_map]
static CHANGES: Array<u64, PLACES> = Array::new();
#[btf_map]
static TIMEOUTS: Array<Timeouts, 1> = Array::new();
#[btf_map]
static TRACKING: Array<Tracking, MAX_PORTS> = Array::new();

#[btf_map]
pub(crate) static MEMBERS: HashMap<Member, u64, MAX_CONNECTIONS, ON_DEMAND> = HashMap::new();
#[btf_map]
pub(crate) static COUNTS: HashMap<Source, Count, MAX_CONNECTIONS, ON_DEMAND> = HashMap::new();

#[btf_map]
static SETS: HashOfMaps<SetName, LpmTrie<[u8; SetKey::DATA], u32, 1>, MAX_SETS, ON_DEMAND> =
    HashOfMaps::new();

const EXISTS: i32 = -17;

/// The maps.
pub(crate) struct Maps;

impl Tables for Maps {
    type Connection = &'static Cell<Entry>;
    type Fragment = &'static Fragment;
    type Recent = &'static Cell<Recent>;

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper takes nothing and reads a clock.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn tick(&self) -> u64 {
        // SAFETY: as above. The verifier makes one load of it (kernel commit 5576b991e9c1).
        unsafe { bpf_jiffies64() }
    }

    #[inline(always)]
    fn connection(&self, key: &Key) -> Option<Self::Connection> {
        let entry = if key.family == 4 {
            CONNECTIONS4.get_ptr_mut(Key4::from(key))?
        } else {
            CONNECTIONS6.get_ptr_mut(key)?
        };
        // SAFETY: a cell has the layout of what is in it. Elements stay mapped while a program runs;
        // one that is removed at the same time may be another connection's already, so entries are
        // used right after they were found, and removed long after they are dead.
        Some(unsafe { &*entry.cast::<Cell<Entry>>() })
    }

    #[inline(always)]
    fn add_connection(&self, key: &Key, entry: &Entry) -> Added {
        match store(key, entry, BPF_NOEXIST) {
            Ok(()) => Added::Stored,
            Err(EXISTS) => Added::Exists,
            Err(_) => Added::Full,
        }
    }

    #[inline(always)]
    fn replace_connection(&self, key: &Key, entry: &Entry) -> bool {
        store(key, entry, BPF_EXIST).is_ok()
    }

    #[inline(always)]
    fn recent(&self, index: u32) -> Option<Self::Recent> {
        let recent = REMEMBERED.get_ptr_mut(index)?;
        // SAFETY: a cell has the layout of what is in it. The element is this CPU's own, and programs do
        // not nest.
        Some(unsafe { &*recent.cast::<Cell<Recent>>() })
    }

    #[inline(always)]
    fn changes(&self, place: u32) -> u64 {
        // SAFETY: arrays live as long as the program; other CPUs write this.
        CHANGES
            .get_ptr_mut(place)
            .map_or(0, |changes| unsafe { changes.read_volatile() })
    }

    #[inline(always)]
    fn changed(&self, place: u32) {
        if let Some(changes) = CHANGES.get_ptr_mut(place) {
            // SAFETY: arrays live as long as the program.
            unsafe { add_in_order(changes, 1) };
        }
    }

    #[inline(always)]
    fn fragment(&self, slot: u32) -> Option<Self::Fragment> {
        // SAFETY: as for connections.
        unsafe { FRAGMENTS.get(&slot) }
    }

    #[inline(always)]
    fn store_fragment(&self, slot: u32, fragment: &Fragment) {
        // Without room the later fragments are dropped.
        let _ = FRAGMENTS.insert(&slot, fragment, 0);
    }

    #[inline(always)]
    fn timeout(&self, which: usize) -> u64 {
        let seconds = TIMEOUTS.get(0).map_or(0, |all| all[which % all.len()]);
        nanoseconds(seconds, which)
    }

    #[inline(always)]
    fn counter(&self, port: u32, counter: TrackingCounter) -> u64 {
        TRACKING.get(port).map_or(0, |all| all[counter as usize])
    }

    #[inline(always)]
    fn count(&self, port: u32, counter: TrackingCounter) {
        change(port, counter, 1);
    }

    #[inline(always)]
    fn uncount(&self, port: u32, counter: TrackingCounter) {
        change(port, counter, u64::MAX);
    }
}

impl Sets for Maps {
    #[inline(always)]
    fn in_set(&self, set: &SetName, key: &SetKey) -> bool {
        // SAFETY: a set's key is laid out as that of a trie, a length and then bytes; values are one
        // word, and elements that are removed at the same time stay readable while a program runs.
        let element = unsafe {
            let key = &*core::ptr::from_ref(key).cast::<TrieKey<[u8; SetKey::DATA]>>();
            SETS.get_value(set, key)
        };
        element.is_some_and(|element| *element != 0)
    }
}

impl Limits for Maps {
    #[inline(always)]
    fn members(&self, source: &Source) -> u64 {
        // SAFETY: an element that is removed at the same time may be another source's already, whose
        // number is as good as any for a source that had none.
        unsafe { COUNTS.get(source) }.map_or(0, |count| count.members)
    }

    #[inline(always)]
    fn is_member(&self, member: &Member) -> bool {
        // SAFETY: nothing is read.
        unsafe { MEMBERS.get(member) }.is_some()
    }

    #[inline(always)]
    fn add_member(&self, member: &Member, created: u64) -> Added {
        match MEMBERS.insert(member, created, u64::from(BPF_NOEXIST)) {
            Ok(()) => Added::Stored,
            Err(EXISTS) => Added::Exists,
            Err(_) => Added::Full,
        }
    }

    #[inline(always)]
    fn remove_member(&self, member: &Member) -> bool {
        MEMBERS.remove(member).is_ok()
    }

    #[inline(always)]
    fn count_member(&self, source: &Source, now: u64) -> bool {
        if COUNTS.get_ptr_mut(source).is_none() {
            let none = Count {
                members: 0,
                since: now,
            };
            // It may be there by now, or there is no room.
            let _ = COUNTS.insert(source, none, u64::from(BPF_NOEXIST));
        }
        let Some(count) = COUNTS.get_ptr_mut(source) else {
            return false;
        };
        // SAFETY: elements stay mapped while a program runs, and counts are removed only when they
        // have been 0 for long.
        unsafe { add((&raw mut (*count).members).cast(), 1) };
        true
    }

    #[inline(always)]
    fn uncount_member(&self, source: &Source) {
        if let Some(count) = COUNTS.get_ptr_mut(source) {
            // SAFETY: as above.
            unsafe {
                if (*count).members > 0 {
                    add((&raw mut (*count).members).cast(), u64::MAX);
                }
            }
        }
    }
}

#[inline(always)]
fn store(key: &Key, entry: &Entry, flags: u32) -> Result<(), i32> {
    if key.family == 4 {
        CONNECTIONS4.insert(Key4::from(key), entry, u64::from(flags))
    } else {
        CONNECTIONS6.insert(key, entry, u64::from(flags))
    }
}

/// Adds to a counter of a port.
#[inline(always)]
pub(crate) fn change(port: u32, counter: TrackingCounter, value: u64) {
    if let Some(all) = TRACKING.get_ptr_mut(port) {
        // SAFETY: the index is in range, and arrays live as long as the program.
        unsafe { add((&raw mut (*all)[counter as usize]).cast(), value) };
    }
}
