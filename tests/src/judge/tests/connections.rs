//! Connection tracking: states, directions, protocols, errors, limits and time.

use nwfilter_ctl::model::{
    CtStates,
    Protocol::{All, AllIpv6, Icmp, Ip, Mac, Tcp},
};

use super::*;
use FrameDirection::{In, Out};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;

/// A filter that tells the state: rules 1, 2, 4 and 8 return on the states of these bits, in either
/// direction of the frame; `EndOfLayer` is untracked.
fn states() -> Vec<Instance> {
    let mut rules = Vec::new();
    for states in [
        CtStates::NEW,
        CtStates::ESTABLISHED,
        CtStates::RELATED,
        CtStates::INVALID,
    ] {
        for element in [All, AllIpv6] {
            let rule = rule(
                states.bits().into(),
                Action::Return,
                Direction::InOut,
                element,
            );
            rules.push(rule.with(Attr::State, Datum::States(states)));
        }
    }
    rules
}

const NEW: Option<u32> = Some(1);
const ESTABLISHED: Option<u32> = Some(2);
const RELATED: Option<u32> = Some(4);
const INVALID: Option<u32> = Some(8);
const UNTRACKED: Option<u32> = None;

fn judges() -> [Judge; 2] {
    BOTH.map(|semantics| Judge::new(&states(), semantics))
}

/// A frame from 10.0.0.`ends.0` to 10.0.0.`ends.1`.
fn frame(ends: (u8, u8), protocol: u8, payload: &[u8]) -> Vec<u8> {
    out(0x0800, &ipv4(ends, protocol, payload))
}

fn tcp(ends: (u8, u8), ports: (u16, u16), flags: u8) -> Vec<u8> {
    frame(ends, 6, &wire::tcp(ports.0, ports.1, flags, b""))
}

fn udp(ends: (u8, u8), ports: (u16, u16)) -> Vec<u8> {
    frame(ends, 17, &wire::udp(ports.0, ports.1, b""))
}

fn icmp(ends: (u8, u8), kind: u8, id: u8) -> Vec<u8> {
    frame(ends, 1, &wire::icmp(kind, 0, [0, id, 0, 0], b""))
}

fn state(judge: &mut Judge, direction: FrameDirection, frame: &[u8], seconds: u64) -> Option<u32> {
    let decision = judge.decide(direction, frame, seconds * SECOND);
    assert_eq!(decision.layer, Layer::Inet);
    assert_ne!(decision.cause, Cause::Missing);
    by_rule(&decision)
}

#[test]
fn a_reply_establishes() {
    for mut judge in judges() {
        for (there, back) in [
            (tcp((1, 2), (5, 80), SYN), tcp((2, 1), (80, 5), SYN | ACK)),
            (udp((1, 2), (5, 80)), udp((2, 1), (80, 5))),
            (
                frame((1, 2), 132, &wire::sctp(5, 80)),
                frame((2, 1), 132, &wire::sctp(80, 5)),
            ),
            (
                frame((1, 2), 136, &wire::sctp(5, 80)),
                frame((2, 1), 136, &wire::sctp(80, 5)),
            ),
            (frame((1, 2), 47, b""), frame((2, 1), 47, b"")),
            (icmp((1, 2), 8, 1), icmp((2, 1), 0, 1)),
            (icmp((1, 2), 13, 1), icmp((2, 1), 14, 1)),
            (icmp((1, 2), 15, 1), icmp((2, 1), 16, 1)),
            (icmp((1, 2), 17, 1), icmp((2, 1), 18, 1)),
        ] {
            assert_eq!(state(&mut judge, Out, &there, 0), NEW);
            assert_eq!(state(&mut judge, Out, &there, 0), NEW, "no reply yet");
            assert_eq!(state(&mut judge, In, &back, 0), ESTABLISHED);
            assert_eq!(state(&mut judge, Out, &there, 0), ESTABLISHED);
        }
    }
}

#[test]
fn connections_are_told_apart() {
    for mut judge in judges() {
        assert_eq!(state(&mut judge, Out, &udp((1, 2), (5, 80)), 0), NEW);
        for other in [
            udp((2, 1), (80, 6)),
            udp((2, 1), (81, 5)),
            udp((3, 1), (80, 5)),
        ] {
            assert_eq!(state(&mut judge, In, &other, 0), NEW);
        }
        assert_eq!(state(&mut judge, In, &tcp((2, 1), (80, 5), ACK), 0), NEW);
        assert_eq!(state(&mut judge, Out, &icmp((1, 2), 8, 1), 0), NEW);
        assert_eq!(
            state(&mut judge, In, &icmp((2, 1), 0, 2), 0),
            INVALID,
            "another id"
        );
        assert_eq!(
            state(&mut judge, In, &icmp((2, 1), 14, 1), 0),
            INVALID,
            "another kind"
        );
        assert_eq!(
            state(&mut judge, In, &icmp((2, 1), 8, 1), 0),
            NEW,
            "a request of its own"
        );
    }
}

#[test]
fn ipv6_connections() {
    let packet = |ends, protocol, payload: &[u8]| out(0x86dd, &ipv6(ends, protocol, payload));
    let echo = |ends, kind| packet(ends, 58, &wire::icmp(kind, 0, [0, 1, 0, 0], b""));
    for mut judge in judges() {
        assert_eq!(state(&mut judge, In, &echo((1, 2), 129), 0), INVALID);
        assert_eq!(state(&mut judge, Out, &echo((1, 2), 128), 0), NEW);
        assert_eq!(state(&mut judge, In, &echo((2, 1), 129), 0), ESTABLISHED);
        let there = packet((1, 2), 17, &wire::udp(5, 53, b""));
        assert_eq!(state(&mut judge, Out, &there, 0), NEW);
        let back = packet((2, 1), 17, &wire::udp(53, 5, b""));
        assert_eq!(state(&mut judge, In, &back, 0), ESTABLISHED);
        assert_eq!(state(&mut judge, Out, &echo((1, 2), 139), 0), NEW);
        assert_eq!(state(&mut judge, In, &echo((2, 1), 140), 0), ESTABLISHED);
        for kind in [130, 131, 132, 133, 134, 135, 136, 143] {
            assert_eq!(
                state(&mut judge, Out, &echo((1, 2), kind), 0),
                UNTRACKED,
                "{kind}"
            );
        }
        for kind in [129, 137, 138, 140, 142, 144, 255] {
            assert_eq!(
                state(&mut judge, Out, &echo((1, 3), kind), 0),
                INVALID,
                "{kind}"
            );
        }
        let quoted = ipv6((1, 2), 17, &wire::udp(5, 53, b""));
        let error = |quoted: &[u8]| packet((9, 1), 58, &wire::icmp(1, 0, [0; 4], quoted));
        assert_eq!(state(&mut judge, In, &error(&quoted), 0), RELATED);
        assert_eq!(
            state(&mut judge, In, &error(&ipv6((1, 3), 17, b"12345678")), 0),
            INVALID
        );
        assert_eq!(state(&mut judge, In, &error(b""), 0), INVALID);
    }
}

#[test]
fn untracked_is_no_state_at_all() {
    let frame = out(0x86dd, &ipv6((1, 2), 58, &wire::icmp(135, 0, [0; 4], b"")));
    let accept = rule(1, Action::Accept, Direction::Out, AllIpv6);
    let drop = rule(2, Action::Drop, Direction::InOut, AllIpv6);
    for semantics in BOTH {
        let decision = decide(&[accept.clone(), drop.clone()], semantics, Out, &frame);
        assert_eq!(by_rule(&decision), Some(2));
    }
}

#[test]
fn tcp_openings() {
    for flags in 0..64 {
        for mut judge in judges() {
            let opens = matches!(flags & !(PSH | URG), SYN | ACK);
            let expected = if opens { NEW } else { INVALID };
            assert_eq!(
                state(&mut judge, Out, &tcp((1, 2), (5, 80), flags), 0),
                expected,
                "{flags}"
            );
            let again = if opens { ESTABLISHED } else { INVALID };
            let back = state(&mut judge, In, &tcp((2, 1), (80, 5), RST), 0);
            assert_eq!(back, again, "{flags}");
        }
    }
}

#[test]
fn tcp_closings() {
    let there = |flags| tcp((1, 2), (5, 80), flags);
    let back = |flags| tcp((2, 1), (80, 5), flags);
    let open = |judge: &mut Judge| {
        state(judge, Out, &there(SYN), 0);
        state(judge, In, &back(SYN | ACK), 0);
    };
    for mut judge in judges() {
        open(&mut judge);
        assert_eq!(
            state(&mut judge, Out, &there(SYN), 0),
            ESTABLISHED,
            "still open"
        );
        state(&mut judge, Out, &there(FIN | ACK), 0);
        assert_eq!(
            state(&mut judge, Out, &there(SYN), 0),
            ESTABLISHED,
            "half closed"
        );
        state(&mut judge, In, &back(FIN | ACK), 0);
        assert_eq!(
            state(&mut judge, Out, &there(ACK), 0),
            ESTABLISHED,
            "the last words"
        );
        assert_eq!(
            state(&mut judge, In, &back(SYN), 0),
            NEW,
            "from the other side"
        );
        assert_eq!(state(&mut judge, Out, &there(SYN | ACK), 0), ESTABLISHED);
        assert_eq!(state(&mut judge, In, &back(ACK), 0), ESTABLISHED);
    }
    for mut judge in judges() {
        open(&mut judge);
        state(&mut judge, In, &back(RST), 0);
        assert_eq!(state(&mut judge, Out, &there(ACK), 9), ESTABLISHED);
        assert_eq!(state(&mut judge, Out, &there(SYN), 9), NEW);
    }
}

type Sequence<'a> = &'a [(FrameDirection, Vec<u8>)];

#[test]
fn entries_time_out() {
    let syn = || (Out, tcp((1, 2), (5, 80), SYN));
    let ack = || (Out, tcp((1, 2), (5, 80), ACK));
    let answer = |flags| (In, tcp((2, 1), (80, 5), flags));
    let fin = || (Out, tcp((1, 2), (5, 80), FIN | ACK));
    let with_ports = |protocol| (Out, frame((1, 2), protocol, &wire::sctp(5, 80)));
    let answered = |protocol| (In, frame((2, 1), protocol, &wire::sctp(80, 5)));
    let cases: [(Sequence<'_>, u64); 19] = [
        (&[syn()], 120),
        (&[syn(), answer(ACK)], 120),
        (&[syn(), answer(SYN)], 120),
        (&[syn(), answer(SYN | ACK)], 60),
        (&[syn(), answer(SYN | ACK), ack()], 432_000),
        (&[ack()], 300),
        (&[ack(), answer(ACK)], 432_000),
        (&[ack(), answer(ACK), fin()], 120),
        (&[ack(), fin(), answer(ACK)], 60),
        (&[ack(), fin(), answer(FIN | ACK)], 30),
        (&[ack(), fin(), answer(FIN | ACK), ack()], 120),
        (&[ack(), answer(ACK), answer(RST)], 10),
        (&[(Out, udp((1, 2), (5, 80)))], 30),
        (
            &[(Out, udp((1, 2), (5, 80))), (In, udp((2, 1), (80, 5)))],
            30,
        ),
        (&[with_ports(132)], 30),
        (&[with_ports(132), answered(132)], 210),
        (&[with_ports(33), answered(33)], 43_200),
        (&[(Out, icmp((1, 2), 8, 1)), (In, icmp((2, 1), 0, 1))], 30),
        (&[(Out, frame((1, 2), 47, b""))], 600),
    ];
    for (sequence, life) in cases {
        for semantics in BOTH {
            let at = |seconds: u64| {
                let mut judge = Judge::new(&states(), semantics);
                for (direction, frame) in sequence {
                    state(&mut judge, *direction, frame, 1000);
                }
                let first = &sequence[0].1;
                // What the first packet's reply is now: the entry is there or not.
                let reply = exchange(first);
                state(&mut judge, In, &reply, 1000 + seconds)
            };
            assert_eq!(at(life - 1), ESTABLISHED, "{sequence:?}");
            assert_ne!(at(life), ESTABLISHED, "{sequence:?}");
        }
    }
}

/// The frame with addresses and ports (or ICMP type) exchanged; of TCP, a mere ACK.
fn exchange(frame: &[u8]) -> Vec<u8> {
    let mut other = frame.to_vec();
    other[26..30].copy_from_slice(&frame[30..34]);
    other[30..34].copy_from_slice(&frame[26..30]);
    match frame[23] {
        1 => other[34] = 0,
        47 => {}
        protocol => {
            other[34..36].copy_from_slice(&frame[36..38]);
            other[36..38].copy_from_slice(&frame[34..36]);
            if protocol == 6 {
                other[47] = ACK;
            }
        }
    }
    other
}

#[test]
fn a_packet_prolongs_its_entry() {
    for mut judge in judges() {
        state(&mut judge, Out, &udp((1, 2), (5, 80)), 0);
        assert_eq!(state(&mut judge, Out, &udp((1, 2), (5, 80)), 29), NEW);
        assert_eq!(
            state(&mut judge, In, &udp((2, 1), (80, 5)), 58),
            ESTABLISHED
        );
    }
}

#[test]
fn udp_that_goes_on_lives_longer() {
    let (there, back) = (udp((1, 2), (5, 80)), udp((2, 1), (80, 5)));
    for mut judge in judges() {
        state(&mut judge, Out, &there, 0);
        state(&mut judge, In, &back, 3);
        assert_eq!(state(&mut judge, In, &back, 122), ESTABLISHED);
        assert_eq!(state(&mut judge, In, &back, 242), NEW);
    }
}

#[test]
fn what_is_ignored_prolongs_nothing() {
    for mut judge in judges() {
        state(&mut judge, Out, &tcp((1, 2), (5, 80), ACK), 0);
        state(&mut judge, In, &tcp((2, 1), (80, 5), SYN | ACK), 299);
        assert_eq!(state(&mut judge, Out, &tcp((1, 2), (5, 80), ACK), 300), NEW);
    }
}

#[test]
fn icmp_of_the_other_family_and_other_codes() {
    let v6 = |protocol| {
        out(
            0x86dd,
            &ipv6((1, 2), protocol, &wire::icmp(8, 0, [0; 4], b"")),
        )
    };
    for mut judge in judges() {
        assert_eq!(
            state(
                &mut judge,
                Out,
                &frame((1, 2), 58, &[128, 0, 0, 0, 0, 0, 0, 0]),
                0
            ),
            INVALID
        );
        assert_eq!(state(&mut judge, Out, &v6(1), 0), INVALID);
        assert_eq!(
            state(&mut judge, Out, &v6(59), 0),
            INVALID,
            "no next header"
        );
        state(&mut judge, Out, &icmp((1, 2), 8, 1), 0);
        let other = frame((2, 1), 1, &wire::icmp(0, 1, [0, 1, 0, 0], b""));
        assert_eq!(state(&mut judge, In, &other, 0), INVALID, "another code");
    }
}

#[test]
fn requests_of_both_sides_are_two_connections() {
    for mut judge in judges() {
        for ends in [(1, 2), (2, 1), (1, 1)] {
            assert_eq!(state(&mut judge, Out, &icmp(ends, 8, 1), 0), NEW);
        }
        for ends in [(2, 1), (1, 2), (1, 1)] {
            assert_eq!(state(&mut judge, In, &icmp(ends, 0, 1), 0), ESTABLISHED);
        }
    }
}

#[test]
fn a_dropped_syn_that_reopens_ends_the_connection_in_libvirt() {
    // Rule 9 drops every SYN, rule 1 tells what is established.
    let flags = nwfilter_ctl::model::TcpFlags { mask: 18, flags: 2 };
    let rules = [
        rule(9, Action::Drop, Direction::Out, Tcp)
            .with(Attr::Flags, Datum::TcpFlags(flags))
            .with(Attr::State, Datum::States(CtStates::all()))
            .with(Attr::DstPortStart, 80),
        rule(1, Action::Return, Direction::InOut, All)
            .with(Attr::State, Datum::States(CtStates::ESTABLISHED)),
    ];
    for semantics in BOTH {
        let mut judge = Judge::new(&rules, semantics);
        let mut verdict = |direction, frame: &[u8]| by_rule(&judge.decide(direction, frame, 0));
        let there = |flags| tcp((1, 2), (5, 80), flags);
        let back = |flags| tcp((2, 1), (80, 5), flags);
        assert_eq!(verdict(Out, &there(ACK)), None);
        assert_eq!(verdict(In, &back(FIN | ACK)), Some(1));
        assert_eq!(verdict(Out, &there(FIN | ACK)), Some(1));
        assert_eq!(verdict(In, &back(ACK)), Some(1));
        assert_eq!(verdict(Out, &there(SYN)), Some(9));
        let known = verdict(In, &back(ACK)) == Some(1);
        assert_eq!(known, semantics == Semantics::Strict);
    }
}

#[test]
fn errors_are_related_to_what_they_quote() {
    let about =
        |kind, from, to, quoted: &[u8]| frame((from, to), 1, &wire::icmp(kind, 0, [0; 4], quoted));
    for mut judge in judges() {
        state(&mut judge, Out, &udp((1, 2), (5, 80)), 0);
        let quoted = ipv4((1, 2), 17, &wire::udp(5, 80, &[0; 9]));
        for kind in [3, 4, 5, 11, 12] {
            assert_eq!(
                state(&mut judge, In, &about(kind, 9, 1, &quoted), 0),
                RELATED,
                "{kind}"
            );
        }
        for kind in [1, 2, 6, 7, 9, 10, 19, 30, 255] {
            assert_eq!(
                state(&mut judge, In, &about(kind, 9, 1, &quoted), 0),
                INVALID,
                "{kind}"
            );
        }
        assert_eq!(
            state(&mut judge, In, &about(3, 9, 1, &quoted[..28]), 0),
            RELATED
        );
        assert_eq!(
            state(&mut judge, In, &about(3, 9, 1, &quoted[..24]), 0),
            RELATED,
            "ports are enough"
        );
        assert_eq!(
            state(&mut judge, In, &about(3, 9, 1, &quoted[..23]), 0),
            INVALID,
            "too short"
        );
        let mut padded = about(3, 9, 1, &quoted[..23]);
        padded.extend(&quoted[23..]);
        assert_eq!(state(&mut judge, In, &padded, 0), INVALID, "only padding");
        assert_eq!(
            state(&mut judge, In, &about(3, 9, 3, &quoted), 0),
            INVALID,
            "not for them"
        );
        let reply = ipv4((2, 1), 17, &wire::udp(80, 5, b""));
        assert_eq!(
            state(&mut judge, Out, &about(3, 1, 2, &reply), 0),
            RELATED,
            "a reply quoted"
        );
        let unknown = ipv4((1, 2), 17, &wire::udp(5, 81, b""));
        assert_eq!(state(&mut judge, In, &about(3, 9, 1, &unknown), 0), INVALID);
        // An error advances nothing.
        assert_eq!(state(&mut judge, Out, &udp((1, 2), (5, 80)), 0), NEW);

        state(&mut judge, Out, &icmp((1, 2), 8, 7), 0);
        let echo = ipv4((1, 2), 1, &wire::icmp(8, 0, [0, 7, 0, 0], b""));
        assert_eq!(state(&mut judge, In, &about(11, 9, 1, &echo), 0), RELATED);
        assert_eq!(
            state(&mut judge, In, &about(11, 9, 1, &echo[..27]), 0),
            INVALID,
            "the id is at the end"
        );
        let other = ipv4((1, 2), 1, &wire::icmp(8, 0, [0, 8, 0, 0], b""));
        assert_eq!(state(&mut judge, In, &about(11, 9, 1, &other), 0), INVALID);
        let later = wire::Ipv4 {
            protocol: 17,
            offset: 1,
            ..wire::Ipv4::default()
        };
        let later = later.packet(&wire::udp(5, 80, b""));
        assert_eq!(state(&mut judge, In, &about(3, 9, 1, &later), 0), INVALID);
    }
}

#[test]
fn dropped_packets_move_connections_in_libvirt_only() {
    let there = udp((1, 2), (5, 80));
    let back = udp((2, 1), (80, 5));
    // Rule 1 tells whether the flow is established, rule 9 drops what comes from 10.0.0.2.
    let tells = || {
        rule(1, Action::Return, Direction::Out, All)
            .with(Attr::State, Datum::States(CtStates::ESTABLISHED))
    };
    // With states it stays in its direction; the Ethernet layer does not look at them.
    let drops_in = |element| {
        rule(9, Action::Drop, Direction::In, element)
            .with(Attr::SrcIpAddr, "10.0.0.2")
            .with(Attr::State, Datum::States(CtStates::all()))
    };
    for (element, layer) in [(Ip, Layer::Ethernet), (All, Layer::Inet)] {
        for semantics in BOTH {
            let mut judge = Judge::new(&[tells(), drops_in(element)], semantics);
            assert_eq!(
                by_rule(&judge.decide(In, &back, 0)),
                Some(9),
                "opens nothing"
            );
            assert_eq!(judge.decide(Out, &there, 0).cause, Cause::EndOfLayer);
            let decision = judge.decide(In, &back, 0);
            assert_eq!((by_rule(&decision), decision.layer), (Some(9), layer));
            let advanced = by_rule(&judge.decide(Out, &there, 0)) == Some(1);
            assert_eq!(advanced, semantics == Semantics::Libvirt, "{element}");
        }
    }
    // On the way out, what the Ethernet layer drops is not seen by either.
    let drops_out = rule(9, Action::Drop, Direction::Out, Mac).with(Attr::SrcMacAddr, PEER);
    let tells = rule(1, Action::Return, Direction::In, All)
        .with(Attr::State, Datum::States(CtStates::ESTABLISHED));
    for semantics in BOTH {
        let mut judge = Judge::new(&[drops_out.clone(), tells.clone()], semantics);
        judge.decide(In, &there, 0);
        let mut answer = back.clone();
        answer[6..12].copy_from_slice(&PEER.0);
        assert_eq!(by_rule(&judge.decide(Out, &answer, 0)), Some(9));
        assert_eq!(judge.decide(In, &there, 0).cause, Cause::EndOfLayer);
    }
}

#[test]
fn later_fragments_belong_to_the_flow_of_the_first() {
    let ip = wire::Ipv4 {
        protocol: 17,
        id: 4,
        more: true,
        ..wire::Ipv4::default()
    };
    let first = out(0x0800, &ip.packet(&wire::udp(5, 80, &[0; 16])));
    let later = |offset| {
        let ip = wire::Ipv4 {
            more: false,
            offset,
            ..ip.clone()
        };
        out(0x0800, &ip.packet(b"x"))
    };
    let (later, overlaps) = (later(3), later(2));
    for mut judge in judges() {
        assert_eq!(judge.decide(Out, &later, 0).cause, Cause::Missing);
        assert_eq!(state(&mut judge, Out, &first, 0), NEW);
        assert_eq!(state(&mut judge, Out, &later, 0), NEW);
        assert_eq!(state(&mut judge, In, &udp((2, 1), (80, 5)), 0), ESTABLISHED);
        assert_eq!(state(&mut judge, Out, &later, 0), NEW, "as the first one");
        assert_eq!(state(&mut judge, Out, &first, 0), ESTABLISHED);
        assert_eq!(state(&mut judge, Out, &later, 0), ESTABLISHED);
        assert_eq!(
            judge.decide(Out, &overlaps, 0).cause,
            Cause::Missing,
            "over the first one"
        );
    }
}

fn dhcp(source: Ipv4Addr, destination: Ipv4Addr, ports: (u16, u16)) -> Vec<u8> {
    let ip = wire::Ipv4 {
        source,
        destination,
        protocol: 17,
        ..wire::Ipv4::default()
    };
    out(0x0800, &ip.packet(&wire::udp(ports.0, ports.1, b"")))
}

#[test]
fn a_dhcp_request_opens_the_way_for_its_answer() {
    let everybody = Ipv4Addr::BROADCAST;
    let nobody = Ipv4Addr::UNSPECIFIED;
    let request = dhcp(nobody, everybody, (68, 67));
    let answer = |to| dhcp(v4(9), to, (67, 68));
    let rules = [
        rule(1, Action::Accept, Direction::Out, Protocol::Udp).with(Attr::DstPortStart, 67),
        rule(2, Action::Drop, Direction::InOut, All),
    ];
    let verdict = |judge: &mut Judge, direction, frame: &[u8], seconds: u64| {
        by_rule(&judge.decide(direction, frame, seconds * SECOND))
    };
    let mut judge = Judge::new(&rules, Semantics::Strict);
    assert_eq!(
        verdict(&mut judge, In, &answer(everybody), 0),
        Some(2),
        "not asked"
    );
    assert_eq!(verdict(&mut judge, Out, &request, 0), Some(1));
    assert_eq!(verdict(&mut judge, In, &answer(everybody), 1), Some(1));
    assert_eq!(verdict(&mut judge, In, &answer(v4(1)), 1), Some(1));
    assert_eq!(
        verdict(&mut judge, In, &dhcp(v4(9), v4(1), (66, 68)), 1),
        Some(2)
    );
    assert_eq!(
        verdict(&mut judge, Out, &answer(v4(1)), 1),
        Some(2),
        "answers come in"
    );
    assert_eq!(
        verdict(&mut judge, In, &answer(everybody), 200),
        Some(2),
        "too late"
    );

    let mut judge = Judge::new(&rules, Semantics::Strict);
    let rebinding = dhcp(v4(1), everybody, (68, 67));
    assert_eq!(verdict(&mut judge, Out, &rebinding, 0), Some(1));
    assert_eq!(verdict(&mut judge, In, &answer(v4(1)), 0), Some(1));
    assert_eq!(
        verdict(&mut judge, In, &answer(v4(2)), 0),
        Some(2),
        "for another"
    );

    // Even where such requests come in.
    let open = rule(3, Action::Accept, Direction::In, Protocol::Udp).with(Attr::DstPortStart, 67);
    let [first, last] = rules.clone();
    let mut judge = Judge::new(&[open, first, last], Semantics::Strict);
    assert_eq!(verdict(&mut judge, In, &request, 0), Some(3));
    assert_eq!(
        verdict(&mut judge, In, &answer(everybody), 0),
        Some(2),
        "asked by another"
    );
    assert_eq!(verdict(&mut judge, Out, &request, 0), Some(1));
    assert_eq!(verdict(&mut judge, In, &answer(everybody), 0), Some(1));

    let mut judge = Judge::new(&rules, Semantics::Libvirt);
    verdict(&mut judge, Out, &request, 0);
    assert_eq!(verdict(&mut judge, In, &answer(everybody), 0), Some(2));
}

#[test]
fn limits_count_open_connections_by_source() {
    let rules = [
        rule(1, Action::Drop, Direction::Out, Tcp).with(Attr::ConnlimitAbove, 2),
        rule(2, Action::Return, Direction::InOut, All).stateless(),
    ];
    for semantics in BOTH {
        let mut judge = Judge::new(&rules, semantics);
        let mut verdict = |direction, frame: &[u8], seconds: u64| {
            by_rule(&judge.decide(direction, frame, seconds * SECOND))
        };
        let syn = |source, port| tcp((source, 2), (port, 80), SYN);
        assert_eq!(verdict(Out, &syn(1, 1), 0), Some(2));
        assert_eq!(verdict(Out, &syn(1, 2), 0), Some(2));
        assert_eq!(verdict(Out, &syn(1, 2), 0), Some(2), "counted once");
        assert_eq!(verdict(Out, &syn(1, 3), 0), Some(1));
        assert_eq!(
            verdict(Out, &syn(1, 4), 0),
            Some(1),
            "the dropped one does not count"
        );
        assert_eq!(
            verdict(Out, &syn(1, 1), 0),
            Some(2),
            "a known one is within the limit"
        );
        assert_eq!(verdict(Out, &syn(3, 1), 0), Some(2), "another source");
        assert_eq!(
            verdict(Out, &udp((1, 2), (9, 80)), 0),
            Some(2),
            "another protocol"
        );
        assert_eq!(verdict(In, &tcp((2, 1), (80, 1), RST), 0), Some(2));
        assert_eq!(verdict(Out, &syn(1, 4), 0), Some(2), "one has closed");
        assert_eq!(verdict(Out, &syn(1, 5), 1), Some(1));
        assert_eq!(verdict(Out, &syn(1, 5), 130), Some(2), "all have timed out");
    }
}

#[test]
fn limits_are_negated_and_count_per_rule() {
    let at_most_one = rule(1, Action::Drop, Direction::Out, Tcp).without(Attr::ConnlimitAbove, 1);
    let syn = |port| tcp((1, 2), (port, 80), SYN);
    for semantics in BOTH {
        let mut judge = Judge::new(std::slice::from_ref(&at_most_one), semantics);
        assert_eq!(by_rule(&judge.decide(Out, &syn(1), 0)), Some(1));
        // Connections that went by before the rule looks are not counted.
        let looks_late = rule(1, Action::Drop, Direction::Out, Tcp)
            .with(Attr::DstPortStart, 81)
            .with(Attr::ConnlimitAbove, 0x1);
        let mut judge = Judge::new(&[looks_late], semantics);
        for port in 1..5 {
            assert_eq!(by_rule(&judge.decide(Out, &syn(port), 0)), None);
        }
        assert_eq!(
            by_rule(&judge.decide(Out, &tcp((1, 2), (1, 81), SYN), 0)),
            None
        );
        assert_eq!(
            by_rule(&judge.decide(Out, &tcp((1, 2), (2, 81), SYN), 0)),
            Some(1)
        );
    }
}

#[test]
fn a_limit_counts_no_connection_that_it_has_only_seen_being_dropped() {
    // From an address to itself, with equal ports: one name for both directions.
    let own = |port| udp((1, 1), (port, port));
    let rules = [
        rule(1, Action::Drop, Direction::Out, Protocol::Udp).with(Attr::ConnlimitAbove, 1),
        rule(2, Action::Drop, Direction::Out, Protocol::Udp).with(Attr::Dscp, 1),
        rule(3, Action::Return, Direction::InOut, All).stateless(),
    ];
    let marked = |mut frame: Vec<u8>| {
        frame[15] = 1 << 2;
        frame
    };
    for semantics in BOTH {
        let mut judge = Judge::new(&rules, semantics);
        let mut verdict = |direction, frame: &[u8]| by_rule(&judge.decide(direction, frame, 0));
        assert_eq!(verdict(Out, &marked(own(1))), Some(2), "looked at, dropped");
        assert_eq!(verdict(In, &own(1)), Some(3), "opened by one not looked at");
        assert_eq!(verdict(Out, &own(2)), Some(3), "the first one");
        assert_eq!(verdict(Out, &own(3)), Some(1), "the second one");
        assert_eq!(verdict(Out, &own(1)), Some(1), "not the first one, either");
    }
}

#[test]
fn a_limit_forgets_a_connection_whose_name_another_takes() {
    let rules = [
        rule(1, Action::Drop, Direction::Out, Protocol::Udp).with(Attr::ConnlimitAbove, 1),
        rule(2, Action::Return, Direction::InOut, All).stateless(),
    ];
    for semantics in BOTH {
        let mut judge = Judge::new(&rules, semantics);
        let mut verdict = |direction, frame: &[u8], seconds: u64| {
            by_rule(&judge.decide(direction, frame, seconds * SECOND))
        };
        assert_eq!(verdict(Out, &udp((1, 1), (1, 1)), 0), Some(2));
        assert_eq!(verdict(In, &udp((1, 1), (1, 1)), 40), Some(2), "another");
        assert_eq!(verdict(Out, &udp((1, 1), (2, 2)), 40), Some(2));
        assert_eq!(verdict(Out, &udp((1, 1), (3, 3)), 40), Some(1));
    }
}

#[test]
fn a_typed_icmp_rule_needs_a_known_state() {
    let accept = rule(1, Action::Accept, Direction::In, Icmp).with(Attr::Type, 3);
    let quoted = ipv4((1, 2), 17, &wire::udp(5, 80, b""));
    let error = frame((9, 1), 1, &wire::icmp(3, 0, [0; 4], &quoted));
    for semantics in BOTH {
        let rules = [accept.clone(), rule(2, Action::Drop, Direction::In, All)];
        let mut judge = Judge::new(&rules, semantics);
        judge.decide(Out, &udp((1, 2), (5, 80)), 0);
        assert_eq!(
            by_rule(&judge.decide(In, &error, 0)),
            Some(2),
            "RELATED is never implied"
        );
    }
}
