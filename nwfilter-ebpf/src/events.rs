//! Tells userspace about dropped frames. What is told is defined in `nwfilter-common`.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use nwfilter_common::{FrameDirection, Packet as _, PortRecord, SNAPSHOT_LEN};

use crate::{maps, packet::SkBuff};

/// What was decided of a dropped frame.
pub(crate) struct Drop {
    pub(crate) entry: u32,
    pub(crate) layer: u8,
    pub(crate) fault: u8,
}

/// Reports a dropped frame, or counts it as lost when the buffer is full.
#[inline(always)]
pub(crate) fn report(
    packet: SkBuff,
    port: u32,
    record: &PortRecord,
    direction: FrameDirection,
    drop: &Drop,
) {
    let Some(mut entry) = maps::EVENTS.reserve(0) else {
        maps::event_lost();
        return;
    };
    let event = entry.as_mut_ptr();
    let length = packet.len();
    // SAFETY: `event` points to memory for one event that the kernel reserved for us; every field of
    // it is written here before it is submitted.
    unsafe {
        (*event).time = bpf_ktime_get_ns();
        (*event).ifindex = packet.ifindex();
        (*event).port = port;
        (*event).image = record.image;
        (*event).entry = drop.entry;
        (*event).length = length as u32;
        (*event).direction = direction as u8;
        (*event).layer = drop.layer;
        (*event).fault = drop.fault;
        (*event).snapshot = [0; SNAPSHOT_LEN];
        (*event).captured = packet.copy(&mut (*event).snapshot) as u8;
    }
    entry.submit(0);
}
