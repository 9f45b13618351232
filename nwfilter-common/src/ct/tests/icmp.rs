//! ICMP: queries and their answers, errors and what they quote.

use super::{
    In, Out, Rig, SECOND,
    frames::{
        ACK, Ip, PEER, PEER6, SYN, THIRD, VM, VM6, error, fragment, frame, icmp, ip, ports, query,
        quote, tcp, udp,
    },
};
use crate::CtState;
use CtState::{
    EstablishedOriginal, EstablishedReply, Invalid, New, RelatedOriginal, RelatedReply, Untracked,
};

#[test]
fn queries_are_answered_by_identifier() {
    let pairs: [(Ip, Ip, u8, u8); 6] = [
        (VM, PEER, 8, 0),
        (VM, PEER, 13, 14),
        (VM, PEER, 15, 16),
        (VM, PEER, 17, 18),
        (VM6, PEER6, 128, 129),
        (VM6, PEER6, 139, 140),
    ];
    for (vm, peer, request, reply) in pairs {
        let mut rig = Rig::new();
        rig.expect(&[
            (In, &query(peer, vm, reply, 5), Invalid),
            (Out, &query(vm, peer, request, 5), New),
            (In, &query(peer, vm, reply, 6), Invalid),
            (Out, &query(vm, peer, reply, 5), Invalid),
            (In, &query(peer, vm, reply, 5), EstablishedReply),
            (Out, &query(vm, peer, request, 5), EstablishedOriginal),
            // The same identifier from the other side is another connection.
            (In, &query(peer, vm, request, 5), New),
            (Out, &query(vm, peer, reply, 5), EstablishedReply),
        ]);
        rig.tables.pass(30 * SECOND);
        rig.expect(&[(In, &query(peer, vm, reply, 5), Invalid)]);
    }
}

#[test]
fn a_query_of_another_type_is_another_connection() {
    let mut rig = Rig::new();
    rig.expect(&[
        (Out, &query(VM, PEER, 8, 5), New),
        (In, &query(PEER, VM, 14, 5), Invalid),
    ]);
}

#[test]
fn discovery_is_not_tracked() {
    let mut rig = Rig::new();
    for kind in (130..=136).chain([143]) {
        assert_eq!(rig.state(Out, &query(VM6, PEER6, kind, 0)), Some(Untracked));
    }
    rig.expect(&[
        (Out, &query(VM6, PEER6, 137, 0), Invalid),
        (Out, &query(VM6, PEER6, 138, 0), Invalid),
        (Out, &query(VM6, PEER6, 144, 0), Invalid),
        (Out, &query(VM, PEER, 9, 0), Invalid),
        (Out, &query(VM, PEER, 10, 0), Invalid),
        (Out, &query(VM, PEER, 200, 0), Invalid),
    ]);
    assert!(rig.tables.connections().is_empty());
}

#[test]
fn errors_are_related_to_what_they_quote() {
    let cases = [
        (
            VM,
            PEER,
            tcp(VM, 1, PEER, 2, SYN),
            tcp(PEER, 2, VM, 1, SYN | ACK),
        ),
        (VM, PEER, udp(VM, 1, PEER, 2), udp(PEER, 2, VM, 1)),
        (VM, PEER, query(VM, PEER, 8, 3), query(PEER, VM, 0, 3)),
        (
            VM,
            PEER,
            frame(&ip(VM, PEER, 47, &[0; 8])),
            frame(&ip(PEER, VM, 47, &[0; 8])),
        ),
        (
            VM6,
            PEER6,
            tcp(VM6, 1, PEER6, 2, SYN),
            tcp(PEER6, 2, VM6, 1, SYN | ACK),
        ),
        (VM6, PEER6, udp(VM6, 1, PEER6, 2), udp(PEER6, 2, VM6, 1)),
        (
            VM6,
            PEER6,
            query(VM6, PEER6, 128, 3),
            query(PEER6, VM6, 129, 3),
        ),
    ];
    for (vm, peer, there, back) in cases {
        let v4 = matches!(vm, Ip::V4(_));
        let (kinds, header) = if v4 {
            (&[3, 4, 5, 11, 12][..], 20)
        } else {
            (&[1, 2, 3, 4][..], 40)
        };
        for kind in kinds {
            let mut rig = Rig::new();
            let about_first = error(peer, vm, *kind, quote(&there, header + 8));
            let about_answer = error(vm, peer, *kind, quote(&back, header + 8));
            rig.expect(&[
                (In, &about_first, Invalid),
                (Out, &there, New),
                (In, &about_first, RelatedReply),
                (In, &back, EstablishedReply),
                (Out, &about_answer, RelatedOriginal),
            ]);
            // An error does not keep a connection alive.
            rig.tables.pass(601 * SECOND);
            rig.expect(&[(In, &about_first, Invalid)]);
        }
    }
}

#[test]
fn errors_come_from_anywhere_but_go_to_the_quoted_sender() {
    let sent = udp(VM, 1, PEER, 2);
    let mut rig = Rig::new();
    rig.expect(&[
        (Out, &sent, New),
        (In, &error(THIRD, VM, 11, quote(&sent, 28)), RelatedReply),
        (In, &error(PEER, THIRD, 3, quote(&sent, 28)), Invalid),
    ]);
}

#[test]
fn an_error_must_quote_enough() {
    let sent = udp(VM, 1, PEER, 2);
    let mut rig = Rig::new();
    rig.expect(&[
        (Out, &sent, New),
        (In, &error(PEER, VM, 3, quote(&sent, 23)), Invalid),
        (In, &error(PEER, VM, 3, quote(&sent, 24)), RelatedReply),
        (In, &error(PEER, VM, 3, quote(&sent, 19)), Invalid),
        (In, &error(PEER, VM, 3, &[]), Invalid),
        (
            In,
            &error(PEER, VM, 3, quote(&udp(VM6, 1, PEER6, 2), 48)),
            Invalid,
        ),
    ]);
    // No error about an error, nor about a later fragment.
    let about = error(PEER, VM, 3, quote(&sent, 28));
    let payload = [ports(1, 2, 8), std::vec![0; 16]].concat();
    let later = fragment((VM, PEER), 17, 1, &payload, 8, 16);
    rig.expect(&[
        (Out, &error(VM, PEER, 3, quote(&about, 56)), Invalid),
        (In, &error(PEER, VM, 3, quote(&later, 28)), Invalid),
    ]);
}

#[test]
fn padding_is_not_quoted() {
    for (vm, peer, kind, len) in [(VM, PEER, 3, 24), (VM6, PEER6, 1, 44)] {
        for (sent, len) in [
            (udp(vm, 1, peer, 2), len),
            (query(vm, peer, if vm == VM { 8 } else { 128 }, 3), len + 4),
            (frame(&ip(vm, peer, 47, &[0; 8])), len - 4),
        ] {
            let mut rig = Rig::new();
            let mut padded = error(peer, vm, kind, quote(&sent, len - 1));
            padded.extend(&quote(&sent, 100)[len - 1..]);
            rig.expect(&[
                (Out, &sent, New),
                (In, &padded, Invalid),
                (In, &error(peer, vm, kind, quote(&sent, len)), RelatedReply),
            ]);
        }
    }
}

#[test]
fn icmp_of_the_other_version_is_invalid() {
    let mut rig = Rig::new();
    let echo = [8, 0, 0, 0, 0, 1, 0, 1];
    let frames = [
        frame(&ip(VM6, PEER6, 1, &echo)),
        frame(&ip(VM, PEER, 58, &echo)),
    ];
    for frame in &frames {
        rig.expect(&[(Out, frame, Invalid)]);
    }
    assert!(rig.tables.connections().is_empty());
}

#[test]
fn headers_before_the_quoted_transport_header_are_skipped() {
    let udp = ports(1, 2, 8);
    let mut options = ip(VM, PEER, 17, &[&[1; 8], &udp[..]].concat());
    options[0] = 0x47;
    // Hop-by-hop with 16 bytes, then a first fragment, then destination options, then UDP.
    let chain = [
        &[44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &[60, 0, 0, 1, 0, 0, 0, 9],
        &[17, 0, 0, 0, 0, 0, 0, 0],
        &udp,
    ]
    .concat();
    let later = [&[17, 0, 0, 8, 0, 0, 0, 9][..], &udp].concat();
    let mut rig = Rig::new();
    rig.expect(&[
        (Out, &super::frames::udp(VM, 1, PEER, 2), New),
        (In, &error(PEER, VM, 3, &options), RelatedReply),
        (Out, &super::frames::udp(VM6, 1, PEER6, 2), New),
        (
            In,
            &error(PEER6, VM6, 1, &ip(VM6, PEER6, 0, &chain)),
            RelatedReply,
        ),
        (
            In,
            &error(PEER6, VM6, 1, &ip(VM6, PEER6, 0, &chain[..28])),
            Invalid,
        ),
        (
            In,
            &error(PEER6, VM6, 1, &ip(VM6, PEER6, 44, &later)),
            Invalid,
        ),
    ]);
}

#[test]
fn a_short_message_is_invalid() {
    let mut rig = Rig::new();
    rig.expect(&[(Out, &icmp(VM, PEER, 8, 0, &[0, 1]), Invalid)]);
    let none = frame(&ip(VM6, PEER6, 59, &[]));
    assert_eq!(rig.state(Out, &none), Some(Invalid));
    let counter = crate::TrackingCounter::Invalid;
    assert_eq!(super::super::Tables::counter(&rig.tables, 7, counter), 2);
    rig.expect(&[(Out, &tcp(VM, 1, PEER, 2, ACK), New)]);
}
