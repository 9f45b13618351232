//! IPv6 (RFC 8200) with its extension headers.

use std::net::Ipv6Addr;

use super::{Pseudo, Segment};

/// An IPv6 header and the extension headers after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ipv6 {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// DSCP 6 bits, ECN 2 bits.
    pub traffic_class: u8,
    /// 20 bits.
    pub flow_label: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// In the order of the wire.
    pub extensions: Vec<Extension>,
    /// Version, 4 bits; 6 unless wrong on purpose.
    pub version: u8,
    /// Instead of the last header's own number.
    pub protocol: Option<u8>,
    /// Payload length in bytes instead of the right one.
    pub payload_length: Option<u16>,
}

/// An extension header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Extension {
    /// Hop-by-hop options (0); padded to the next multiple of 8 bytes.
    HopByHop(Vec<u8>),
    /// Destination options (60); padded likewise.
    DestinationOptions(Vec<u8>),
    /// Routing (43).
    Routing {
        /// Routing type.
        kind: u8,
        /// How many of the addresses are still to be visited.
        segments_left: u8,
        /// The addresses.
        addresses: Vec<Ipv6Addr>,
    },
    /// Fragment (44).
    Fragment {
        /// In units of 8 bytes, 13 bits.
        offset: u16,
        /// More fragments follow.
        more: bool,
        /// Identification.
        identification: u32,
    },
    /// Authentication (51, RFC 4302) with this check value, whose length is a multiple of 4 bytes.
    Authentication {
        /// Security parameters index.
        index: u32,
        /// Sequence number.
        sequence: u32,
        /// Integrity check value.
        check: Vec<u8>,
    },
    /// Any header number with this content, whose first byte is the next header's number and is
    /// filled in.
    Raw(u8, Vec<u8>),
}

impl Extension {
    /// The whole packet.
    pub const ATOMIC_FRAGMENT: Self = Self::Fragment {
        offset: 0,
        more: false,
        identification: 0,
    };

    /// Number in the header before it.
    pub fn number(&self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Routing { .. } => 43,
            Self::Fragment { .. } => 44,
            Self::Authentication { .. } => 51,
            Self::DestinationOptions(_) => 60,
            Self::Raw(number, _) => *number,
        }
    }

    fn bytes(&self, next: u8) -> Vec<u8> {
        let mut bytes = vec![next, 0];
        match self {
            Self::HopByHop(options) | Self::DestinationOptions(options) => {
                bytes.extend(options);
                match bytes.len().next_multiple_of(8) - bytes.len() {
                    0 => {}
                    1 => bytes.push(0),
                    missing => {
                        bytes.extend([1, (missing - 2) as u8]);
                        bytes.resize(bytes.len() + missing - 2, 0);
                    }
                }
                bytes[1] = (bytes.len() / 8 - 1) as u8;
            }
            Self::Routing {
                kind,
                segments_left,
                addresses,
            } => {
                bytes.extend([*kind, *segments_left, 0, 0, 0, 0]);
                bytes.extend(addresses.iter().flat_map(Ipv6Addr::octets));
                bytes[1] = (addresses.len() * 2) as u8;
            }
            Self::Fragment {
                offset,
                more,
                identification,
            } => {
                bytes.extend((offset << 3 | u16::from(*more)).to_be_bytes());
                bytes.extend(identification.to_be_bytes());
            }
            Self::Authentication {
                index,
                sequence,
                check,
            } => {
                bytes.extend([0, 0]);
                bytes.extend(index.to_be_bytes());
                bytes.extend(sequence.to_be_bytes());
                bytes.extend(check);
                // In units of 4 bytes, minus 2 (RFC 4302 section 2.2).
                bytes[1] = (bytes.len() / 4 - 2) as u8;
            }
            Self::Raw(_, content) => {
                bytes.clone_from(content);
                if let Some(first) = bytes.first_mut() {
                    *first = next;
                }
            }
        }
        bytes
    }
}

impl Ipv6 {
    /// A header without extensions with a hop limit of 64.
    pub fn new(source: impl Into<Ipv6Addr>, destination: impl Into<Ipv6Addr>) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            traffic_class: 0,
            flow_label: 0,
            hop_limit: 64,
            extensions: Vec::new(),
            version: 6,
            protocol: None,
            payload_length: None,
        }
    }

    /// With one more, innermost extension header.
    pub fn with(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// The packet: header, extensions and segment.
    pub fn packet(&self, segment: &dyn Segment) -> Vec<u8> {
        let protocol = self.protocol.unwrap_or(segment.protocol());
        self.with_body(protocol, &segment.bytes(&self.pseudo()))
    }

    /// The packet in fragments that carry `size` bytes each (a multiple of 8) of the segment; the
    /// last one carries the rest. The fragment header comes after the other extensions.
    pub fn fragments(
        &self,
        segment: &dyn Segment,
        identification: u32,
        size: usize,
    ) -> Vec<Vec<u8>> {
        let protocol = self.protocol.unwrap_or(segment.protocol());
        let body = segment.bytes(&self.pseudo());
        let count = body.chunks(size).len();
        body.chunks(size)
            .enumerate()
            .map(|(index, part)| {
                let header = self.clone().with(Extension::Fragment {
                    offset: (index * size / 8) as u16,
                    more: index + 1 < count,
                    identification,
                });
                header.with_body(protocol, part)
            })
            .collect()
    }

    /// Checksums are made for the last address that a routing header still has to visit.
    fn pseudo(&self) -> Pseudo {
        let routed = self
            .extensions
            .iter()
            .rev()
            .find_map(|extension| match extension {
                Extension::Routing {
                    segments_left: 1..,
                    addresses,
                    ..
                } => addresses.last().copied(),
                _ => None,
            });
        Pseudo::V6(self.source, routed.unwrap_or(self.destination))
    }

    fn with_body(&self, protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut payload = body.to_vec();
        let mut next = protocol;
        for extension in self.extensions.iter().rev() {
            let mut bytes = extension.bytes(next);
            bytes.append(&mut payload);
            payload = bytes;
            next = extension.number();
        }
        let word = u32::from(self.version) << 28
            | u32::from(self.traffic_class) << 20
            | self.flow_label & 0xf_ffff;
        let length = self.payload_length.unwrap_or(payload.len() as u16);

        let mut packet = word.to_be_bytes().to_vec();
        packet.extend(length.to_be_bytes());
        packet.extend([next, self.hop_limit]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.append(&mut payload);
        packet
    }
}
