//! Fragments through the whole engine.

use std::vec::Vec;

use super::{
    In, Out, Rig, SECOND,
    frames::{Ip, PEER, PEER6, THIRD, VM, VM6, fragment, ip, ports, udp},
};
use crate::{Class, CtState, Field, LeafVerdict, NodeRef, TableLayer, WORD_FLAGS, flag};

/// A datagram of 64 bytes.
fn datagram() -> Vec<u8> {
    ports(5000, 53, 64)
}

/// Fragments of it: bytes 0 to 24, 24 to 48, 48 to 64.
fn fragments(source: Ip, destination: Ip, id: u16) -> [Vec<u8>; 3] {
    let make = |offset, len| fragment((source, destination), 17, id, &datagram(), offset, len);
    [make(0, 24), make(24, 24), make(48, 16)]
}

/// Only UDP to port 53 passes; fragments as such do not.
fn rig() -> Rig {
    let mut rig = Rig::new();
    for direction in [In, Out] {
        rig.set_all(direction, TableLayer::Inet, LeafVerdict::Drop);
        for class in [Class::Ip4Udp, Class::Ip6Udp] {
            rig.accept_if(direction, class, Field::DstPort, 53);
        }
    }
    rig
}

#[test]
fn later_fragments_follow_the_first() {
    for (vm, peer) in [(VM, PEER), (VM6, PEER6)] {
        let mut rig = rig();
        let [first, second, third] = fragments(vm, peer, 1);
        // Before the first one they are dropped.
        assert!(!rig.accepts(Out, &third));
        assert!(rig.accepts(Out, &first));
        // Then in any order.
        assert!(rig.accepts(Out, &third));
        assert!(rig.accepts(Out, &second));
        assert_eq!(rig.work.connection(), Some(CtState::New));
        assert_eq!(rig.tables.connections().len(), 1);
    }
}

#[test]
fn only_those_of_the_same_packet() {
    for (vm, peer) in [(VM, PEER), (VM6, PEER6)] {
        let mut rig = rig();
        let [first, second, _] = fragments(vm, peer, 1);
        assert!(rig.accepts(Out, &first));
        assert!(!rig.accepts(Out, &fragments(vm, peer, 2)[1]));
        assert!(!rig.accepts(Out, &fragments(peer, vm, 1)[1]));
        assert!(!rig.accepts(In, &second));
        let tcp = fragment((vm, peer), 6, 1, &datagram(), 24, 24);
        assert!(!rig.accepts(Out, &tcp));
        rig.port += 1;
        assert!(!rig.accepts(Out, &second));
        rig.port -= 1;
        assert!(rig.accepts(Out, &second));
    }
    let mut rig = rig();
    assert!(rig.accepts(Out, &fragments(VM, PEER, 1)[0]));
    assert!(!rig.accepts(Out, &fragments(VM, THIRD, 1)[1]));
}

#[test]
fn packets_do_not_displace_each_other() {
    // As many as there are slots would be too many: hashes collide.
    let mut rig = rig();
    let all: Vec<_> = (0..8).map(|id| fragments(VM, PEER, id)).collect();
    for [first, ..] in &all {
        assert!(rig.accepts(Out, first));
    }
    for [_, second, third] in &all {
        assert!(rig.accepts(Out, second) && rig.accepts(Out, third));
    }
}

#[test]
fn a_dropped_first_fragment_lends_nothing() {
    let mut rig = rig();
    let payload = ports(5000, 54, 64);
    let make = |offset, len| fragment((VM, PEER), 17, 1, &payload, offset, len);
    assert!(!rig.accepts(Out, &make(0, 24)));
    assert!(!rig.accepts(Out, &make(24, 24)));
}

#[test]
fn what_the_first_fragment_carried_cannot_come_again() {
    for (vm, peer) in [(VM, PEER), (VM6, PEER6)] {
        let mut rig = rig();
        let [first, second, _] = fragments(vm, peer, 1);
        assert!(rig.accepts(Out, &first));
        let overlap = fragment((vm, peer), 17, 1, &datagram(), 16, 24);
        assert!(!rig.accepts(Out, &overlap));
        assert!(rig.accepts(Out, &second));
    }
}

#[test]
fn a_first_fragment_without_its_whole_header_lends_nothing() {
    let mut rig = rig();
    let payload = ports(5000, 53, 64);
    let tiny = fragment((VM, PEER), 6, 1, &payload, 0, 16);
    assert!(!rig.accepts(Out, &tiny));
    rig.set_all(Out, TableLayer::Inet, LeafVerdict::Accept);
    rig.set_root(
        Out,
        TableLayer::Inet,
        Class::Ip4Fragment,
        NodeRef::leaf(LeafVerdict::Drop, 0),
    );
    assert!(rig.accepts(Out, &tiny));
    let rest = fragment((VM, PEER), 6, 1, &payload, 16, 48);
    assert!(!rig.accepts(Out, &rest));
}

#[test]
fn thirty_seconds_later_all_is_forgotten() {
    let mut rig = rig();
    let [first, second, third] = fragments(VM, PEER, 1);
    assert!(rig.accepts(Out, &first));
    rig.tables.pass(30 * SECOND - 1);
    assert!(rig.accepts(Out, &second));
    rig.tables.pass(1);
    assert!(!rig.accepts(Out, &third));
    // And when the port's connections are flushed.
    assert!(rig.accepts(Out, &first));
    rig.record.since = rig.tables.clock.get() + 1;
    assert!(!rig.accepts(Out, &third));
}

#[test]
fn fragments_of_an_answer_are_its_state() {
    for (vm, peer) in [(VM, PEER), (VM6, PEER6)] {
        let reply = CtState::EstablishedReply as u32;
        let class = if vm == VM {
            Class::Ip4Udp
        } else {
            Class::Ip6Udp
        };
        let mut rig = rig();
        rig.accept_if(In, class, Field::CtState, reply);
        let payload = ports(53, 5000, 64);
        let make = |offset, len| fragment((peer, vm), 17, 1, &payload, offset, len);
        assert!(!rig.accepts(In, &make(0, 24)) && !rig.accepts(In, &make(24, 40)));
        assert!(rig.accepts(Out, &udp(vm, 5000, peer, 53)));
        assert!(rig.accepts(In, &make(0, 24)) && rig.accepts(In, &make(24, 40)));
        assert_eq!(rig.work.connection(), Some(CtState::EstablishedReply));
    }
}

#[test]
fn a_state_that_was_not_asked_for_is_not_made_up() {
    // The first fragment passes tables that do not ask, the others meet tables that do.
    let mut rig = rig();
    rig.track(|_, _| false);
    let [first, second, _] = fragments(VM, PEER, 1);
    assert!(rig.accepts(Out, &first) && rig.accepts(Out, &second));
    rig.track(|_, _| true);
    assert!(!rig.accepts(Out, &second));
}

#[test]
fn fields_of_icmp_and_other_protocols_are_lent() {
    let mut rig = rig();
    rig.accept_if(Out, Class::Ip4Icmp, Field::IcmpType, 8);
    rig.accept_if(Out, Class::Ip4Other, Field::IpProtocol, 47);
    let echo: Vec<u8> = [&[8, 0, 0, 0, 0, 5, 0, 1][..], &[0; 56]].concat();
    for protocol in [1, 47] {
        let make = |offset, len| fragment((VM, PEER), protocol, 1, &echo, offset, len);
        assert!(rig.accepts(Out, &make(0, 24)) && rig.accepts(Out, &make(24, 40)));
    }
}

#[test]
fn options_behind_the_fragment_header() {
    // The fragment header's next header is destination options, those name UDP.
    let mut rig = rig();
    let payload = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &datagram()].concat();
    let make = |offset, len| fragment((VM6, PEER6), 60, 1, &payload, offset, len);
    assert!(!rig.accepts(Out, &make(32, 40)));
    assert!(rig.accepts(Out, &make(0, 32)) && rig.accepts(Out, &make(32, 40)));
}

#[test]
fn a_fragment_header_on_a_whole_packet() {
    let mut rig = rig();
    let payload = [&[17, 0, 0, 0, 0, 0, 0, 1][..], &datagram()].concat();
    assert!(rig.accepts(Out, &super::frames::frame(&ip(VM6, PEER6, 44, &payload))));
    assert!(!rig.accepts(Out, &fragments(VM6, PEER6, 1)[1]));
}

#[test]
fn layers_that_do_not_see_whole_packets() {
    // In the Ethernet layer of libvirt a later fragment is one.
    let mut rig = rig();
    let drop = NodeRef::leaf(LeafVerdict::Drop, 0);
    rig.set_root(Out, TableLayer::Ethernet, Class::Ip4Fragment, drop);
    let [first, second, third] = fragments(VM, PEER, 1);
    assert!(rig.accepts(Out, &first) && rig.accepts(Out, &second));
    rig.image[0][WORD_FLAGS] = flag::LIBVIRT;
    assert!(!rig.accepts(Out, &third));
    rig.image[0][WORD_FLAGS] = 0;
    rig.set_all(Out, TableLayer::Ethernet, LeafVerdict::Accept);
    assert!(!rig.accepts(Out, &third));
    rig.image[0][WORD_FLAGS] = flag::LIBVIRT;
    assert!(rig.accepts(Out, &third));
}

#[test]
fn the_sweep_removes_only_what_is_dead() {
    let mut rig = rig();
    let [first, second, third] = fragments(VM, PEER, 1);
    assert!(rig.accepts(Out, &first));
    rig.tables.sweep(&rig.record);
    assert!(rig.accepts(Out, &second));
    rig.tables.pass(30 * SECOND);
    rig.tables.sweep(&rig.record);
    rig.tables.clock.set(1000 * SECOND);
    assert!(!rig.accepts(Out, &third));
}
