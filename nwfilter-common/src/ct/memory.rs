//! The tables in the memory of a process: for `explain` and for tests. Not for threads.

use core::cell::Cell;
use std::{
    cell::RefCell,
    collections::{HashMap, hash_map},
    rc::Rc,
};

use super::{
    Added, Entry, Key, Recent, Tables, Timeouts, Tracking, TrackingCounter, nanoseconds,
    sweep_verdict,
};
use crate::{
    abi::PortRecord,
    fragment::Fragment,
    limit::{Count, Limits, Member, Source},
    set::{self, SetKey, SetName, Sets},
    work::Work,
};

/// Connections, fragments and their settings, with a clock that stands still unless it is moved.
#[derive(Debug, Default)]
pub struct MemoryTables {
    /// What [`Tables::now`] says.
    pub clock: Cell<u64>,
    /// Seconds, 0 for the default.
    pub timeouts: Cell<Timeouts>,
    /// Most connections of all ports; `None` for no limit.
    pub capacity: Cell<Option<usize>>,
    connections: RefCell<HashMap<Key, Rc<Cell<Entry>>>>,
    fragments: RefCell<HashMap<u32, Rc<Fragment>>>,
    recent: RefCell<HashMap<u32, Rc<Cell<Recent>>>>,
    changes: RefCell<HashMap<u32, u64>>,
    counters: RefCell<HashMap<u32, Tracking>>,
    members: RefCell<HashMap<Member, u64>>,
    counts: RefCell<HashMap<Source, Count>>,
    sets: RefCell<HashMap<SetName, Elements>>,
}

/// The elements of a set, and whether they are exceptions.
type Elements = HashMap<SetKey, bool>;

impl MemoryTables {
    /// Empty tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock by that many nanoseconds.
    pub fn pass(&self, nanoseconds: u64) {
        self.clock.set(self.clock.get() + nanoseconds);
    }

    /// All connections, dead ones included, in no order.
    pub fn connections(&self) -> std::vec::Vec<(Key, Entry)> {
        let connections = self.connections.borrow();
        connections
            .iter()
            .map(|(key, entry)| (*key, entry.get()))
            .collect()
    }

    /// Removes dead connections and fragments, as the kernel's sweep does. `record` is that of all
    /// ports.
    pub fn sweep(&self, record: &PortRecord) {
        let now = self.now();
        self.connections.borrow_mut().retain(|key, entry| {
            let port = u32::from(key.port);
            let entries = self.counter(port, TrackingCounter::Entries);
            let Some(why) = sweep_verdict(&entry.get(), record, entries, now) else {
                return true;
            };
            self.count(port, why);
            self.add(port, TrackingCounter::Entries, u64::MAX);
            false
        });
        self.sweep_members(record);
        let timeout = self.timeout(super::Timeout::Fragment as usize);
        self.fragments
            .borrow_mut()
            .retain(|_, fragment| !fragment.is_dead(record.since, now, timeout));
    }

    /// Makes or replaces a set of these elements, each with whether it is an exception.
    pub fn set(&self, name: SetName, elements: impl IntoIterator<Item = (SetKey, bool)>) {
        let elements = elements.into_iter().collect();
        self.sets.borrow_mut().insert(name, elements);
    }

    /// Whether the frame that was decided last is in a set; `argument` is a node's.
    pub fn contains(&self, work: &Work, name: &SetName, argument: u32) -> bool {
        let mut work = *work;
        work.set_name = *name;
        set::contains(self, &mut work, argument)
    }

    /// Removes only members of limits whose connections are gone.
    pub fn sweep_members(&self, record: &PortRecord) {
        let now = self.now();
        self.members.borrow_mut().retain(|member, created| {
            let entry = self.connection(&member.connection).map(|entry| entry.get());
            if member.counts(record, entry, *created, now) {
                return true;
            }
            self.uncount_member(&member.counted_by());
            self.uncount(u32::from(member.connection.port), TrackingCounter::Limited);
            false
        });
        let counts = &mut self.counts.borrow_mut();
        counts.retain(|_, count| !count.is_stale(now));
    }

    fn add(&self, port: u32, counter: TrackingCounter, value: u64) {
        let mut counters = self.counters.borrow_mut();
        let counter = &mut counters.entry(port).or_default()[counter as usize];
        *counter = counter.wrapping_add(value);
    }
}

impl Tables for MemoryTables {
    type Connection = Rc<Cell<Entry>>;
    type Fragment = Rc<Fragment>;
    type Recent = Rc<Cell<Recent>>;

    fn now(&self) -> u64 {
        self.clock.get()
    }

    fn tick(&self) -> u64 {
        /// As of a kernel with `CONFIG_HZ=100`, in nanoseconds.
        const TICK: u64 = 10_000_000;
        self.now() / TICK
    }

    fn connection(&self, key: &Key) -> Option<Self::Connection> {
        self.connections.borrow().get(key).cloned()
    }

    fn add_connection(&self, key: &Key, entry: &Entry) -> Added {
        let mut connections = self.connections.borrow_mut();
        if connections.contains_key(key) {
            return Added::Exists;
        }
        if (self.capacity.get()).is_some_and(|capacity| connections.len() >= capacity) {
            return Added::Full;
        }
        connections.insert(*key, Rc::new(Cell::new(*entry)));
        Added::Stored
    }

    fn replace_connection(&self, key: &Key, entry: &Entry) -> bool {
        match self.connections.borrow().get(key) {
            Some(stored) => {
                stored.set(*entry);
                true
            }
            None => false,
        }
    }

    fn recent(&self, index: u32) -> Option<Self::Recent> {
        let mut recent = self.recent.borrow_mut();
        Some(Rc::clone(recent.entry(index).or_default()))
    }

    fn changes(&self, place: u32) -> u64 {
        self.changes.borrow().get(&place).copied().unwrap_or(0)
    }

    fn changed(&self, place: u32) {
        *self.changes.borrow_mut().entry(place).or_default() += 1;
    }

    fn fragment(&self, slot: u32) -> Option<Self::Fragment> {
        self.fragments.borrow().get(&slot).cloned()
    }

    fn store_fragment(&self, slot: u32, fragment: &Fragment) {
        self.fragments.borrow_mut().insert(slot, Rc::new(*fragment));
    }

    fn timeout(&self, which: usize) -> u64 {
        nanoseconds(self.timeouts.get()[which % super::TIMEOUTS], which)
    }

    fn counter(&self, port: u32, counter: TrackingCounter) -> u64 {
        let counters = self.counters.borrow();
        counters.get(&port).map_or(0, |all| all[counter as usize])
    }

    fn count(&self, port: u32, counter: TrackingCounter) {
        self.add(port, counter, 1);
    }

    fn uncount(&self, port: u32, counter: TrackingCounter) {
        self.add(port, counter, u64::MAX);
    }
}

impl Sets for MemoryTables {
    fn in_set(&self, set: &SetName, key: &SetKey) -> bool {
        let sets = self.sets.borrow();
        let Some(elements) = sets.get(set) else {
            return false;
        };
        let host = key.prefix - SetKey::BEFORE_ADDRESS;
        let prefixes = (0..=host).rev().map(|length| {
            let mut shorter = *key;
            shorter.prefix = SetKey::BEFORE_ADDRESS + length;
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            shorter.address = (u128::from_be_bytes(key.address) & mask).to_be_bytes();
            shorter
        });
        let mut found = prefixes.filter_map(|key| elements.get(&key));
        found.next().is_some_and(|exception| !exception)
    }
}

impl Limits for MemoryTables {
    fn members(&self, source: &Source) -> u64 {
        self.counts
            .borrow()
            .get(source)
            .map_or(0, |count| count.members)
    }

    fn is_member(&self, member: &Member) -> bool {
        self.members.borrow().contains_key(member)
    }

    fn add_member(&self, member: &Member, created: u64) -> Added {
        match self.members.borrow_mut().entry(*member) {
            hash_map::Entry::Occupied(_) => Added::Exists,
            hash_map::Entry::Vacant(room) => {
                room.insert(created);
                Added::Stored
            }
        }
    }

    fn remove_member(&self, member: &Member) -> bool {
        self.members.borrow_mut().remove(member).is_some()
    }

    fn count_member(&self, source: &Source, now: u64) -> bool {
        let mut counts = self.counts.borrow_mut();
        let first = Count {
            members: 0,
            since: now,
        };
        counts.entry(*source).or_insert(first).members += 1;
        true
    }

    fn uncount_member(&self, source: &Source) {
        if let Some(count) = self.counts.borrow_mut().get_mut(source) {
            count.members = count.members.saturating_sub(1);
        }
    }
}
