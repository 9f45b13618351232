//! The inet layer, element by element: rules that drop, whatever the connection. What they make of
//! connections is the matrix' matter.

use super::{BOTH, DIRECTIONS, Tests, beside, positive, rows, tests};
use crate::{
    compat::{
        Batch, Row,
        ends::{Ends, Side, sent},
    },
    generate::Sent,
    judge::FrameDirection,
    wire::{self, Ipv4, Ipv6},
};

/// An element with its protocol number and what it has beside the common attributes.
struct Element {
    name: &'static str,
    protocol: u8,
    tests: &'static [Tests],
}

const fn element(name: &'static str, protocol: u8, tests: &'static [Tests]) -> Element {
    Element {
        name,
        protocol,
        tests,
    }
}

const V4: [Element; 9] = [
    element("tcp", 6, &TCP),
    element("udp", 17, &PORTS),
    element("udplite", 136, &[]),
    element("esp", 50, &[]),
    element("ah", 51, &[]),
    element("sctp", 132, &PORTS),
    element("icmp", 1, &ICMP),
    element("igmp", 2, &[]),
    element("all", 253, &[]),
];

const V6: [Element; 8] = [
    element("tcp-ipv6", 6, &TCP),
    element("udp-ipv6", 17, &PORTS),
    element("udplite-ipv6", 136, &[]),
    element("esp-ipv6", 50, &[]),
    element("ah-ipv6", 51, &[]),
    element("sctp-ipv6", 132, &PORTS),
    element("icmpv6", 58, &ICMPV6),
    element("all-ipv6", 253, &[]),
];

const COMMON_V4: [Tests; 12] = [
    tests("srcipaddr='{sip1}'"),
    tests("srcipaddr='{sip0}' srcipmask='31'"),
    tests("dstipaddr='{dip1}'"),
    tests("dstipaddr='{dip0}' dstipmask='255.255.255.254'"),
    tests("srcipfrom='{sip1}' srcipto='{sip4}'"),
    tests("srcipfrom='{sip2}'"),
    tests("dstipfrom='{dip2}' dstipto='{dip9}'"),
    // A range beside a network, and ends without starts, are ignored.
    positive("srcipaddr='{sip1}' srcipfrom='{sip2}'"),
    positive("dstipto='{dip1}' srcipaddr='{sip1}'"),
    tests("dscp='10'"),
    tests("dscp='0'"),
    tests("srcmacaddr='{smac1}'"),
];

const COMMON_V6: [Tests; 11] = [
    tests("srcipaddr='{sip6-1}'"),
    tests("srcipaddr='{sip6-0}' srcipmask='127'"),
    tests("dstipaddr='{dip6-1}'"),
    tests("dstipaddr='{dip6-0}' dstipmask='127'"),
    tests("srcipfrom='{sip6-1}' srcipto='{sip6-4}'"),
    tests("srcipfrom='{sip6-2}'"),
    tests("dstipfrom='{dip6-2}'"),
    positive("srcipaddr='{sip6-1}' srcipfrom='{sip6-2}'"),
    tests("dscp='10'"),
    tests("dscp='0'"),
    tests("srcmacaddr='{smac1}'"),
];

const BARE: [Tests; 1] = [positive("srcmacaddr='{smac1}' comment='nothing else'")];

const PORTS: [Tests; 8] = [
    tests("srcportstart='1000'"),
    tests("srcportstart='81' srcportend='1000'"),
    // Fact 11: the sign of a destination port is that of the source port.
    tests("dstportstart='80'"),
    tests("dstportstart='79' dstportend='81'"),
    tests("srcportstart='1000' dstportstart='80'"),
    beside("dstportstart='80'", "srcportstart='1000'"),
    beside("srcportstart='1000'", "dstportstart='80'"),
    positive("srcportend='80'"),
];

const TCP: [Tests; 13] = [
    PORTS[0],
    PORTS[1],
    PORTS[2],
    PORTS[3],
    PORTS[4],
    PORTS[5],
    PORTS[6],
    PORTS[7],
    tests("flags='SYN,ACK/SYN'"),
    tests("flags='ALL/NONE'"),
    tests("flags='ALL/FIN,PSH,URG'"),
    tests("flags='RST/RST'"),
    tests("flags='SYN,FIN/SYN,FIN'"),
];

const ICMP: [Tests; 5] = [
    tests("type='8'"),
    tests("type='8' code='0'"),
    tests("type='3' code='1'"),
    tests("type='0x0'"),
    // Ignored without a type.
    positive("code='1'"),
];

const ICMPV6: [Tests; 5] = [
    tests("type='128'"),
    tests("type='128' code='0'"),
    tests("type='1' code='1'"),
    tests("type='135'"),
    positive("code='1'"),
];

const OPTIONS: [Tests; 3] = [
    tests("option='2'"),
    tests("option='8'"),
    tests("option='254'"),
];

/// Which side's network keeps a rule to its row.
fn own_v4(tests: &Tests) -> &'static str {
    match tests.tested {
        text if text.contains("nothing else") => "",
        text if text.contains("dstip") => "srcipaddr='{sip0}' srcipmask='24'",
        _ => "dstipaddr='{dip0}' dstipmask='24'",
    }
}

fn own_v6(tests: &Tests) -> &'static str {
    match tests.tested {
        text if text.contains("nothing else") => "",
        text if text.contains("dstip") => "srcipaddr='{sip6-0}' srcipmask='64'",
        _ => "dstipaddr='{dip6-0}' dstipmask='64'",
    }
}

pub(super) fn batches() -> Vec<Batch> {
    let mut batches = Vec::new();
    for Element {
        name,
        protocol,
        tests: special,
    } in V4
    {
        let all: Vec<Tests> = [special, &COMMON_V4, &BARE].concat();
        let rows = rows(name, &all, &DIRECTIONS, own_v4, |ends| {
            frames_v4(ends, protocol)
        });
        batches.push(Batch::new(name, distinct(rows)));
    }
    for Element {
        name,
        protocol,
        tests: special,
    } in V6
    {
        let all: Vec<Tests> = [special, &COMMON_V6, &BARE].concat();
        let rows = rows(name, &all, &DIRECTIONS, own_v6, |ends| {
            frames_v6(ends, protocol)
        });
        batches.push(Batch::new(name, distinct(rows)));
    }
    let options = rows("tcp", &OPTIONS, &DIRECTIONS, own_v4, |ends| {
        frames_v4(ends, 6)
    });
    batches.push(Batch::new("tcp option", options));
    let options = rows("tcp-ipv6", &OPTIONS, &DIRECTIONS, own_v6, |ends| {
        frames_v6(ends, 6)
    });
    batches.push(Batch::new("tcp-ipv6 option", options));
    batches
}

/// Attributes that the rule gives twice are refused, and such rows left out: a source network keeps
/// the rule to its row and is in question, too.
fn distinct(mut rows: Vec<Row>) -> Vec<Row> {
    rows.retain(|row| {
        row.rules
            .iter()
            .all(|rule| rule.matches(" srcipaddr=").count() < 2)
    });
    rows
}

/// Payloads of a protocol, the first one the usual one.
fn payloads(protocol: u8) -> Vec<Vec<u8>> {
    match protocol {
        6 => {
            let mut all: Vec<_> = [2, 0x12, 0x10, 0x04, 0x29, 0, 0x03]
                .map(|flags| wire::tcp(1000, 80, flags, b""))
                .to_vec();
            all.push(wire::tcp(80, 1000, 2, b""));
            all.push(wire::tcp(1000, 82, 2, b""));
            all.push(wire::tcp(81, 81, 2, &[2, 4, 5, 180]));
            all.push(wire::tcp(
                1000,
                80,
                2,
                &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0],
            ));
            all.push(wire::tcp(1000, 80, 2, &[254, 4, 0, 0, 2, 4, 5, 180]));
            all
        }
        17 => [(1000, 80), (80, 1000), (81, 81), (1000, 82)]
            .map(|(from, to)| wire::udp(from, to, b"datagram"))
            .to_vec(),
        132 => [(1000, 80), (80, 1000), (81, 81), (1000, 82)]
            .map(|(from, to)| wire::sctp(from, to))
            .to_vec(),
        1 => [(8, 0), (8, 1), (3, 1), (3, 3), (0, 0), (13, 0)]
            .map(|(kind, code)| wire::icmp(kind, code, [0, 1, 0, 1], &[0; 28]))
            .to_vec(),
        58 => [(128, 0), (128, 1), (1, 1), (1, 4), (129, 0), (135, 0)]
            .map(|(kind, code)| wire::icmp(kind, code, [0; 4], &[0; 48]))
            .to_vec(),
        // The next header of AH is TCP's number, which `ah` does not look at.
        51 => vec![[&[253, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0; 20]].concat()],
        _ => vec![vec![1, 2, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]],
    }
}

fn frames_v4(ends: Ends, protocol: u8) -> Vec<Sent> {
    let mut frames = Vec::new();
    for direction in BOTH {
        let source = Side::source(direction);
        let base = ends.header_v4(direction, protocol);
        for payload in payloads(protocol) {
            frames.push(ends.packet_v4(direction, protocol, &payload));
        }
        let payload = &payloads(protocol)[0];
        let headers = [(2, 1), (1, 2), (9, 1), (1, 9), (0, 0)].map(|(from, to)| Ipv4 {
            source: ends.v4(source, from),
            destination: ends.v4(source.other(), to),
            ..base.clone()
        });
        let classes = [40, 10, 0x2b].map(|tos| Ipv4 {
            tos,
            ..base.clone()
        });
        for header in headers.iter().chain(&classes) {
            frames.push(ends.frame(direction, 0x0800, &header.packet(payload)));
        }
        let usual = ends.packet_v4(direction, protocol, payload);
        frames.extend(variants(ends, &usual));
        let other = if protocol == 17 { 136 } else { 17 };
        let datagram = wire::udp(1000, 80, b"datagram");
        frames.push(ends.packet_v4(direction, other, &datagram));
        frames.push(ends.packet_v6(direction, 17, &datagram));
    }
    frames
}

fn frames_v6(ends: Ends, protocol: u8) -> Vec<Sent> {
    let mut frames = Vec::new();
    for direction in BOTH {
        let source = Side::source(direction);
        let base = ends.header_v6(direction, protocol);
        for payload in payloads(protocol) {
            frames.push(ends.packet_v6(direction, protocol, &payload));
        }
        let payload = &payloads(protocol)[0];
        let headers = [(2, 1), (1, 2), (9, 1), (1, 9), (0, 0)].map(|(from, to)| Ipv6 {
            source: ends.v6(source, from),
            destination: ends.v6(source.other(), to),
            ..base.clone()
        });
        let classes = [40, 10, 0x2b].map(|traffic_class| Ipv6 {
            traffic_class,
            ..base.clone()
        });
        for header in headers.iter().chain(&classes) {
            frames.push(ends.frame(direction, 0x86dd, &header.packet(payload)));
        }
        let usual = ends.packet_v6(direction, protocol, payload);
        frames.extend(variants(ends, &usual));
        let other = if protocol == 17 { 136 } else { 17 };
        let datagram = wire::udp(1000, 80, b"datagram");
        frames.push(ends.packet_v6(direction, other, &datagram));
        frames.push(ends.packet_v4(direction, 17, &datagram));
    }
    frames
}

/// The frame from another MAC address, and in a tag.
fn variants(ends: Ends, usual: &Sent) -> [Sent; 2] {
    let mut other = usual.clone();
    let mac = ends.mac(Side::source(usual.direction), 2);
    other.bytes[6..12].copy_from_slice(&mac.0);
    let tagged: (FrameDirection, Vec<u8>) =
        (usual.direction, wire::tagged(&usual.bytes, 0x8100, 5));
    [other, sent(tagged.0, tagged.1)]
}
