//! Every attribute of the Ethernet elements (2.4): hit, miss and negated.

use nwfilter_ctl::model::Protocol::{Arp, Ip, Ipv6, Mac, None, Rarp, Stp, Vlan};

use super::*;

fn dropping(protocol: Protocol) -> Instance {
    rule(1, Action::Drop, Direction::Out, protocol)
}

fn udp(ends: (u8, u8), ports: (u16, u16)) -> Vec<u8> {
    out(0x0800, &ipv4(ends, 17, &wire::udp(ports.0, ports.1, b"")))
}

fn udp6(ends: (u16, u16), ports: (u16, u16)) -> Vec<u8> {
    out(0x86dd, &ipv6(ends, 17, &wire::udp(ports.0, ports.1, b"")))
}

fn arp(change: impl FnOnce(&mut wire::Arp)) -> Vec<u8> {
    let mut arp = wire::Arp {
        sender_mac: VM,
        sender_ip: v4(1),
        target_mac: PEER,
        target_ip: v4(2),
        ..wire::Arp::default()
    };
    change(&mut arp);
    out(0x0806, &arp.bytes())
}

fn bpdu(change: impl FnOnce(&mut wire::Bpdu)) -> Vec<u8> {
    let mut bpdu = wire::Bpdu {
        kind: 0,
        flags: 0x81,
        root: (0x1234, VM),
        root_cost: 0x0102_0304,
        sender: (0x2345, PEER),
        port: 0x3456,
        timers: [0x0100, 0x1400, 0x0200, 0x0f00],
    };
    change(&mut bpdu);
    wire::ethernet(super::super::frame::BRIDGE_GROUP, VM, 38, &bpdu.bytes())
}

#[test]
fn elements_tell_their_frames_by_ethertype() {
    let frames = [
        (Mac, out(0x1234, b"x")),
        (Vlan, wire::tagged(&udp((1, 2), (1, 2)), 0x8100, 7)),
        (Stp, bpdu(|_| {})),
        (Arp, arp(|_| {})),
        (Rarp, out(0x8035, &wire::Arp::default().bytes())),
        (Ip, udp((1, 2), (1, 2))),
        (Ipv6, udp6((1, 2), (1, 2))),
    ];
    for semantics in BOTH {
        for element in [None, Mac, Vlan, Stp, Arp, Rarp, Ip, Ipv6] {
            for (of, frame) in &frames {
                let decision = decide(&[dropping(element)], semantics, FrameDirection::Out, frame);
                let expected = element == None || element == Mac || element == *of;
                assert_eq!(
                    decision.verdict == Verdict::Drop,
                    expected,
                    "{element} {of}"
                );
            }
        }
        let service = wire::tagged(&udp((1, 2), (1, 2)), 0x88a8, 7);
        let decision = decide(&[dropping(Vlan)], semantics, FrameDirection::Out, &service);
        assert_eq!(decision.verdict, Verdict::Accept, "0x88a8 is no vlan");
    }
}

#[test]
fn mac_addresses_with_and_without_mask() {
    let frame = |destination, source| wire::ethernet(destination, source, 0x1234, b"");
    let near = MacAddr([0x52, 0x54, 0, 0, 0, 9]);
    let far = MacAddr([0x52, 0x55, 0, 0, 0, 1]);
    for semantics in BOTH {
        let source = dropping(Mac).with(Attr::SrcMacAddr, VM);
        tells_apart(
            semantics,
            &source,
            &[frame(PEER, VM)],
            &[frame(VM, PEER), frame(VM, near)],
        );
        let network = mac_mask([0xff, 0xff, 0xff, 0, 0, 0]);
        let masked = source.with(Attr::SrcMacMask, network.clone());
        tells_apart(
            semantics,
            &masked,
            &[frame(PEER, VM), frame(PEER, near)],
            &[frame(VM, far)],
        );
        let destination = dropping(Mac).with(Attr::DstMacAddr, VM);
        tells_apart(
            semantics,
            &destination,
            &[frame(VM, PEER)],
            &[frame(PEER, VM)],
        );
        let masked = destination.with(Attr::DstMacMask, network.clone());
        tells_apart(semantics, &masked, &[frame(near, PEER)], &[frame(far, VM)]);

        let alone = dropping(Mac).with(Attr::DstMacMask, network);
        let decision = decide(&[alone], semantics, FrameDirection::Out, &frame(PEER, VM));
        assert_eq!(
            decision.verdict,
            Verdict::Drop,
            "a mask without address is ignored"
        );
    }
}

#[test]
fn mac_protocol_is_the_outer_ethertype() {
    let plain = out(0x0806, &wire::Arp::default().bytes());
    let tagged = wire::tagged(&plain, 0x8100, 1);
    for semantics in BOTH {
        let arp = dropping(Mac).with(Attr::ProtocolId, 0x806);
        tells_apart(
            semantics,
            &arp,
            std::slice::from_ref(&plain),
            &[tagged.clone(), out(100, b"")],
        );
        let vlan = dropping(Mac).with(Attr::ProtocolId, 0x8100);
        tells_apart(
            semantics,
            &vlan,
            std::slice::from_ref(&tagged),
            std::slice::from_ref(&plain),
        );
    }
}

#[test]
fn vlan_id_has_twelve_bits_and_encapsulated_protocol_is_misread_by_libvirt() {
    let inner = out(0x0806, b"");
    let tag = |control| wire::tagged(&inner, 0x8100, control);
    for semantics in BOTH {
        let id = dropping(Vlan).with(Attr::VlanId, 5);
        tells_apart(semantics, &id, &[tag(5), tag(0xf005)], &[tag(6), tag(0)]);
        let zero = dropping(Vlan).with(Attr::VlanId, 0);
        tells_apart(semantics, &zero, &[tag(0xe000)], &[tag(1)]);
        let from_variable = dropping(Vlan).with(Attr::EncapProtocol, 0x806).variable();
        tells_apart(
            semantics,
            &from_variable,
            &[tag(5)],
            &[wire::tagged(&tag(5), 0x8100, 1)],
        );
    }
    let arp = dropping(Vlan).with(Attr::EncapProtocol, 0x806);
    let misread = wire::tagged(&out(0x2054, b""), 0x8100, 1);
    tells_apart(
        Semantics::Strict,
        &arp,
        &[tag(5)],
        std::slice::from_ref(&misread),
    );
    tells_apart(
        Semantics::Libvirt,
        &arp,
        std::slice::from_ref(&misread),
        &[tag(5)],
    );
}

#[test]
fn bpdu_fields() {
    let number = |attr, value: u32| dropping(Stp).with(attr, value);
    let range = |low, high, from: u32, to: u32| dropping(Stp).with(low, from).with(high, to);
    let same = bpdu(|_| {});
    for semantics in BOTH {
        let is = |rule: Instance, other: Vec<u8>| {
            tells_apart(semantics, &rule, std::slice::from_ref(&same), &[other]);
        };
        is(number(Attr::Type, 0), bpdu(|b| b.kind = 2));
        is(number(Attr::Flags, 0x81), bpdu(|b| b.flags = 0x80));
        is(
            number(Attr::RootPriority, 0x1234),
            bpdu(|b| b.root.0 = 0x1235),
        );
        is(
            range(Attr::RootPriority, Attr::RootPriorityHi, 0x1230, 0x1234),
            bpdu(|b| b.root.0 = 0x1235),
        );
        is(
            range(Attr::RootPriority, Attr::RootPriorityHi, 0x1234, 0x1240),
            bpdu(|b| b.root.0 = 0x1233),
        );
        is(
            dropping(Stp).with(Attr::RootAddress, VM),
            bpdu(|b| b.root.1 = PEER),
        );
        is(
            dropping(Stp)
                .with(Attr::RootAddress, PEER)
                .with(Attr::RootAddressMask, mac_mask([0xff, 0xff, 0xff, 0, 0, 0])),
            bpdu(|b| b.root.1 = MacAddr::BROADCAST),
        );
        is(
            number(Attr::RootCost, 0x0102_0304),
            bpdu(|b| b.root_cost = 0x0304),
        );
        is(
            range(Attr::RootCost, Attr::RootCostHi, 0x0102_0304, 0xffff_ffff),
            bpdu(|b| b.root_cost = 0x0102_0303),
        );
        is(
            number(Attr::SenderPriority, 0x2345),
            bpdu(|b| b.sender.0 = 0),
        );
        is(
            range(Attr::SenderPriority, Attr::SenderPriorityHi, 0, 0x2345),
            bpdu(|b| b.sender.0 = 0x2346),
        );
        is(
            dropping(Stp).with(Attr::SenderAddress, PEER),
            bpdu(|b| b.sender.1 = VM),
        );
        is(
            dropping(Stp)
                .with(Attr::SenderAddress, VM)
                .with(Attr::SenderAddressMask, mac_mask([0xff, 0xff, 0, 0, 0, 0])),
            bpdu(|b| b.sender.1 = MacAddr::BROADCAST),
        );
        is(number(Attr::Port, 0x3456), bpdu(|b| b.port = 1));
        is(
            range(Attr::Port, Attr::PortHi, 0x3456, 0x3457),
            bpdu(|b| b.port = 0x3458),
        );
        is(number(Attr::Age, 0x100), bpdu(|b| b.timers[0] = 1));
        is(
            range(Attr::Age, Attr::AgeHi, 1, 0x100),
            bpdu(|b| b.timers[0] = 0),
        );
        is(number(Attr::MaxAge, 0x1400), bpdu(|b| b.timers[1] = 1));
        is(
            range(Attr::MaxAge, Attr::MaxAgeHi, 0x1400, 0xffff),
            bpdu(|b| b.timers[1] = 1),
        );
        is(number(Attr::HelloTime, 0x200), bpdu(|b| b.timers[2] = 1));
        is(
            range(Attr::HelloTime, Attr::HelloTimeHi, 0, 0x200),
            bpdu(|b| b.timers[2] = 0x201),
        );
        is(number(Attr::ForwardDelay, 0xf00), bpdu(|b| b.timers[3] = 1));
        is(
            range(Attr::ForwardDelay, Attr::ForwardDelayHi, 0xf00, 0xf01),
            bpdu(|b| b.timers[3] = 0xf02),
        );
        // The tag's body is looked into as well.
        let tagged = wire::tagged(&same, 0x8100, 3);
        tells_apart(
            semantics,
            &number(Attr::Port, 0x3456),
            &[tagged],
            &[bpdu(|b| b.port = 1)],
        );
    }
}

#[test]
fn only_configurations_have_a_configuration() {
    let notification = bpdu(|b| b.kind = 128);
    let rapid = bpdu(|b| b.kind = 2);
    let foreign = {
        let mut frame = bpdu(|_| {});
        frame[14] = 0xaa;
        frame
    };
    for semantics in BOTH {
        for rule in [
            dropping(Stp).with(Attr::Flags, 1),
            dropping(Stp).with(Attr::Port, 1),
            dropping(Stp).with(Attr::RootAddress, MacAddr::BROADCAST),
        ] {
            for rule in [rule.clone(), rule.negated()] {
                for frame in [&notification, &rapid] {
                    let decision = decide(
                        std::slice::from_ref(&rule),
                        semantics,
                        FrameDirection::Out,
                        frame,
                    );
                    assert_eq!(
                        by_rule(&decision),
                        Some(1),
                        "not tested, so it holds: {rule:?}"
                    );
                }
            }
        }
        let port = dropping(Stp).with(Attr::Port, 0x3456);
        never_matches(semantics, &port, std::slice::from_ref(&foreign));
        never_matches(
            semantics,
            &dropping(Stp).with(Attr::Type, 0),
            std::slice::from_ref(&foreign),
        );
        let decision = decide(&[dropping(Stp)], semantics, FrameDirection::Out, &foreign);
        assert_eq!(
            decision.verdict,
            Verdict::Drop,
            "any frame to the bridge group"
        );
        let source = dropping(Stp).with(Attr::SrcMacAddr, VM);
        let other = {
            let mut frame = bpdu(|_| {});
            frame[11] = 9;
            frame
        };
        tells_apart(semantics, &source, std::slice::from_ref(&foreign), &[other]);
    }
}

#[test]
fn arp_fields() {
    for semantics in BOTH {
        for element in [Arp, Rarp] {
            let frame = |change: &dyn Fn(&mut wire::Arp)| {
                let mut frame = arp(change);
                if element == Rarp {
                    frame[12..14].copy_from_slice(&[0x80, 0x35]);
                }
                frame
            };
            let same = frame(&|_| {});
            let is = |rule: Instance, other: Vec<u8>| {
                tells_apart(semantics, &rule, std::slice::from_ref(&same), &[other]);
            };
            let on = || dropping(element);
            is(on().with(Attr::HwType, 1), frame(&|a| a.hardware = 6));
            is(
                on().with(Attr::ProtocolType, 0x800),
                frame(&|a| a.protocol = 0x86dd),
            );
            is(on().with(Attr::Opcode, 1), frame(&|a| a.opcode = 2));
            is(
                on().with(Attr::ArpSrcMacAddr, VM),
                frame(&|a| a.sender_mac = PEER),
            );
            is(
                on().with(Attr::ArpDstMacAddr, PEER),
                frame(&|a| a.target_mac = VM),
            );
            is(
                on().with(Attr::ArpSrcIpAddr, "10.0.0.1"),
                frame(&|a| a.sender_ip = v4(2)),
            );
            is(
                on().with(Attr::ArpDstIpAddr, "10.0.0.2"),
                frame(&|a| a.target_ip = v4(1)),
            );
            is(
                on().with(Attr::ArpSrcIpAddr, "10.0.0.7")
                    .with(Attr::ArpSrcIpMask, Datum::Prefix(29)),
                frame(&|a| a.sender_ip = v4(8)),
            );
            is(
                on().with(Attr::ArpDstIpAddr, "10.0.0.7")
                    .with(Attr::ArpDstIpMask, Datum::Prefix(29)),
                frame(&|a| a.target_ip = v4(8)),
            );
            let gratuitous = frame(&|a| a.target_ip = v4(1));
            let rule = on().with(Attr::Gratuitous, Datum::Bool(true));
            tells_apart(semantics, &rule, &[gratuitous], std::slice::from_ref(&same));
            let untested = on().without(Attr::Gratuitous, Datum::Bool(false));
            let decision = decide(&[untested], semantics, FrameDirection::Out, &same);
            assert_eq!(decision.verdict, Verdict::Drop);
        }
    }
}

#[test]
fn arp_addresses_need_ethernet_and_ipv4() {
    let macs = dropping(Arp).with(Attr::ArpSrcMacAddr, VM);
    let ips = dropping(Arp).with(Attr::ArpDstIpAddr, "10.0.0.2");
    let gratuitous = dropping(Arp).with(Attr::Gratuitous, Datum::Bool(true));
    for semantics in BOTH {
        // Long enough for any of these lengths.
        let padded = |change: fn(&mut wire::Arp)| [arp(change), vec![0; 40]].concat();
        let other_hardware = padded(|a| a.hardware = 6);
        let long_macs = padded(|a| a.lengths = (8, 4));
        for frame in [&other_hardware, &long_macs] {
            never_matches(semantics, &macs, std::slice::from_ref(frame));
        }
        tells_apart(semantics, &ips, &[other_hardware], &[long_macs]);
        let long_ips = padded(|a| a.lengths = (6, 16));
        for rule in [&ips, &gratuitous] {
            never_matches(semantics, rule, std::slice::from_ref(&long_ips));
        }
        tells_apart(semantics, &macs, &[long_ips], &[]);
        let other_protocol = arp(|a| a.protocol = 0x86dd);
        never_matches(semantics, &ips, std::slice::from_ref(&other_protocol));
        never_matches(
            semantics,
            &gratuitous,
            std::slice::from_ref(&other_protocol),
        );
        tells_apart(
            semantics,
            &macs,
            &[other_protocol],
            &[arp(|a| a.sender_mac = PEER)],
        );
    }
}

#[test]
fn libvirt_lends_the_sender_mask_to_the_target() {
    let rule = dropping(Arp)
        .with(Attr::ArpSrcIpAddr, "10.0.0.0")
        .with(Attr::ArpSrcIpMask, Datum::Prefix(24))
        .with(Attr::ArpDstIpAddr, "10.0.0.9");
    let verdict = |semantics| {
        decide(
            std::slice::from_ref(&rule),
            semantics,
            FrameDirection::Out,
            &arp(|_| {}),
        )
        .verdict
    };
    assert_eq!(verdict(Semantics::Libvirt), Verdict::Drop);
    assert_eq!(verdict(Semantics::Strict), Verdict::Accept);
}

#[test]
fn ip_fields() {
    for semantics in BOTH {
        let on = || dropping(Ip);
        let same = udp((1, 2), (1000, 2000));
        let is = |rule: Instance, other: Vec<u8>| {
            tells_apart(semantics, &rule, std::slice::from_ref(&same), &[other]);
        };
        is(
            on().with(Attr::SrcIpAddr, "10.0.0.1"),
            udp((2, 2), (1000, 2000)),
        );
        is(
            on().with(Attr::DstIpAddr, "10.0.0.2"),
            udp((1, 1), (1000, 2000)),
        );
        is(
            on().with(Attr::SrcIpAddr, "10.0.0.0")
                .with(Attr::SrcIpMask, Datum::Prefix(30)),
            udp((4, 2), (1000, 2000)),
        );
        is(
            on().with(Attr::DstIpAddr, "10.0.0.3")
                .with(Attr::DstIpMask, Datum::Prefix(31)),
            udp((1, 1), (1000, 2000)),
        );
        is(
            on().with(Attr::IpProtocol, 17),
            out(0x0800, &ipv4((1, 2), 6, &wire::tcp(1, 2, 0, b""))),
        );
        let udp_rule = || on().with(Attr::IpProtocol, 17);
        is(
            udp_rule().with(Attr::SrcPortStart, 1000),
            udp((1, 2), (2000, 2000)),
        );
        is(
            udp_rule().with(Attr::DstPortStart, 2000),
            udp((1, 2), (1000, 1000)),
        );
        is(
            udp_rule()
                .with(Attr::SrcPortStart, 999)
                .with(Attr::SrcPortEnd, 1000),
            udp((1, 2), (1001, 2000)),
        );
        is(
            udp_rule()
                .with(Attr::DstPortStart, 2000)
                .with(Attr::DstPortEnd, 65535),
            udp((1, 2), (1000, 1999)),
        );
        let any = on()
            .with(Attr::SrcIpAddr, "192.0.2.1")
            .with(Attr::SrcIpMask, Datum::Prefix(0));
        assert_eq!(
            by_rule(&decide(&[any], semantics, FrameDirection::Out, &same)),
            Some(1)
        );
    }
}

#[test]
fn ip_dscp_is_the_whole_byte_in_libvirt() {
    let with = |tos| {
        out(
            0x0800,
            &wire::Ipv4 {
                tos,
                ..wire::Ipv4::default()
            }
            .packet(b""),
        )
    };
    let rule = dropping(Ip).with(Attr::Dscp, 10);
    tells_apart(
        Semantics::Strict,
        &rule,
        &[with(40), with(43)],
        &[with(10), with(44)],
    );
    tells_apart(
        Semantics::Libvirt,
        &rule,
        &[with(10)],
        &[with(40), with(11)],
    );
}

#[test]
fn ports_of_every_protocol_that_has_them() {
    for semantics in BOTH {
        for (protocol, payload) in [
            (6, wire::tcp(7, 9, 2, b"")),
            (17, wire::udp(7, 9, b"")),
            (33, wire::sctp(7, 9)),
            (132, wire::sctp(7, 9)),
        ] {
            let v4 = out(0x0800, &ipv4((1, 2), protocol, &payload));
            let v6 = out(0x86dd, &ipv6((1, 2), protocol, &payload));
            for (element, frame) in [(Ip, &v4), (Ipv6, &v6)] {
                let rule = |port: u32| {
                    dropping(element)
                        .with(Attr::IpProtocol, u32::from(protocol))
                        .with(Attr::DstPortStart, port)
                };
                tells_apart(semantics, &rule(9), std::slice::from_ref(frame), &[]);
                tells_apart(semantics, &rule(7), &[], std::slice::from_ref(frame));
            }
        }
    }
}

#[test]
fn ipv6_fields() {
    for semantics in BOTH {
        let on = || dropping(Ipv6);
        let same = udp6((1, 2), (1000, 2000));
        let is = |rule: Instance, other: Vec<u8>| {
            tells_apart(semantics, &rule, std::slice::from_ref(&same), &[other]);
        };
        is(
            on().with(Attr::SrcIpAddr, "fd00::1"),
            udp6((2, 2), (1000, 2000)),
        );
        is(
            on().with(Attr::DstIpAddr, "fd00::2"),
            udp6((1, 1), (1000, 2000)),
        );
        is(
            on().with(Attr::SrcIpAddr, "fd00::")
                .with(Attr::SrcIpMask, Datum::Prefix(126)),
            udp6((4, 2), (1000, 2000)),
        );
        is(
            on().with(Attr::DstIpAddr, "fd00::3")
                .with(Attr::DstIpMask, Datum::Prefix(127)),
            udp6((1, 1), (1000, 2000)),
        );
        let tcp = out(0x86dd, &ipv6((1, 2), 6, &wire::tcp(1000, 2000, 0, b"")));
        is(on().with(Attr::IpProtocol, 17), tcp);
        let udp_rule = || on().with(Attr::IpProtocol, 17);
        is(
            udp_rule().with(Attr::SrcPortStart, 1000),
            udp6((1, 2), (2000, 2000)),
        );
        is(
            udp_rule()
                .with(Attr::DstPortStart, 1990)
                .with(Attr::DstPortEnd, 2000),
            udp6((1, 2), (1000, 2001)),
        );
        // Not an attribute of this element.
        let dscp = on().with(Attr::Dscp, 63);
        assert_eq!(
            by_rule(&decide(&[dscp], semantics, FrameDirection::Out, &same)),
            Some(1)
        );
    }
}

#[test]
fn icmpv6_types_and_codes_are_one_test() {
    let icmp = |kind, code| {
        out(
            0x86dd,
            &ipv6((1, 2), 58, &wire::icmp(kind, code, [0; 4], b"")),
        )
    };
    let on = || dropping(Ipv6).with(Attr::IpProtocol, 58);
    for semantics in BOTH {
        let rule = on().with(Attr::Type, 1);
        tells_apart(semantics, &rule, &[icmp(1, 0), icmp(1, 9)], &[icmp(2, 0)]);
        let rule = on().with(Attr::Type, 1).with(Attr::TypeEnd, 3);
        tells_apart(
            semantics,
            &rule,
            &[icmp(1, 0), icmp(3, 9)],
            &[icmp(0, 0), icmp(4, 0)],
        );
        let rule = on().with(Attr::Type, 1).with(Attr::Code, 2);
        tells_apart(semantics, &rule, &[icmp(1, 2)], &[icmp(1, 3), icmp(2, 2)]);
        let rule = on()
            .with(Attr::Type, 1)
            .with(Attr::Code, 2)
            .with(Attr::CodeEnd, 4);
        tells_apart(semantics, &rule, &[icmp(1, 4)], &[icmp(1, 5), icmp(1, 1)]);
        let rule = on().with(Attr::TypeEnd, 3).with(Attr::CodeEnd, 1);
        tells_apart(
            semantics,
            &rule,
            &[icmp(0, 0), icmp(3, 1)],
            &[icmp(4, 0), icmp(3, 2)],
        );
        let rule = on().with(Attr::Code, 4);
        tells_apart(semantics, &rule, &[icmp(9, 4)], &[icmp(9, 5)]);
        let rule = dropping(Ipv6).with(Attr::Type, 1);
        never_matches(semantics, &rule, &[udp6((1, 2), (1, 2))]);

        let apart = on().with(Attr::Type, 1).without(Attr::Code, 2);
        let drops = |kind, code| {
            let rules = std::slice::from_ref(&apart);
            by_rule(&decide(
                rules,
                semantics,
                FrameDirection::Out,
                &icmp(kind, code),
            ))
            .is_some()
        };
        assert!(drops(1, 0) && !drops(1, 2) && !drops(2, 0), "two tests");
    }
}

#[test]
fn ipv6_protocol_is_behind_the_extension_headers() {
    use wire::Extension::{Fragment, Options};
    let behind = |extensions: &[wire::Extension], protocol, payload: &[u8]| {
        let ip = wire::Ipv6 {
            extensions: extensions.to_vec(),
            protocol,
            ..wire::Ipv6::default()
        };
        out(0x86dd, &ip.packet(payload))
    };
    let udp = wire::udp(7, 9, b"");
    let first = Fragment {
        offset: 0,
        more: true,
        id: 1,
    };
    let rule = dropping(Ipv6)
        .with(Attr::IpProtocol, 17)
        .with(Attr::DstPortStart, 9);
    for semantics in BOTH {
        for extensions in [
            vec![Options(0, 1)],
            vec![Options(43, 3), Options(60, 256)],
            vec![
                Options(0, 1),
                Options(60, 1),
                Options(43, 1),
                first,
                Options(60, 2),
            ],
            vec![Options(60, 1); 8],
        ] {
            tells_apart(semantics, &rule, &[behind(&extensions, 17, &udp)], &[]);
        }
        // AH is a protocol of its own, not a header to skip.
        let ah = dropping(Ipv6).with(Attr::IpProtocol, 51);
        tells_apart(
            semantics,
            &ah,
            &[behind(&[Options(0, 1)], 51, &[17; 24])],
            &[],
        );
        let protocol = dropping(Ipv6).with(Attr::IpProtocol, 17);
        never_matches(semantics, &protocol, &[behind(&[Options(0, 1)], 59, b"")]);
    }
}

#[test]
fn several_values_negated_are_none_of_them() {
    let rule = dropping(Ip)
        .with(Attr::IpProtocol, 17)
        .without(Attr::DstPortStart, &[80, 443][..]);
    let verdict = |port| {
        decide(
            std::slice::from_ref(&rule),
            Semantics::Strict,
            FrameDirection::Out,
            &udp((1, 2), (1, port)),
        )
        .verdict
    };
    assert_eq!(verdict(80), Verdict::Accept);
    assert_eq!(verdict(443), Verdict::Accept);
    assert_eq!(verdict(81), Verdict::Drop);
}

#[test]
fn both_directions_are_written_from_the_receiver() {
    let both = |protocol| rule(1, Action::Drop, Direction::InOut, protocol);
    let cases: [(Instance, Vec<u8>, Vec<u8>); 8] = [
        (
            both(Mac)
                .with(Attr::SrcMacAddr, PEER)
                .with(Attr::DstMacAddr, VM),
            out(0x1234, b""),
            into(0x1234, b""),
        ),
        (
            both(Ip).with(Attr::SrcIpAddr, "10.0.0.2"),
            udp((1, 2), (1, 2)),
            into(0x800, &ipv4((2, 1), 17, &wire::udp(1, 2, b""))),
        ),
        (
            both(Ip)
                .with(Attr::IpProtocol, 17)
                .with(Attr::SrcPortStart, 5),
            udp((1, 2), (1, 5)),
            into(0x800, &ipv4((2, 1), 17, &wire::udp(5, 1, b""))),
        ),
        (
            both(Ipv6).with(Attr::DstIpAddr, "fd00::1"),
            udp6((1, 2), (1, 2)),
            into(0x86dd, &ipv6((2, 1), 17, &wire::udp(1, 2, b""))),
        ),
        (
            both(Arp).with(Attr::ArpSrcIpAddr, "10.0.0.2"),
            arp(|_| {}),
            into(
                0x806,
                &wire::Arp {
                    sender_ip: v4(2),
                    ..wire::Arp::default()
                }
                .bytes(),
            ),
        ),
        (
            both(Arp).with(Attr::ArpDstMacAddr, VM),
            arp(|_| {}),
            into(
                0x806,
                &wire::Arp {
                    target_mac: VM,
                    ..wire::Arp::default()
                }
                .bytes(),
            ),
        ),
        (
            both(Arp).with(Attr::Opcode, 1),
            arp(|_| {}),
            into(0x806, &wire::Arp::default().bytes()),
        ),
        (
            both(Ipv6).with(Attr::IpProtocol, 58).with(Attr::Type, 128),
            out(0x86dd, &ipv6((1, 2), 58, &wire::icmp(128, 0, [0; 4], b""))),
            into(0x86dd, &ipv6((2, 1), 58, &wire::icmp(128, 0, [0; 4], b""))),
        ),
    ];
    for semantics in BOTH {
        for (rule, leaves, enters) in &cases {
            let rules = std::slice::from_ref(rule);
            let is_symmetric = rule
                .tests
                .iter()
                .any(|t| matches!(t.attr, Attr::Opcode | Attr::Type));
            for (direction, frame) in [(FrameDirection::Out, leaves), (FrameDirection::In, enters)]
            {
                let decision = decide(rules, semantics, direction, frame);
                assert_eq!(by_rule(&decision), Some(1), "{direction:?} {rule:?}");
            }
            for (direction, frame) in [(FrameDirection::Out, enters), (FrameDirection::In, leaves)]
            {
                let decision = decide(rules, semantics, direction, frame);
                assert_eq!(
                    by_rule(&decision).is_some(),
                    is_symmetric,
                    "{direction:?} {rule:?}"
                );
            }
        }
    }
}
