//! The packet that an ICMP error quotes.

use core::ops::Range;

use super::{
    icmp::{message, role},
    key::{Ends, Key},
};
use crate::{
    class::ip_protocol, engine::Pages, packet::Packet, parse::MAX_EXTENSION_HEADERS, parse::halves,
};

/// A quoted packet: its ends without ports, its protocol, and where its transport header is.
struct Quoted {
    addresses: [[u64; 2]; 2],
    protocol: u8,
    transport: usize,
}

/// Turns the key into that of the connection which the packet quoted at `quote` belongs to; returns
/// the end of the key that it came from. `None` if it belongs to none, or if the error does not go to
/// `recipient`, where the quoted packet came from.
#[inline(always)]
pub(super) fn quoted<P: Packet + ?Sized, I: Pages + ?Sized>(
    packet: &P,
    image: &I,
    quote: Range<usize>,
    v6: bool,
    recipient: [u64; 2],
    key: &mut Key,
) -> Option<usize> {
    let quoted = if v6 {
        ipv6(packet, image, quote.start)?
    } else {
        ipv4(packet, quote.start)?
    };
    // What is padding is not quoted.
    let quotes = |len| quoted.transport + len <= quote.end;
    if quoted.addresses[0] != recipient || !quotes(0) {
        return None;
    }
    let mut ends = Ends {
        addresses: quoted.addresses,
        ports: [0; 2],
    };
    key.protocol = quoted.protocol;
    match quoted.protocol {
        ip_protocol::ICMP | ip_protocol::ICMPV6 => {
            if (quoted.protocol == ip_protocol::ICMPV6) != v6 {
                return None;
            }
            let [kind, code, _, _, i0, i1, _, _] = packet.read_far::<8>(quoted.transport)?;
            if !quotes(8) {
                return None;
            }
            let (role, request) = message(v6, u64::from(kind));
            if role != role::REQUEST && role != role::REPLY {
                return None;
            }
            let side = key.place(&ends, usize::from(role == role::REPLY));
            key.ports = [u16::from_be_bytes([i0, i1]), request << 8 | u16::from(code)];
            Some(side)
        }
        ip_protocol::TCP
        | ip_protocol::UDP
        | ip_protocol::UDPLITE
        | ip_protocol::SCTP
        | ip_protocol::DCCP => {
            let [s0, s1, d0, d1] = packet.read_far::<4>(quoted.transport)?;
            if !quotes(4) {
                return None;
            }
            ends.ports = [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])];
            Some(key.set_ends(&ends))
        }
        _ => Some(key.set_ends(&ends)),
    }
}

#[inline(always)]
fn ipv4<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<Quoted> {
    let [first, _, _, _, _, _, f0, f1] = packet.read_far::<8>(at)?;
    let [_, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = packet.read_far::<12>(at + 8)?;
    let header_len = usize::from(first & 0x0f) * 4;
    let later = u16::from_be_bytes([f0, f1]) & 0x1fff != 0;
    if first >> 4 != 4 || header_len < 20 || later {
        return None;
    }
    Some(Quoted {
        addresses: [
            [0, u64::from(u32::from_be_bytes([s0, s1, s2, s3]))],
            [0, u64::from(u32::from_be_bytes([d0, d1, d2, d3]))],
        ],
        protocol,
        transport: at + header_len,
    })
}

#[inline(always)]
fn ipv6<P: Packet + ?Sized, I: Pages + ?Sized>(packet: &P, image: &I, at: usize) -> Option<Quoted> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let [first, _, _, _, _, _, mut protocol, _] = packet.read_far::<8>(at)?;
    let source = packet.read_far::<16>(at + 8)?;
    let destination = packet.read_far::<16>(at + 24)?;
    if first >> 4 != 6 {
        return None;
    }
    let mut transport = at + 40;
    let mut broken = false;
    image.repeat(MAX_EXTENSION_HEADERS as u32, || {
        let fragment = protocol == FRAGMENT;
        if !fragment && !matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION) {
            return false;
        }
        let Some([next, units, f0, f1]) = packet.read_far::<4>(transport) else {
            broken = true;
            return false;
        };
        let later = fragment && u16::from_be_bytes([f0, f1]) & 0xfff8 != 0;
        protocol = next;
        transport += if fragment {
            8
        } else {
            (usize::from(units) + 1) * 8
        };
        broken |= later;
        !later
    });
    if broken || matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
        return None;
    }
    Some(Quoted {
        addresses: [halves(source), halves(destination)],
        protocol,
        transport,
    })
}
