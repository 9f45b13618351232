//! Chains: their conditions, order, ends and returns; rules without an element; variables. Each batch
//! is a small tree of filters of its own, asked with one frame of every kind.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use nwfilter_ctl::builtin::{Flavour, builtin, names};

use super::{BOTH, Ends, Row, Side, ethernet, packets};
use crate::{
    compat::Batch,
    frame::STP_GROUP,
    generate::{FilterText, Sent},
    wire::{self, Arp, Bpdu, Ipv4, Ipv6},
};

pub(super) fn batches() -> Vec<Batch> {
    let mut batches = vec![
        // A chain of every kind that ends without a verdict, before a root that drops.
        tree(
            "chains: ends accept",
            "<rule action='drop' direction='inout' priority='1000'/>",
            &CHAINS.map(|chain| (chain, "", NEVER)),
        ),
        // The same, but each returns.
        tree(
            "chains: return to root",
            "<rule action='drop' direction='inout' priority='1000'/>",
            &CHAINS.map(|chain| (chain, "", "<rule action='return' direction='inout'/>")),
        ),
        tree(
            "chains: all actions",
            "<rule action='drop' direction='inout' priority='1000'><mac protocolid='0x1234'/></rule>",
            &[
                ("ipv4", "", EVERY_ACTION_V4),
                ("ipv6", "", EVERY_ACTION_V6),
                (
                    "arp",
                    "",
                    "<rule action='continue' direction='inout'/>\
                <rule action='reject' direction='out'><arp opcode='1'/></rule>\
                <rule action='drop' direction='in'><arp opcode='2'/></rule>",
                ),
            ],
        ),
        tree(
            "chains: in one direction only",
            "<rule action='drop' direction='inout' priority='1000'/>",
            &[
                (
                    "ipv4-out",
                    " priority='-20'",
                    "<rule action='accept' direction='out'><ip protocol='17'/></rule>\
                <rule action='return' direction='out'/>",
                ),
                (
                    "ipv4-in",
                    " priority='-10'",
                    "<rule action='accept' direction='in'><ip protocol='6'/></rule>\
                <rule action='return' direction='in'/>",
                ),
                (
                    "arp-in",
                    "",
                    "<rule action='accept' direction='in'><arp opcode='2'/></rule>",
                ),
            ],
        ),
        // Priorities: of chains against each other and against rules of root, and of rules in a chain.
        tree(
            "chains: priorities",
            "<rule action='drop' direction='inout' priority='-650'><ip protocol='17'/></rule>\
         <rule action='accept' direction='inout' priority='-649'><ip protocol='1'/></rule>\
         <rule action='drop' direction='inout' priority='500'><ip/></rule>",
            &[
                (
                    "ipv4-a",
                    " priority='-700'",
                    "<rule action='accept' direction='inout' priority='10'>\
                <ip protocol='6'/></rule>\
                <rule action='return' direction='inout' priority='900'/>\
                <rule action='drop' direction='inout' priority='5'><ip dscp='10'/></rule>",
                ),
                (
                    "ipv4-b",
                    " priority='-650'",
                    "<rule action='accept' direction='out' priority='-1000'>\
                <ip protocol='udp' dstportstart='80'/></rule>\
                <rule action='return' direction='inout' priority='1000'/>",
                ),
                (
                    "ipv4-c",
                    " priority='600'",
                    "<rule action='drop' direction='inout'/>",
                ),
                (
                    "mac",
                    "",
                    "<rule action='return' direction='inout'><mac protocolid='arp'/></rule>\
                <rule action='return' direction='inout'><mac protocolid='ipv4'/></rule>\
                <rule action='accept' direction='in'/>\
                <rule action='drop' direction='out'/>",
                ),
            ],
        ),
        tree(
            "chains: one chain of two filters",
            "",
            &[
                (
                    "ipv4",
                    "",
                    "<rule action='drop' direction='inout' priority='700'><ip protocol='17'/></rule>",
                ),
                (
                    "ipv4",
                    "",
                    "<rule action='accept' direction='out' priority='600'>\
                <ip protocol='udp' srcportstart='80'/></rule>\
                <rule action='drop' direction='in' priority='100'><ip protocol='6'/></rule>",
                ),
            ],
        ),
        // Root goes before all others in the inet layer, whatever the priorities.
        Batch {
            tracked: true,
            ..tree(
                "chains: the inet layer has none",
                "<rule action='accept' direction='inout' priority='900'><udp/></rule>",
                &[
                    (
                        "ipv4",
                        " priority='-900'",
                        "<rule action='drop' direction='inout' priority='-900'><all/></rule>",
                    ),
                    (
                        "ipv6",
                        "",
                        "<rule action='reject' direction='out'><icmpv6 type='128'/></rule>\
                    <rule action='accept' direction='in'><tcp-ipv6/></rule>\
                    <rule action='return' direction='inout' priority='600'><udp-ipv6/></rule>\
                    <rule action='drop' direction='inout' priority='1000'><all-ipv6/></rule>",
                    ),
                ],
            )
        },
        bare(),
        variables(),
    ];
    batches.extend(names().map(builtin_filter));
    batches
}

/// A filter that libvirt comes with: libvirt uses its own text, the others ours.
fn builtin_filter(name: &'static str) -> Batch {
    let ends = Ends(0);
    let mut frames = frames(ends);
    frames.extend(configuration(ends));
    let others = names().filter_map(|name| {
        Some(FilterText {
            name: name.to_owned(),
            xml: builtin(name, Flavour::V11)?.to_owned(),
        })
    });
    Batch {
        last: format!("<filterref filter='{name}'/>\n"),
        others: others.collect(),
        parameters: vec![
            ("MAC", "52:54:00:00:00:01"),
            ("IP", "10.0.0.1"),
            ("IPV6", "fd00::1"),
            ("GATEWAY_MAC", "52:54:01:00:00:01"),
            // The one that an IPv6 filter and an IPv4 filter both call so.
            (
                "DHCPSERVER",
                if name == "allow-dhcpv6-server" {
                    "fe80::1"
                } else {
                    "10.100.0.1"
                },
            ),
        ],
        ..Batch::new(
            name,
            vec![Row {
                rules: Vec::new(),
                frames,
            }],
        )
    }
}

/// DHCP and DHCPv6, from the VM and from servers; and what QEMU announces.
fn configuration(ends: Ends) -> Vec<Sent> {
    let mut frames = Vec::new();
    let nobody = Ipv4Addr::UNSPECIFIED;
    let everybody = Ipv4Addr::BROADCAST;
    for direction in BOTH {
        let source = Side::source(direction);
        let own = ends.v4(source, 1);
        for (from, to, ports) in [
            (nobody, everybody, (68, 67)),
            (own, everybody, (67, 68)),
            (ends.v4(source, 2), everybody, (67, 68)),
            (nobody, everybody, (1000, 80)),
            (own, Ipv4Addr::new(224, 0, 0, 1), (1000, 80)),
        ] {
            let packet = Ipv4 {
                source: from,
                destination: to,
                ..ends.header_v4(direction, 17)
            };
            let udp = wire::udp(ports.0, ports.1, b"configuration");
            frames.push(ends.frame(direction, 0x0800, &packet.packet(&udp)));
        }
        let local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
        for (from, to, ports) in [
            (local, servers, (546, 547)),
            (ends.v6(source, 1), servers, (546, 547)),
            (local, ends.v6(source.other(), 1), (547, 546)),
        ] {
            let packet = Ipv6 {
                source: from,
                destination: to,
                ..ends.header_v6(direction, 17)
            };
            let udp = wire::udp(ports.0, ports.1, b"configuration");
            frames.push(ends.frame(direction, 0x86dd, &packet.packet(&udp)));
        }
        for side in [source, source.other()] {
            let announcement = Arp {
                opcode: 3,
                sender_mac: ends.mac(side, 1),
                target_mac: ends.mac(side, 1),
                ..Arp::default()
            };
            let mut frame = ends.frame(direction, 0x8035, &announcement.bytes());
            frame.bytes[..6].fill(0xff);
            frames.push(frame);
        }
    }
    frames
}

/// Every kind of chain, with a name that says more.
const CHAINS: [&str; 7] = ["mac", "vlan", "stp", "arp", "rarp", "ipv4", "ipv6"];

/// What matches nothing.
const NEVER: &str = "<rule action='drop' direction='inout'><mac protocolid='0x9999'/></rule>";

const EVERY_ACTION_V4: &str = "<rule action='continue' direction='inout'><ip protocol='17'/></rule>\
    <rule action='accept' direction='inout'><ip protocol='6'/></rule>\
    <rule action='reject' direction='inout'><ip protocol='1'/></rule>\
    <rule action='return' direction='inout'><ip protocol='132'/></rule>\
    <rule action='drop' direction='out'><ip protocol='17'/></rule>";

const EVERY_ACTION_V6: &str = "<rule action='continue' direction='inout'><ipv6 protocol='17'/></rule>\
    <rule action='accept' direction='inout'><ipv6 protocol='6'/></rule>\
    <rule action='reject' direction='inout'><ipv6 protocol='58'/></rule>\
    <rule action='return' direction='inout'><ipv6 protocol='132'/></rule>\
    <rule action='drop' direction='in'><ipv6 protocol='17'/></rule>";

/// A root filter with these rules that refers to filters: chain, priority and rules of each.
fn tree(name: &'static str, root: &str, filters: &[(&str, &str, &str)]) -> Batch {
    let mut last = root.to_owned();
    let mut others = Vec::new();
    for (number, (chain, priority, rules)) in filters.iter().enumerate() {
        let filter = format!("filter-{number}");
        // Writing to a String does not fail.
        let _ = writeln!(last, "\n  <filterref filter='{filter}'/>");
        others.push(FilterText {
            xml: format!(
                "<filter name='{filter}' chain='{chain}'{priority}>\n{rules}\n</filter>\n"
            ),
            name: filter,
        });
    }
    tree_of(name, &last, others)
}

fn tree_of(name: &'static str, last: &str, others: Vec<FilterText>) -> Batch {
    Batch {
        last: last.to_owned(),
        others,
        ..Batch::new(
            name,
            vec![Row {
                rules: Vec::new(),
                frames: frames(Ends(0)),
            }],
        )
    }
}

/// Frames of every kind.
fn frames(ends: Ends) -> Vec<Sent> {
    let mut frames = ethernet::other_frames(ends);
    frames.extend(packets::ip_frames(ends));
    frames.extend(packets::ipv6_frames(ends));
    frames.extend(ethernet::arp_frames(ends, 0x0806));
    frames.extend(ethernet::arp_frames(ends, 0x8035));
    frames.extend(ethernet::vlan_frames(ends));
    for direction in BOTH {
        let mut bpdu = ends.frame(direction, 38, &Bpdu::default().bytes());
        bpdu.bytes[..6].copy_from_slice(&STP_GROUP.0);
        bpdu.bytes[12..14].copy_from_slice(&38_u16.to_be_bytes());
        let tagged = wire::tagged(&bpdu.bytes, 0x8100, 5);
        frames.push(Sent {
            bytes: tagged,
            ..bpdu.clone()
        });
        frames.push(bpdu);
        let mut broadcast = ends.packet_v4(direction, 17, &wire::udp(68, 67, b"to all"));
        broadcast.bytes[..6].fill(0xff);
        frames.push(broadcast);
    }
    frames
}

/// Rules without an element, of all actions.
fn bare() -> Batch {
    tree(
        "chains: rules without an element",
        "<rule action='continue' direction='inout'/>\
         <rule action='accept' direction='in' priority='600'><mac protocolid='arp'/></rule>\
         <rule action='return' direction='out' priority='600'><mac protocolid='ipv4'/></rule>\
         <rule action='reject' direction='out' priority='700'/>\
         <rule action='drop' direction='in' priority='700'/>",
        &[],
    )
}

/// Lists of values, and what libvirt makes of negated ones.
fn variables() -> Batch {
    let ends = Ends(0);
    let rules = [
        "<rule action='accept' direction='out' priority='100'><ip srcipaddr='$ADDRESSES' \
         protocol='udp' dstportstart='$PORTS[@1]'/></rule>",
        "<rule action='drop' direction='out' priority='200'><ip protocol='$PROTOCOLS[1]'/></rule>",
        "<rule action='drop' direction='in' priority='200'><ip match='no' \
         srcipaddr='$ADDRESSES'/></rule>",
        "<rule action='drop' direction='inout' priority='300'><arp arpsrcmacaddr='$MACS[0]' \
         opcode='$OPCODES[@2]'/></rule>",
        "<rule action='drop' direction='out' priority='300'><vlan vlanid='$VLANS'/></rule>",
        "<rule action='drop' direction='in' priority='300'><vlan encap-protocol='$INNER'/></rule>",
        "<rule action='drop' direction='out' priority='400'><tcp-ipv6 \
         dstportstart='$PORTS[@7]' flags='$FLAGS'/></rule>",
        "<rule action='drop' direction='out' priority='400'><udp dstportstart='$PORTS[@3]' \
         srcipaddr='$ADDRESSES[@4]'/></rule>",
        "<rule action='drop' direction='in' priority='400'><udp-ipv6 state='$STATE'/></rule>",
    ];
    let address = |host| match host {
        1 => "10.0.0.1",
        _ => "10.0.0.2",
    };
    Batch {
        parameters: vec![
            ("ADDRESSES", address(1)),
            ("ADDRESSES", address(2)),
            ("PORTS", "80"),
            ("PORTS", "1000"),
            ("PROTOCOLS", "6"),
            ("PROTOCOLS", "132"),
            ("MACS", "52:54:01:00:00:01"),
            ("OPCODES", "1"),
            ("OPCODES", "3"),
            ("VLANS", "5"),
            ("VLANS", "6"),
            ("INNER", "0x806"),
            ("FLAGS", "SYN"),
            ("STATE", "NEW"),
        ],
        rows: vec![Row {
            rules: rules.map(ToOwned::to_owned).to_vec(),
            frames: frames(ends),
        }],
        ..Batch::new("variables", Vec::new())
    }
}
