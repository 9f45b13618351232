//! What the benchmarks compare with, in an object of its own: a program that does nothing, and one
//! that a careful person would write by hand to keep a VM to its MAC and IP addresses and no more.
//! No part of the product.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    btf_maps::{HashMap, PerCpuArray},
    macros::{btf_map, classifier},
    programs::TcContext,
};

/// The addresses of a VM, in network order.
#[repr(C)]
#[derive(Clone, Copy)]
struct Owner {
    mac: [u8; 6],
    padding: [u8; 2],
    ip: [u8; 4],
}

/// By interface index.
#[btf_map]
static OWNERS: HashMap<u32, Owner, 4096> = HashMap::new();
/// Frames passed and dropped.
#[btf_map]
static VERDICTS: PerCpuArray<u64, 2> = PerCpuArray::new();

#[classifier]
fn empty(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

#[classifier]
fn anti_spoofing(ctx: TcContext) -> i32 {
    let honest = is_honest(&ctx).unwrap_or(false);
    if let Some(count) = VERDICTS.get_ptr_mut(u32::from(!honest)) {
        // SAFETY: this CPU's own counter.
        unsafe { *count += 1 };
    }
    if honest { TC_ACT_UNSPEC } else { TC_ACT_SHOT }
}

#[inline(always)]
fn is_honest(ctx: &TcContext) -> Option<bool> {
    // SAFETY: the kernel hands the program a valid context.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    // SAFETY: owners are never removed while the benchmark runs.
    let owner = unsafe { OWNERS.get(ifindex)? };
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + 14 + 20 > end {
        return Some(false);
    }
    // SAFETY: within the bounds just checked; byte arrays have no alignment.
    let (source, ether_type) = unsafe {
        (
            *((start + 6) as *const [u8; 6]),
            *((start + 12) as *const [u8; 2]),
        )
    };
    if source != owner.mac {
        return Some(false);
    }
    match u16::from_be_bytes(ether_type) {
        0x0800 => {
            // SAFETY: as above.
            let address = unsafe { *((start + 14 + 12) as *const [u8; 4]) };
            Some(address == owner.ip)
        }
        0x0806 => {
            if start + 14 + 28 > end {
                return Some(false);
            }
            // SAFETY: as above.
            let (mac, address) = unsafe {
                (
                    *((start + 14 + 8) as *const [u8; 6]),
                    *((start + 14 + 14) as *const [u8; 4]),
                )
            };
            Some(mac == owner.mac && address == owner.ip)
        }
        _ => Some(false),
    }
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers called here are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
