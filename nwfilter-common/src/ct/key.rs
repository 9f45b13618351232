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
        Self {
            addresses: [first[1] as u32, second[1] as u32],
            ports: key.ports,
            port: key.port,
            protocol: key.protocol,
            reserved: 0,
        }
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

    /// Takes over the ends of a packet; returns which of its own ends the packet comes from.
    #[inline(always)]
    pub(super) fn set_ends(&mut self, ends: &Ends) -> usize {
        let [source, destination] = ends.addresses;
        let [from, to] = ends.ports;
        // Source above destination: the borrow of their difference, over all words.
        let low = borrow(u64::from(to), u64::from(from), 0);
        let middle = borrow(destination[1], source[1], low);
        let side = borrow(destination[0], source[0], middle);
        self.place(ends, side as usize)
    }

    /// As [`Key::set_ends`], with the packet coming from a given end.
    #[inline(always)]
    pub(super) fn place(&mut self, ends: &Ends, side: usize) -> usize {
        let side = side & 1;
        self.addresses[side] = ends.addresses[0];
        self.addresses[side ^ 1] = ends.addresses[1];
        self.ports[side] = ends.ports[0];
        self.ports[side ^ 1] = ends.ports[1];
        side
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
};
