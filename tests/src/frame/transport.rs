//! What an IP packet carries: the trait of all of them, and the small ones.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{crc32c, internet_checksum};

/// The addresses of the packet, which the checksums of its content cover too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pseudo {
    /// Source and destination (RFC 9293 section 3.1).
    V4(Ipv4Addr, Ipv4Addr),
    /// Source and final destination (RFC 8200 section 8.1).
    V6(Ipv6Addr, Ipv6Addr),
}

impl Pseudo {
    /// The pseudo header of a segment of `length` bytes.
    pub fn bytes(&self, protocol: u8, length: usize) -> Vec<u8> {
        match self {
            Self::V4(source, destination) => {
                let mut bytes = [source.octets(), destination.octets()].concat();
                bytes.extend([0, protocol]);
                bytes.extend((length as u16).to_be_bytes());
                bytes
            }
            Self::V6(source, destination) => {
                let mut bytes = [source.octets(), destination.octets()].concat();
                bytes.extend((length as u32).to_be_bytes());
                bytes.extend([0, 0, 0, protocol]);
                bytes
            }
        }
    }

    /// Internet checksum of `segment`, whose own checksum field is zero, over its first `covered`
    /// bytes.
    pub fn checksum(&self, protocol: u8, segment: &[u8], covered: usize) -> u16 {
        internet_checksum(&[&self.bytes(protocol, segment.len()), &segment[..covered]])
    }
}

/// What follows an IP header.
pub trait Segment {
    /// IANA protocol number.
    fn protocol(&self) -> u8;

    /// Header and payload, checksums included.
    fn bytes(&self, pseudo: &Pseudo) -> Vec<u8>;
}

/// Any bytes under any protocol number. [`Raw::NO_NEXT_HEADER`] is IPv6's "nothing".
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Raw(pub u8, pub Vec<u8>);

impl Raw {
    /// IPv6: no header follows (RFC 8200 section 4.7).
    pub const NO_NEXT_HEADER: Self = Self(59, Vec::new());
}

impl Segment for Raw {
    fn protocol(&self) -> u8 {
        self.0
    }

    fn bytes(&self, _: &Pseudo) -> Vec<u8> {
        self.1.clone()
    }
}

/// UDP (RFC 768).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Udp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Payload.
    pub payload: Vec<u8>,
    /// Instead of the right one; 0 is "none".
    pub checksum: Option<u16>,
}

impl Udp {
    /// A datagram.
    pub fn new(source: u16, destination: u16, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            source,
            destination,
            payload: payload.into(),
            checksum: None,
        }
    }
}

impl Segment for Udp {
    fn protocol(&self) -> u8 {
        17
    }

    fn bytes(&self, pseudo: &Pseudo) -> Vec<u8> {
        let length = 8 + self.payload.len();
        let mut bytes = ports(self.source, self.destination);
        bytes.extend((length as u16).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(&self.payload);
        put_checksum(&mut bytes, 6, self.checksum, |bytes| {
            // Zero means "none", so a computed zero is sent as its other spelling.
            match pseudo.checksum(17, bytes, length) {
                0 => 0xffff,
                sum => sum,
            }
        });
        bytes
    }
}

/// UDP-Lite (RFC 3828), whose checksum covers everything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UdpLite {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// How many bytes the checksum covers, header included: 8 or more, or 0 for all.
    pub coverage: u16,
    /// Payload.
    pub payload: Vec<u8>,
}

impl UdpLite {
    /// A datagram that the checksum covers completely.
    pub fn new(source: u16, destination: u16, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            source,
            destination,
            coverage: 0,
            payload: payload.into(),
        }
    }
}

impl Segment for UdpLite {
    fn protocol(&self) -> u8 {
        136
    }

    fn bytes(&self, pseudo: &Pseudo) -> Vec<u8> {
        let mut bytes = ports(self.source, self.destination);
        bytes.extend(self.coverage.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(&self.payload);
        let covered = match usize::from(self.coverage) {
            0 => bytes.len(),
            some => some.min(bytes.len()),
        };
        put_checksum(&mut bytes, 6, None, |bytes| {
            match pseudo.checksum(136, bytes, covered) {
                0 => 0xffff,
                sum => sum,
            }
        });
        bytes
    }
}

/// SCTP (RFC 9260).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sctp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Verification tag; 0 with INIT.
    pub tag: u32,
    /// Chunks, each with its header and padding.
    pub chunks: Vec<u8>,
}

impl Sctp {
    /// A packet that opens an association: one INIT chunk without parameters.
    pub fn init(source: u16, destination: u16) -> Self {
        let mut chunks = vec![1, 0, 0, 20];
        chunks.extend(1_u32.to_be_bytes()); // initiate tag
        chunks.extend(0x1_0000_u32.to_be_bytes()); // receiver window
        chunks.extend([0, 1, 0, 1]); // streams out and in
        chunks.extend(0_u32.to_be_bytes()); // first sequence number
        Self {
            source,
            destination,
            tag: 0,
            chunks,
        }
    }
}

impl Segment for Sctp {
    fn protocol(&self) -> u8 {
        132
    }

    fn bytes(&self, _: &Pseudo) -> Vec<u8> {
        let mut bytes = ports(self.source, self.destination);
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.chunks);
        // The one checksum that is sent least significant byte first (RFC 9260 appendix A).
        let sum = crc32c(&bytes);
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

/// ESP (RFC 4303); what it encrypts is opaque.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Esp {
    /// Security parameters index.
    pub index: u32,
    /// Sequence number.
    pub sequence: u32,
    /// The rest.
    pub payload: Vec<u8>,
}

impl Segment for Esp {
    fn protocol(&self) -> u8 {
        50
    }

    fn bytes(&self, _: &Pseudo) -> Vec<u8> {
        let mut bytes = self.index.to_be_bytes().to_vec();
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// AH (RFC 4302) as the last header the receiver understands. Inside IPv6 it can also be an
/// [`super::Extension`].
pub struct Ah {
    /// Security parameters index.
    pub index: u32,
    /// Sequence number.
    pub sequence: u32,
    /// Integrity check value; a multiple of 4 bytes.
    pub check: Vec<u8>,
    /// What it protects.
    pub inner: Box<dyn Segment>,
}

impl Ah {
    /// With a check value of 12 zero bytes.
    pub fn new(index: u32, inner: impl Segment + 'static) -> Self {
        Self {
            index,
            sequence: 1,
            check: vec![0; 12],
            inner: Box::new(inner),
        }
    }
}

impl Segment for Ah {
    fn protocol(&self) -> u8 {
        51
    }

    fn bytes(&self, pseudo: &Pseudo) -> Vec<u8> {
        let length = 12 + self.check.len();
        let mut bytes = vec![self.inner.protocol(), (length / 4 - 2) as u8, 0, 0];
        bytes.extend(self.index.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(&self.check);
        bytes.extend(self.inner.bytes(pseudo));
        bytes
    }
}

pub(super) fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// Writes `given`, or what `compute` says, big endian at `offset`, where zeros are.
pub(super) fn put_checksum(
    bytes: &mut [u8],
    offset: usize,
    given: Option<u16>,
    compute: impl FnOnce(&[u8]) -> u16,
) {
    let sum = given.unwrap_or_else(|| compute(bytes));
    bytes[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
}
