//! Ways of datagrams in pieces, and of packets with extension headers.

use super::{
    connections::{SYN, Way},
    talk::Talk,
};
use crate::{
    generate::Sent,
    wire::{self, Extension, Ipv4, Ipv6},
};

/// Whole, in another order, and with pieces missing.
pub(super) const FRAGMENTS: [Way; 8] = [
    |talk| pieces(talk, 17, &[0, 1, 2]),
    |talk| pieces(talk, 17, &[2, 0, 1]),
    |talk| pieces(talk, 17, &[1, 2]),
    |talk| pieces(talk, 17, &[0, 1]),
    |talk| pieces(talk, 253, &[0, 1, 2]),
    |talk| pieces(talk, 253, &[1, 2]),
    |talk| pieces(talk, 6, &[0, 1, 2]),
    // The answer to a datagram in pieces.
    |talk| {
        let mut frames = pieces(talk, 17, &[0, 1, 2]);
        frames.push(talk.udp(false));
        frames.extend(pieces_of(talk, 17, &[0, 1, 2], 78));
        frames
    },
];

/// Some of the three fragments of a datagram.
fn pieces(talk: Talk, protocol: u8, wanted: &[usize]) -> Vec<Sent> {
    pieces_of(talk, protocol, wanted, 77)
}

fn pieces_of(talk: Talk, protocol: u8, wanted: &[usize], id: u16) -> Vec<Sent> {
    let payload: Vec<u8> = match protocol {
        17 => wire::udp(1000, 80, &[7; 88]),
        6 => [wire::tcp(1000, 80, SYN, b""), vec![7; 76]].concat(),
        _ => vec![7; 96],
    };
    // The checksum is that of the whole.
    let whole = talk.packet(true, protocol, &payload).bytes;
    let payload = whole[whole.len() - payload.len()..].to_vec();
    wanted
        .iter()
        .map(|piece| {
            let part = &payload[piece * 32..(piece + 1) * 32];
            let (offset, more) = (*piece as u16 * 4, *piece < 2);
            if talk.v6 {
                let header = Ipv6 {
                    extensions: vec![Extension::Fragment {
                        offset,
                        more,
                        id: id.into(),
                    }],
                    ..talk.ends.header_v6(talk.there, protocol)
                };
                talk.ends.frame(talk.there, 0x86dd, &header.packet(part))
            } else {
                let header = Ipv4 {
                    id,
                    more,
                    offset,
                    ..talk.ends.header_v4(talk.there, protocol)
                };
                talk.ends.frame(talk.there, 0x0800, &header.packet(part))
            }
        })
        .collect()
}

pub(super) const EXTENSIONS: [Way; 5] = [
    |talk| extended(talk, &[Extension::Options(0, 1)]),
    |talk| {
        extended(
            talk,
            &[Extension::Options(60, 2), Extension::Options(43, 1)],
        )
    },
    // A datagram that is its own only fragment.
    |talk| {
        extended(
            talk,
            &[Extension::Fragment {
                offset: 0,
                more: false,
                id: 5,
            }],
        )
    },
    |talk| extended(talk, &[Extension::Options(60, 1); 9]),
    // No next header.
    |talk| vec![talk.packet(true, 59, b""); 2],
];

fn extended(talk: Talk, extensions: &[Extension]) -> Vec<Sent> {
    let frame = |there: bool| {
        let direction = talk.direction(there);
        let header = Ipv6 {
            extensions: extensions.to_vec(),
            ..talk.ends.header_v6(direction, 17)
        };
        let (from, to) = if there { (1000, 80) } else { (80, 1000) };
        let packet = header.packet(&wire::udp(from, to, b"a datagram"));
        talk.ends.frame(direction, 0x86dd, &packet)
    };
    vec![frame(true), frame(false), frame(true)]
}
