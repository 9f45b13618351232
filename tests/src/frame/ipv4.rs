//! IPv4 (RFC 791).

use std::net::Ipv4Addr;

use super::{Pseudo, Segment, internet_checksum};

/// An IPv4 header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ipv4 {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// The whole octet: DSCP 6 bits, ECN 2 bits.
    pub type_of_service: u8,
    /// Identification.
    pub identification: u16,
    /// Flag.
    pub dont_fragment: bool,
    /// Flag.
    pub more_fragments: bool,
    /// In units of 8 bytes, 13 bits.
    pub fragment_offset: u16,
    /// Time to live.
    pub time_to_live: u8,
    /// Options, padded with zeros to a multiple of 4 bytes.
    pub options: Vec<u8>,
    /// Version, 4 bits; 4 unless wrong on purpose.
    pub version: u8,
    /// Instead of the segment's own protocol.
    pub protocol: Option<u8>,
    /// Header length in units of 4 bytes, 4 bits, instead of the right one.
    pub header_words: Option<u8>,
    /// Total length in bytes instead of the right one.
    pub total_length: Option<u16>,
    /// Header checksum instead of the right one.
    pub checksum: Option<u16>,
}

impl Ipv4 {
    /// An unfragmented packet's header with a time to live of 64.
    pub fn new(source: impl Into<Ipv4Addr>, destination: impl Into<Ipv4Addr>) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            type_of_service: 0,
            identification: 0,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            time_to_live: 64,
            options: Vec::new(),
            version: 4,
            protocol: None,
            header_words: None,
            total_length: None,
            checksum: None,
        }
    }

    /// The packet: header and segment.
    pub fn packet(&self, segment: &dyn Segment) -> Vec<u8> {
        let protocol = self.protocol.unwrap_or(segment.protocol());
        self.with_body(protocol, &segment.bytes(&self.pseudo()))
    }

    /// The packet in fragments that carry `size` bytes each (a multiple of 8) of the segment; the
    /// last one carries the rest.
    pub fn fragments(&self, segment: &dyn Segment, size: usize) -> Vec<Vec<u8>> {
        let protocol = self.protocol.unwrap_or(segment.protocol());
        let body = segment.bytes(&self.pseudo());
        let count = body.chunks(size).len();
        body.chunks(size)
            .enumerate()
            .map(|(index, part)| {
                let header = Self {
                    more_fragments: index + 1 < count,
                    fragment_offset: (index * size / 8) as u16,
                    ..self.clone()
                };
                header.with_body(protocol, part)
            })
            .collect()
    }

    fn pseudo(&self) -> Pseudo {
        Pseudo::V4(self.source, self.destination)
    }

    fn with_body(&self, protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let length = 20 + options.len();
        let words = self.header_words.unwrap_or((length / 4) as u8);
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;

        let mut packet = vec![self.version << 4 | words & 0xf, self.type_of_service];
        let total = self.total_length.unwrap_or((length + body.len()) as u16);
        packet.extend(total.to_be_bytes());
        packet.extend(self.identification.to_be_bytes());
        packet.extend((flags | self.fragment_offset & 0x1fff).to_be_bytes());
        packet.extend([self.time_to_live, protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(options);
        let checksum = self
            .checksum
            .unwrap_or_else(|| internet_checksum(&[&packet]));
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(body);
        packet
    }
}
