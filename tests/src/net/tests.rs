//! The harness judged by what the kernel does without any filter.

use std::{fs, panic};

use nwfilter_common::MacAddr;

use super::*;
use crate::{
    frame::{
        Arp, Bpdu, Ethernet, Icmp, Ipv4, LOCAL_EXPERIMENTAL, Pseudo, STP_GROUP, Segment, Tcp, Udp,
        tcp,
    },
    need::{self, Need},
};

const A: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
const NEEDS: [Need; 2] = [Need::NetworkNamespace, Need::Program("ip")];

/// A bridge in `host` with two veth ports, `a` and `b`, to namespaces of their own.
struct Pair {
    host: NetNs,
    a: NetNs,
    b: NetNs,
}

impl Pair {
    fn new() -> Self {
        let [host, a, b] = [(); 3].map(|()| NetNs::new().unwrap());
        host.bridge("br0").unwrap();
        for (port, namespace, mac) in [("a", &a, A), ("b", &b, B)] {
            host.veth(
                port,
                &FarEnd {
                    namespace,
                    name: "eth0",
                    mac,
                },
            )
            .unwrap();
            host.attach(port, "br0").unwrap();
        }
        Self { host, a, b }
    }

    fn wires(&self) -> [Wire; 2] {
        [&self.a, &self.b].map(|namespace| Wire::open(namespace, "eth0").unwrap())
    }
}

#[test]
fn a_namespace_is_private_and_panics_get_out() {
    if !need::met(&NEEDS) {
        return;
    }
    let namespace = NetNs::new().unwrap();
    namespace.bridge("private0").unwrap();
    assert!(namespace.index("private0").is_ok());
    assert!(NetNs::new().unwrap().index("private0").is_err());
    let links = namespace
        .run(|| fs::read_to_string("/proc/thread-self/net/dev"))
        .unwrap();
    assert!(links.contains("private0"));
    let panicked = panic::catch_unwind(|| namespace.run(|| panic!("inside")));
    assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "inside");
}

#[test]
fn ip_says_what_it_refuses() {
    if !need::met(&NEEDS) {
        return;
    }
    let error = NetNs::new()
        .unwrap()
        .ip("link set nothere0 up")
        .unwrap_err()
        .to_string();
    assert!(error.contains("nothere0"), "{error}");
}

#[test]
fn the_kernel_is_silent_on_a_new_wire() {
    if !need::met(&NEEDS) {
        return;
    }
    let pair = Pair::new();
    let [a, b] = pair.wires();
    let mut probe = Probe::new(&a, &b);
    let frame = Ethernet::new(A, B).frame(LOCAL_EXPERIMENTAL, &[1; 46]);
    assert_eq!(probe.send(&frame).unwrap(), [frame]);
}

#[test]
fn frames_of_all_kinds_cross_a_bridge_unchanged() {
    if !need::met(&NEEDS) {
        return;
    }
    let pair = Pair::new();
    let [a, b] = pair.wires();
    let eth = Ethernet::new(A, B);
    let udp = Udp::new(1, 2, [7; 100]);
    let ip = Ipv4::new([10, 0, 0, 1], [10, 0, 0, 2]);
    let mut frames = vec![
        eth.ipv4(&ip, &udp),
        eth.clone().vlan(5).ipv4(&ip, &udp),
        eth.clone().tag(0x8100, 0xe000).ipv4(&ip, &udp),
        eth.clone().tag(0x88a8, 9).vlan(5).ipv4(&ip, &udp),
        Ethernet::broadcast(A).arp(&Arp::request(A, [10, 0, 0, 1], [10, 0, 0, 2])),
        Ethernet::new(A, STP_GROUP).bpdu(&Bpdu::new(A)),
        // The source of the peer: a bridge that learned from it would send the next one back.
        Ethernet::new(B, A).ipv4(&ip, &udp),
        eth.ipv4(
            &Ipv4 {
                checksum: Some(1),
                ..ip.clone()
            },
            &udp,
        ),
        eth.frame(0x0800, &[0x45]),
    ];
    frames.extend(
        ip.fragments(&udp, 48)
            .iter()
            .map(|packet| eth.frame(0x0800, packet)),
    );
    let mut probe = Probe::new(&a, &b);
    let arrived = probe.arrivals(&frames).unwrap();
    assert_eq!(arrived, vec![true; frames.len()]);
    // And again, in case something was learned.
    assert_eq!(probe.arrivals(&frames).unwrap(), arrived);
}

#[test]
fn a_dropped_frame_is_known_by_its_marker() {
    if !need::met(&NEEDS) {
        return;
    }
    let pair = Pair::new();
    pair.host
        .ip("link set dev b type bridge_slave mcast_flood off")
        .unwrap();
    let [a, b] = pair.wires();
    let group = Ethernet::new(A, MacAddr([1, 0, 0x5e, 0, 0, 1])).frame(0x1234, &[0; 46]);
    let other = Ethernet::new(A, B).ipv4(&Ipv4::new([1; 4], [2; 4]), &Udp::new(1, 2, []));
    let frames = [group.clone(), other.clone(), group, other];
    let expected = [false, true, false, true];
    assert_eq!(Probe::new(&a, &b).arrivals(&frames).unwrap(), expected);
    // The same with markers of another kind, and past the port.
    let ours = |sequence: u64| Ethernet::new(A, B).frame(0x1234, &sequence.to_be_bytes());
    assert_eq!(
        Probe::new(&a, &b).marker(ours).arrivals(&frames).unwrap(),
        expected
    );
    let far = NetNs::new().unwrap();
    let side = FarEnd {
        namespace: &far,
        name: "eth0",
        mac: MacAddr([2; 6]),
    };
    pair.host.veth("side", &side).unwrap();
    pair.host.attach("side", "br0").unwrap();
    let side = Wire::open(&far, "eth0").unwrap();
    let mut probe = Probe::new(&a, &b).marker_way(&side, &b);
    assert_eq!(probe.arrivals(&frames).unwrap(), expected);
    let mut probe = Probe::new(&a, &b).marker_way(&b, &side);
    assert_eq!(probe.arrivals(&frames).unwrap(), expected);
}

#[test]
fn a_wire_hears_the_answers_of_a_real_stack() {
    if !need::met(&NEEDS) {
        return;
    }
    let pair = Pair::new();
    pair.b.address("eth0", "10.0.0.2/24").unwrap();
    pair.b.neighbour("eth0", "10.0.0.1", A).unwrap();
    let [a, _b] = pair.wires();
    let ping = Icmp::echo_request(1, 1);
    let frame = Ethernet::new(A, B).ipv4(&Ipv4::new([10, 0, 0, 1], [10, 0, 0, 2]), &ping);
    a.send(&frame).unwrap();
    let reply = Icmp::echo_reply(1, 1).bytes(&Pseudo::V4([0; 4].into(), [0; 4].into()));
    a.expect(&mut |frame| frame.get(34..) == Some(&reply))
        .unwrap();
}

#[test]
fn a_tap_carries_tags_and_large_segments() {
    if !need::met(&[&NEEDS[..], &[Need::File("/dev/net/tun")]].concat()) {
        return;
    }
    let pair = Pair::new();
    let plain = Tap::new(&pair.host, "tap0").unwrap();
    let gso = Tap::with_gso(&pair.host, "tap1").unwrap();
    pair.host.attach("tap0", "br0").unwrap();
    pair.host.attach("tap1", "br0").unwrap();
    let [a, b] = pair.wires();
    let ip = Ipv4::new([10, 0, 0, 1], [10, 0, 0, 2]);
    let tagged = Ethernet::new(A, B)
        .vlan(5)
        .ipv4(&ip, &Udp::new(1, 2, [7; 100]));
    for tap in [&plain, &gso] {
        assert!(Probe::new(tap, &b).arrives(&tagged).unwrap());
        assert!(Probe::new(&a, tap).arrives(&tagged).unwrap());
    }

    let mut segment = Tcp {
        flags: tcp::ACK,
        payload: vec![1; 4000],
        ..Tcp::new(40_000, 80)
    };
    let pseudo = Pseudo::V4(ip.source, ip.destination);
    let length = segment.bytes(&pseudo).len();
    segment.checksum = Some(!crate::frame::internet_checksum(
        &[&pseudo.bytes(6, length)],
    ));
    let large = Ethernet::new(A, B).ipv4(&ip, &segment);
    let cut = Gso {
        kind: 1,
        headers: 54,
        segment: 1448,
        checksum_start: 34,
        checksum_offset: 16,
    };
    b.drain().unwrap();
    gso.send_gso(cut, &large).unwrap();
    // A veth takes it whole, as a bridge does: it is cut where the wire begins.
    let arrived = b.expect(&mut |frame| frame.len() > 1514).unwrap();
    assert_eq!(arrived, large);
}

#[test]
fn a_lan_lets_vms_talk_to_each_other_and_to_the_outside() {
    if !need::met(&[&NEEDS[..], &[Need::File("/dev/net/tun")]].concat()) {
        return;
    }
    let lan = Lan::new().unwrap();
    let vms = [lan.vm("vm1", A).unwrap(), lan.vm("vm2", B).unwrap()];
    let tap = lan
        .tap_vm("tap3", MacAddr([0x52, 0x54, 0, 0, 0, 3]))
        .unwrap();
    for (vm, address) in vms.iter().zip(["10.0.0.1/24", "10.0.0.2/24"]) {
        vm.inside
            .as_ref()
            .unwrap()
            .address("eth0", address)
            .unwrap();
    }
    for vm in [&vms[0], &tap] {
        for direction in [Direction::In, Direction::Out] {
            let frame = Ethernet::new(vm.mac, B)
                .vlan(3)
                .frame(LOCAL_EXPERIMENTAL, &[1; 46]);
            assert!(
                lan.probe(vm, direction).arrives(&frame).unwrap(),
                "{direction}"
            );
        }
    }

    let ping = Ping::open(vms[0].inside.as_ref().unwrap(), [10, 0, 0, 2].into()).unwrap();
    in_order(|| {
        ping.request(7, 1)?;
        // ARP there and back, ping there and back, two wires each.
        lan.settle(8)
    })
    .unwrap();
    assert!(ping.replied(7, 1).unwrap());
    assert!(!ping.replied(7, 1).unwrap(), "only once");
    lan.host.ip("link set dev vm2 down").unwrap();
    in_order(|| {
        ping.request(7, 2)?;
        lan.settle(8)
    })
    .unwrap();
    assert!(!ping.replied(7, 2).unwrap());
}
