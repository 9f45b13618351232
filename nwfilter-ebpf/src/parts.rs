//! The engine's larger parts, and all that few frames need, as global functions: the kernel verifies each
//! by itself, once, whatever leads to it (kernel commit 51c39bb1d5d1). What they do is defined in
//! `nwfilter-common`. Pointers arrive as the verifier knows them from BTF: valid, or null.

use core::arch::asm;

use aya_ebpf::bindings::__sk_buff;
use nwfilter_common::{
    Fields, FrameDirection, Hook, NodeRef, Page, Parts, PortRecord, TableLayer, Verdict, Whole,
    Work, is_answer, read, read_usual, rows, track_usual,
};

use crate::{
    events::{self, Drop},
    learning,
    maps::{self, Image},
    packet::SkBuff,
    tracking::Maps,
};

/// Port number and direction in one word.
#[derive(Clone, Copy)]
pub(crate) struct Place(u32);

impl Place {
    #[inline(always)]
    pub(crate) const fn new(port: u32, direction: FrameDirection) -> Self {
        Self(port << 1 | direction as u32)
    }

    #[inline(always)]
    const fn port(self) -> u32 {
        self.0 >> 1
    }

    #[inline(always)]
    const fn direction(self) -> FrameDirection {
        match self.0 & 1 {
            0 => FrameDirection::In,
            _ => FrameDirection::Out,
        }
    }
}

/// A frame at a port: what the functions are called with.
#[derive(Clone, Copy)]
pub(crate) struct Calls<'a> {
    pub(crate) packet: SkBuff,
    pub(crate) record: &'a PortRecord,
    pub(crate) place: Place,
}

impl Calls<'_> {
    /// Where the frame was seen.
    #[inline(always)]
    pub(crate) fn hook(&self) -> Hook<'_> {
        Hook {
            direction: self.place.direction(),
            port: self.place.port(),
            record: self.record,
        }
    }

    /// Whether the frame, which has the mark, is an answer of ours on its way.
    #[inline(always)]
    pub(crate) fn is_answer(&self) -> bool {
        nwfilter_is_answer(self.packet.raw()) != 0
    }

    /// Reports that the frame was dropped.
    #[inline(always)]
    pub(crate) fn report(&self, verdict: &Verdict) {
        let kind = (verdict.layer as u32) << 8 | verdict.fault as u32;
        nwfilter_report(
            self.packet.raw(),
            self.record,
            self.place.0,
            verdict.entry(),
            kind,
        );
    }

    /// Hands the frame over to be learned from, if it is wanted.
    #[inline(always)]
    pub(crate) fn offer(&self) {
        nwfilter_offer(self.packet.raw(), self.record, self.place.0);
    }
}

impl Parts for Calls<'_> {
    #[inline(always)]
    fn read(&self, work: &mut Work) -> bool {
        read_usual(&self.packet, work) || nwfilter_read(self.packet.raw(), work) != 0
    }

    #[inline(always)]
    fn adopt(&self, work: &mut Work) {
        nwfilter_adopt(work, self.record, self.place.0);
    }

    #[inline(always)]
    fn walk(&self, layer: TableLayer, node: NodeRef, work: &mut Work) -> NodeRef {
        NodeRef(match layer {
            TableLayer::Ethernet => nwfilter_ethernet(work, self.record, node.0),
            TableLayer::Inet => nwfilter_inet(work, self.record, self.place.0, node.0),
        })
    }

    #[inline(always)]
    fn track(&self, work: &mut Work) -> bool {
        if track_usual(&Maps, &self.hook(), work) {
            return false;
        }
        nwfilter_track(self.packet.raw(), work, self.record, self.place.0);
        work.is_pending()
    }

    #[inline(always)]
    fn options(&self, work: &mut Work) {
        nwfilter_options(self.packet.raw(), work, self.record);
    }

    #[inline(always)]
    fn commit(&self, accepted: bool, work: &mut Work) {
        nwfilter_commit(work, self.record, self.place.0, accepted.into());
    }

    #[inline(always)]
    fn join(&self, work: &mut Work) {
        nwfilter_join(work, self.record, self.place.0);
    }

    #[inline(always)]
    fn lend(&self, work: &mut Work) {
        nwfilter_lend(work, self.record, self.place.0);
    }
}

/// Calls a part, with all that it asks for. `work` is this CPU's working memory, which is found once more:
/// verifiers before Linux 6.2 take no keys and values for maps from a pointer that was handed over.
///
/// # Safety
///
/// `context` is that of the program, or null if `body` does not look at the frame; `record` is valid or
/// null. `work` is made from the reference that the caller has, who does not use it meanwhile: a function
/// that works on this memory must be handed it, and must not leave it unused, or the compiler takes it
/// that nothing there changes.
#[inline(always)]
unsafe fn part<R>(
    context: *mut __sk_buff,
    work: *mut Work,
    record: *const PortRecord,
    place: u32,
    body: impl FnOnce(&Whole<'_, SkBuff, Image, Maps>, &mut Work) -> R,
) -> Option<R> {
    // SAFETY: touches nothing. To the compiler it may do so through the pointer, as do the calls below.
    unsafe { asm!("/* {0} */", in(reg) work, options(nostack)) };
    let work = maps::work()?;
    // SAFETY: the caller vouches for the pointer.
    let record = unsafe { record.as_ref()? };
    let place = Place(place);
    // SAFETY: as above.
    let packet = unsafe { SkBuff::again(context) };
    let whole = Whole {
        packet: &packet,
        hook: Hook {
            direction: place.direction(),
            port: place.port(),
            record,
        },
        image: &Image(record.image),
        tables: &Maps,
    };
    Some(body(&whole, work))
}

/// For parts that do not look at the frame: the compiler does not pass on what is not used, and the
/// verifier would miss it.
const NO_FRAME: *mut __sk_buff = core::ptr::null_mut();
/// For parts that do not ask for the place.
const NO_PLACE: u32 = 0;

/// [`Parts::read`]; 0 for `false`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_read(context: *mut __sk_buff, work: *mut Work) -> u32 {
    // SAFETY: a valid context; the pointer is valid or null.
    unsafe {
        let packet = SkBuff::again(context);
        let Some(work) = work.as_mut() else {
            return 0;
        };
        u32::from(read(&packet, work))
    }
}

/// [`Parts::adopt`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_adopt(work: *mut Work, record: *const PortRecord, place: u32) -> u32 {
    // SAFETY: what the caller passes on is what the program has.
    unsafe {
        part(NO_FRAME, work, record, place, |whole, work| {
            whole.adopt(work)
        })
    };
    0
}

/// [`Parts::walk`] in the Ethernet layer.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_ethernet(work: *mut Work, record: *const PortRecord, node: u32) -> u32 {
    let walk = |whole: &Whole<'_, _, _, _>, work: &mut _| {
        whole.walk(TableLayer::Ethernet, NodeRef(node), work).0
    };
    // SAFETY: as in `nwfilter_adopt`.
    unsafe { part(NO_FRAME, work, record, NO_PLACE, walk) }.unwrap_or(node)
}

/// [`Parts::walk`] in the inet layer.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_inet(
    work: *mut Work,
    record: *const PortRecord,
    place: u32,
    node: u32,
) -> u32 {
    let walk = |whole: &Whole<'_, _, _, _>, work: &mut _| {
        whole.walk(TableLayer::Inet, NodeRef(node), work).0
    };
    // SAFETY: as in `nwfilter_adopt`.
    unsafe { part(NO_FRAME, work, record, place, walk) }.unwrap_or(node)
}

/// [`rows`] of a node, by its address.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nwfilter_rows(
    page: *const Page,
    fields: *const Fields,
    address: u32,
) -> u32 {
    // SAFETY: the pointers are valid or null.
    let (page, fields) = unsafe { (page.as_ref(), fields.as_ref()) };
    let (Some(page), Some(fields)) = (page, fields) else {
        return address;
    };
    rows(page, address as usize, fields).0
}

/// [`Whole::track_any`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_track(
    context: *mut __sk_buff,
    work: *mut Work,
    record: *const PortRecord,
    place: u32,
) -> u32 {
    // SAFETY: as in `nwfilter_adopt`.
    unsafe {
        part(context, work, record, place, |whole, work| {
            whole.track_any(work);
        })
    };
    0
}

/// [`Parts::options`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_options(
    context: *mut __sk_buff,
    work: *mut Work,
    record: *const PortRecord,
) -> u32 {
    // SAFETY: as in `nwfilter_adopt`.
    unsafe {
        part(context, work, record, NO_PLACE, |whole, work| {
            whole.options(work);
        })
    };
    0
}

/// [`Parts::commit`]; `accepted` is 0 for `false`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_commit(
    work: *mut Work,
    record: *const PortRecord,
    place: u32,
    accepted: u32,
) -> u32 {
    // SAFETY: as in `nwfilter_adopt`.
    unsafe {
        part(NO_FRAME, work, record, place, |whole, work| {
            whole.commit(accepted != 0, work);
        })
    };
    0
}

/// [`Parts::join`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_join(work: *mut Work, record: *const PortRecord, place: u32) -> u32 {
    // SAFETY: as in `nwfilter_adopt`.
    unsafe {
        part(NO_FRAME, work, record, place, |whole, work| {
            whole.join(work)
        })
    };
    0
}

/// [`Parts::lend`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_lend(work: *mut Work, record: *const PortRecord, place: u32) -> u32 {
    // SAFETY: as in `nwfilter_adopt`.
    unsafe {
        part(NO_FRAME, work, record, place, |whole, work| {
            whole.lend(work)
        })
    };
    0
}

/// [`is_answer`]; takes off the mark if so.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_is_answer(context: *mut __sk_buff) -> u32 {
    // SAFETY: a valid context.
    let packet = unsafe { SkBuff::again(context) };
    if !is_answer(&packet) {
        return 0;
    }
    packet.set_mark(0);
    1
}

/// [`events::report`]; `kind` is `layer << 8 | fault`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_report(
    context: *mut __sk_buff,
    record: *const PortRecord,
    place: u32,
    entry: u32,
    kind: u32,
) -> u32 {
    // SAFETY: as in `nwfilter_adopt`.
    let (packet, record) = unsafe { (SkBuff::again(context), record.as_ref()) };
    let Some(record) = record else {
        return 0;
    };
    let place = Place(place);
    let drop = Drop {
        entry,
        layer: (kind >> 8) as u8,
        fault: kind as u8,
    };
    events::report(packet, place.port(), record, place.direction(), &drop);
    0
}

/// [`learning::offer`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nwfilter_offer(
    context: *mut __sk_buff,
    record: *const PortRecord,
    place: u32,
) -> u32 {
    // SAFETY: as in `nwfilter_adopt`.
    let (packet, record) = unsafe { (SkBuff::again(context), record.as_ref()) };
    let Some(record) = record else {
        return 0;
    };
    let place = Place(place);
    learning::offer(packet, place.port(), record, place.direction());
    0
}
