//! libvirt judged against what the semantics reference says it does.

use std::{fs, path::Path};

use nwfilter_common::MacAddr;

use super::*;
use crate::{
    frame::{Arp, Bpdu, Dhcp, Ethernet, Icmp, Icmpv6, Ipv4, Ipv6, STP_GROUP, Tcp, Udp, dhcp, tcp},
    need,
    net::Direction::{In, Out},
};

const VM: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
const VM_IP: [u8; 4] = [192, 168, 77, 11];
const OTHER_IP: [u8; 4] = [192, 168, 77, 12];

/// Asks for all frames at once, and compares each.
fn assert_verdicts(
    peer: &Peer,
    bound: &Bound,
    direction: Direction,
    rows: &[(&str, Vec<u8>, bool)],
) {
    let frames: Vec<Vec<u8>> = rows.iter().map(|row| row.1.clone()).collect();
    let verdicts = peer.frames(bound, direction, &frames).unwrap();
    for ((name, _, expected), verdict) in rows.iter().zip(verdicts) {
        assert_eq!(verdict, *expected, "{direction}: {name}");
    }
}

#[test]
fn clean_traffic_does_what_the_reference_says() {
    if !need::met(&NEEDS) {
        return;
    }
    let peer = Peer::start().unwrap();
    let address = VM_IP.map(|octet| octet.to_string()).join(".");
    let bound = peer
        .bind("vnet0", VM, "clean-traffic", &[("IP", &address)])
        .unwrap();

    let udp = Udp::new(4000, 4000, *b"hello");
    let (own, stolen) = (Ipv4::new(VM_IP, OTHER_IP), Ipv4::new(OTHER_IP, VM_IP));
    let nobody = Ipv4::new([0; 4], [255; 4]);
    let discover = Udp::new(68, 67, Dhcp::new(dhcp::DISCOVER, VM).bytes());
    let eth = Ethernet::new(VM, OTHER);
    let all = Ethernet::broadcast(VM);
    let ask = |mac, ip| all.arp(&Arp::request(mac, ip, OTHER_IP));
    let ipv6 = Ipv6::new([0xfe; 16], [0xff; 16]);
    let solicitation = Icmpv6::neighbour_solicitation([0xfe; 16], VM);
    let announce = |mac| all.rarp(&Arp::announce_self(mac));
    assert_verdicts(
        &peer,
        &bound,
        Out,
        &[
            ("own addresses", eth.ipv4(&own, &udp), true),
            ("another's IP", eth.ipv4(&stolen, &udp), false),
            (
                "another's MAC",
                Ethernet::new(OTHER, VM).ipv4(&own, &udp),
                false,
            ),
            ("ARP", ask(VM, VM_IP), true),
            ("ARP, another's MAC", ask(OTHER, VM_IP), false),
            ("ARP, another's IP", ask(VM, OTHER_IP), false),
            ("DHCP from no address", all.ipv4(&nobody, &discover), true),
            (
                "TCP from no address",
                all.ipv4(&nobody, &Tcp::syn(1, 2)),
                false,
            ),
            ("IPv6", eth.ipv6(&ipv6, &solicitation), false),
            ("VLAN", eth.clone().vlan(7).ipv4(&own, &udp), false),
            ("RARP about itself", announce(VM), true),
            ("RARP about another", announce(OTHER), false),
            (
                "what QEMU's announcements once were",
                eth.frame(0x0835, &[0; 46]),
                true,
            ),
            (
                "spanning tree",
                Ethernet::new(VM, STP_GROUP).bpdu(&Bpdu::new(VM)),
                false,
            ),
        ],
    );

    let eth = Ethernet::new(OTHER, VM);
    let solicitation = Icmpv6::neighbour_solicitation([0xfe; 16], OTHER);
    assert_verdicts(
        &peer,
        &bound,
        In,
        &[
            ("IPv4", eth.ipv4(&stolen, &udp), true),
            ("IPv4 from its own address", eth.ipv4(&own, &udp), true),
            ("ARP", eth.arp(&Arp::request(OTHER, OTHER_IP, VM_IP)), true),
            ("IPv6", eth.ipv6(&ipv6, &solicitation), false),
            ("VLAN", eth.clone().vlan(7).ipv4(&stolen, &udp), false),
            (
                "RARP about another",
                Ethernet::broadcast(OTHER).rarp(&Arp::announce_self(OTHER)),
                false,
            ),
            (
                "RARP about itself",
                Ethernet::broadcast(OTHER).rarp(&Arp::announce_self(VM)),
                true,
            ),
        ],
    );

    peer.unbind(bound).unwrap();
    assert_eq!(peer.virsh(&["nwfilter-binding-list"]).unwrap().trim(), "");
}

#[test]
fn the_inet_layer_tracks_connections() {
    if !need::met(&NEEDS) {
        return;
    }
    let peer = Peer::start().unwrap();
    peer.define(
        "<filter name='stateful'>
           <rule action='accept' direction='out'><tcp dstportstart='80'/></rule>
           <rule action='accept' direction='out'><udp/></rule>
           <rule action='drop' direction='inout'><all/></rule>
         </filter>",
    )
    .unwrap();
    let bound = peer.bind("vnet0", VM, "stateful", &[]).unwrap();
    let (there, back) = (Ethernet::new(VM, OTHER), Ethernet::new(OTHER, VM));
    let (ip_there, ip_back) = (Ipv4::new(VM_IP, OTHER_IP), Ipv4::new(OTHER_IP, VM_IP));
    let syn = |port| there.ipv4(&ip_there, &Tcp::syn(40_000, port));
    let answer = Tcp {
        flags: tcp::SYN | tcp::ACK,
        acknowledgment: 2,
        ..Tcp::new(80, 40_000)
    };
    let answer = back.ipv4(&ip_back, &answer);

    assert_verdicts(
        &peer,
        &bound,
        In,
        &[("before the question", answer.clone(), false)],
    );
    assert_verdicts(
        &peer,
        &bound,
        Out,
        &[
            ("port 81", syn(81), false),
            ("port 80", syn(80), true),
            (
                "ping",
                there.ipv4(&ip_there, &Icmp::echo_request(1, 1)),
                false,
            ),
        ],
    );
    assert_verdicts(
        &peer,
        &bound,
        In,
        &[
            ("the answer", answer.clone(), true),
            (
                "another question",
                back.ipv4(&ip_back, &Tcp::syn(80, 40_001)),
                false,
            ),
        ],
    );
    peer.forget_connections().unwrap();
    assert_verdicts(
        &peer,
        &bound,
        In,
        &[("an answer to nothing", answer, false)],
    );

    // The kernel puts a datagram together before the rules see it.
    let fragments: Vec<Vec<u8>> = ip_there
        .fragments(&Udp::new(1, 2, [7; 100]), 48)
        .iter()
        .map(|packet| there.frame(0x0800, packet))
        .collect();
    assert_eq!(peer.frames(&bound, Out, &fragments).unwrap(), [true; 3]);
    assert_eq!(
        peer.frames(&bound, Out, &fragments[1..]).unwrap(),
        [false; 2]
    );
}

#[test]
fn what_libvirt_refuses_is_said() {
    if !need::met(&NEEDS) {
        return;
    }
    let peer = Peer::start().unwrap();
    let filters = peer.virsh(&["nwfilter-list"]).unwrap();
    assert!(filters.contains("clean-traffic"), "{filters}");
    let error = peer
        .define("<filter name='bad'><rule action='pass' direction='in'/></filter>")
        .unwrap_err();
    assert!(error.to_string().contains("action"), "{error}");
    let error = peer
        .bind("vnet0", VM, "nothere", &[("A", "&<'")])
        .err()
        .unwrap();
    assert!(error.to_string().contains("nothere"), "{error}");
}

#[test]
fn the_system_keeps_its_state() {
    if !need::met(&NEEDS) {
        return;
    }
    let filter = "/etc/libvirt/nwfilter/clean-traffic.xml";
    let before = (
        fs::read(filter).unwrap(),
        Path::new("/run/libvirt").exists(),
    );
    let peer = Peer::start().unwrap();
    peer.define("<filter name='of-the-peer'/>").unwrap();
    drop(peer);
    let after = (
        fs::read(filter).unwrap(),
        Path::new("/run/libvirt").exists(),
    );
    assert!(before == after);
    assert!(!Path::new("/etc/libvirt/nwfilter/of-the-peer.xml").exists());
    assert!(!Path::new(daemon::LOG).exists());
}
