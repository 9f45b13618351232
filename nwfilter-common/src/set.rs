//! Address sets: whether a frame is in a named set of addresses, or of addresses with ports.
//!
//! A set is a table of prefixes. What an element is of is in the key itself (address, or address with
//! protocol and port), so that the datapath need not know what kind of set it is: it looks for all that the rule's
//! flags allow.

use crate::{
    class::Class,
    ct::Tables,
    field::{Field, word},
    work::{Work, recall},
};

/// Words of a set's name.
pub const SET_NAME_WORDS: usize = 8;

/// Most elements of a set.
pub const MAX_SET_ELEMENTS: u32 = 1 << 20;

/// Most sets at a time.
pub const MAX_SETS: usize = 1024;

/// A set's name, at most 31 bytes, filled up with zeros. Part of the ABI.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct SetName(pub [u32; SET_NAME_WORDS]);

impl SetName {
    /// The name; `None` if it is too long.
    pub fn new(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        if bytes.len() >= SET_NAME_WORDS * 4 {
            return None;
        }
        let mut words = [0; SET_NAME_WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks(4)) {
            let mut four = [0; 4];
            four[..bytes.len()].copy_from_slice(bytes);
            *word = u32::from_le_bytes(four);
        }
        Some(Self(words))
    }
}

impl core::fmt::Display for SetName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        for byte in bytes.take_while(|byte| *byte != 0) {
            write!(f, "{}", char::from(byte))?;
        }
        Ok(())
    }
}

/// An element of a set, or what is looked for: the key of a trie of prefixes. Part of the ABI.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(C)]
pub struct SetKey {
    /// Bits that count of what follows.
    pub prefix: u32,
    /// 4 or 6, and [`SetKey::PORT`].
    pub form: u8,
    /// IP protocol, 0 without a port.
    pub protocol: u8,
    /// Port, the most significant byte first; with ICMP type and code.
    pub port: [u8; 2],
    /// Address as on the wire; an IPv4 address in the first four bytes.
    pub address: [u8; 16],
}

impl SetKey {
    /// Bit of `form`: with a port.
    pub const PORT: u8 = 0x10;
    /// Bits before the address.
    pub const BEFORE_ADDRESS: u32 = 32;
    /// Bytes behind `prefix`.
    pub const DATA: usize = 20;
}

/// Where sets live.
pub trait Sets {
    /// Whether the longest prefix of a set that the key has is one of its elements. A set that does not
    /// exist has none.
    fn in_set(&self, set: &SetName, key: &SetKey) -> bool;
}

/// Which end of the frame each dimension of a set is compared with, as an argument of a node: the number
/// of dimensions, then a bit for each that is the destination.
#[inline(always)]
pub const fn set_argument(dimensions: u32, destinations: u32) -> u32 {
    dimensions & 7 | destinations << 3
}

/// Whether the frame is in the set whose name is in the working memory.
#[inline(always)]
pub(crate) fn contains<T: Tables + ?Sized>(tables: &T, work: &mut Work, argument: u32) -> bool {
    let class = recall(&work.fields[word::INET_CLASS]) as usize;
    let v6 = class >= Class::Ip6Tcp as usize;
    let destination = argument >> 3 & 1 != 0;
    let address = if v6 {
        let [high, low] = if destination {
            [Field::Ip6DstHigh, Field::Ip6DstLow]
        } else {
            [Field::Ip6SrcHigh, Field::Ip6SrcLow]
        };
        [work.fields[high.index()], work.fields[low.index()]]
    } else {
        let field = if destination {
            Field::Ip4Dst
        } else {
            Field::Ip4Src
        };
        [work.fields[field.index()] << 32, 0]
    };
    let family = if v6 { 6 } else { 4 };
    let bits = if v6 { 128 } else { 32 };
    work.set_key.prefix = SetKey::BEFORE_ADDRESS + bits;
    work.set_key.address[..8].copy_from_slice(&address[0].to_be_bytes());
    work.set_key.address[8..].copy_from_slice(&address[1].to_be_bytes());
    let first = if v6 { Class::Ip6Tcp } else { Class::Ip4Tcp } as usize;
    if argument & 7 > 1
        && let Some(port) = port(work, class.wrapping_sub(first), argument >> 4 & 1 != 0)
    {
        work.set_key.form = family | SetKey::PORT;
        work.set_key.protocol = work.fields[Field::IpProtocol.index()] as u8;
        work.set_key.port = port.to_be_bytes();
        if tables.in_set(&work.set_name, &work.set_key) {
            return true;
        }
    }
    work.set_key.form = family;
    work.set_key.protocol = 0;
    work.set_key.port = [0; 2];
    tables.in_set(&work.set_name, &work.set_key)
}

/// What counts as the port of a frame, given the distance of its class from the first one of the IP version;
/// `None` if there is no protocol.
#[inline(always)]
fn port(work: &Work, kind: usize, destination: bool) -> Option<u16> {
    const ICMP: usize = Class::Ip4Icmp as usize - Class::Ip4Tcp as usize;
    const PORTS: usize = Class::Ip4Ports as usize - Class::Ip4Tcp as usize;
    const OTHER: usize = Class::Ip4Other as usize - Class::Ip4Tcp as usize;
    let field = |field: Field| work.fields[field.index()];
    if kind == ICMP {
        Some((field(Field::IcmpType) << 8 | field(Field::IcmpCode)) as u16)
    } else if kind <= PORTS {
        let port = if destination {
            field(Field::DstPort)
        } else {
            field(Field::SrcPort)
        };
        Some(port as u16)
    } else if kind == OTHER {
        Some(0)
    } else {
        None
    }
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(transparent)`, integers.
    unsafe impl aya::Pod for super::SetName {}
    // SAFETY: `repr(C)`, only integers, no padding: see the size below.
    unsafe impl aya::Pod for super::SetKey {}
}

const _: () = assert!(size_of::<SetKey>() == 4 + SetKey::DATA);
