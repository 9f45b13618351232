//! A socket buffer as the engine's frame.

use core::arch::asm;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_skb_load_bytes, bpf_skb_pull_data},
    programs::TcContext,
};
use nwfilter_common::{Packet, Tag};

/// Bytes at the start of a frame that are read directly: more than all headers, unless there are
/// IPv6 extension headers.
const DIRECT: usize = 128;

/// Every frame at a TC hook has an Ethernet header.
const SHORTEST: usize = 14;

/// A frame at a TC hook.
#[derive(Clone, Copy)]
pub(crate) struct SkBuff(*mut __sk_buff);

impl SkBuff {
    /// Takes a frame, with what is read directly in one piece.
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        let packet = Self(ctx.skb.skb);
        let wanted = packet.len().min(DIRECT);
        if packet.data() + wanted > packet.data_end() {
            // SAFETY: a valid context. If this fails, reading fails, and the frame is short.
            unsafe { bpf_skb_pull_data(packet.raw(), wanted as u32) };
        }
        packet
    }

    /// The same frame, in another function.
    ///
    /// # Safety
    ///
    /// `context` is that of [`SkBuff::new`], unless nothing is asked of the frame.
    #[inline(always)]
    pub(crate) const unsafe fn again(context: *mut __sk_buff) -> Self {
        Self(context)
    }

    #[inline(always)]
    pub(crate) const fn raw(self) -> *mut __sk_buff {
        self.0
    }

    #[inline(always)]
    fn data(self) -> usize {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (*self.raw()).data as usize }
    }

    #[inline(always)]
    fn data_end(self) -> usize {
        // SAFETY: as in `data`.
        unsafe { (*self.raw()).data_end as usize }
    }

    /// Interface of the hook.
    #[inline(always)]
    pub(crate) fn ifindex(self) -> u32 {
        // SAFETY: as in `data`.
        unsafe { (*self.raw()).ifindex }
    }

    /// The frame's mark.
    #[inline(always)]
    pub(crate) fn mark(self) -> u32 {
        // SAFETY: as in `data`.
        unsafe { (*self.raw()).mark }
    }

    /// Gives the frame a mark.
    #[inline(always)]
    pub(crate) fn set_mark(self, mark: u32) {
        // SAFETY: as in `data`; the program may write this field.
        unsafe { (*self.raw()).mark = mark };
    }

    /// Frames on the wire that this one stands for.
    #[inline(always)]
    pub(crate) fn segments(self) -> u64 {
        // SAFETY: as in `data`.
        let size = u64::from(unsafe { (*self.raw()).gso_size });
        if size == 0 {
            return 1;
        }
        // Frames from a tap have no `gso_segs` yet.
        (self.len() as u64).div_ceil(size).max(1)
    }

    /// Bytes from the Ethernet header on.
    #[inline(always)]
    pub(crate) fn wire_len(self) -> u64 {
        self.len() as u64
    }

    /// Copies the start of the frame; returns how many bytes.
    #[inline(always)]
    pub(crate) fn copy<const N: usize>(self, target: &mut [u8; N]) -> usize {
        // A shorter frame than the shortest is not copied at all.
        let len = clamp::<SHORTEST, N>(self.len());
        // SAFETY: `len` is not more than the target has; the kernel checks the frame's side.
        let status = unsafe {
            bpf_skb_load_bytes(self.raw().cast(), 0, target.as_mut_ptr().cast(), len as u32)
        };
        if status == 0 { len } else { 0 }
    }
}

impl Packet for SkBuff {
    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: as in `data`.
        unsafe { (*self.raw()).len as usize }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // Not `offset + N <= DIRECT`: the verifier minds that the sum may overflow.
        if offset <= DIRECT - N {
            let start = self.data() + offset;
            // SAFETY: the bytes are between `data` and `data_end`, as just checked.
            return (start + N <= self.data_end()).then(|| unsafe { load(start) });
        }
        self.read_far(offset)
    }

    #[inline(always)]
    fn read_far<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: the kernel writes N bytes or none.
        let status = unsafe {
            bpf_skb_load_bytes(
                self.raw().cast(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        (status == 0).then_some(bytes)
    }

    #[inline(always)]
    fn tag(&self) -> Option<Tag> {
        // SAFETY: as in `data`.
        let (present, protocol, tci) = unsafe {
            let skb = self.raw();
            ((*skb).vlan_present, (*skb).vlan_proto, (*skb).vlan_tci)
        };
        (present != 0).then(|| Tag {
            protocol: u16::from_be(protocol as u16),
            tci: tci as u16,
        })
    }
}

/// Makes a length fit between two others. The compiler would test one register and go on with a copy
/// of it, of which verifiers before Linux 6.8 then know nothing.
#[inline(always)]
fn clamp<const LEAST: usize, const MOST: usize>(mut len: usize) -> usize {
    // SAFETY: touches nothing but the register.
    unsafe {
        asm!(
            "if {0} <= {most} goto +1",
            "{0} = {most}",
            "if {0} >= {least} goto +1",
            "{0} = {least}",
            inout(reg) len,
            least = const LEAST,
            most = const MOST,
            options(pure, nomem, nostack),
        );
    }
    len
}

/// Reads `N` bytes in pieces as large as possible. The compiler would read byte by byte: it does not
/// know that the machines which run the program take words at any address.
///
/// # Safety
///
/// The bytes are in the frame, and the verifier can tell.
#[inline(always)]
unsafe fn load<const N: usize>(start: usize) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at + 8 <= N {
        let word: u64;
        // SAFETY: see above; a load has no other effect.
        unsafe {
            asm!("{0} = *(u64 *)({1} + 0)", out(reg) word, in(reg) start + at,
                options(pure, readonly, nostack));
        }
        bytes[at..at + 8].copy_from_slice(&word.to_ne_bytes());
        at += 8;
    }
    if at + 4 <= N {
        let word: u64;
        // SAFETY: as above.
        unsafe {
            asm!("{0} = *(u32 *)({1} + 0)", out(reg) word, in(reg) start + at,
                options(pure, readonly, nostack));
        }
        bytes[at..at + 4].copy_from_slice(&(word as u32).to_ne_bytes());
        at += 4;
    }
    if at + 2 <= N {
        let word: u64;
        // SAFETY: as above.
        unsafe {
            asm!("{0} = *(u16 *)({1} + 0)", out(reg) word, in(reg) start + at,
                options(pure, readonly, nostack));
        }
        bytes[at..at + 2].copy_from_slice(&(word as u16).to_ne_bytes());
        at += 2;
    }
    if at < N {
        // SAFETY: as above.
        bytes[at] = unsafe { *((start + at) as *const u8) };
    }
    bytes
}
