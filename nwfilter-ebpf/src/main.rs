//! The TC classifier: hands frame, maps and clock to the engine in `nwfilter-common` and turns its
//! verdict into a TC action, counters and an event. No rule, no header and no policy is known here.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod answer;
mod events;
mod learning;
mod maps;
mod packet;
mod parts;
mod sweep;
mod tracking;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::classifier,
    programs::TcContext,
};
use nwfilter_common::{
    ANSWER_MARK, FAULT_COUNTERS, Fault, FrameDirection, LeafVerdict, Pages as _, PortRecord,
    TableLayer, Verdict, decide_by,
};

use crate::{
    maps::{Image, Port},
    packet::SkBuff,
    parts::{Calls, Place},
};

/// Frames that enter the VM: TC egress of its port.
#[classifier]
#[inline(always)]
fn nwfilter_in(ctx: TcContext) -> i32 {
    classify(&ctx, FrameDirection::In)
}

/// Frames that leave the VM: TC ingress of its port.
#[classifier]
#[inline(always)]
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
    let Some(Port { number, record }) = maps::port(packet.ifindex()) else {
        return TC_ACT_SHOT;
    };
    let calls = Calls {
        packet,
        record,
        place: Place::new(number, direction),
    };
    if packet.mark() == ANSWER_MARK && calls.is_answer() {
        return TC_ACT_UNSPEC;
    }
    let verdict = judge(&calls);
    let counters = record.counters;
    if matches!(verdict.fault, Fault::None) {
        maps::count(counters + FAULT_COUNTERS + verdict.ethernet, packet);
        if matches!(verdict.layer, TableLayer::Inet) {
            maps::count(counters + FAULT_COUNTERS + verdict.inet, packet);
        }
        if matches!(verdict.verdict, LeafVerdict::Accept) {
            if record.flags & PortRecord::LEARN != 0 {
                calls.offer();
            }
            // Not TC_ACT_OK: programs after this one shall see the frame too.
            return TC_ACT_UNSPEC;
        }
    } else {
        maps::count(counters + verdict.fault as u32, packet);
    }
    if maps::events_wanted() {
        calls.report(&verdict);
    }
    if matches!(verdict.verdict, LeafVerdict::Reject) && matches!(verdict.layer, TableLayer::Inet) {
        answer::reject(ctx, direction);
    }
    TC_ACT_SHOT
}

#[inline(always)]
fn judge(calls: &Calls<'_>) -> Verdict {
    let record = calls.record;
    if record.flags & PortRecord::READY == 0 {
        return Verdict::fault(Fault::NoImage);
    }
    let image = Image(record.image);
    let (Some(first), Some(work)) = (image.page(0), maps::work()) else {
        return Verdict::fault(Fault::NoImage);
    };
    decide_by(calls, &calls.hook(), first, work)
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
