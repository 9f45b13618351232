//! A socket buffer as the engine's frame.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes, programs::TcContext};
use nwfilter_common::{Packet, SNAPSHOT_LEN, Tag};

/// Offsets up to here are read directly; more than any header that is not behind extension headers.
const DIRECT: usize = 0xff;

/// Every frame at a TC hook has an Ethernet header.
const SHORTEST: usize = 14;

/// A frame at a TC hook.
pub(crate) struct SkBuff<'a> {
    ctx: &'a TcContext,
}

impl<'a> SkBuff<'a> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a TcContext) -> Self {
        Self { ctx }
    }

    #[inline(always)]
    fn raw(&self) -> *mut __sk_buff {
        self.ctx.skb.skb
    }

    /// Interface of the hook.
    #[inline(always)]
    pub(crate) fn ifindex(&self) -> u32 {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (*self.raw()).ifindex }
    }

    /// Frames on the wire that this one stands for.
    #[inline(always)]
    pub(crate) fn segments(&self) -> u64 {
        // SAFETY: as in `ifindex`.
        let size = u64::from(unsafe { (*self.raw()).gso_size });
        if size == 0 {
            return 1;
        }
        // Frames from a tap have no `gso_segs` yet.
        (self.len() as u64).div_ceil(size).max(1)
    }

    /// Bytes from the Ethernet header on.
    #[inline(always)]
    pub(crate) fn wire_len(&self) -> u64 {
        self.len() as u64
    }

    /// Copies the start of the frame; returns how many bytes.
    #[inline(always)]
    pub(crate) fn snapshot(&self, target: &mut [u8; SNAPSHOT_LEN]) -> u8 {
        // Not `len == 0`: from an inequality, verifiers before Linux 6.8 learn no lower bound, and the
        // helper takes no length that may be 0.
        let len = self.len();
        if len < SHORTEST {
            return 0;
        }
        let len = len.min(SNAPSHOT_LEN);
        // SAFETY: `len` is not more than the target has; the kernel checks the frame's side.
        let status = unsafe {
            bpf_skb_load_bytes(self.raw().cast(), 0, target.as_mut_ptr().cast(), len as u32)
        };
        if status == 0 { len as u8 } else { 0 }
    }
}

impl Packet for SkBuff<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.raw()).len as usize }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset <= DIRECT {
            let start = self.ctx.data() + offset;
            if start + N <= self.ctx.data_end() {
                // SAFETY: the bytes are between `data` and `data_end`, as just checked; byte arrays
                // have no alignment.
                return Some(unsafe { *(start as *const [u8; N]) });
            }
        }
        // Not in the linear part, or not at all.
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
        // SAFETY: as in `ifindex`.
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
