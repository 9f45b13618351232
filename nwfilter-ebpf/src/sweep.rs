//! Removes connections and fragments that are dead, which nothing else does: a frame that finds a dead
//! one only takes its place. What is dead is for the engine to say.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_for_each_map_elem, bpf_map_delete_elem};
use nwfilter_common::{Entry, Fragment, Key, Tables as _, Timeout, TrackingCounter, sweep_verdict};

use crate::tracking::{CONNECTIONS, FRAGMENTS, Maps, change};

/// What both callbacks need: taken once for all elements.
struct Round {
    now: u64,
    fragment_timeout: u64,
}

/// Goes through both maps.
#[inline(always)]
pub(crate) fn sweep() {
    let mut round = Round {
        now: Maps.now(),
        fragment_timeout: Maps.timeout(Timeout::Fragment as usize),
    };
    let context = (&raw mut round).cast::<c_void>();
    // SAFETY: the maps hold what the callbacks expect, and the kernel calls them while this lasts.
    unsafe {
        bpf_for_each_map_elem(
            (&raw const CONNECTIONS).cast_mut().cast(),
            connection as *mut c_void,
            context,
            0,
        );
        bpf_for_each_map_elem(
            (&raw const FRAGMENTS).cast_mut().cast(),
            fragment as *mut c_void,
            context,
            0,
        );
    }
}

/// Looks at one connection.
///
/// # Safety
///
/// To be called by the kernel for [`CONNECTIONS`], with a [`Round`].
unsafe extern "C" fn connection(
    map: *mut c_void,
    key: *const Key,
    entry: *const Entry,
    round: *const Round,
) -> i64 {
    // SAFETY: the kernel hands over an element of the map.
    let (port, entry, now) = unsafe { (u32::from((*key).port), *entry, (*round).now) };
    let entries = Maps.counter(port, TrackingCounter::Entries);
    if let Some(why) = sweep_verdict(&entry, &Maps.limit(port), entries, now) {
        // SAFETY: the map allows the removal of the element that it is at.
        if unsafe { bpf_map_delete_elem(map, key.cast_mut().cast()) } == 0 {
            change(port, why, 1);
            change(port, TrackingCounter::Entries, u64::MAX);
        }
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
    let limit = Maps.limit(u32::from(fragment.packet.port));
    if fragment.is_dead(&limit, round.now, round.fragment_timeout) {
        // SAFETY: as above.
        unsafe { bpf_map_delete_elem(map, key.cast_mut().cast()) };
    }
    0
}
