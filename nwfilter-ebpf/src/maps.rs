//! The maps, and the few ways in which the program touches them. Their layout is defined in
//! `nwfilter-common`; userspace finds them by name.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, RingBuf},
    helpers::{bpf_get_smp_processor_id, bpf_loop},
    macros::btf_map,
};
use nwfilter_common::{
    Counter, DropEvent, EVENTS_BYTES, Fields, FrameDirection, GLOBAL_COUNT, Global, LEARNING_BYTES,
    LearnEvent, MAX_COUNTERS, MAX_IMAGES, MAX_PORTS, NodeRef, Page, Pages, PortRecord,
    TALLIES as PER_CPU, Tally, Work,
};

use crate::{packet::SkBuff, parts::nwfilter_rows};

/// `BPF_F_INNER_MAP`: images may have any number of pages (kernel commit 4a8f87e60f6d).
const INNER_MAP: usize = 1 << 12;
/// `BPF_F_MMAPABLE`: userspace reads counters, and adds to them, in place.
const MMAPABLE: usize = 1 << 10;

#[btf_map]
static GLOBALS: Array<u64, GLOBAL_COUNT> = Array::new();
#[btf_map]
static PORT_HASH: HashMap<u32, u32, MAX_PORTS> = HashMap::new();
#[btf_map]
static PORTS: Array<PortRecord, { 2 * MAX_PORTS }> = Array::new();
#[btf_map]
static IMAGES: ArrayOfMaps<Array<Page, 1>, MAX_IMAGES> = ArrayOfMaps::new();
#[btf_map]
static PAGES: ArrayOfMaps<Array<Page, 1, INNER_MAP>, MAX_IMAGES> = ArrayOfMaps::new();
#[btf_map]
static COUNTERS: Array<Counter, MAX_COUNTERS, MMAPABLE> = Array::new();
#[btf_map]
static TALLIES: Array<Tally, PER_CPU, MMAPABLE> = Array::new();
#[btf_map]
static SCRATCH: PerCpuArray<Work, 1> = PerCpuArray::new();
#[btf_map]
pub(crate) static EVENTS: RingBuf<DropEvent, EVENTS_BYTES> = RingBuf::new();
#[btf_map]
pub(crate) static LEARNING: RingBuf<LearnEvent, LEARNING_BYTES> = RingBuf::new();
#[btf_map]
static LEARN_LIMITS: Array<u64, { 2 * MAX_PORTS }> = Array::new();

/// A port and the record that holds now.
pub(crate) struct Port {
    pub(crate) number: u32,
    pub(crate) record: &'static PortRecord,
}

/// The port behind an interface.
#[inline(always)]
pub(crate) fn port(ifindex: u32) -> Option<Port> {
    // Nearly always the port has the number that its interface index asks for.
    let number = ifindex % MAX_PORTS as u32;
    let record = record(number)?;
    if record.ifindex == ifindex {
        return Some(Port { number, record });
    }
    elsewhere(ifindex)
}

/// A port whose number was taken.
#[inline(always)]
fn elsewhere(ifindex: u32) -> Option<Port> {
    // SAFETY: a number that is replaced while we read it belongs to another port, whose record the
    // check below refuses.
    let number = unsafe { *PORT_HASH.get(ifindex)? };
    let record = record(number)?;
    (record.ifindex == ifindex).then_some(Port { number, record })
}

/// The record of a port that holds now.
#[inline(always)]
pub(crate) fn record(number: u32) -> Option<&'static PortRecord> {
    let generation = *GLOBALS.get(Global::Generation as u32)? as u32 & 1;
    PORTS.get(number * 2 + generation)
}

/// An image by its number.
pub(crate) struct Image(pub(crate) u32);

impl Pages for Image {
    #[inline(always)]
    fn page(&self, number: u32) -> Option<&Page> {
        match number.checked_sub(1) {
            None => IMAGES.get_value(self.0, &0),
            Some(further) => PAGES.get_value(self.0, &further),
        }
    }

    #[inline(always)]
    fn repeat<F: FnMut() -> bool>(&self, times: u32, mut body: F) {
        // SAFETY: the kernel calls `round::<F>` while this call lasts, with the pointer to `body`.
        unsafe {
            bpf_loop(times, round::<F> as *mut c_void, (&raw mut body).cast(), 0);
        }
    }

    #[inline(always)]
    fn rows(&self, page: &Page, address: u32, fields: &Fields) -> NodeRef {
        NodeRef(nwfilter_rows(page, fields, address))
    }
}

/// One round of [`Pages::repeat`]; non-zero ends the loop.
///
/// # Safety
///
/// `body` points to an `F` that nothing else uses.
unsafe extern "C" fn round<F: FnMut() -> bool>(_index: u32, body: *mut c_void) -> i64 {
    // SAFETY: see above.
    let body = unsafe { &mut *body.cast::<F>() };
    i64::from(!body())
}

/// This CPU's working memory.
#[inline(always)]
pub(crate) fn work() -> Option<&'static mut Work> {
    let work = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: nothing else refers to this CPU's element while the program runs: TC programs run with
    // bottom halves disabled and do not nest.
    Some(unsafe { &mut *work })
}

/// Adds a frame to a counter, by way of this CPU's tally.
#[inline(always)]
pub(crate) fn count(index: u32, packet: SkBuff) {
    let (packets, bytes) = (packet.segments(), packet.wire_len());
    // SAFETY: the helper takes nothing.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let place = cpu * PER_CPU as u32 + index % PER_CPU as u32;
    let Some(tally) = TALLIES.get_ptr_mut(place) else {
        return add_to_counter(index, packets, bytes);
    };
    // SAFETY: only this CPU writes to its tallies, and programs do not nest; the pointer is to an
    // element of an array, which lives as long as the program.
    let tally = unsafe { &mut *tally };
    let counter = u64::from(index) + 1;
    if tally.counter != counter {
        if tally.counter != 0 {
            add_to_counter(
                (tally.counter - 1) as u32,
                tally.count.packets,
                tally.count.bytes,
            );
        }
        tally.counter = counter;
        tally.count = Counter::default();
    }
    tally.count.packets += packets;
    tally.count.bytes += bytes;
}

#[inline(always)]
fn add_to_counter(index: u32, packets: u64, bytes: u64) {
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the pointer is to an element of the array, which lives as long as the program.
        unsafe {
            add(&raw mut (*counter).packets, packets);
            add(&raw mut (*counter).bytes, bytes);
        }
    }
}

/// A global word.
#[inline(always)]
pub(crate) fn global(which: Global) -> u64 {
    GLOBALS.get(which as u32).map_or(0, |word| *word)
}

/// Whether somebody reads events.
#[inline(always)]
pub(crate) fn events_wanted() -> bool {
    GLOBALS
        .get(Global::Events as u32)
        .is_some_and(|wanted| *wanted != 0)
}

/// Counts an event that was lost.
#[inline(always)]
pub(crate) fn event_lost() {
    if let Some(lost) = GLOBALS.get_ptr_mut(Global::LostEvents as u32) {
        // SAFETY: as in `count`.
        unsafe { add(lost, 1) };
    }
}

/// Counts a frame to learn from that was lost.
#[inline(always)]
pub(crate) fn learning_lost() {
    if let Some(lost) = GLOBALS.get_ptr_mut(Global::LostLearning as u32) {
        // SAFETY: as in `count`.
        unsafe { add(lost, 1) };
    }
}

/// What limits the frames of a port and direction from which something may be learned.
#[inline(always)]
pub(crate) fn learn_limit(port: u32, direction: FrameDirection) -> Option<&'static mut u64> {
    let limit = LEARN_LIMITS.get_ptr_mut(port * 2 + direction as u32)?;
    // SAFETY: the pointer is to an element of the array, which lives as long as the program. If
    // another CPU changes it meanwhile, one frame more or less is let through.
    Some(unsafe { &mut *limit })
}

/// Adds atomically. The target has no read-modify-write atomics in `core`.
///
/// # Safety
///
/// `target` points to a word of a map.
#[inline(always)]
pub(crate) unsafe fn add(target: *mut u64, value: u64) {
    // SAFETY: the caller vouches for the pointer; the instruction touches nothing else.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) target, in(reg) value, options(nostack));
    }
}

/// As [`add`]; all that was written before is seen before it, on every CPU.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn add_in_order(target: *mut u64, value: u64) {
    // SAFETY: the caller vouches for the pointer; the instruction touches nothing else. What it fetches
    // is not asked for: the order is.
    unsafe {
        asm!("{1} = atomic_fetch_add((u64 *)({0} + 0), {1})", in(reg) target,
            inout(reg) value => _, options(nostack));
    }
}
