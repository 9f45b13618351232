//! Removes connections and fragments that are dead, which nothing else does: a frame that finds a dead
//! one only takes its place. What is dead is for the engine to say.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_for_each_map_elem, bpf_map_delete_elem};
use nwfilter_common::{
    Count, Entry, Fragment, Key, Key4, Limits as _, Member, Source, Tables as _, Timeout,
    TrackingCounter, sweep_verdict,
};

use crate::{
    maps,
    tracking::{CONNECTIONS4, CONNECTIONS6, COUNTS, FRAGMENTS, MEMBERS, Maps, change},
};

/// What the callbacks need: taken once for all elements.
struct Round {
    now: u64,
    fragment_timeout: u64,
}

/// Goes through the maps.
#[inline(always)]
pub(crate) fn sweep() {
    let mut round = Round {
        now: Maps.now(),
        fragment_timeout: Maps.timeout(Timeout::Fragment as usize),
    };
    let round = (&raw mut round).cast::<c_void>();
    let [v4, v6, members, counts, fragments]: [*mut c_void; 5] = [
        (&raw const CONNECTIONS4).cast_mut().cast(),
        (&raw const CONNECTIONS6).cast_mut().cast(),
        (&raw const MEMBERS).cast_mut().cast(),
        (&raw const COUNTS).cast_mut().cast(),
        (&raw const FRAGMENTS).cast_mut().cast(),
    ];
    // SAFETY: the maps hold what the callbacks expect, and the kernel calls them while this lasts.
    unsafe {
        bpf_for_each_map_elem(v4, connection::<Key4> as *mut c_void, round, 0);
        bpf_for_each_map_elem(v6, connection::<Key> as *mut c_void, round, 0);
        bpf_for_each_map_elem(members, member as *mut c_void, round, 0);
        bpf_for_each_map_elem(counts, count as *mut c_void, round, 0);
        bpf_for_each_map_elem(fragments, fragment as *mut c_void, round, 0);
    }
}

/// A key of either kind.
trait OfPort {
    fn port(&self) -> u32;
}

impl OfPort for Key4 {
    #[inline(always)]
    fn port(&self) -> u32 {
        u32::from(self.port)
    }
}

impl OfPort for Key {
    #[inline(always)]
    fn port(&self) -> u32 {
        u32::from(self.port)
    }
}

/// Looks at one connection.
///
/// # Safety
///
/// To be called by the kernel for a map with these keys, with a [`Round`].
unsafe extern "C" fn connection<K: OfPort>(
    map: *mut c_void,
    key: *const K,
    entry: *const Entry,
    round: *const Round,
) -> i64 {
    // SAFETY: the kernel hands over an element of the map.
    let (port, entry, now) = unsafe { ((*key).port(), &*entry, (*round).now) };
    let entries = Maps.counter(port, TrackingCounter::Entries);
    if let Some(record) = maps::record(port)
        && let Some(why) = sweep_verdict(entry, record, entries, now)
    {
        // SAFETY: the kernel allows the removal of the element that it is at.
        if unsafe { bpf_map_delete_elem(map, key.cast_mut().cast()) } == 0 {
            change(port, why, 1);
            change(port, TrackingCounter::Entries, u64::MAX);
        }
    }
    0
}

/// Looks at one member of a limit.
///
/// # Safety
///
/// To be called by the kernel for [`MEMBERS`], with a [`Round`].
unsafe extern "C" fn member(
    map: *mut c_void,
    key: *const Member,
    created: *const u64,
    round: *const Round,
) -> i64 {
    // SAFETY: the kernel hands over an element of the map.
    let (member, created, now) = unsafe { (&*key, *created, (*round).now) };
    let port = u32::from(member.connection.port);
    let entry = Maps.connection(&member.connection).map(|entry| entry.get());
    if let Some(record) = maps::record(port)
        && !member.counts(record, entry, created, now)
    {
        // The element is another member's once it is removed.
        let source = member.counted_by();
        // SAFETY: the kernel allows the removal of the element that it is at.
        if unsafe { bpf_map_delete_elem(map, key.cast_mut().cast()) } == 0 {
            Maps.uncount_member(&source);
            Maps.uncount(port, TrackingCounter::Limited);
        }
    }
    0
}

/// Looks at what is counted of one source.
///
/// # Safety
///
/// To be called by the kernel for [`COUNTS`], with a [`Round`].
unsafe extern "C" fn count(
    map: *mut c_void,
    key: *const Source,
    count: *const Count,
    round: *const Round,
) -> i64 {
    // SAFETY: the kernel hands over an element of the map.
    let stale = unsafe { (*count).is_stale((*round).now) };
    if stale {
        // SAFETY: as above.
        unsafe { bpf_map_delete_elem(map, key.cast_mut().cast()) };
    }
    0
}

/// Looks at one fragment.
///
/// # Safety
///
/// To be called by the kernel for [`FRAGMENTS`], with a [`Round`].
unsafe extern "C" fn fragment(
    map: *mut c_void,
    key: *const u32,
    fragment: *const Fragment,
    round: *const Round,
) -> i64 {
    // SAFETY: the kernel hands over an element of the map.
    let (fragment, round) = unsafe { (&*fragment, &*round) };
    let record = maps::record(u32::from(fragment.packet.port));
    let dead = |since| fragment.is_dead(since, round.now, round.fragment_timeout);
    if record.is_some_and(|record| record.ifindex == 0 || dead(record.since)) {
        // SAFETY: as above.
        unsafe { bpf_map_delete_elem(map, key.cast_mut().cast()) };
    }
    0
}
