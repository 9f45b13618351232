//! What is remembered of connections: it holds as long as nothing has changed, and no longer.

use super::{
    In, Out, Rig, SECOND,
    frames::{ACK, FIN, PEER, PEER6, RST, SYN, VM, VM6, tcp, udp},
};
use crate::{
    Class,
    CtState::{EstablishedOriginal, EstablishedReply, New},
    Entry, Key, TcpState, TrackingCounter,
    ct::{
        Tables as _,
        key::Ends,
        recent::{PLACES, RECENT, Sight, index, place},
    },
    field::{FIELD_WORDS, Field},
};

/// A connection over which data has gone both ways, so that it is remembered.
fn remembered() -> Rig {
    let mut rig = Rig::new();
    rig.expect(&[
        (Out, &tcp(VM, 40000, PEER, 80, SYN), New),
        (In, &tcp(PEER, 80, VM, 40000, SYN | ACK), EstablishedReply),
    ]);
    for _ in 0..2 {
        rig.expect(&[
            (Out, &tcp(VM, 40000, PEER, 80, ACK), EstablishedOriginal),
            (In, &tcp(PEER, 80, VM, 40000, ACK), EstablishedReply),
        ]);
    }
    rig
}

#[test]
fn what_has_changed_is_looked_up_again() {
    let mut rig = remembered();
    rig.expect(&[
        (
            Out,
            &tcp(VM, 40000, PEER, 80, FIN | ACK),
            EstablishedOriginal,
        ),
        (In, &tcp(PEER, 80, VM, 40000, ACK), EstablishedReply),
        (In, &tcp(PEER, 80, VM, 40000, FIN | ACK), EstablishedReply),
        (Out, &tcp(VM, 40000, PEER, 80, ACK), EstablishedOriginal),
    ]);
    assert_eq!(rig.tables.connections()[0].1.tcp(), TcpState::TimeWait);
    rig.expect(&[(Out, &tcp(VM, 40000, PEER, 80, SYN), New)]);
}

#[test]
fn what_is_from_before_a_flush_does_not_hold() {
    let mut rig = remembered();
    rig.tables.pass(1);
    rig.record.since = rig.tables.clock.get();
    rig.expect(&[(In, &tcp(PEER, 80, VM, 40000, ACK), New)]);
}

#[test]
fn what_lasts_is_renewed() {
    let mut rig = remembered();
    let expires = |rig: &Rig| rig.tables.connections()[0].1.expires;
    let before = expires(&rig);
    rig.tables.pass(10 * SECOND);
    rig.expect(&[(Out, &tcp(VM, 40000, PEER, 80, ACK), EstablishedOriginal)]);
    assert_eq!(expires(&rig), before + 10 * SECOND);
}

#[test]
fn connections_that_share_a_place_are_told_apart() {
    let mut rig = Rig::new();
    // Two ports of the VM whose connections share a place.
    let mut keys = std::collections::HashMap::new();
    let mut pair = None;
    for port in 1024..=u16::MAX {
        let mut probe = Rig::new();
        probe.expect(&[(Out, &udp(VM, port, PEER, 53), New)]);
        let (key, _) = probe.tables.connections()[0];
        if let Some(other) = keys.insert(place(key.words()), port) {
            pair = Some((other, port));
            break;
        }
    }
    let (one, other) = pair.unwrap();
    for _ in 0..3 {
        rig.expect(&[(Out, &udp(VM, one, PEER, 53), New)]);
    }
    rig.expect(&[(In, &udp(PEER, 53, VM, one), EstablishedReply)]);
    rig.expect(&[(In, &udp(PEER, 53, VM, one), EstablishedReply)]);
    // Nobody has asked from this port.
    rig.expect(&[(In, &udp(PEER, 53, VM, other), New)]);
    rig.expect(&[(Out, &udp(VM, one, PEER, 53), EstablishedOriginal)]);
}

#[test]
fn keys_are_the_same_whoever_makes_them() {
    let addresses = [0, 1, 0x0a00_0001, 0x0a00_0002, u32::MAX];
    let ports = [0, 1, 53, u16::MAX];
    for source in addresses {
        for destination in addresses {
            for from in ports {
                for to in ports {
                    let (key, side) = Key::of_ipv4([source, destination], [from, to], 7, 17);
                    let mut other = Key {
                        port: 7,
                        protocol: 17,
                        family: 4,
                        ..Key::default()
                    };
                    let ends = Ends {
                        addresses: [[0, source.into()], [0, destination.into()]],
                        ports: [from, to],
                    };
                    assert_eq!(side, other.set_ends(&ends));
                    assert_eq!(key, other);
                    let mut written = Key::default();
                    written.overwrite(key.words());
                    assert_eq!(written, key);
                }
            }
        }
    }
}

#[test]
fn a_connection_has_one_place_from_wherever_it_is_seen() {
    let halves = [0, 1, 0x0a00_0001, u32::MAX.into(), u64::MAX];
    let ports = [0, 1, 53, u16::MAX];
    for (source, destination) in halves.iter().flat_map(|a| halves.map(|b| (*a, b))) {
        for (from, to) in ports.iter().flat_map(|a| ports.map(|b| (*a, b))) {
            let mut fields = [0; FIELD_WORDS];
            for (field, value) in [
                (Field::Ip4Src, source & u64::from(u32::MAX)),
                (Field::Ip4Dst, destination & u64::from(u32::MAX)),
                (Field::Ip6SrcHigh, source),
                (Field::Ip6SrcLow, destination),
                (Field::Ip6DstHigh, destination),
                (Field::Ip6DstLow, destination),
                (Field::SrcPort, from.into()),
                (Field::DstPort, to.into()),
                (Field::IpProtocol, 17),
            ] {
                fields[field.index()] = value;
            }
            let mut key = Key {
                ports: [0; 2],
                port: 4095,
                protocol: 17,
                family: 4,
                ..Key::default()
            };
            let mut expect = |family, addresses| {
                key.family = family;
                key.set_ends(&Ends {
                    addresses,
                    ports: [from, to],
                });
                place(key.words())
            };
            let four = Sight::<false>::new(4095).place(&fields);
            let addresses = [source, destination].map(|half| [0, half & u64::from(u32::MAX)]);
            assert_eq!(four, expect(4, addresses));
            let six = Sight::<true>::new(4095).place(&fields);
            let addresses = [[source, destination], [destination; 2]];
            assert_eq!(six, expect(6, addresses));
            assert!((four as usize) < PLACES && (index(six, Out) as usize) < RECENT);
            assert_ne!(index(four, In), index(four, Out));
        }
    }
}

#[test]
fn connections_are_spread_over_all_places() {
    // A VM that asks many peers from many ports.
    let mut taken = std::collections::HashSet::new();
    for n in 0..PLACES as u64 {
        let key = Key {
            addresses: [[0, 0x0a00_0001], [0, 0x0a01_0000 + n % 64]],
            ports: [40000 + (n / 64) as u16, 443],
            port: 1,
            protocol: 6,
            family: 4,
        };
        taken.insert(place(key.words()));
    }
    // Random places would take 63 of 100.
    assert!(taken.len() > PLACES / 2, "{}", taken.len());
}

#[test]
fn what_does_not_move_the_end_makes_nothing_fresh() {
    let mut rig = Rig::new();
    // In the middle of a connection that nobody has answered: five minutes.
    rig.expect(&[(Out, &tcp(VM, 40000, PEER, 80, ACK), New)]);
    rig.tables.pass(300 * SECOND - SECOND / 10);
    rig.expect(&[(In, &tcp(PEER, 80, VM, 40000, SYN | ACK), EstablishedReply)]);
    rig.tables.pass(SECOND / 5);
    rig.expect(&[(In, &tcp(PEER, 80, VM, 40000, ACK), New)]);
}

#[test]
fn a_reset_of_a_remembered_connection_closes_it() {
    let mut rig = remembered();
    rig.expect(&[
        (
            Out,
            &tcp(VM, 40000, PEER, 80, RST | ACK),
            EstablishedOriginal,
        ),
        (In, &tcp(PEER, 80, VM, 40000, ACK), EstablishedReply),
    ]);
    assert_eq!(rig.tables.connections()[0].1.tcp(), TcpState::Close);
}

#[test]
fn a_limit_looks_at_connections_that_are_remembered() {
    for (vm, peer) in [(VM, PEER), (VM6, PEER6)] {
        let mut rig = Rig::new();
        let there = udp(vm, 1000, peer, 53);
        rig.expect(&[
            (Out, &there, New),
            (In, &udp(peer, 53, vm, 1000), EstablishedReply),
        ]);
        for _ in 0..2 {
            rig.expect(&[(Out, &there, EstablishedOriginal)]);
        }
        rig.expect(&[(Out, &udp(peer, 7, vm, 7), New)]);
        // From now on one connection for each source.
        let class = if vm == VM {
            Class::Ip4Udp
        } else {
            Class::Ip6Udp
        };
        rig.limit(Out, class, 1);
        assert!(rig.accepts(Out, &there), "{vm:?}");
        let limited = |(_, entry): &(Key, Entry)| entry.state & Entry::LIMITED != 0;
        let connections = rig.tables.connections();
        let [(key, _)] = connections
            .iter()
            .filter(|c| limited(c))
            .collect::<std::vec::Vec<_>>()[..]
        else {
            panic!("{connections:?}");
        };
        assert!(key.ports.contains(&1000), "{key:?}");
        let counted = rig.tables.counter(rig.port, TrackingCounter::Limited);
        assert_eq!(counted, 1, "{vm:?}");
        assert!(!rig.accepts(Out, &udp(vm, 1001, peer, 53)), "{vm:?}");
    }
}

#[test]
fn a_frame_without_a_connection_joins_no_limit_of_another_port() {
    let mut rig = Rig::new();
    rig.expect(&[(Out, &tcp(VM, 40000, PEER, 80, SYN), New)]);
    rig.port += 1;
    rig.limit(Out, Class::Ip4Short, 1);
    let whole = tcp(VM, 40000, PEER, 80, SYN);
    rig.decide(Out, &whole[..40]);
    assert_eq!(rig.tables.connections()[0].1.state & Entry::LIMITED, 0);
}
