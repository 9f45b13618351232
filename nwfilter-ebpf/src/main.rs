//! The TC classifier: hands frame, maps and clock to the engine in `nwfilter-common` and turns its
//! verdict into a TC action, counters and an event. No rule, no header and no policy is known here.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod answer;
mod learning;
mod maps;
mod packet;
mod sweep;
mod tracking;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::bpf_ktime_get_ns,
    macros::classifier,
    programs::TcContext,
};
use nwfilter_common::{
    FAULT_COUNTERS, Fault, FrameDirection, Hook, LeafVerdict, Packet as _, PortRecord,
    SNAPSHOT_LEN, Verdict, decide,
};

use crate::{
    maps::{Image, Port},
    packet::SkBuff,
    tracking::Maps,
};

/// Frames that enter the VM: TC egress of its port.
#[classifier]
fn nwfilter_in(ctx: TcContext) -> i32 {
    classify(&ctx, FrameDirection::In)
}

/// Frames that leave the VM: TC ingress of its port.
#[classifier]
fn nwfilter_out(ctx: TcContext) -> i32 {
    classify(&ctx, FrameDirection::Out)
}

/// Answers frames that do not enter the VM.
#[classifier]
fn nwfilter_answer_in(ctx: TcContext) -> i32 {
    answer::answer_rejected(&ctx, FrameDirection::In)
}

/// Answers frames that do not leave the VM.
#[classifier]
fn nwfilter_answer_out(ctx: TcContext) -> i32 {
    answer::answer_rejected(&ctx, FrameDirection::Out)
}

/// Removes dead connections; runs on no port's frames.
#[classifier]
fn nwfilter_sweep(_ctx: TcContext) -> i32 {
    sweep::sweep();
    TC_ACT_UNSPEC
}

#[inline(always)]
fn classify(ctx: &TcContext, direction: FrameDirection) -> i32 {
    let packet = SkBuff::new(ctx);
    let ifindex = packet.ifindex();
    let Some(Port { number, record }) = maps::port(ifindex) else {
        return TC_ACT_SHOT;
    };
    if answer::passes(&packet) {
        return TC_ACT_UNSPEC;
    }
    let verdict = judge(&packet, direction, number, record);
    let counters = record.counters;
    if matches!(verdict.fault, Fault::None) {
        maps::count(counters + FAULT_COUNTERS + verdict.ethernet, &packet);
        if matches!(verdict.layer, nwfilter_common::TableLayer::Inet) {
            maps::count(counters + FAULT_COUNTERS + verdict.inet, &packet);
        }
        if matches!(verdict.verdict, LeafVerdict::Accept) {
            if record.flags & PortRecord::LEARN != 0 {
                learning::offer(&packet, ifindex, number, record, direction);
            }
            // Not TC_ACT_OK: programs after this one shall see the frame too.
            return TC_ACT_UNSPEC;
        }
    } else {
        maps::count(counters + verdict.fault as u32, &packet);
    }
    if maps::events_wanted() {
        report(&packet, ifindex, number, record, direction, &verdict);
    }
    if matches!(verdict.verdict, LeafVerdict::Reject)
        && matches!(verdict.layer, nwfilter_common::TableLayer::Inet)
    {
        answer::reject(ctx, direction);
    }
    TC_ACT_SHOT
}

#[inline(always)]
fn judge(
    packet: &SkBuff<'_>,
    direction: FrameDirection,
    port: u32,
    record: &PortRecord,
) -> Verdict {
    if record.flags & PortRecord::READY == 0 {
        return Verdict::fault(Fault::NoImage);
    }
    let Some(work) = maps::work() else {
        return Verdict::fault(Fault::NoImage);
    };
    let hook = Hook {
        direction,
        port,
        record,
    };
    decide(packet, &hook, &Image(record.image), &Maps, work)
}

/// Tells userspace about a dropped frame, or counts it as lost when the buffer is full.
#[inline(always)]
fn report(
    packet: &SkBuff<'_>,
    ifindex: u32,
    port: u32,
    record: &PortRecord,
    direction: FrameDirection,
    verdict: &Verdict,
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
        (*event).ifindex = ifindex;
        (*event).port = port;
        (*event).image = record.image;
        (*event).entry = verdict.entry();
        (*event).length = length as u32;
        (*event).direction = direction as u8;
        (*event).layer = verdict.layer as u8;
        (*event).fault = verdict.fault as u8;
        (*event).snapshot = [0; SNAPSHOT_LEN];
        (*event).captured = packet.copy(&mut (*event).snapshot) as u8;
    }
    entry.submit(0);
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers called here are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
