//! TCP: states of frames by the flags that went before.

use super::{
    In, Out, Rig, SECOND,
    frames::{ACK, FIN, Ip, PEER, PEER6, PSH, RST, SYN, URG, VM, VM6, tcp},
};
use crate::{CtState, FrameDirection, TcpState};
use CtState::{EstablishedOriginal, EstablishedReply, Invalid, New};

/// A segment from the VM or to it.
fn segment(direction: FrameDirection, flags: u8) -> std::vec::Vec<u8> {
    match direction {
        Out => tcp(VM, 40000, PEER, 80, flags),
        In => tcp(PEER, 80, VM, 40000, flags),
    }
}

#[track_caller]
fn expect(rig: &mut Rig, steps: &[(FrameDirection, u8, CtState)]) {
    for (number, (direction, flags, state)) in steps.iter().enumerate() {
        let got = rig.state(*direction, &segment(*direction, *flags));
        assert_eq!(
            got,
            Some(*state),
            "segment {number}, {direction:?} {flags:#x}"
        );
    }
}

fn tcp_state(rig: &Rig) -> TcpState {
    let connections = rig.tables.connections();
    assert_eq!(connections.len(), 1);
    connections[0].1.tcp()
}

#[test]
fn handshake_from_either_side() {
    let ends: [(Ip, Ip); 2] = [(VM, PEER), (VM6, PEER6)];
    for (vm, peer) in ends {
        for (there, back) in [(Out, In), (In, Out)] {
            // The smaller address begins, then the larger one.
            let [from, to] = if there == Out { [vm, peer] } else { [peer, vm] };
            let mut rig = Rig::new();
            rig.expect(&[
                (there, &tcp(from, 40000, to, 80, SYN), New),
                (there, &tcp(from, 40000, to, 80, SYN), New),
                (back, &tcp(to, 80, from, 40000, SYN | ACK), EstablishedReply),
                (there, &tcp(from, 40000, to, 80, ACK), EstablishedOriginal),
                (back, &tcp(to, 80, from, 40000, ACK | PSH), EstablishedReply),
            ]);
            assert_eq!(tcp_state(&rig), TcpState::Established);
            let (_, entry) = rig.tables.connections()[0];
            assert_eq!(entry.state & crate::Entry::OUT != 0, there == Out);
        }
    }
}

#[test]
fn other_ports_are_another_connection() {
    let mut rig = Rig::new();
    rig.expect(&[
        (Out, &tcp(VM, 40000, PEER, 80, SYN), New),
        (In, &tcp(PEER, 81, VM, 40000, SYN | ACK), Invalid),
        (In, &tcp(PEER, 80, VM, 40001, SYN | ACK), Invalid),
        (In, &tcp(VM, 80, PEER, 40000, SYN | ACK), Invalid),
        (In, &tcp(PEER, 80, VM, 40000, SYN | ACK), EstablishedReply),
    ]);
}

#[test]
fn traffic_from_before_is_new_until_answered() {
    let mut rig = Rig::new();
    expect(&mut rig, &[(Out, ACK | PSH, New), (Out, ACK, New)]);
    let (_, entry) = rig.tables.connections()[0];
    // Not the five days of an open connection.
    assert_eq!(entry.expires, rig.tables.clock.get() + 300 * SECOND);
    expect(
        &mut rig,
        &[(In, ACK, EstablishedReply), (Out, ACK, EstablishedOriginal)],
    );
    let (_, entry) = rig.tables.connections()[0];
    assert_eq!(entry.expires, rig.tables.clock.get() + 432_000 * SECOND);
}

#[test]
fn nothing_else_begins_a_connection() {
    for flags in [
        SYN | ACK,
        FIN | ACK,
        RST,
        RST | ACK,
        FIN,
        0,
        SYN | FIN,
        SYN | RST,
        URG,
    ] {
        let mut rig = Rig::new();
        expect(&mut rig, &[(Out, flags, Invalid)]);
        assert!(rig.tables.connections().is_empty(), "{flags:#x}");
    }
}

#[test]
fn impossible_flags_are_invalid_and_change_nothing() {
    let mut rig = open();
    for flags in [0, FIN, PSH, SYN | FIN | ACK, RST | URG, SYN | RST, 0x3f] {
        expect(&mut rig, &[(Out, flags, Invalid), (In, flags, Invalid)]);
    }
    assert_eq!(tcp_state(&rig), TcpState::Established);
}

fn open() -> Rig {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            (Out, SYN, New),
            (In, SYN | ACK, EstablishedReply),
            (Out, ACK, EstablishedOriginal),
        ],
    );
    rig
}

#[test]
fn closing_by_fin_then_again() {
    let mut rig = open();
    expect(&mut rig, &[(Out, FIN | ACK, EstablishedOriginal)]);
    assert_eq!(tcp_state(&rig), TcpState::FinWait);
    expect(&mut rig, &[(In, ACK, EstablishedReply)]);
    assert_eq!(tcp_state(&rig), TcpState::CloseWait);
    expect(&mut rig, &[(In, FIN | ACK, EstablishedReply)]);
    assert_eq!(tcp_state(&rig), TcpState::LastAck);
    expect(&mut rig, &[(Out, ACK, EstablishedOriginal)]);
    assert_eq!(tcp_state(&rig), TcpState::TimeWait);
    let (_, entry) = rig.tables.connections()[0];
    assert_eq!(entry.expires, rig.tables.clock.get() + 120 * SECOND);
    // A SYN in TIME-WAIT begins anew, from whichever side.
    expect(
        &mut rig,
        &[(In, SYN, New), (Out, SYN | ACK, EstablishedReply)],
    );
    assert_eq!(tcp_state(&rig), TcpState::SynReceived);
}

#[test]
fn reset_closes_soon() {
    let mut rig = open();
    expect(&mut rig, &[(In, RST, EstablishedReply)]);
    let (_, entry) = rig.tables.connections()[0];
    assert_eq!(entry.tcp(), TcpState::Close);
    assert_eq!(entry.expires, rig.tables.clock.get() + 10 * SECOND);
    expect(&mut rig, &[(Out, ACK, EstablishedOriginal)]);
    rig.tables.pass(10 * SECOND);
    expect(&mut rig, &[(In, SYN | ACK, Invalid)]);
}

#[test]
fn a_refused_connection_is_over_at_once() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            (Out, SYN, New),
            (In, RST | ACK, EstablishedReply),
            (In, RST | ACK, Invalid),
            (Out, SYN, New),
            (In, SYN | ACK, EstablishedReply),
        ],
    );
}

#[test]
fn both_sides_begin() {
    let mut rig = Rig::new();
    expect(&mut rig, &[(Out, SYN, New), (In, SYN, EstablishedReply)]);
    assert_eq!(tcp_state(&rig), TcpState::SynSent2);
    expect(&mut rig, &[(Out, SYN | ACK, EstablishedOriginal)]);
    expect(&mut rig, &[(Out, ACK, EstablishedOriginal)]);
    assert_eq!(tcp_state(&rig), TcpState::Established);
}

#[test]
fn an_answer_out_of_turn() {
    let mut rig = Rig::new();
    // An ACK that answers a SYN changes nothing; data before the handshake is over is invalid.
    expect(
        &mut rig,
        &[
            (Out, SYN, New),
            (Out, ACK, Invalid),
            (In, FIN | ACK, Invalid),
        ],
    );
    expect(&mut rig, &[(In, ACK, EstablishedReply)]);
    assert_eq!(tcp_state(&rig), TcpState::SynSent);
    // A SYN in an open connection is let through for the other side to judge.
    let mut rig = open();
    expect(
        &mut rig,
        &[(Out, SYN, EstablishedOriginal), (In, SYN, Invalid)],
    );
    assert_eq!(tcp_state(&rig), TcpState::Established);
}

#[test]
fn dropped_segments_change_nothing() {
    let mut rig = Rig::new();
    rig.set_all(Out, crate::TableLayer::Ethernet, crate::LeafVerdict::Drop);
    assert_eq!(rig.state(Out, &segment(Out, SYN)), None);
    rig.set_all(Out, crate::TableLayer::Ethernet, crate::LeafVerdict::Accept);
    rig.set_all(Out, crate::TableLayer::Inet, crate::LeafVerdict::Reject);
    expect(&mut rig, &[(Out, SYN, New), (In, SYN | ACK, Invalid)]);
    assert!(rig.tables.connections().is_empty());

    let mut rig = Rig::new();
    expect(&mut rig, &[(Out, SYN, New)]);
    rig.set_all(In, crate::TableLayer::Inet, crate::LeafVerdict::Drop);
    expect(
        &mut rig,
        &[(In, SYN | ACK, EstablishedReply), (Out, SYN, New)],
    );
    assert_eq!(tcp_state(&rig), TcpState::SynSent);
}

#[test]
fn dropped_segments_advance_as_in_libvirt() {
    for layer in [crate::TableLayer::Inet, crate::TableLayer::Ethernet] {
        let mut rig = Rig::new();
        rig.image[0][crate::WORD_FLAGS] = crate::flag::LIBVIRT;
        expect(&mut rig, &[(Out, SYN, New)]);
        rig.set_all(In, layer, crate::LeafVerdict::Drop);
        expect(
            &mut rig,
            &[
                (In, SYN | ACK, EstablishedReply),
                (Out, ACK, EstablishedOriginal),
            ],
        );
    }
    // What the Ethernet layer drops on the way out is not seen, and nothing dropped begins.
    let mut rig = Rig::new();
    rig.image[0][crate::WORD_FLAGS] = crate::flag::LIBVIRT;
    rig.set_all(Out, crate::TableLayer::Inet, crate::LeafVerdict::Drop);
    expect(&mut rig, &[(Out, SYN, New)]);
    assert!(rig.tables.connections().is_empty());
    expect(&mut rig, &[(In, SYN, New)]);
    rig.set_all(Out, crate::TableLayer::Ethernet, crate::LeafVerdict::Drop);
    assert_eq!(rig.state(Out, &segment(Out, SYN | ACK)), None);
    expect(&mut rig, &[(In, SYN, New)]);
}

#[test]
fn a_dropped_segment_that_reopens_ends_the_connection_as_in_libvirt() {
    for (flags, then) in [
        (crate::flag::LIBVIRT, New),
        (crate::flag::STRICT, EstablishedOriginal),
    ] {
        let mut rig = open();
        rig.image[0][crate::WORD_FLAGS] = flags;
        let last = [
            (Out, FIN | ACK, EstablishedOriginal),
            (In, FIN | ACK, EstablishedReply),
        ];
        expect(&mut rig, &last);
        expect(&mut rig, &[(Out, ACK, EstablishedOriginal)]);
        rig.set_all(Out, crate::TableLayer::Inet, crate::LeafVerdict::Drop);
        expect(&mut rig, &[(Out, SYN, New), (Out, ACK, then)]);
    }
}

#[test]
fn open_connections_end_after_five_days_without_traffic() {
    let mut rig = open();
    rig.tables.pass(431_999 * SECOND);
    expect(&mut rig, &[(In, ACK, EstablishedReply)]);
    rig.tables.pass(432_000 * SECOND);
    expect(&mut rig, &[(In, SYN | ACK, Invalid), (In, ACK, New)]);
}

#[test]
fn an_open_connection_is_written_once_in_half_a_second() {
    let mut rig = open();
    let expires = |rig: &Rig| rig.tables.connections()[0].1.expires;
    let before = expires(&rig);
    rig.tables.pass(SECOND / 2);
    expect(&mut rig, &[(Out, ACK, EstablishedOriginal)]);
    assert_eq!(expires(&rig), before);
    rig.tables.pass(SECOND / 100);
    expect(&mut rig, &[(Out, ACK, EstablishedOriginal)]);
    assert_eq!(expires(&rig), before + SECOND / 2 + SECOND / 100);
}

#[test]
fn a_cut_off_header_is_invalid() {
    let mut rig = open();
    let whole = segment(Out, ACK);
    assert_eq!(rig.state(Out, &whole[..whole.len() - 1]), Some(Invalid));
}
