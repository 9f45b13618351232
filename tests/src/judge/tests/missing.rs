//! Fail closed: short and broken headers, extension headers, fragments.

use nwfilter_ctl::model::{
    CtStates,
    Protocol::{
        AhIpv6, All, AllIpv6, Arp, Icmp, Ip, Ipv6, Mac, None as NoElement, Stp, Tcp, Udp, UdpIpv6,
        Vlan,
    },
};

use super::*;

fn dropping(protocol: Protocol) -> Instance {
    rule(1, Action::Drop, Direction::Out, protocol)
}

/// Every prefix of the frame with fewer than `whole` bytes but the Ethernet header.
fn cuts(frame: &[u8], whole: usize) -> Vec<Vec<u8>> {
    (14..whole).map(|length| frame[..length].to_vec()).collect()
}

#[test]
fn a_short_ethernet_header_is_dropped_without_any_rule() {
    for semantics in BOTH {
        for length in 0..14 {
            let decision = decide(&[], semantics, FrameDirection::In, &vec![0; length]);
            assert_eq!(
                decision,
                Decision {
                    verdict: Verdict::Drop,
                    layer: Layer::Ethernet,
                    cause: Cause::Missing
                }
            );
        }
        assert_eq!(
            decide(&[], semantics, FrameDirection::In, &[0; 14]).verdict,
            Verdict::Accept
        );
    }
}

#[test]
fn a_false_test_beats_a_missing_one() {
    let frame = out(0x0800, b"");
    let no_match = dropping(Ip)
        .with(Attr::SrcMacAddr, PEER)
        .with(Attr::SrcIpAddr, "10.0.0.1");
    let missing = dropping(Ip)
        .with(Attr::SrcMacAddr, VM)
        .with(Attr::SrcIpAddr, "10.0.0.1");
    for semantics in BOTH {
        let verdict = |rule: &Instance| {
            decide(
                std::slice::from_ref(rule),
                semantics,
                FrameDirection::Out,
                &frame,
            )
            .cause
        };
        assert_eq!(verdict(&no_match), Cause::EndOfLayer);
        assert_eq!(verdict(&missing), Cause::Missing);
        // A rule that decides before is not disturbed, nor is the ethertype unknown.
        let accept = rule(0, Action::Accept, Direction::Out, Ip);
        let decision = decide(
            &[accept, missing.clone()],
            semantics,
            FrameDirection::Out,
            &frame,
        );
        assert_eq!(by_rule(&decision), Some(0));
    }
}

#[test]
fn ipv4_headers() {
    let whole = out(0x0800, &ipv4((1, 2), 17, &wire::udp(1, 2, b"")));
    let mut broken = cuts(&whole, 34);
    let spoil = |at: usize, value: u8| {
        let mut frame = whole.clone();
        frame[at] = value;
        frame
    };
    broken.push(spoil(14, 0x65));
    broken.push(spoil(14, 0x44));
    broken.push(spoil(14, 0x4f));
    broken.push(spoil(17, 19));
    for semantics in BOTH {
        for rule in [
            dropping(Ip).with(Attr::SrcIpAddr, "10.0.0.1"),
            dropping(Ip).with(Attr::DstIpAddr, "10.0.0.1"),
            dropping(Ip).with(Attr::IpProtocol, 17),
            dropping(Ip).with(Attr::Dscp, 0),
            dropping(All).with(Attr::DstIpFrom, "10.0.0.1"),
            dropping(All).with(Attr::Dscp, 0),
            rule(1, Action::Drop, Direction::Out, All)
                .with(Attr::State, Datum::States(CtStates::NEW)),
        ] {
            is_missing(semantics, &rule, &broken);
        }
        for frame in &broken {
            for element in [Ip, All, Mac, NoElement] {
                let decision = decide(&[dropping(element)], semantics, FrameDirection::Out, frame);
                assert_eq!(by_rule(&decision), Some(1), "the ethertype is known");
            }
            let decision = decide(&[dropping(Udp)], semantics, FrameDirection::Out, frame);
            assert_eq!(decision.cause, Cause::Missing);
        }
    }
}

#[test]
fn ipv6_headers() {
    let whole = out(0x86dd, &ipv6((1, 2), 17, &wire::udp(1, 2, b"")));
    let mut broken = cuts(&whole, 54);
    let mut version = whole.clone();
    version[14] = 0x40;
    broken.push(version);
    for semantics in BOTH {
        is_missing(
            semantics,
            &dropping(Ipv6).with(Attr::SrcIpAddr, "fd00::1"),
            &broken,
        );
        is_missing(
            semantics,
            &dropping(Ipv6).with(Attr::IpProtocol, 17),
            &broken,
        );
        is_missing(semantics, &dropping(AllIpv6).with(Attr::Dscp, 1), &broken);
    }
}

#[test]
fn extension_headers_past_the_end_or_too_many() {
    use wire::Extension::Options;
    let behind = |extensions: Vec<wire::Extension>| {
        let ip = wire::Ipv6 {
            extensions,
            protocol: 17,
            ..wire::Ipv6::default()
        };
        out(0x86dd, &ip.packet(&wire::udp(1, 9, b"")))
    };
    let long = behind(vec![Options(0, 1), Options(60, 4)]);
    let mut lies = long.clone();
    lies[14 + 40 + 8 + 1] = 9;
    let mut broken = vec![lies, behind(vec![Options(60, 1); 9])];
    broken.extend((54..54 + 40).map(|length| long[..length].to_vec()));
    let mut short_payload = long.clone();
    short_payload[18..20].copy_from_slice(&39_u16.to_be_bytes());
    broken.push(short_payload);
    for semantics in BOTH {
        is_missing(
            semantics,
            &dropping(Ipv6).with(Attr::IpProtocol, 17),
            &broken,
        );
        let port = dropping(UdpIpv6).with(Attr::DstPortStart, 9);
        is_missing(semantics, &port, &broken);
        // The addresses are still known.
        let source = dropping(Ipv6).with(Attr::SrcIpAddr, "fd00::1");
        tells_apart(semantics, &source, &broken, &[]);
    }
}

#[test]
fn transport_headers() {
    let cut = |protocol, payload: &[u8], least: usize| {
        (0..least)
            .map(|l| out(0x0800, &ipv4((1, 2), protocol, &payload[..l])))
            .collect::<Vec<_>>()
    };
    let udp = cut(17, &wire::udp(1, 2, b""), 8);
    let tcp = cut(6, &wire::tcp(1, 2, 2, b""), 20);
    let icmp = cut(1, &wire::icmp(8, 0, [0; 4], b""), 8);
    // The total length ends the packet, however long the frame is.
    let padded: Vec<_> = udp
        .iter()
        .map(|frame| [&frame[..], &[0; 40]].concat())
        .collect();
    for semantics in BOTH {
        for frames in [&udp, &padded] {
            let ip = || dropping(Ip).with(Attr::IpProtocol, 17);
            is_missing(semantics, &ip().with(Attr::SrcPortStart, 1), frames);
            is_missing(
                semantics,
                &dropping(Udp).with(Attr::DstPortStart, 1),
                frames,
            );
            // To connection tracking they are INVALID.
            for frame in frames {
                for (states, rule) in [(CtStates::NEW, None), (CtStates::INVALID, Some(1))] {
                    let drops = dropping(Udp).with(Attr::State, Datum::States(states));
                    let decision = decide(&[drops], semantics, FrameDirection::Out, frame);
                    assert_eq!(by_rule(&decision), rule);
                }
            }
        }
        is_missing(semantics, &dropping(Tcp).with(Attr::SrcPortStart, 1), &tcp);
        let flags = nwfilter_ctl::model::TcpFlags { mask: 1, flags: 1 };
        is_missing(
            semantics,
            &dropping(Tcp).with(Attr::Flags, Datum::TcpFlags(flags)),
            &tcp,
        );
        is_missing(semantics, &dropping(Tcp).with(Attr::TcpOption, 1), &tcp);
        is_missing(semantics, &dropping(Icmp).with(Attr::Type, 8), &icmp);
        // Another protocol has no port, so nothing is missing.
        never_matches(semantics, &dropping(Udp).with(Attr::DstPortStart, 1), &tcp);
        // Default accepts ask for the state.
        let accept = rule(1, Action::Accept, Direction::Out, Udp);
        assert_eq!(
            decide(&[accept], semantics, FrameDirection::Out, &udp[0]).cause,
            Cause::EndOfLayer
        );
    }
}

#[test]
fn tags_and_bpdus() {
    let tag = wire::tagged(&out(0x0800, b""), 0x8100, 5);
    let stp = wire::ethernet(
        super::super::frame::BRIDGE_GROUP,
        VM,
        38,
        &wire::Bpdu::default().bytes(),
    );
    for semantics in BOTH {
        is_missing(
            semantics,
            &dropping(Vlan).with(Attr::VlanId, 5),
            &cuts(&tag, 18),
        );
        is_missing(
            semantics,
            &dropping(Vlan).with(Attr::EncapProtocol, 5),
            &cuts(&tag, 18),
        );
        is_missing(
            semantics,
            &dropping(Stp).with(Attr::Type, 0),
            &cuts(&stp, 21),
        );
        is_missing(
            semantics,
            &dropping(Stp).with(Attr::Flags, 0),
            &cuts(&stp, 52),
        );
        let decision = decide(&[dropping(Stp)], semantics, FrameDirection::Out, &stp[..14]);
        assert_eq!(by_rule(&decision), Some(1));
    }
}

#[test]
fn truncated_arp() {
    let whole = out(
        0x0806,
        &wire::Arp {
            sender_ip: v4(1),
            ..wire::Arp::default()
        }
        .bytes(),
    );
    let addresses = [
        dropping(Arp).with(Attr::ArpSrcMacAddr, VM),
        dropping(Arp).with(Attr::ArpDstMacAddr, VM),
        dropping(Arp).with(Attr::ArpSrcIpAddr, "10.0.0.1"),
        dropping(Arp).with(Attr::ArpDstIpAddr, "10.0.0.1"),
        dropping(Arp).with(Attr::Gratuitous, Datum::Bool(true)),
    ];
    for rule in &addresses {
        is_missing(Semantics::Strict, rule, &cuts(&whole, 42));
        never_matches(Semantics::Libvirt, rule, &cuts(&whole, 42));
    }
    let opcode = dropping(Arp).with(Attr::Opcode, 1);
    is_missing(Semantics::Strict, &opcode, &cuts(&whole, 22));
    never_matches(Semantics::Libvirt, &opcode, &cuts(&whole, 22));
    for semantics in BOTH {
        tells_apart(semantics, &opcode, &cuts(&whole, 42)[8..], &[]);
    }
    // A packet of another layout is not truncated: it announces other lengths.
    let mut other = whole[..22].to_vec();
    other[18] = 8;
    tells_apart(Semantics::Strict, &opcode, &[other], &[]);
}

/// Fragments of one UDP datagram to port 9.
struct Fragments {
    first: Vec<u8>,
    later: Vec<u8>,
}

fn v4_fragments(id: u16) -> Fragments {
    let ip = wire::Ipv4 {
        protocol: 17,
        id,
        more: true,
        ..wire::Ipv4::default()
    };
    Fragments {
        first: out(0x0800, &ip.packet(&wire::udp(7, 9, &[0; 16]))),
        later: out(
            0x0800,
            &wire::Ipv4 {
                more: false,
                offset: 3,
                ..ip
            }
            .packet(&[0; 8]),
        ),
    }
}

fn v6_fragments(id: u32) -> Fragments {
    let with = |offset, more, payload: &[u8]| {
        let extensions = vec![wire::Extension::Fragment { offset, more, id }];
        let ip = wire::Ipv6 {
            protocol: 17,
            extensions,
            ..wire::Ipv6::default()
        };
        out(0x86dd, &ip.packet(payload))
    };
    Fragments {
        first: with(0, true, &wire::udp(7, 9, &[0; 16])),
        later: with(3, false, &[0; 8]),
    }
}

#[test]
fn later_fragments_alone() {
    let (v4, v6) = (v4_fragments(1), v6_fragments(1));
    let port = |element| {
        dropping(element)
            .with(Attr::IpProtocol, 17)
            .with(Attr::DstPortStart, 9)
    };
    is_missing(
        Semantics::Strict,
        &port(Ip),
        std::slice::from_ref(&v4.later),
    );
    is_missing(
        Semantics::Strict,
        &port(Ipv6),
        std::slice::from_ref(&v6.later),
    );
    never_matches(
        Semantics::Libvirt,
        &port(Ip),
        std::slice::from_ref(&v4.later),
    );
    never_matches(
        Semantics::Libvirt,
        &port(Ipv6),
        std::slice::from_ref(&v6.later),
    );
    let protocol = |element| dropping(element).with(Attr::IpProtocol, 17);
    for semantics in BOTH {
        tells_apart(
            semantics,
            &protocol(Ip),
            std::slice::from_ref(&v4.later),
            &[],
        );
        let inet = dropping(Udp).with(Attr::DstPortStart, 9);
        is_missing(semantics, &inet, std::slice::from_ref(&v4.later));
        let inet = dropping(UdpIpv6).with(Attr::DstPortStart, 9);
        is_missing(semantics, &inet, std::slice::from_ref(&v6.later));
        // Without ports, by the fragment header's next header.
        let inet = dropping(UdpIpv6).with(Attr::SrcIpAddr, "fd00::1");
        tells_apart(semantics, &inet, std::slice::from_ref(&v6.later), &[]);
    }
    tells_apart(
        Semantics::Strict,
        &protocol(Ipv6),
        std::slice::from_ref(&v6.later),
        &[],
    );
    tells_apart(Semantics::Libvirt, &protocol(Ipv6), &[], &[v6.later]);
}

#[test]
fn ah_fragments_are_lost_on_libvirt() {
    let extensions = vec![wire::Extension::Fragment {
        offset: 3,
        more: false,
        id: 1,
    }];
    let ip = wire::Ipv6 {
        protocol: 51,
        extensions,
        ..wire::Ipv6::default()
    };
    let frame = out(0x86dd, &ip.packet(&[0; 8]));
    let drops = |semantics| {
        by_rule(&decide(
            &[dropping(AhIpv6)],
            semantics,
            FrameDirection::Out,
            &frame,
        ))
    };
    assert_eq!(drops(Semantics::Strict), Some(1));
    assert_eq!(drops(Semantics::Libvirt), None);

    // Unless the first one is known.
    let extensions = vec![wire::Extension::Fragment {
        offset: 0,
        more: true,
        id: 1,
    }];
    let first = wire::Ipv6 { extensions, ..ip }.packet(&[0; 24]);
    let rules = [
        rule(1, Action::Return, Direction::InOut, AhIpv6),
        dropping(AllIpv6),
    ];
    for semantics in BOTH {
        let mut judge = Judge::new(&rules, semantics);
        for frame in [&out(0x86dd, &first), &frame] {
            let decision = judge.decide(FrameDirection::Out, frame, 0);
            assert_eq!(by_rule(&decision), Some(1));
        }
    }
}

#[test]
fn a_later_fragment_whose_protocol_is_behind_more_headers() {
    let extensions = vec![
        wire::Extension::Fragment {
            offset: 3,
            more: false,
            id: 1,
        },
        wire::Extension::Options(60, 1),
    ];
    let ip = wire::Ipv6 {
        protocol: 17,
        extensions,
        ..wire::Ipv6::default()
    };
    let frame = out(0x86dd, &ip.packet(&[0; 8]));
    is_missing(
        Semantics::Strict,
        &dropping(Ipv6).with(Attr::IpProtocol, 17),
        &[frame],
    );
}

#[test]
fn later_fragments_take_the_ports_of_an_accepted_first_one() {
    use FrameDirection::{In, Out};
    for (element, of) in [
        (Ip, v4_fragments as fn(u16) -> Fragments),
        (Ipv6, |id| v6_fragments(id.into())),
        (Udp, v4_fragments),
        (UdpIpv6, |id| v6_fragments(id.into())),
    ] {
        let on = |number, port: u32| {
            let rule = rule(number, Action::Return, Direction::InOut, element)
                .with(Attr::SrcPortStart, 0)
                .with(Attr::SrcPortEnd, 0xffff)
                .with(Attr::DstPortStart, port);
            if matches!(element, Ip | Ipv6) {
                rule.with(Attr::IpProtocol, 17)
            } else {
                rule
            }
        };
        // Both orientations of the port.
        let rules = [on(1, 9), on(2, 7)];
        let mut judge = Judge::new(&rules, Semantics::Strict);
        let fragments = of(1);
        let missing = |judge: &mut Judge, direction, frame: &[u8], now| {
            judge.decide(direction, frame, now).cause == Cause::Missing
        };
        assert!(
            missing(&mut judge, Out, &fragments.later, 0),
            "not yet seen"
        );
        let first = by_rule(&judge.decide(Out, &fragments.first, 0));
        assert_eq!(first, Some(2));
        assert_eq!(by_rule(&judge.decide(Out, &fragments.later, 0)), first);
        assert!(
            missing(&mut judge, In, &fragments.later, 0),
            "the other direction"
        );
        assert!(
            missing(&mut judge, Out, &of(2).later, 0),
            "another datagram"
        );
        let last = 30 * SECOND - 1;
        assert_eq!(by_rule(&judge.decide(Out, &fragments.later, last)), first);
        assert!(
            missing(&mut judge, Out, &fragments.later, 30 * SECOND),
            "too old"
        );
    }
}

#[test]
fn a_dropped_first_fragment_speaks_for_none() {
    let fragments = v4_fragments(1);
    let drops = dropping(Ip)
        .with(Attr::IpProtocol, 17)
        .with(Attr::DstPortStart, 9);
    let mut judge = Judge::new(&[drops], Semantics::Strict);
    assert_eq!(
        by_rule(&judge.decide(FrameDirection::Out, &fragments.first, 0)),
        Some(1)
    );
    assert_eq!(
        judge.decide(FrameDirection::Out, &fragments.later, 0).cause,
        Cause::Missing
    );
}
