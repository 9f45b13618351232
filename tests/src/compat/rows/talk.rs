//! Two ends that talk: packets of a connection, there and back.

use super::Ends;
use crate::{
    generate::Sent,
    judge::FrameDirection::{self, In, Out},
    wire,
};

/// Who talks, and who begins.
#[derive(Clone, Copy)]
pub(super) struct Talk {
    pub(super) ends: Ends,
    /// The direction of who begins.
    pub(super) there: FrameDirection,
    pub(super) v6: bool,
}

impl Talk {
    fn back(self) -> FrameDirection {
        if self.there == In { Out } else { In }
    }

    /// From who begins if `there`, else to them.
    pub(super) fn direction(self, there: bool) -> FrameDirection {
        if there { self.there } else { self.back() }
    }

    pub(super) fn packet(self, there: bool, protocol: u8, payload: &[u8]) -> Sent {
        let direction = self.direction(there);
        if self.v6 {
            self.ends.packet_v6(direction, protocol, payload)
        } else {
            self.ends.packet_v4(direction, protocol, payload)
        }
    }

    pub(super) fn tcp(self, there: bool, flags: u8, (sequence, acknowledged): (u32, u32)) -> Sent {
        let (from, to) = if there { (1000, 80) } else { (80, 1000) };
        let mut segment = wire::tcp(from, to, flags, b"");
        segment[4..8].copy_from_slice(&sequence.to_be_bytes());
        segment[8..12].copy_from_slice(&acknowledged.to_be_bytes());
        self.packet(there, 6, &segment)
    }

    pub(super) fn udp(self, there: bool) -> Sent {
        let (from, to) = if there { (1000, 80) } else { (80, 1000) };
        self.packet(there, 17, &wire::udp(from, to, b"a datagram"))
    }

    pub(super) fn icmp(self, there: bool, kind: u8, rest: [u8; 4], body: &[u8]) -> Sent {
        let protocol = if self.v6 { 58 } else { 1 };
        self.packet(there, protocol, &wire::icmp(kind, 0, rest, body))
    }

    /// SCTP with one chunk of this type, and the right checksum.
    pub(super) fn sctp(self, there: bool, chunk: u8, tag: u32) -> Sent {
        let (from, to) = if there { (1000, 80) } else { (80, 1000) };
        let mut packet = wire::sctp(from, to);
        packet.truncate(12);
        packet[4..8].copy_from_slice(&tag.to_be_bytes());
        // Type, flags, length; of INIT and INIT ACK the rest begins with the tag to use.
        packet.extend([chunk, 0, 0, 20, 0, 0, 0, 7]);
        packet.extend([0, 0, 0x10, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
        let checksum = crc32c(&packet);
        packet[8..12].copy_from_slice(&checksum.to_le_bytes());
        self.packet(there, 132, &packet)
    }

    /// An error of this type about a frame, back to its sender.
    pub(super) fn error(self, kind: u8, about: &Sent, length: usize) -> Sent {
        let quoted = &about.bytes[14..];
        let quoted = &quoted[..quoted.len().min(length)];
        self.icmp(about.direction != self.there, kind, [0; 4], quoted)
    }
}

/// CRC-32C (RFC 9260 appendix A), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 * (crc & 1))
        })
    })
}
