//! Makes frames. Checksums are zero: nobody looks at them.

use std::vec::Vec;

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;
pub(super) const URG: u8 = 32;

/// An IP address of either version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ip {
    V4([u8; 4]),
    V6([u8; 16]),
}

pub(super) const VM: Ip = Ip::V4([192, 168, 122, 10]);
pub(super) const PEER: Ip = Ip::V4([10, 0, 0, 1]);
pub(super) const THIRD: Ip = Ip::V4([203, 0, 113, 9]);
pub(super) const VM6: Ip = Ip::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 10]);
pub(super) const PEER6: Ip = Ip::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]);

/// An IP packet.
pub(super) fn ip(source: Ip, destination: Ip, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    match (source, destination) {
        (Ip::V4(source), Ip::V4(destination)) => {
            let len = (20 + payload.len()) as u16;
            packet.extend([0x45, 0]);
            packet.extend(len.to_be_bytes());
            packet.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
            packet.extend(source);
            packet.extend(destination);
        }
        (Ip::V6(source), Ip::V6(destination)) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([protocol, 64]);
            packet.extend(source);
            packet.extend(destination);
        }
        _ => panic!("two versions in one packet"),
    }
    packet.extend(payload);
    packet
}

/// An IP packet in a frame.
pub(super) fn frame(packet: &[u8]) -> Vec<u8> {
    let v6 = packet[0] >> 4 == 6;
    let mut frame = std::vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    frame.extend(if v6 { [0x86, 0xdd] } else { [0x08, 0x00] });
    frame.extend(packet);
    frame
}

/// The IP packet of a frame, cut to a length.
pub(super) fn quote(frame: &[u8], len: usize) -> &[u8] {
    let packet = &frame[14..];
    &packet[..packet.len().min(len)]
}

/// Ports and zeros.
pub(super) fn ports(from: u16, to: u16, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.resize(len, 0);
    bytes
}

pub(super) fn tcp(source: Ip, from: u16, destination: Ip, to: u16, flags: u8) -> Vec<u8> {
    let mut header = ports(from, to, 20);
    header[12] = 0x50;
    header[13] = flags;
    frame(&ip(source, destination, 6, &header))
}

pub(super) fn udp(source: Ip, from: u16, destination: Ip, to: u16) -> Vec<u8> {
    frame(&ip(source, destination, 17, &ports(from, to, 20)))
}

pub(super) fn with_ports(protocol: u8, source: Ip, from: u16, destination: Ip, to: u16) -> Vec<u8> {
    frame(&ip(source, destination, protocol, &ports(from, to, 20)))
}

/// ICMP or `ICMPv6`, by the addresses' version.
pub(super) fn icmp(source: Ip, destination: Ip, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let protocol = if matches!(source, Ip::V4(_)) { 1 } else { 58 };
    let mut message = std::vec![kind, code, 0, 0];
    message.extend(rest);
    frame(&ip(source, destination, protocol, &message))
}

/// A query or its answer.
pub(super) fn query(source: Ip, destination: Ip, kind: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    icmp(source, destination, kind, 0, &[high, low, 0, 1])
}

/// An error that quotes the start of a frame's packet.
pub(super) fn error(source: Ip, destination: Ip, kind: u8, quoted: &[u8]) -> Vec<u8> {
    let rest = [&[0; 4], quoted].concat();
    icmp(source, destination, kind, 0, &rest)
}

/// A fragment of a packet with this payload: bytes from `offset` on, `len` of them.
pub(super) fn fragment(
    (source, destination): (Ip, Ip),
    protocol: u8,
    id: u16,
    payload: &[u8],
    offset: usize,
    len: usize,
) -> Vec<u8> {
    let more = u16::from(offset + len < payload.len());
    let part = &payload[offset..offset + len];
    let offset = offset as u16;
    if let Ip::V4(_) = source {
        let mut packet = ip(source, destination, protocol, part);
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        packet[6..8].copy_from_slice(&(offset >> 3 | more << 13).to_be_bytes());
        return frame(&packet);
    }
    let mut header = std::vec![protocol, 0];
    header.extend((offset | more).to_be_bytes());
    header.extend([0, 0]);
    header.extend(id.to_be_bytes());
    header.extend(part);
    frame(&ip(source, destination, 44, &header))
}
