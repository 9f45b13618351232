//! Every attribute of the inet elements (2.5): hit, miss and negated.

use nwfilter_ctl::model::{
    Protocol::{
        Ah, AhIpv6, All, AllIpv6, Esp, EspIpv6, Icmp, IcmpV6, Igmp, IgmpIpv6, Sctp, SctpIpv6, Tcp,
        TcpIpv6, Udp, UdpIpv6, UdpLite, UdpLiteIpv6,
    },
    SetDirection, TcpFlags,
};

use super::*;
use crate::judge::{Lookup, Sets};
use FrameDirection::{In, Out};

fn dropping(protocol: Protocol) -> Instance {
    rule(1, Action::Drop, Direction::Out, protocol)
}

fn packet(protocol: Protocol, ends: (u8, u8), payload: &[u8]) -> Vec<u8> {
    let number = protocol.ip_protocol().unwrap_or(253);
    if protocol.family() == Some(nwfilter_ctl::model::Family::V6) {
        out(
            0x86dd,
            &ipv6((ends.0.into(), ends.1.into()), number, payload),
        )
    } else {
        out(0x0800, &ipv4(ends, number, payload))
    }
}

const ALL: [Protocol; 18] = [
    Tcp,
    Udp,
    UdpLite,
    Esp,
    Ah,
    Sctp,
    Icmp,
    Igmp,
    All,
    TcpIpv6,
    UdpIpv6,
    UdpLiteIpv6,
    EspIpv6,
    AhIpv6,
    SctpIpv6,
    IcmpV6,
    IgmpIpv6,
    AllIpv6,
];

#[test]
fn elements_tell_their_packets_by_protocol() {
    for semantics in BOTH {
        for element in ALL {
            for other in ALL {
                let frame = packet(other, (1, 2), &[0; 40]);
                let verdict = decide(&[dropping(element)], semantics, Out, &frame).verdict;
                let all = matches!(element, All | AllIpv6);
                let expected = element == other || all && element.family() == other.family();
                assert_eq!(verdict == Verdict::Drop, expected, "{element} {other}");
            }
        }
    }
}

#[test]
fn attributes_of_every_element() {
    for semantics in BOTH {
        for element in ALL {
            let v6 = element.family() == Some(nwfilter_ctl::model::Family::V6);
            let address = |n: u8| {
                if v6 {
                    format!("fd00::{n}")
                } else {
                    format!("10.0.0.{n}")
                }
            };
            let on = || dropping(element);
            let same = packet(element, (1, 2), &[0; 40]);
            let source = packet(element, (8, 2), &[0; 40]);
            let destination = packet(element, (1, 8), &[0; 40]);
            let is = |rule: Instance, other: &Vec<u8>| {
                tells_apart(
                    semantics,
                    &rule,
                    std::slice::from_ref(&same),
                    std::slice::from_ref(other),
                );
            };
            let prefix = |bits: u8| Datum::Prefix(if v6 { 96 + bits } else { bits });
            is(on().with(Attr::SrcIpAddr, &*address(1)), &source);
            is(
                on().with(Attr::SrcIpAddr, &*address(7))
                    .with(Attr::SrcIpMask, prefix(29)),
                &source,
            );
            is(on().with(Attr::DstIpAddr, &*address(2)), &destination);
            is(
                on().with(Attr::DstIpAddr, &*address(7))
                    .with(Attr::DstIpMask, prefix(29)),
                &destination,
            );
            is(on().with(Attr::SrcIpFrom, &*address(1)), &source);
            is(
                on().with(Attr::SrcIpFrom, &*address(0))
                    .with(Attr::SrcIpTo, &*address(1)),
                &source,
            );
            is(
                on().with(Attr::SrcIpFrom, &*address(1))
                    .with(Attr::SrcIpTo, &*address(7)),
                &source,
            );
            is(on().with(Attr::DstIpFrom, &*address(2)), &destination);
            is(
                on().with(Attr::DstIpFrom, &*address(0))
                    .with(Attr::DstIpTo, &*address(2)),
                &destination,
            );
            // A network takes precedence over a range.
            let rule = on()
                .with(Attr::SrcIpAddr, &*address(1))
                .with(Attr::SrcIpFrom, &*address(9));
            assert_eq!(by_rule(&decide(&[rule], semantics, Out, &same)), Some(1));
            // The end of a range alone is nothing.
            let rule = on().with(Attr::DstIpTo, &*address(0));
            assert_eq!(by_rule(&decide(&[rule], semantics, Out, &same)), Some(1));

            let mut other_mac = same.clone();
            other_mac[6] = 2;
            is(on().with(Attr::SrcMacAddr, VM), &other_mac);
            let mut marked = same.clone();
            if v6 {
                marked[14] |= 0x0b; // The high four bits of the class, of which DSCP takes six.
            } else {
                marked[15] = 0xb0;
            }
            tells_apart(
                semantics,
                &on().with(Attr::Dscp, 0xb0 >> 2),
                std::slice::from_ref(&marked),
                std::slice::from_ref(&same),
            );
        }
    }
}

#[test]
fn dscp_has_six_bits() {
    let frame = |tos| {
        out(
            0x0800,
            &wire::Ipv4 {
                tos,
                ..wire::Ipv4::default()
            }
            .packet(b""),
        )
    };
    let rule = dropping(All).with(Attr::Dscp, 10);
    for semantics in BOTH {
        tells_apart(
            semantics,
            &rule,
            &[frame(40), frame(43)],
            &[frame(10), frame(44)],
        );
    }
}

#[test]
fn documented_mac_attributes_are_strict_only() {
    let frame = packet(Udp, (1, 2), &[0; 8]);
    let masked = dropping(Udp)
        .with(Attr::SrcMacAddr, PEER)
        .with(Attr::SrcMacMask, mac_mask([0xff, 0, 0, 0, 0, 0]));
    let destination = dropping(Udp).with(Attr::DstMacAddr, VM);
    let masked_destination = dropping(Udp)
        .with(Attr::DstMacAddr, VM)
        .with(Attr::DstMacMask, mac_mask([0xff, 0xff, 0xff, 0xff, 0, 0]));
    let drops = |semantics, rule: &Instance| {
        by_rule(&decide(std::slice::from_ref(rule), semantics, Out, &frame)).is_some()
    };
    assert!(drops(Semantics::Strict, &masked));
    assert!(!drops(Semantics::Libvirt, &masked));
    assert!(!drops(Semantics::Strict, &destination));
    assert!(drops(Semantics::Strict, &masked_destination));
    assert!(drops(Semantics::Libvirt, &destination));
}

#[test]
fn ports() {
    for semantics in BOTH {
        for (element, payload) in [
            (Tcp, wire::tcp as fn(u16, u16, u8, &[u8]) -> Vec<u8>),
            (TcpIpv6, wire::tcp),
            (Udp, |from, to, _, _| wire::udp(from, to, b"")),
            (UdpIpv6, |from, to, _, _| wire::udp(from, to, b"")),
            (Sctp, |from, to, _, _| wire::sctp(from, to)),
            (SctpIpv6, |from, to, _, _| wire::sctp(from, to)),
        ] {
            let frame = |from, to| packet(element, (1, 2), &payload(from, to, 2, b""));
            let on = || dropping(element);
            let same = [frame(1000, 2000)];
            let is = |rule: Instance, other| tells_apart(semantics, &rule, &same, &[other]);
            is(on().with(Attr::SrcPortStart, 1000), frame(2000, 2000));
            is(on().with(Attr::DstPortStart, 2000), frame(1000, 1000));
            is(
                on().with(Attr::SrcPortStart, 1000)
                    .with(Attr::SrcPortEnd, 1001),
                frame(1002, 2000),
            );
            is(
                on().with(Attr::SrcPortStart, 0)
                    .with(Attr::SrcPortEnd, 1000),
                frame(1001, 2000),
            );
            is(
                on().with(Attr::DstPortStart, 1999)
                    .with(Attr::DstPortEnd, 2000),
                frame(1000, 1998),
            );
            let rule = on().with(Attr::DstPortEnd, 1);
            assert_eq!(by_rule(&decide(&[rule], semantics, Out, &same[0])), Some(1));
        }
    }
}

#[test]
fn tcp_flags_and_options() {
    let flags = |mask, flags| Datum::TcpFlags(TcpFlags { mask, flags });
    let frame = |element, bits| packet(element, (1, 2), &wire::tcp(1, 2, bits, b""));
    let with_options =
        |element, options: &[u8]| packet(element, (1, 2), &wire::tcp(1, 2, 2, options));
    for semantics in BOTH {
        let rule = dropping(Tcp).with(Attr::Flags, flags(0x12, 0x02));
        tells_apart(
            semantics,
            &rule,
            &[frame(Tcp, 0x02), frame(Tcp, 0xc3)],
            &[frame(Tcp, 0x12), frame(Tcp, 0x10), frame(Tcp, 0)],
        );
        let none = dropping(Tcp).with(Attr::Flags, flags(0x3f, 0));
        tells_apart(semantics, &none, &[frame(Tcp, 0xc0)], &[frame(Tcp, 0x20)]);
        for element in [Tcp, TcpIpv6] {
            let rule = dropping(element).with(Attr::TcpOption, 3);
            tells_apart(
                semantics,
                &rule,
                &[with_options(element, &[2, 4, 5, 180, 1, 3, 3, 7])],
                &[
                    with_options(element, &[2, 4, 3, 3]),
                    with_options(element, &[0, 3, 3, 7]),
                    with_options(element, &[]),
                ],
            );
            is_missing(semantics, &rule, &[with_options(element, &[2, 0, 3, 3])]);
            is_missing(
                semantics,
                &rule,
                &[with_options(element, &[2, 4, 5, 9, 4])[..].to_vec()].map(|mut frame| {
                    // A data offset that runs past the end.
                    let at = if element == Tcp { 34 } else { 54 };
                    frame[at + 12] = 0xf0;
                    frame
                }),
            );
        }
    }
    // Ignored by libvirt on the IPv6 element.
    let rule = dropping(TcpIpv6).with(Attr::Flags, flags(0x3f, 0));
    let syn = frame(TcpIpv6, 2);
    tells_apart(
        Semantics::Strict,
        &rule,
        &[frame(TcpIpv6, 0)],
        std::slice::from_ref(&syn),
    );
    assert_eq!(
        by_rule(&decide(&[rule], Semantics::Libvirt, Out, &syn)),
        Some(1)
    );
}

#[test]
fn libvirt_loses_tests_on_variables() {
    let syn = packet(Tcp, (1, 2), &wire::tcp(1, 2, 2, b""));
    let flags = TcpFlags {
        mask: 0x3f,
        flags: 0,
    };
    let rule = dropping(Tcp)
        .with(Attr::Flags, Datum::TcpFlags(flags))
        .variable();
    let drops = |semantics, rule: &Instance, frame: &[u8]| {
        by_rule(&decide(std::slice::from_ref(rule), semantics, Out, frame)).is_some()
    };
    assert!(drops(Semantics::Libvirt, &rule, &syn));
    assert!(!drops(Semantics::Strict, &rule, &syn));
    let states = Datum::States(nwfilter_ctl::model::CtStates::INVALID);
    let rule = dropping(Tcp).with(Attr::State, states).variable();
    assert!(drops(Semantics::Libvirt, &rule, &syn));
    assert!(!drops(Semantics::Strict, &rule, &syn));
}

#[test]
fn icmp_types_and_codes() {
    for semantics in BOTH {
        for element in [Icmp, IcmpV6] {
            let frame = |kind, code| packet(element, (1, 2), &wire::icmp(kind, code, [0; 4], b""));
            let kind = dropping(element).with(Attr::Type, 3);
            tells_apart(
                semantics,
                &kind,
                &[frame(3, 0), frame(3, 1)],
                &[frame(4, 0)],
            );
            let code = kind.with(Attr::Code, 1);
            tells_apart(
                semantics,
                &code,
                &[frame(3, 1)],
                &[frame(3, 0), frame(4, 1)],
            );
            let code_alone = dropping(element).with(Attr::Code, 1);
            assert_eq!(
                by_rule(&decide(&[code_alone], semantics, Out, &frame(3, 0))),
                Some(1)
            );
        }
    }
}

#[test]
fn icmp_type_and_code_of_different_signs_are_two_tests() {
    let types = dropping(Icmp).with(Attr::Type, 3).without(Attr::Code, 1);
    let codes = dropping(Icmp).without(Attr::Type, 3).with(Attr::Code, 1);
    for semantics in BOTH {
        let drops = |rule: &Instance, kind, code| {
            let frame = packet(Icmp, (1, 2), &wire::icmp(kind, code, [0; 4], b""));
            by_rule(&decide(std::slice::from_ref(rule), semantics, Out, &frame)).is_some()
        };
        assert!(drops(&types, 3, 0) && !drops(&types, 3, 1) && !drops(&types, 4, 0));
        assert!(drops(&codes, 4, 1) && !drops(&codes, 3, 1) && !drops(&codes, 4, 0));
    }
}

/// The set `set` holds packets from 10.0.0.1, or, two-dimensional, from there to 10.0.0.2.
struct OneSet;

impl Sets for OneSet {
    fn contains(&self, lookup: &Lookup<'_>) -> bool {
        let wanted = [v4(1), v4(2)];
        lookup.set == "set"
            && lookup
                .directions
                .iter()
                .zip(wanted)
                .all(|(direction, wanted)| {
                    wanted
                        == match direction {
                            SetDirection::Src => lookup.source,
                            SetDirection::Dst => lookup.destination,
                        }
                })
    }
}

#[test]
fn address_sets() {
    use SetDirection::{Dst, Src};
    let in_set = |element, directions: &[SetDirection]| {
        rule(1, Action::Drop, Direction::InOut, element)
            .with(Attr::IpSet, Datum::Text("set".into()))
            .with(Attr::IpSetFlags, Datum::SetDirections(directions.to_vec()))
    };
    let drops = |semantics, rule: &Instance, direction, ends| {
        let frame = packet(Udp, ends, &wire::udp(1, 2, b""));
        let mut judge = Judge::with_sets(std::slice::from_ref(rule), semantics, Box::new(OneSet));
        by_rule(&judge.decide(direction, &frame, 0)).is_some()
    };
    for semantics in BOTH {
        let source = in_set(All, &[Src]);
        assert!(drops(semantics, &source, In, (1, 9)));
        assert!(!drops(semantics, &source, In, (9, 1)));
        assert!(drops(semantics, &source, Out, (9, 1)), "exchanged");
        // libvirt loses the sign.
        let lost = semantics == Semantics::Libvirt;
        let negated = source.clone().negated();
        assert_eq!(drops(semantics, &negated, Out, (9, 1)), lost);
        assert_eq!(drops(semantics, &negated, Out, (1, 9)), !lost);
        let pair = in_set(All, &[Src, Dst]);
        assert!(drops(semantics, &pair, In, (1, 2)));
        assert!(drops(semantics, &pair, Out, (2, 1)));
        assert!(!drops(semantics, &pair, In, (1, 9)));
        let no_flags = rule(1, Action::Drop, Direction::InOut, All)
            .with(Attr::IpSet, Datum::Text("set".into()));
        assert!(drops(semantics, &no_flags, In, (9, 9)), "ignored");
        let unknown = in_set(All, &[Src]);
        let frame = packet(Udp, (1, 1), &wire::udp(1, 2, b""));
        assert!(
            by_rule(&decide(&[unknown], semantics, In, &frame)).is_none(),
            "no sets, no members"
        );
    }
    let on_udp = in_set(Udp, &[Src]);
    assert!(!drops(Semantics::Strict, &on_udp, In, (9, 1)));
    assert!(drops(Semantics::Libvirt, &on_udp, In, (9, 1)), "lost");
}
