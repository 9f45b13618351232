//! TCP (RFC 9293).

use super::transport::{Pseudo, Segment, ports, put_checksum};

/// Flag: the sender is done.
pub const FIN: u8 = 0x01;
/// Flag: opens a connection.
pub const SYN: u8 = 0x02;
/// Flag: aborts a connection.
pub const RST: u8 = 0x04;
/// Flag: hand over at once.
pub const PSH: u8 = 0x08;
/// Flag: the acknowledgment number counts.
pub const ACK: u8 = 0x10;
/// Flag: the urgent pointer counts.
pub const URG: u8 = 0x20;

/// A TCP segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// [`FIN`] and so on; the two highest bits are CWR and ECE.
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options, padded with zeros ("end of list") to a multiple of 4 bytes.
    pub options: Vec<u8>,
    /// Payload.
    pub payload: Vec<u8>,
    /// Header length in units of 4 bytes, 4 bits, instead of the right one.
    pub header_words: Option<u8>,
    /// Instead of the right one.
    pub checksum: Option<u16>,
}

impl Tcp {
    /// An empty segment without flags.
    pub fn new(source: u16, destination: u16) -> Self {
        Self {
            source,
            destination,
            sequence: 1,
            acknowledgment: 0,
            flags: 0,
            window: 0x2000,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
            header_words: None,
            checksum: None,
        }
    }

    /// The first segment of a connection.
    pub fn syn(source: u16, destination: u16) -> Self {
        Self {
            flags: SYN,
            ..Self::new(source, destination)
        }
    }
}

impl Segment for Tcp {
    fn protocol(&self) -> u8 {
        6
    }

    fn bytes(&self, pseudo: &Pseudo) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let words = self.header_words.unwrap_or((5 + options.len() / 4) as u8);

        let mut bytes = ports(self.source, self.destination);
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgment.to_be_bytes());
        bytes.extend([words << 4, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(options);
        bytes.extend(&self.payload);
        put_checksum(&mut bytes, 16, self.checksum, |bytes| {
            pseudo.checksum(6, bytes, bytes.len())
        });
        bytes
    }
}
