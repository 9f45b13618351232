//! The built-in filter `clean-traffic` (section 7), resolved by hand, with the effects that were
//! observed.

use nwfilter_ctl::model::{
    Action::{Accept, Drop, Return},
    Direction::{In, InOut, Out},
    Protocol,
};

use super::*;

/// In the order of the tree. The numbers are arbitrary names.
fn clean_traffic() -> Vec<Instance> {
    let mac = |number, action, direction| rule(number, action, direction, Protocol::Mac);
    let arp = |number, action, direction| rule(number, action, direction, Protocol::Arp);
    let rarp = |number, direction| {
        rule(number, Accept, direction, Protocol::Rarp)
            .with(Attr::DstMacAddr, MacAddr::BROADCAST)
            .with(Attr::Opcode, 3)
            .with(Attr::ArpSrcMacAddr, VM)
            .with(Attr::ArpDstMacAddr, VM)
            .with(Attr::ArpSrcIpAddr, "0.0.0.0")
            .with(Attr::ArpDstIpAddr, "0.0.0.0")
    };
    let any = |number, action, direction| rule(number, action, direction, Protocol::None);
    vec![
        mac(10, Return, Out)
            .with(Attr::SrcMacAddr, VM)
            .chain("mac", -800),
        mac(11, Drop, Out).chain("mac", -800),
        rule(20, Return, Out, Protocol::Ip)
            .with(Attr::SrcIpAddr, "0.0.0.0")
            .with(Attr::IpProtocol, 17)
            .chain("ipv4-ip", -710)
            .priority(100),
        rule(21, Return, Out, Protocol::Ip)
            .with(Attr::SrcIpAddr, "10.0.0.1")
            .chain("ipv4-ip", -710),
        any(22, Drop, Out).chain("ipv4-ip", -710).priority(1000),
        mac(30, Accept, Out)
            .with(Attr::ProtocolId, 0x800)
            .priority(-650),
        any(40, Accept, In).chain("ipv4", -700),
        arp(50, Return, Out)
            .with(Attr::ArpSrcMacAddr, VM)
            .chain("arp-mac", -520)
            .priority(350),
        any(51, Drop, Out).chain("arp-mac", -520).priority(1000),
        arp(60, Return, Out)
            .with(Attr::ArpSrcIpAddr, "10.0.0.1")
            .chain("arp-ip", -510)
            .priority(400),
        any(61, Drop, Out).chain("arp-ip", -510).priority(1000),
        mac(70, Accept, InOut)
            .with(Attr::ProtocolId, 0x806)
            .priority(-500),
        any(80, Drop, InOut).priority(1000),
        mac(90, Accept, Out).with(Attr::ProtocolId, 0x835),
        rarp(91, Out).with(Attr::SrcMacAddr, VM).chain("rarp", -400),
        rarp(92, In).chain("rarp", -400),
        any(93, Drop, InOut).chain("rarp", -400).priority(1000),
    ]
}

#[track_caller]
fn check(direction: FrameDirection, frame: &[u8], verdict: Verdict, cause: u32) {
    for semantics in BOTH {
        let decision = decide(&clean_traffic(), semantics, direction, frame);
        assert_eq!(
            (decision.verdict, by_rule(&decision), decision.layer),
            (verdict, Some(cause), Layer::Ethernet),
            "{semantics:?} {direction:?} {frame:02x?}"
        );
    }
}

#[test]
fn the_vm_sends_only_as_itself() {
    use FrameDirection::Out as Leaves;
    let udp = wire::udp(68, 67, b"");
    check(
        Leaves,
        &out(0x0800, &ipv4((1, 2), 17, &udp)),
        Verdict::Accept,
        30,
    );
    check(
        Leaves,
        &out(0x0800, &ipv4((3, 2), 17, &udp)),
        Verdict::Drop,
        22,
    );
    let from_nobody = wire::Ipv4 {
        source: Ipv4Addr::UNSPECIFIED,
        protocol: 17,
        ..wire::Ipv4::default()
    };
    check(
        Leaves,
        &out(0x0800, &from_nobody.packet(&udp)),
        Verdict::Accept,
        30,
    );
    let tcp = wire::Ipv4 {
        protocol: 6,
        ..from_nobody
    }
    .packet(&wire::tcp(1, 2, 2, b""));
    check(Leaves, &out(0x0800, &tcp), Verdict::Drop, 22);
    let spoofed = wire::ethernet(PEER, PEER, 0x0800, &ipv4((1, 2), 17, &udp));
    check(Leaves, &spoofed, Verdict::Drop, 11);

    let arp = |sender_mac, sender_ip| {
        out(
            0x0806,
            &wire::Arp {
                sender_mac,
                sender_ip,
                ..wire::Arp::default()
            }
            .bytes(),
        )
    };
    check(Leaves, &arp(VM, v4(1)), Verdict::Accept, 70);
    check(Leaves, &arp(PEER, v4(1)), Verdict::Drop, 51);
    check(Leaves, &arp(VM, v4(9)), Verdict::Drop, 61);

    let announce = wire::Arp {
        opcode: 3,
        sender_mac: VM,
        target_mac: VM,
        ..wire::Arp::default()
    };
    let frame = wire::ethernet(MacAddr::BROADCAST, VM, 0x8035, &announce.bytes());
    check(Leaves, &frame, Verdict::Accept, 91);
    let request = wire::Arp {
        opcode: 4,
        ..announce
    };
    let frame = wire::ethernet(MacAddr::BROADCAST, VM, 0x8035, &request.bytes());
    check(Leaves, &frame, Verdict::Drop, 93);

    check(Leaves, &out(0x0835, b""), Verdict::Accept, 90);
    check(
        Leaves,
        &out(0x86dd, &ipv6((1, 2), 17, &udp)),
        Verdict::Drop,
        80,
    );
    let tagged = wire::tagged(&out(0x0800, &ipv4((1, 2), 17, &udp)), 0x8100, 1);
    check(Leaves, &tagged, Verdict::Drop, 80);
}

#[test]
fn ipv4_and_arp_come_in() {
    use FrameDirection::In as Enters;
    check(
        Enters,
        &into(0x0800, &ipv4((9, 1), 6, b"")),
        Verdict::Accept,
        40,
    );
    check(
        Enters,
        &into(0x0806, &wire::Arp::default().bytes()),
        Verdict::Accept,
        70,
    );
    check(
        Enters,
        &into(0x86dd, &ipv6((2, 1), 17, b"")),
        Verdict::Drop,
        80,
    );
    check(Enters, &into(0x0835, b""), Verdict::Drop, 80);
    check(
        Enters,
        &into(0x8035, &wire::Arp::default().bytes()),
        Verdict::Drop,
        93,
    );
}

#[test]
fn a_cut_header_does_not_get_past() {
    let judge = |frame: &[u8]| {
        decide(
            &clean_traffic(),
            Semantics::Strict,
            FrameDirection::Out,
            frame,
        )
    };
    let ip = out(0x0800, &ipv4((1, 2), 17, b""));
    assert_eq!(judge(&ip[..30]).cause, Cause::Missing);
    let arp = wire::Arp {
        sender_mac: VM,
        sender_ip: v4(1),
        ..wire::Arp::default()
    };
    assert_eq!(
        judge(&out(0x0806, &arp.bytes()[..20])).cause,
        Cause::Missing
    );
    assert_eq!(judge(&ip[..13]).cause, Cause::Missing);
    let libvirt = decide(
        &clean_traffic(),
        Semantics::Libvirt,
        FrameDirection::Out,
        &out(0x0806, &arp.bytes()[..20]),
    );
    assert_eq!(by_rule(&libvirt), Some(51));
}
