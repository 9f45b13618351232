//! UDP, DHCP, other protocols.

use super::{
    In, Out, Rig, SECOND,
    frames::{Ip, PEER, PEER6, THIRD, VM, VM6, frame, ip, udp, with_ports},
};
use crate::{CtState, WORD_FLAGS, flag};
use CtState::{EstablishedOriginal, EstablishedReply, New};

#[test]
fn udp_is_established_by_an_answer() {
    for (vm, peer) in [(VM, PEER), (VM6, PEER6)] {
        let there = udp(vm, 5000, peer, 53);
        let back = udp(peer, 53, vm, 5000);
        let mut rig = Rig::new();
        rig.expect(&[
            (Out, &there, New),
            (Out, &there, New),
            (In, &back, EstablishedReply),
            (Out, &there, EstablishedOriginal),
        ]);
        // One question and its answer: gone after 30 s.
        rig.tables.pass(30 * SECOND);
        rig.expect(&[(In, &back, New), (Out, &there, EstablishedReply)]);
    }
}

#[test]
fn udp_with_a_stream_of_answers_lives_longer() {
    let there = udp(VM, 5000, PEER, 53);
    let back = udp(PEER, 53, VM, 5000);
    let mut rig = Rig::new();
    rig.expect(&[(Out, &there, New), (In, &back, EstablishedReply)]);
    rig.tables.pass(3 * SECOND);
    rig.expect(&[(Out, &there, EstablishedOriginal)]);
    rig.tables.pass(119 * SECOND);
    rig.expect(&[(In, &back, EstablishedReply)]);
    rig.tables.pass(120 * SECOND);
    rig.expect(&[(In, &back, New)]);
}

#[test]
fn both_directions_of_one_side_are_one_connection() {
    // A router behind the port: the same packet comes in and goes out again.
    let there = udp(THIRD, 5000, PEER, 53);
    let mut rig = Rig::new();
    rig.expect(&[
        (In, &there, New),
        (Out, &there, New),
        (In, &udp(PEER, 53, THIRD, 5000), EstablishedReply),
    ]);
    assert_eq!(rig.tables.connections().len(), 1);
}

#[test]
fn other_protocols() {
    // SCTP, DCCP, UDP-Lite by ports; the rest by addresses. Seconds without and with an answer.
    for (protocol, unanswered, answered) in [
        (132, 30, 210),
        (33, 240, 43_200),
        (136, 30, 30),
        (47, 600, 600),
        (50, 600, 600),
    ] {
        for (vm, peer) in [(VM, PEER), (VM6, PEER6)] {
            let there = with_ports(protocol, vm, 1, peer, 2);
            let back = with_ports(protocol, peer, 2, vm, 1);
            let by_ports = !matches!(protocol, 47 | 50);
            let mut rig = Rig::new();
            rig.expect(&[(Out, &there, New)]);
            rig.tables.pass(unanswered * SECOND);
            let gone = rig.state(In, &with_ports(protocol, peer, 3, vm, 1));
            assert_eq!(gone, Some(New), "protocol {protocol}");

            let mut rig = Rig::new();
            rig.expect(&[(Out, &there, New)]);
            rig.tables.pass(unanswered * SECOND - 1);
            let other = rig.state(In, &with_ports(protocol, peer, 3, vm, 1));
            let expected = if by_ports { New } else { EstablishedReply };
            assert_eq!(other, Some(expected), "protocol {protocol}");
            rig.expect(&[(In, &back, EstablishedReply)]);
            let now = rig.tables.clock.get();
            let longest = rig
                .tables
                .connections()
                .iter()
                .map(|(_, e)| e.expires)
                .max();
            let stream = if protocol == 136 { 120 } else { answered };
            assert_eq!(longest, Some(now + stream * SECOND), "protocol {protocol}");
        }
    }
    // Another protocol is another connection.
    let mut rig = Rig::new();
    rig.expect(&[
        (Out, &frame(&ip(VM, PEER, 47, &[0; 8])), New),
        (In, &frame(&ip(PEER, VM, 50, &[0; 8])), New),
        (In, &frame(&ip(PEER, VM, 47, &[0; 8])), EstablishedReply),
    ]);
}

const NOBODY: Ip = Ip::V4([0; 4]);
const ALL: Ip = Ip::V4([255; 4]);

#[test]
fn a_dhcp_request_opens_the_way_for_its_answer() {
    let request = udp(NOBODY, 68, ALL, 67);
    let mut rig = Rig::new();
    rig.expect(&[
        (In, &udp(PEER, 67, VM, 68), New),
        (Out, &request, New),
        (In, &udp(PEER, 67, ALL, 68), EstablishedReply),
        (In, &udp(THIRD, 67, VM, 68), EstablishedReply),
        (In, &udp(THIRD, 67, VM, 69), New),
        (In, &udp(THIRD, 66, VM, 68), New),
        (Out, &udp(THIRD, 67, ALL, 68), New),
        (Out, &request, New),
    ]);
    rig.tables.pass(30 * SECOND);
    rig.expect(&[(In, &udp(PEER, 67, ALL, 68), New)]);
}

#[test]
fn a_dhcp_request_from_the_address_that_is_kept() {
    let mut rig = Rig::new();
    rig.expect(&[
        (In, &udp(VM, 68, ALL, 67), New),
        (In, &udp(PEER, 67, VM, 68), New),
    ]);
    let mut rig = Rig::new();
    rig.expect(&[
        (Out, &udp(VM, 68, ALL, 67), New),
        (In, &udp(PEER, 67, THIRD, 68), New),
        (In, &udp(THIRD, 67, ALL, 68), New),
        (In, &udp(PEER, 67, VM, 68), EstablishedReply),
    ]);
}

#[test]
fn only_the_requests_of_this_vm_count() {
    let request = udp(NOBODY, 68, ALL, 67);
    let answer = udp(PEER, 67, ALL, 68);
    let mut rig = Rig::new();
    rig.expect(&[(In, &request, New), (In, &answer, New)]);
    // Nor do those of others stand in its way, or keep it alive.
    let second = udp(THIRD, 67, ALL, 68);
    rig.expect(&[(Out, &request, New), (In, &second, EstablishedReply)]);
    rig.tables.pass(29 * SECOND);
    rig.expect(&[(In, &request, New)]);
    rig.tables.pass(SECOND);
    rig.expect(&[(In, &udp(VM, 67, ALL, 68), New)]);
    let mut rig = Rig::new();
    rig.set_all(Out, crate::TableLayer::Inet, crate::LeafVerdict::Drop);
    rig.expect(&[(Out, &request, New), (In, &answer, New)]);
    let mut rig = Rig::new();
    rig.expect(&[(Out, &request, New)]);
    rig.port += 1;
    rig.expect(&[(In, &answer, New)]);
    // Not as libvirt has it.
    let mut rig = Rig::new();
    rig.image[0][WORD_FLAGS] = flag::LIBVIRT;
    rig.expect(&[(Out, &request, New), (In, &answer, New)]);
}
