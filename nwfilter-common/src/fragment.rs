//! Fragments: the first one of a packet that passes lends its transport fields to the others.
//!
//! Each port has [`SLOTS_PER_DIRECTION`] slots per direction for packets that are under way; a slot
//! is found by a hash, and the newest packet has it. So a VM that floods loses its own fragments and
//! nobody else's. A later fragment that comes before the first one, or overlaps it, or whose packet
//! is not known, keeps the class of a fragment: rules that need transport fields then drop it.

use crate::{
    class::Class,
    ct::{Tables, Timeout},
    engine::Hook,
    field::{Field, Fields, word},
    option,
    work::{Work, recall},
};

/// Slots per port and direction; a power of two.
pub const SLOTS_PER_DIRECTION: usize = 256;

/// What a later fragment has from the first one.
const LENT: [Field; 12] = [
    Field::IpProtocol,
    Field::SrcPort,
    Field::DstPort,
    Field::IcmpType,
    Field::IcmpCode,
    Field::TcpFlags,
    Field::CtState,
    Field::TcpOptionsBroken,
    Field::TcpOptions0,
    Field::TcpOptions1,
    Field::TcpOptions2,
    Field::TcpOptions3,
];

/// A packet whose first fragment has passed. Part of the ABI.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Fragment {
    /// Which packet it is.
    pub packet: Packet,
    /// When the first fragment passed, `CLOCK_MONOTONIC`, nanoseconds.
    pub time: u64,
    /// Bytes that the first fragment carries; none of them may come again.
    pub first_len: u64,
    /// Class of the first fragment.
    pub class: u64,
    /// Whether the connection's state is known.
    pub tracked: u64,
    /// Values of the fields in [`LENT`].
    lent: [u64; LENT.len()],
}

impl Fragment {
    pub(crate) const fn new() -> Self {
        Self {
            packet: Packet {
                addresses: [0; 4],
                id: 0,
                port: 0,
                direction: 0,
                protocol: 0,
            },
            time: 0,
            first_len: 0,
            class: 0,
            tracked: 0,
            lent: [0; LENT.len()],
        }
    }

    /// Whether later fragments no longer use it, so that it can be removed. `since` is
    /// [`crate::PortRecord::since`], `timeout` is [`Timeout::Fragment`] in nanoseconds.
    #[inline(always)]
    pub const fn is_dead(&self, since: u64, now: u64, timeout: u64) -> bool {
        self.time.saturating_add(timeout) <= now || self.time < since
    }
}

/// What the fragments of one packet have in common.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Packet {
    /// Source and destination; an IPv4 address in the second word, with the first one 0.
    pub addresses: [u64; 4],
    /// Identification.
    pub id: u32,
    /// Port number.
    pub port: u16,
    /// [`crate::FrameDirection`], plus 2 in IPv6.
    pub direction: u8,
    /// Protocol of the IPv4 header, or next header of the fragment header.
    pub protocol: u8,
}

impl Packet {
    /// Whether the two are the same, word by word: of a comparison as a whole the compiler would make a
    /// call that goes byte by byte.
    #[inline(always)]
    const fn is(&self, other: &Self) -> bool {
        let [a, b, c, d] = self.addresses;
        let [e, f, g, h] = other.addresses;
        (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
            && self.id == other.id
            && self.port == other.port
            && self.direction == other.direction
            && self.protocol == other.protocol
    }

    /// Reads what the parser has found; returns the packet's slot.
    #[inline(always)]
    fn set(&mut self, fields: &Fields, hook: &Hook<'_>, v6: bool) -> u32 {
        let (port, direction) = (hook.port, hook.direction);
        self.addresses = if v6 {
            [
                fields[Field::Ip6SrcHigh.index()],
                fields[Field::Ip6SrcLow.index()],
                fields[Field::Ip6DstHigh.index()],
                fields[Field::Ip6DstLow.index()],
            ]
        } else {
            [
                0,
                fields[Field::Ip4Src.index()],
                0,
                fields[Field::Ip4Dst.index()],
            ]
        };
        self.id = fields[word::FRAGMENT_ID] as u32;
        self.port = port as u16;
        self.direction = direction as u8 | u8::from(v6) << 1;
        self.protocol = fields[word::FRAGMENT_PROTOCOL] as u8;

        let mut hash = u64::from(self.id) << 8 | u64::from(self.protocol);
        for half in self.addresses {
            // The golden ratio's bits (Knuth, section 6.4); the high bits depend on all of the input.
            hash = (hash ^ half).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 32;
        }
        let slot = hash as u32 % SLOTS_PER_DIRECTION as u32;
        (port << 1 | direction as u32) * SLOTS_PER_DIRECTION as u32 + slot
    }
}

/// Whether a frame of this class may have been a first fragment that others can use.
#[inline(always)]
const fn is_whole(class: usize) -> bool {
    const LAST4: usize = Class::Ip4Other as usize;
    const LAST6: usize = Class::Ip6Other as usize;
    class >= Class::Ip4Tcp as usize && class <= LAST4
        || class >= Class::Ip6Tcp as usize && class <= LAST6
}

/// Gives a later fragment the fields of the first one, if that is known, and returns its class.
#[inline(always)]
pub(crate) fn adopt<T: Tables + ?Sized>(
    tables: &T,
    hook: &Hook<'_>,
    work: &mut Work,
) -> Option<u64> {
    let class = recall(&work.fields[word::PARSED]) as usize;
    let v6 = class == Class::Ip6Fragment as usize || class == Class::Ip6FragmentChain as usize;
    if !v6 && class != Class::Ip4Fragment as usize {
        return None;
    }
    let slot = work.fragment.packet.set(&work.fields, hook, v6);
    let first = tables.fragment(slot)?;
    let dead = first.is_dead(
        hook.record.since,
        tables.now(),
        tables.timeout(Timeout::Fragment as usize),
    );
    // The lowest bit is not part of the offset.
    let overlaps = work.fields[word::FRAGMENT] & !1 < first.first_len;
    if dead || overlaps || !first.packet.is(&work.fragment.packet) {
        return None;
    }
    for (value, field) in first.lent.iter().zip(LENT) {
        work.fields[field.index()] = *value;
    }
    work.fields[word::TRACKED] = first.tracked;
    Some(first.class)
}

/// Keeps what a frame that passes lends to later fragments, if it is a first one. `options`: whether
/// its TCP options are known.
#[inline(always)]
pub(crate) fn keep<T: Tables + ?Sized>(
    tables: &T,
    hook: &Hook<'_>,
    work: &mut Work,
    options: bool,
) {
    let class = recall(&work.fields[word::PARSED]) as usize;
    if work.fields[word::FRAGMENT] != 1 || !is_whole(class) {
        return;
    }
    if !options {
        option::unknown(&mut work.fields);
    }
    let v6 = class >= Class::Ip6Tcp as usize;
    let slot = work.fragment.packet.set(&work.fields, hook, v6);
    let first = &mut work.fragment;
    first.time = tables.now();
    first.first_len = work.fields[word::FRAGMENT_LEN];
    first.class = class as u64;
    first.tracked = work.fields[word::TRACKED];
    for (value, field) in first.lent.iter_mut().zip(LENT) {
        *value = work.fields[field.index()];
    }
    tables.store_fragment(slot, first);
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(C)`, only integers, no padding: see the size below.
    unsafe impl aya::Pod for super::Fragment {}
}

const _: () = {
    assert!(size_of::<Packet>() == 40);
    assert!(size_of::<Fragment>() == 40 + 32 + 8 * LENT.len());
};
