//! The key of a connection: the same for the frames of both directions.

/// What makes a connection the one it is. Addresses and ports are in host order; the two ends are in
/// an order that does not depend on who sent the frame.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(C)]
pub struct Key {
    /// Addresses of the two ends, high half first; IPv4 addresses in the low half.
    pub addresses: [[u64; 2]; 2],
    /// Ports of the two ends; with ICMP the identifier, then request type and code; else 0.
    pub ports: [u16; 2],
    /// Port number.
    pub port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
}

/// A [`Key`] in words.
pub(crate) type KeyWords = [u64; 5];

/// The key of an IPv4 connection as the kernel stores it: a lookup costs by the length.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Key4 {
    /// As in [`Key`], as are all others.
    pub addresses: [u32; 2],
    /// Ports.
    pub ports: [u16; 2],
    /// Port number.
    pub port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
}

impl From<&Key> for Key4 {
    #[inline(always)]
    fn from(key: &Key) -> Self {
        let [first, second] = key.addresses;
        let addresses = u64::from(first[1] as u32) | second[1] << 32;
        let rest = key.rest() & (u64::MAX >> 8);
        // SAFETY: plain integers of the same size. Two words at once, because the kernel reads whole
        // words soon after, for which the processor would wait if they came in pieces.
        unsafe { core::mem::transmute::<[u64; 2], Self>([addresses, rest]) }
    }
}

impl From<&Key4> for Key {
    fn from(key: &Key4) -> Self {
        Self {
            addresses: key.addresses.map(|address| [0, u64::from(address)]),
            ports: key.ports,
            port: key.port,
            protocol: key.protocol,
            family: 4,
        }
    }
}

/// Source and destination of a packet, in that order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ends {
    pub(super) addresses: [[u64; 2]; 2],
    pub(super) ports: [u16; 2],
}

impl Key {
    /// No connection's key.
    pub(crate) const fn new() -> Self {
        Self {
            addresses: [[0; 2]; 2],
            ports: [0; 2],
            port: 0,
            protocol: 0,
            family: 0,
        }
    }

    /// All but the addresses in one word, in memory's order.
    #[inline(always)]
    const fn rest(&self) -> u64 {
        (self.ports[0] as u64)
            | (self.ports[1] as u64) << 16
            | (self.port as u64) << 32
            | (self.protocol as u64) << 48
            | (self.family as u64) << 56
    }

    /// The key of an IPv4 packet with ports, and which of its ends the packet comes from: as
    /// [`Key::set_ends`], in fewer steps.
    #[inline(always)]
    pub(super) fn of_ipv4(
        [source, destination]: [u32; 2],
        [from, to]: [u16; 2],
        port: u16,
        protocol: u8,
    ) -> (Self, usize) {
        let source = u64::from(source) << 16 | u64::from(from);
        let destination = u64::from(destination) << 16 | u64::from(to);
        // Both have 48 bits, so that this is the borrow.
        let side = destination.wrapping_sub(source) >> 63;
        let change = (source ^ destination) & side.wrapping_neg();
        let (first, second) = (source ^ change, destination ^ change);
        let key = Self {
            addresses: [[0, first >> 16], [0, second >> 16]],
            ports: [first as u16, second as u16],
            port,
            protocol,
            family: 4,
        };
        (key, side as usize)
    }

    /// The key as the words that it is in memory.
    #[inline(always)]
    pub(crate) const fn words(&self) -> KeyWords {
        let [[a, b], [c, d]] = self.addresses;
        [a, b, c, d, self.rest()]
    }

    /// Becomes the key of these words, for the reason given in [`Key4::from`].
    #[inline(always)]
    pub(crate) fn overwrite(&mut self, words: KeyWords) {
        // SAFETY: plain integers of the same size and alignment, as is asserted below.
        unsafe { core::ptr::from_mut(self).cast::<KeyWords>().write(words) }
    }

    /// Takes over the ends of a packet; returns which of its own ends the packet comes from.
    #[inline(always)]
    pub(super) fn set_ends(&mut self, ends: &Ends) -> usize {
        self.place(ends, ends.side())
    }

    /// As [`Key::set_ends`], with the packet coming from a given end.
    #[inline(always)]
    pub(super) fn place(&mut self, ends: &Ends, side: usize) -> usize {
        let Ends { addresses, ports } = ends.placed(side);
        self.addresses = addresses;
        self.ports = ports;
        side & 1
    }
}

impl Ends {
    /// Which end of a key the source is: 1 if it is above the destination.
    #[inline(always)]
    fn side(&self) -> usize {
        let [source, destination] = self.addresses;
        let [from, to] = self.ports;
        // The borrow of their difference, over all words.
        let low = borrow(u64::from(to), u64::from(from), 0);
        let middle = borrow(destination[1], source[1], low);
        borrow(destination[0], source[0], middle) as usize
    }

    /// The ends as a key has them whose end `side` is the source. Without a branch, like [`borrow`].
    #[inline(always)]
    fn placed(&self, side: usize) -> Self {
        let swapped = (side as u64 & 1).wrapping_neg();
        let pair = |first: u64, second: u64| {
            let change = (first ^ second) & swapped;
            [first ^ change, second ^ change]
        };
        let [source, destination] = self.addresses;
        let high = pair(source[0], destination[0]);
        let low = pair(source[1], destination[1]);
        let ports = pair(self.ports[0].into(), self.ports[1].into());
        Self {
            addresses: [[high[0], low[0]], [high[1], low[1]]],
            ports: ports.map(|port| port as u16),
        }
    }
}

/// 1 if `minuend - subtrahend - carry` is negative (Hacker's Delight, section 2-13). Without a
/// branch, which would double the verifier's work.
#[inline(always)]
const fn borrow(minuend: u64, subtrahend: u64, carry: u64) -> u64 {
    let difference = minuend.wrapping_sub(subtrahend).wrapping_sub(carry);
    ((!minuend & subtrahend) | ((!minuend | subtrahend) & difference)) >> 63
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(C)`, only integers, no padding: see the sizes below.
    unsafe impl aya::Pod for super::Key {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Key4 {}
}

const _: () = {
    assert!(size_of::<Key>() == 40);
    assert!(size_of::<Key4>() == 16);
    assert!(cfg!(target_endian = "little"));
    assert!(
        size_of::<Key>() == size_of::<KeyWords>() && align_of::<Key>() == align_of::<KeyWords>()
    );
    assert!(core::mem::offset_of!(Key, ports) == 32 && core::mem::offset_of!(Key, family) == 39);
};
