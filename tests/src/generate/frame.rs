//! Frames of every kind that filters tell apart: whole, at the boundaries, cut, damaged.

use std::net::{Ipv4Addr, Ipv6Addr};

use nwfilter_common::MacAddr;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{Theme, pool};
use crate::{
    judge::FrameDirection,
    wire::{self, Arp, Bpdu, Extension, Ipv4, Ipv6},
};

/// One of the pool, the first ones more often.
fn some<T: Clone + std::fmt::Debug + 'static>(pool: &'static [T]) -> BoxedStrategy<T> {
    prop_oneof![3 => select(&pool[..pool.len().min(2)]), 1 => select(pool)].boxed()
}

/// A frame and where it goes. It is mostly about the theme.
pub(super) fn frame(theme: Theme) -> BoxedStrategy<(FrameDirection, Vec<u8>)> {
    let directed = prop_oneof![Just(FrameDirection::Out), Just(FrameDirection::In)];
    (
        directed,
        option::weighted(0.3, (some(pool::MACS), some(pool::MACS))),
        content(theme),
        tags(theme),
    )
        .prop_flat_map(|(direction, macs, (group, ethertype, payload), tags)| {
            let (source, destination) = macs.unwrap_or(match direction {
                FrameDirection::Out => (pool::VM, pool::PEER),
                FrameDirection::In => (pool::PEER, pool::VM),
            });
            let destination = group.unwrap_or(destination);
            let mut frame = wire::ethernet(destination, source, ethertype, &payload);
            for (kind, control) in tags {
                frame = wire::tagged(&frame, kind, control);
            }
            (Just(direction), damaged(frame))
        })
        .boxed()
}

fn tags(theme: Theme) -> BoxedStrategy<Vec<(u16, u16)>> {
    let kinds = prop_oneof![4 => Just(0x8100_u16), 1 => Just(0x88a8_u16)];
    let controls =
        (some(pool::VLANS), select(vec![0_u16, 0x1000, 0xe000])).prop_map(|(a, b)| a | b);
    let tag = (kinds, controls);
    prop_oneof![
        if theme == Theme::Tags { 2 } else { 20 } => Just(Vec::new()),
        1 => vec(tag.clone(), 1),
        1 => vec(tag, 1..=2),
    ]
    .boxed()
}

/// The frame as it is, cut, or with one byte changed; the changes are in the headers, mostly.
fn damaged(frame: Vec<u8>) -> BoxedStrategy<Vec<u8>> {
    let length = frame.len();
    let headers = length.min(80);
    let whole = frame.clone();
    let cut = {
        let frame = frame.clone();
        (0..=length).prop_map(move |end| frame[..end].to_vec())
    };
    let values = prop_oneof![
        select(vec![
            0_u8, 1, 0x3f, 0x40, 0x44, 0x45, 0x4f, 0x60, 0x80, 0xff
        ]),
        any::<u8>()
    ];
    let spoiled = (0..headers.max(1), values).prop_map(move |(at, value)| {
        let mut frame = frame.clone();
        if let Some(byte) = frame.get_mut(at) {
            *byte = value;
        }
        frame
    });
    prop_oneof![12 => Just(whole), 1 => cut, 1 => spoiled].boxed()
}

/// A destination that the content asks for, ethertype and payload.
type Content = (Option<MacAddr>, u16, Vec<u8>);

fn content(theme: Theme) -> BoxedStrategy<Content> {
    let plain = |ethertype: u16, payload: BoxedStrategy<Vec<u8>>| {
        payload
            .prop_map(move |payload| (None, ethertype, payload))
            .boxed()
    };
    let junk = vec(any::<u8>(), 0..=48).boxed();
    let weight = |usual: u32, themes: &[Theme]| match theme {
        Theme::Any => usual,
        theme if themes.contains(&theme) => 40,
        _ => 1,
    };
    prop_oneof![
        weight(10, &[Theme::Ipv4, Theme::InetV4]) => plain(0x0800, v4()),
        weight(1, &[]) => plain(0x0800, dhcp()),
        weight(7, &[Theme::Ipv6, Theme::InetV6]) => plain(0x86dd, v6()),
        weight(4, &[Theme::Arp]) => plain(0x0806, arp()),
        weight(2, &[Theme::Arp]) => plain(0x8035, arp()),
        weight(2, &[Theme::Tags]) => bpdu(),
        // Behind a tag, what `encap-protocol` may ask for.
        if theme == Theme::Tags { 10 } else { 1 } => (select(pool::ETHERTYPES), junk.clone()).prop_map(|(e, p)| (None, e, p)),
        1 => junk.prop_map(|payload| (None, payload.len() as u16, payload)),
    ]
    .boxed()
}

fn arp() -> BoxedStrategy<Vec<u8>> {
    let kinds = prop_oneof![
        8 => Just((1_u16, 0x0800_u16, (6_u8, 4_u8))),
        1 => (
            select(vec![1_u16, 6, 0]),
            select(vec![0x0800_u16, 0x86dd, 0x0806]),
            (select(vec![6_u8, 8, 0, 255]), select(vec![4_u8, 16, 0, 255])),
        ),
    ];
    (
        kinds,
        some(pool::OPCODES),
        (some(pool::MACS), some(pool::IPV4)),
        (some(pool::MACS), some(pool::IPV4)),
        0_usize..=20,
    )
        .prop_map(
            |((hardware, protocol, lengths), opcode, sender, target, padding)| {
                let arp = Arp {
                    hardware,
                    protocol,
                    lengths,
                    opcode,
                    sender_mac: sender.0,
                    sender_ip: sender.1,
                    target_mac: target.0,
                    target_ip: target.1,
                };
                let mut bytes = arp.bytes();
                bytes.resize(bytes.len() + padding, 0);
                bytes
            },
        )
        .boxed()
}

fn bpdu() -> BoxedStrategy<Content> {
    let shorts = || select(vec![0_u16, 1, 0x100, 0x8000, 0x8001, 0xffff]);
    (
        prop_oneof![3 => Just(0_u8), 1 => select(vec![2_u8, 128, 1])],
        select(vec![0_u8, 1, 2, 0x80, 0x81]),
        (shorts(), some(pool::MACS)),
        select(vec![0_u32, 1, 0xffff, 0x1_0000, u32::MAX]),
        (shorts(), some(pool::MACS)),
        shorts(),
        [shorts(), shorts(), shorts(), shorts()],
    )
        .prop_map(|(kind, flags, root, root_cost, sender, port, timers)| {
            let bytes = Bpdu {
                kind,
                flags,
                root,
                root_cost,
                sender,
                port,
                timers,
            }
            .bytes();
            let group = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);
            (Some(group), bytes.len() as u16, bytes)
        })
        .boxed()
}

/// Offset and more-fragments of a whole datagram, a first and later fragments.
fn fragments() -> BoxedStrategy<(u16, bool)> {
    prop_oneof![
        8 => Just((0, false)),
        1 => Just((0, true)),
        1 => (select(vec![1_u16, 3, 0x1fff]), any::<bool>()),
    ]
    .boxed()
}

fn v4() -> BoxedStrategy<Vec<u8>> {
    (
        (some(pool::IPV4), some(pool::IPV4)),
        some(pool::TRAFFIC_CLASSES),
        some(pool::IDS),
        fragments(),
        prop_oneof![8 => Just(0_usize), 1 => select(vec![4_usize, 40])],
        transport(false, true),
    )
        .prop_map(
            |(ends, tos, id, (offset, more), options, (protocol, payload))| {
                let (source, destination) = ends;
                let options = vec![1; options];
                Ipv4 {
                    source,
                    destination,
                    protocol,
                    tos,
                    id,
                    more,
                    offset,
                    options,
                }
                .packet(&payload)
            },
        )
        .boxed()
}

/// A DHCP request or answer.
fn dhcp() -> BoxedStrategy<Vec<u8>> {
    let (vm, server) = (pool::IPV4[0], pool::IPV4[1]);
    let nobody = Ipv4Addr::UNSPECIFIED;
    let everybody = Ipv4Addr::BROADCAST;
    select(vec![
        (nobody, everybody, (68, 67)),
        (vm, everybody, (68, 67)),
        (vm, server, (68, 67)),
        (server, everybody, (67, 68)),
        (server, vm, (67, 68)),
    ])
    .prop_map(|(source, destination, (from, to))| {
        Ipv4 {
            source,
            destination,
            protocol: 17,
            ..Ipv4::default()
        }
        .packet(&wire::udp(from, to, b"dhcp"))
    })
    .boxed()
}

fn v6() -> BoxedStrategy<Vec<u8>> {
    (
        (some(pool::IPV6), some(pool::IPV6)),
        some(pool::TRAFFIC_CLASSES),
        extensions(),
        transport(true, true),
    )
        .prop_map(
            |((source, destination), traffic_class, extensions, (protocol, payload))| {
                Ipv6 {
                    source,
                    destination,
                    protocol,
                    traffic_class,
                    extensions,
                }
                .packet(&payload)
            },
        )
        .boxed()
}

fn extensions() -> BoxedStrategy<Vec<Extension>> {
    let options = (
        select(vec![0_u8, 43, 60]),
        prop_oneof![8 => Just(1_u16), 1 => 2_u16..=256],
    )
        .prop_map(|(number, length)| Extension::Options(number, length));
    let fragment =
        (fragments(), some(pool::IDS)).prop_map(|((offset, more), id)| Extension::Fragment {
            offset,
            more,
            id: id.into(),
        });
    prop_oneof![
        6 => Just(Vec::new()),
        2 => vec(fragment.clone(), 1),
        2 => vec(prop_oneof![3 => options, 2 => fragment], 1..=4),
        1 => (6_usize..=10).prop_map(|count| vec![Extension::Options(60, 1); count]),
    ]
    .boxed()
}

/// A protocol and its bytes, at times cut off inside the packet. `quotes` allows ICMP errors.
fn transport(v6: bool, quotes: bool) -> BoxedStrategy<(u8, Vec<u8>)> {
    let ports = || (some(pool::PORTS), some(pool::PORTS));
    let icmp = if v6 {
        icmp(58, pool::ICMPV6_TYPES, v6, quotes)
    } else {
        icmp(1, pool::ICMP_TYPES, v6, quotes)
    };
    let whole = prop_oneof![
        5 => (ports(), vec(any::<u8>(), 0..=4))
            .prop_map(|((from, to), payload)| (17, wire::udp(from, to, &payload))),
        5 => (ports(), tcp_flags(), tcp_options())
            .prop_map(|((from, to), flags, options)| (6, wire::tcp(from, to, flags, &options))),
        2 => ports().prop_map(|(from, to)| (132, wire::sctp(from, to))),
        1 => ports().prop_map(|(from, to)| (33, wire::sctp(from, to))),
        5 => icmp,
        3 => (select(pool::PROTOCOLS), vec(any::<u8>(), 0..=24)),
    ];
    (whole, option::weighted(0.06, any::<prop::sample::Index>()))
        .prop_map(|((protocol, mut bytes), cut)| {
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            (protocol, bytes)
        })
        .boxed()
}

pub(super) fn tcp_flags() -> BoxedStrategy<u8> {
    prop_oneof![
        8 => select(vec![0x02_u8, 0x12, 0x10, 0x11, 0x04, 0x14, 0x18]),
        2 => select(vec![0x00_u8, 0x01, 0x03, 0x06, 0x08, 0x20, 0x22, 0x30, 0x3f, 0xc2]),
        1 => any::<u8>(),
    ]
    .boxed()
}

/// Options as they are, and broken ones.
fn tcp_options() -> BoxedStrategy<Vec<u8>> {
    let usual: [&[u8]; 5] = [
        &[],
        &[2, 4, 5, 180],
        &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0],
        &[2, 4, 5, 180, 3, 3, 7, 0],
        &[1, 254, 4, 0, 0, 3, 3, 7],
    ];
    let broken: [&[u8]; 3] = [&[2, 0, 3, 3], &[8, 40, 1, 1], &[1, 1, 1, 3]];
    let owned = |options: &[&[u8]]| options.iter().map(|o| o.to_vec()).collect::<Vec<_>>();
    prop_oneof![8 => select(owned(&usual)), 1 => select(owned(&broken))].boxed()
}

fn icmp(
    protocol: u8,
    kinds: &'static [u8],
    v6: bool,
    quotes: bool,
) -> BoxedStrategy<(u8, Vec<u8>)> {
    let body = if quotes {
        prop_oneof![2 => Just(Vec::new()), 1 => quoted(v6)].boxed()
    } else {
        Just(Vec::new()).boxed()
    };
    let kind = prop_oneof![some(kinds), select(kinds)];
    (kind, some(pool::ICMP_CODES), some(pool::IDS), body)
        .prop_map(move |(kind, code, id, body)| {
            let [high, low] = id.to_be_bytes();
            (protocol, wire::icmp(kind, code, [high, low, 0, 0], &body))
        })
        .boxed()
}

/// A packet in an ICMP error, at times cut short.
fn quoted(v6: bool) -> BoxedStrategy<Vec<u8>> {
    let packet = if v6 {
        ((some(pool::IPV6), some(pool::IPV6)), transport(true, false))
            .prop_map(|(ends, transport): ((Ipv6Addr, Ipv6Addr), _)| {
                let (protocol, payload): (u8, Vec<u8>) = transport;
                Ipv6 {
                    source: ends.0,
                    destination: ends.1,
                    protocol,
                    ..Ipv6::default()
                }
                .packet(&payload)
            })
            .boxed()
    } else {
        (
            (some(pool::IPV4), some(pool::IPV4)),
            transport(false, false),
        )
            .prop_map(|(ends, transport): ((Ipv4Addr, Ipv4Addr), _)| {
                let (protocol, payload): (u8, Vec<u8>) = transport;
                Ipv4 {
                    source: ends.0,
                    destination: ends.1,
                    protocol,
                    ..Ipv4::default()
                }
                .packet(&payload)
            })
            .boxed()
    };
    let least = if v6 { 48 } else { 28 };
    (
        packet,
        prop_oneof![4 => Just(least), 2 => Just(usize::MAX), 1 => 0..least],
    )
        .prop_map(|(mut packet, length)| {
            packet.truncate(length);
            packet
        })
        .boxed()
}
