//! Hands frames that have passed to userspace, which learns the VM's addresses from them. Which ones
//! and how many is decided in `nwfilter-common`.

use core::ptr::addr_of_mut;

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use nwfilter_common::{FrameDirection, PortRecord, admit, is_wanted};

use crate::{maps, packet::SkBuff};

/// Hands a frame over if it is wanted and within the limits.
#[inline(always)]
pub(crate) fn offer(packet: SkBuff, port: u32, record: &PortRecord, direction: FrameDirection) {
    if !is_wanted(&packet, direction, record) {
        return;
    }
    // SAFETY: no argument, no effect.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let Some(limit) = maps::learn_limit(port, direction) else {
        return;
    };
    if !admit(limit, now) {
        return maps::learning_lost();
    }
    let Some(mut entry) = maps::LEARNING.reserve(0) else {
        return maps::learning_lost();
    };
    let event = entry.as_mut_ptr();
    // SAFETY: `event` points to memory for one event that the kernel reserved for us. Every field is
    // written here, except what is behind `captured` bytes of the frame: an earlier event's.
    unsafe {
        (*event).time = now;
        (*event).ifindex = packet.ifindex();
        (*event).port = port;
        (*event).direction = direction as u32;
        (*event).captured = packet.copy(&mut *addr_of_mut!((*event).frame)) as u32;
    }
    entry.submit(0);
}
