//! What is enforced while addresses are unknown and afterwards, decided by the engine.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use nwfilter_common::{
    FrameDirection::{self, In, Out},
    Hook, LeafVerdict, MacAddr, MemoryTables, PortRecord, Work, decide,
};

use super::{
    super::LearningError,
    VM,
    frames::{ethernet, ipv4, ipv6, udp},
};
use crate::{
    builtin::Flavour,
    compile::Entry,
    model::{Binding, Semantics},
    parse::{parse_binding, parse_filter},
    resolve::{FilterDir, LoadedFilter},
    shapes::{Shaped, Shapes},
};

const OTHER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 9]);

type Parameters = &'static [(&'static str, &'static str)];

fn binding(filter: &str, parameters: &[(&str, &str)]) -> Binding {
    let parameters: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("<parameter name='{name}' value='{value}'/>"))
        .collect();
    let xml = format!(
        "<filterbinding><owner><name>vm</name><uuid>5f4b2a0c-6f0e-4a6d-9a0f-0d5f3c1b7e21</uuid></owner>\
         <portdev name='vnet0'/><mac address='{VM}'/>\
         <filterref filter='{filter}'>{}</filterref></filterbinding>",
        parameters.concat()
    );
    parse_binding(&xml).0.unwrap()
}

fn prepared(
    filter: &str,
    parameters: &[(&str, &str)],
    learned: &[&str],
) -> Result<Shaped, LearningError> {
    let filters = FilterDir::builtin(Flavour::default(), Semantics::Strict);
    let learned: Vec<IpAddr> = learned.iter().map(|text| text.parse().unwrap()).collect();
    let mut shapes = Shapes::new(Semantics::Strict);
    let binding = binding(filter, parameters);
    let first = shapes.prepare_learning(&binding, &filters, &learned);
    // What is known of other bindings changes nothing.
    let again = shapes.prepare_learning(&binding, &filters, &learned);
    match (&first, &again) {
        (Ok(first), Ok(again)) => {
            assert!(Arc::ptr_eq(&first.shape, &again.shape));
            assert_eq!((&first.slots, first.learn), (&again.slots, again.learn));
        }
        (Err(first), Err(again)) => assert_eq!(first.to_string(), again.to_string()),
        other => panic!("{other:?}"),
    }
    first
}

fn passes(port: &Shaped, direction: FrameDirection, frame: &[u8]) -> bool {
    let mut record = PortRecord {
        entries: port.shape.entries.len() as u32,
        flags: PortRecord::READY,
        ..PortRecord::default()
    };
    record.slots[..port.slots.len()].copy_from_slice(&port.slots);
    let hook = Hook {
        direction,
        port: 0,
        record: &record,
    };
    let verdict = decide(
        frame,
        &hook,
        port.shape.image.pages(),
        &MemoryTables::new(),
        &mut Work::new(),
    );
    matches!(verdict.verdict, LeafVerdict::Accept)
}

/// TCP from an address.
fn tcp(source: [u8; 4]) -> Vec<u8> {
    let mut header = vec![0; 20];
    header[12] = 0x50;
    ethernet(OTHER, VM, 0x0800, &ipv4(source.into(), 6, &header))
}

fn dhcp(server: [u8; 4], to: MacAddr) -> Vec<u8> {
    ethernet(
        to,
        OTHER,
        0x0800,
        &ipv4(server.into(), 17, &udp((67, 68), &[0; 300])),
    )
}

fn request(mac: MacAddr) -> Vec<u8> {
    let packet = ipv4([0; 4].into(), 17, &udp((68, 67), &[0; 300]));
    ethernet(MacAddr::BROADCAST, mac, 0x0800, &packet)
}

fn arp(mac: MacAddr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.extend(mac.0);
    packet.extend([10, 0, 0, 1]);
    packet.extend([0; 10]);
    ethernet(MacAddr::BROADCAST, mac, 0x0806, &packet)
}

#[test]
fn with_any_the_vm_speaks_ipv4_and_arp_from_its_own_mac() {
    let port = prepared("clean-traffic", &[], &[]).unwrap();
    assert!(port.own.is_some());
    let flags = PortRecord::LEARN_DHCP | PortRecord::LEARN_USED;
    assert_eq!(port.learn.flags, flags);
    assert!(passes(&port, Out, &tcp([10, 0, 0, 1])));
    assert!(passes(&port, Out, &arp(VM)));
    assert!(!passes(&port, Out, &arp(OTHER)));
    assert!(!passes(&port, Out, &request(OTHER)));
    assert!(!passes(
        &port,
        Out,
        &ethernet(OTHER, VM, 0x86dd, &[0x60; 60])
    ));
    assert!(passes(&port, In, &ethernet(VM, OTHER, 0x86dd, &[0x60; 60])));
}

#[test]
fn with_dhcp_nothing_but_dhcp_passes() {
    let port = prepared("clean-traffic", &[("CTRL_IP_LEARNING", "dhcp")], &[]).unwrap();
    assert!(port.own.is_some());
    assert_eq!(port.learn.flags, PortRecord::LEARN_DHCP);
    assert!(passes(&port, Out, &request(VM)));
    assert!(!passes(&port, Out, &request(OTHER)));
    assert!(!passes(&port, Out, &tcp([10, 0, 0, 1])));
    assert!(!passes(&port, Out, &arp(VM)));
    assert!(!passes(&port, In, &arp(OTHER)));
    assert!(passes(&port, In, &dhcp([10, 0, 0, 254], VM)));
    assert!(passes(
        &port,
        In,
        &dhcp([10, 0, 0, 254], MacAddr::BROADCAST)
    ));
    assert!(!passes(&port, In, &dhcp([10, 0, 0, 254], OTHER)));
}

#[test]
fn only_named_servers_reach_the_vm() {
    let parameters = [
        ("CTRL_IP_LEARNING", "dhcp"),
        ("DHCPSERVER", "10.0.0.254"),
        ("DHCPSERVER", "10.0.0.253"),
    ];
    let port = prepared("clean-traffic", &parameters, &[]).unwrap();
    for (server, reaches) in [(254, true), (253, true), (252, false)] {
        for to in [VM, MacAddr::BROADCAST] {
            assert_eq!(passes(&port, In, &dhcp([10, 0, 0, server], to)), reaches);
        }
    }
}

#[test]
fn what_is_learned_and_nothing_else_may_be_used() {
    for (learned, own) in [
        (&["10.0.0.1"][..], &[1][..]),
        (&["10.0.0.1", "10.0.0.2"], &[1, 2]),
    ] {
        let port = prepared("clean-traffic", &[], learned).unwrap();
        assert!(port.own.is_none());
        assert_eq!(port.learn.flags, PortRecord::LEARN_DHCP, "renewals");
        for last in 1..4 {
            assert_eq!(
                passes(&port, Out, &tcp([10, 0, 0, last])),
                own.contains(&last)
            );
        }
    }
}

#[test]
fn vms_with_as_many_addresses_share_an_image() {
    let port = |learned: &[&str]| prepared("clean-traffic", &[], learned).unwrap();
    let (none, one, other) = (port(&[]), port(&["10.0.0.1"]), port(&["10.0.0.2"]));
    assert_eq!(one.shape.image, other.shape.image);
    assert_ne!(one.shape.image, none.shape.image);
}

#[test]
fn addresses_given_by_hand_win() {
    let parameters = [("IP", "10.0.0.1"), ("CTRL_IP_LEARNING", "dhcp")];
    let port = prepared("clean-traffic", &parameters, &["10.0.0.2"]).unwrap();
    assert!(port.own.is_none());
    assert_eq!(port.learn.flags, 0);
    assert!(passes(&port, Out, &tcp([10, 0, 0, 1])));
    assert!(!passes(&port, Out, &tcp([10, 0, 0, 2])));
    // Nor is anything learned that no rule asks for.
    assert_eq!(
        prepared("no-mac-spoofing", &[], &[]).unwrap().learn.flags,
        0
    );
}

#[test]
fn what_cannot_be_learned_or_built_is_refused() {
    let cases: [(&str, Parameters, &str); 5] = [
        ("clean-traffic", &[("CTRL_IP_LEARNING", "none")], "IP"),
        (
            "clean-traffic",
            &[("CTRL_IP_LEARNING", "perhaps")],
            "`any`, `dhcp` or `none`",
        ),
        (
            "clean-traffic",
            &[("DHCPSERVER", "fe80..1")],
            "an IPv4 address",
        ),
        ("clean-traffic-gateway", &[], "GATEWAY_MAC"),
        ("no-ipv6-spoofing", &[], "IPV6"),
    ];
    for (filter, parameters, reason) in cases {
        let error = prepared(filter, parameters, &[]).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    // Of no consequence if nothing is to be learned.
    let parameters = [("IP", "10.0.0.1"), ("CTRL_IP_LEARNING", "perhaps")];
    assert!(prepared("clean-traffic", &parameters, &[]).is_ok());
}

#[test]
fn every_filter_for_learning_is_built_and_closed() {
    const OWN: &str = "<filter name='own'>
        <rule action='accept' direction='out'><ip srcipaddr='$IP'/></rule>
        <rule action='accept' direction='out'><ipv6 srcipaddr='$IPV6'/></rule>
    </filter>";
    let mut names = std::collections::BTreeSet::new();
    for semantics in [Semantics::Strict, Semantics::Libvirt] {
        let mut shapes = Shapes::new(semantics);
        let own = parse_filter(OWN, semantics).0.unwrap();
        let own = Arc::new(LoadedFilter::new(own, OWN, None));
        let filters = BTreeMap::from([("own".to_owned(), own)]);
        for ipv4 in ["any", "dhcp"] {
            for ipv6 in ["any", "dhcp"] {
                for servers in 0..4 {
                    let mut parameters =
                        vec![("CTRL_IP_LEARNING", ipv4), ("CTRL_IPV6_LEARNING", ipv6)];
                    if servers & 1 != 0 {
                        parameters.push(("DHCPSERVER", "10.0.0.254"));
                    }
                    if servers & 2 != 0 {
                        parameters.push(("DHCPSERVERV6", "fe80::9"));
                    }
                    let binding = binding("own", &parameters);
                    let port = shapes.prepare_learning(&binding, &filters, &[]).unwrap();
                    assert!(port.own.is_some());
                    // One that this VM is not allowed to send in any way.
                    assert!(
                        !passes(&port, Out, &udp6("fd00::1", (1, 2))),
                        "{parameters:?}"
                    );
                    assert!(passes(&port, Out, &request(VM)));
                    assert!(passes(&port, Out, &icmp6("::", 135)));
                    names.extend(port.shape.entries.iter().filter_map(|entry| match entry {
                        Entry::Rule(origin) => Some(origin.filter.to_string()),
                        _ => None,
                    }));
                    // Known IPv4 addresses suffice.
                    let learned = ["10.0.0.1".parse().unwrap()];
                    let port = shapes
                        .prepare_learning(&binding, &filters, &learned)
                        .unwrap();
                    assert!(port.own.is_none());
                    assert_eq!(port.learn.flags & PortRecord::LEARN_USED, 0);
                    assert_ne!(port.learn.flags & PortRecord::LEARN_DHCP6, 0);
                }
            }
        }
    }
    // With `any`, servers are not told apart by the filter.
    assert_eq!(names.len(), 3 * 2, "{names:?}");
    assert!(names.iter().all(|name| name.contains('/')), "{names:?}");
}

const LINK: &str = "fe80::9";

/// UDP over IPv6.
fn udp6(source: &str, ports: (u16, u16)) -> Vec<u8> {
    ethernet(
        OTHER,
        VM,
        0x86dd,
        &ipv6(source.parse().unwrap(), 17, 64, &udp(ports, &[0; 8])),
    )
}

fn icmp6(source: &str, kind: u8) -> Vec<u8> {
    let message = [&[kind, 0, 0, 0][..], &[0; 20]].concat();
    ethernet(
        OTHER,
        VM,
        0x86dd,
        &ipv6(source.parse().unwrap(), 58, 255, &message),
    )
}

#[test]
fn ipv6_addresses_are_learned_if_asked_for() {
    let asked = [("CTRL_IPV6_LEARNING", "any")];
    let port = prepared("no-ipv6-spoofing", &asked, &[]).unwrap();
    assert!(port.own.is_some());
    assert_eq!(
        port.learn.flags,
        PortRecord::LEARN_DHCP6 | PortRecord::LEARN_CLAIMED
    );
    assert!(passes(&port, Out, &udp6(LINK, (546, 547))));
    assert!(passes(&port, Out, &icmp6("::", 135)));
    assert!(passes(&port, Out, &icmp6(LINK, 136)));
    assert!(!passes(&port, Out, &icmp6(LINK, 134)), "a router it is not");
    assert!(!passes(&port, Out, &udp6(LINK, (546, 53))));
    assert!(!passes(&port, Out, &udp6("fd00::1", (1, 2))));
    assert!(!passes(&port, Out, &arp(VM)));

    let port = prepared("no-ipv6-spoofing", &asked, &["fd00::1"]).unwrap();
    assert!(port.own.is_none());
    assert!(passes(&port, Out, &icmp6("fd00::1", 128)));
    assert!(!passes(&port, Out, &icmp6("fd00::2", 128)));

    let asked = [("CTRL_IPV6_LEARNING", "dhcp")];
    let port = prepared("no-ipv6-spoofing", &asked, &[]).unwrap();
    assert_eq!(port.learn.flags, PortRecord::LEARN_DHCP6);
}
