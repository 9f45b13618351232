//! Turns a rejected frame into its answer and sends that back: a frame from the VM leaves at the port's
//! egress, one for the VM comes in at its ingress. What an answer is, and who gets one, is for the engine
//! to say.

use aya_ebpf::{
    bindings::{
        BPF_F_INGRESS, BPF_F_INVALIDATE_HASH, TC_ACT_SHOT, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    btf_maps::{Array, ProgramArray},
    helpers::{
        bpf_ktime_get_coarse_ns, bpf_redirect, bpf_skb_adjust_room, bpf_skb_change_tail,
        bpf_skb_store_bytes,
    },
    macros::btf_map,
    programs::TcContext,
};
use nwfilter_common::{
    ANSWER_MARK, Answer, Answers, DEFAULT_ANSWERS, FrameDirection, Global, MAX_PORTS, answer,
};

use crate::{
    maps::{self, Image, Port, add},
    packet::SkBuff,
};

#[btf_map]
static ANSWERS: Array<Answers, MAX_PORTS> = Array::new();
/// By direction. Programs of their own, so that the verifier does not walk through the answer once for
/// each way that leads to it.
#[btf_map]
static ANSWERERS: ProgramArray<2> = ProgramArray::new();

/// Bytes that are cut out in front, besides those up to the transport header.
const MORE: u32 = 2;

/// Most bytes that are cut out.
const MOST: u32 = 256;

/// Goes on with the program that answers; returns only if there is none.
#[inline(always)]
pub(crate) fn reject(ctx: &TcContext, direction: FrameDirection) {
    // SAFETY: the program there is of the same type.
    unsafe { ANSWERERS.tail_call(ctx, direction as u32) };
}

/// Answers the frame that was decided last on this CPU, which is this one; returns the TC action.
#[inline(always)]
pub(crate) fn answer_rejected(ctx: &TcContext, direction: FrameDirection) -> i32 {
    send(SkBuff::new(ctx), direction).unwrap_or(TC_ACT_SHOT)
}

#[inline(always)]
fn send(packet: SkBuff, direction: FrameDirection) -> Option<i32> {
    let Port { number, record } = maps::port(packet.ifindex())?;
    let answers = ANSWERS.get_ptr_mut(number)?;
    let work = maps::work()?;
    let made = answer(&packet, &Image(record.image), work)?;
    let rate = match maps::global(Global::AnswerRate) {
        0 => DEFAULT_ANSWERS,
        set => (set - 1) as u32,
    };
    // SAFETY: elements of an array live as long as the program; two CPUs may both send the last
    // answer of a burst.
    unsafe {
        match (*answers).may_send(bpf_ktime_get_coarse_ns(), rate) {
            Some(due) => (*answers).due = due,
            None => {
                add((&raw mut (*answers).suppressed).cast(), 1);
                return None;
            }
        }
    }
    if !rewrite(packet, made, work.answer()) {
        return None;
    }
    packet.set_mark(ANSWER_MARK);
    // SAFETY: as above.
    unsafe { add((&raw mut (*answers).sent).cast(), 1) };
    let flags = match direction {
        FrameDirection::In => BPF_F_INGRESS,
        FrameDirection::Out => 0,
    };
    // SAFETY: the helper takes numbers.
    Some(unsafe { bpf_redirect(packet.ifindex(), u64::from(flags)) } as i32)
}

/// Overwrites a frame with an answer.
#[inline(always)]
fn rewrite(packet: SkBuff, Answer { len, transport }: Answer, bytes: *const u8) -> bool {
    /// Longest answer, and a bound that the verifier can see.
    const LONGEST: u32 = 191;
    let cut = transport + MORE;
    if cut > MOST || len > LONGEST || len < 1 {
        return false;
    }
    let skb = packet.raw();
    // A frame from a local socket comes with the order to fill in its transport checksum later.
    // Once the place of that order is before the frame's start, and something more is cut off, the kernel
    // drops it (`skb_postpull_rcsum`). This also takes segmentation off the frame.
    //
    // SAFETY: a valid context; `bytes` are more than `len`.
    unsafe {
        bpf_skb_change_tail(skb, len + cut, 0) == 0
            && bpf_skb_adjust_room(skb, 1 - cut as i32, BPF_ADJ_ROOM_MAC, 0) == 0
            && bpf_skb_adjust_room(skb, -1, BPF_ADJ_ROOM_MAC, 0) == 0
            && bpf_skb_store_bytes(skb, 0, bytes.cast(), len, u64::from(BPF_F_INVALIDATE_HASH)) == 0
    }
}
