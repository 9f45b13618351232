//! `ip` and `ipv6`: what rules of the Ethernet layer test of packets.

use super::{BOTH, Tests, beside, ethernet::tagged, positive, tests};
use crate::{
    compat::ends::{Ends, Side},
    generate::Sent,
    wire::{self, Extension, Ipv4, Ipv6},
};

pub(super) const IP: [Tests; 24] = [
    tests("srcipaddr='{sip1}'"),
    tests("srcipaddr='{sip0}' srcipmask='31'"),
    tests("dstipaddr='{dip1}'"),
    tests("dstipaddr='{dip0}' dstipmask='255.255.255.254'"),
    tests("protocol='17'"),
    tests("protocol='tcp'"),
    tests("protocol='0x1'"),
    tests("protocol='sctp'"),
    beside("protocol='udp'", "srcportstart='1000'"),
    beside("protocol='udp'", "srcportstart='81' srcportend='1000'"),
    beside("protocol='udp'", "dstportstart='80'"),
    beside("protocol='udp'", "dstportstart='79' dstportend='80'"),
    beside("protocol='tcp'", "dstportstart='80'"),
    beside("protocol='sctp'", "srcportstart='1000' dstportstart='80'"),
    beside("protocol='33'", "dstportstart='80'"),
    tests("dscp='40'"),
    tests("dscp='10'"),
    tests("dscp='0'"),
    // Ignored: a mask without its address, an end without its start.
    Tests {
        fixed: "protocol='udp'",
        tested: "dstportend='80'",
        negatable: false,
    },
    positive("srcipmask='24'"),
    positive("srcmacmask='ff:ff:ff:ff:ff:ff' dstipaddr='{dip1}'"),
    positive("srcipaddr='{sip0}' srcipmask='0'"),
    positive("comment='a comment'"),
    tests("srcipaddr='{sip1}' dstipaddr='{dip1}'"),
];

/// Protocols with payloads: each with ports 1000 and 80, if it has any.
fn payloads(v6: bool) -> Vec<(u8, Vec<u8>)> {
    let echo = if v6 { (58, 128) } else { (1, 8) };
    vec![
        (17, wire::udp(1000, 80, b"datagram")),
        (17, wire::udp(80, 1000, b"datagram")),
        (6, wire::tcp(1000, 80, 2, b"")),
        (6, wire::tcp(80, 1000, 2, b"")),
        (132, wire::sctp(1000, 80)),
        (132, wire::sctp(80, 1000)),
        (33, [wire::sctp(1000, 80), vec![0; 4]].concat()),
        (33, [wire::sctp(80, 1000), vec![0; 4]].concat()),
        (echo.0, wire::icmp(echo.1, 0, [0, 1, 0, 1], b"echo")),
        (50, vec![0, 0, 1, 0, 0, 0, 0, 1]),
        (253, vec![3; 12]),
    ]
}

pub(super) fn ip_frames(ends: Ends) -> Vec<Sent> {
    let mut frames = Vec::new();
    let udp = || wire::udp(1000, 80, b"datagram");
    for direction in BOTH {
        let source = Side::source(direction);
        let base = ends.header_v4(direction, 17);
        for (protocol, payload) in payloads(false) {
            frames.push(ends.packet_v4(direction, protocol, &payload));
        }
        let others = [
            Ipv4 {
                source: ends.v4(source, 2),
                ..base.clone()
            },
            Ipv4 {
                destination: ends.v4(source.other(), 2),
                ..base.clone()
            },
            Ipv4 {
                source: ends.v4(source, 0),
                destination: ends.v4(source.other(), 0),
                ..base.clone()
            },
            Ipv4 {
                tos: 40,
                ..base.clone()
            },
            Ipv4 {
                tos: 10,
                ..base.clone()
            },
            Ipv4 {
                more: true,
                id: 7,
                ..base.clone()
            },
            Ipv4 {
                offset: 2,
                id: 8,
                ..base.clone()
            },
            Ipv4 {
                options: vec![1, 1, 1, 0],
                ..base.clone()
            },
        ];
        for header in &others {
            frames.push(ends.frame(direction, 0x0800, &header.packet(&udp())));
        }
        // A header and nothing else; an unfiltered kind.
        frames.push(ends.frame(direction, 0x0800, &base.packet(b"")));
        frames.push(tagged(
            &ends.frame(direction, 0x0800, &base.packet(&udp())),
            0x8100,
            5,
        ));
        frames.push(ends.packet_v6(direction, 17, &udp()));
    }
    frames
}

const ICMPV6: &str = "protocol='icmpv6'";

pub(super) const IPV6: [Tests; 25] = [
    tests("protocol='51'"),
    tests("srcipaddr='{sip6-1}'"),
    tests("srcipaddr='{sip6-0}' srcipmask='127'"),
    tests("dstipaddr='{dip6-1}'"),
    tests("dstipaddr='{dip6-0}' dstipmask='ffff:ffff:ffff:ffff::'"),
    tests("protocol='17'"),
    tests("protocol='tcp'"),
    tests("protocol='icmpv6'"),
    tests("protocol='sctp'"),
    tests("protocol='59'"),
    tests("protocol='44'"),
    beside("protocol='udp'", "srcportstart='1000'"),
    beside("protocol='udp'", "srcportstart='81' srcportend='1000'"),
    beside("protocol='udp'", "dstportstart='80'"),
    beside("protocol='tcp'", "dstportstart='79' dstportend='80'"),
    beside("protocol='sctp'", "srcportstart='1000' dstportstart='80'"),
    beside(ICMPV6, "type='128'"),
    beside(ICMPV6, "type='128' typeend='129'"),
    beside(ICMPV6, "typeend='128'"),
    beside(ICMPV6, "code='1'"),
    beside(ICMPV6, "type='128' code='0' codeend='1'"),
    beside(ICMPV6, "codeend='0'"),
    beside("protocol='33'", "dstportstart='80'"),
    positive("comment='a comment'"),
    tests("srcipaddr='{sip6-1}' dstipaddr='{dip6-1}'"),
];

pub(super) fn ipv6_frames(ends: Ends) -> Vec<Sent> {
    let mut frames = Vec::new();
    let udp = || wire::udp(1000, 80, b"datagram");
    for direction in BOTH {
        let source = Side::source(direction);
        let base = ends.header_v6(direction, 17);
        for (protocol, payload) in payloads(true) {
            frames.push(ends.packet_v6(direction, protocol, &payload));
        }
        for (kind, code) in [(128, 1), (129, 0), (130, 0), (4, 2)] {
            let icmp = wire::icmp(kind, code, [0; 4], &[0; 16]);
            frames.push(ends.packet_v6(direction, 58, &icmp));
        }
        frames.push(ends.packet_v6(direction, 59, b""));
        let authenticated = [
            &[6, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..],
            &wire::tcp(1000, 80, 2, b""),
        ];
        frames.push(ends.packet_v6(direction, 51, &authenticated.concat()));
        let fragment = |offset, more| Extension::Fragment {
            offset,
            more,
            id: 9,
        };
        let others = [
            Ipv6 {
                source: ends.v6(source, 2),
                ..base.clone()
            },
            Ipv6 {
                destination: ends.v6(source.other(), 2),
                ..base.clone()
            },
            // Between others altogether.
            Ipv6 {
                source: Ends(ends.0 + 2000).v6(source, 1),
                destination: Ends(ends.0 + 2000).v6(source.other(), 1),
                ..base.clone()
            },
            Ipv6 {
                traffic_class: 40,
                ..base.clone()
            },
            Ipv6 {
                extensions: vec![Extension::Options(0, 1), Extension::Options(60, 2)],
                ..base.clone()
            },
            Ipv6 {
                extensions: vec![fragment(0, true)],
                ..base.clone()
            },
            Ipv6 {
                extensions: vec![fragment(3, false)],
                ..base.clone()
            },
        ];
        for header in &others {
            frames.push(ends.frame(direction, 0x86dd, &header.packet(&udp())));
        }
        frames.push(ends.frame(direction, 0x86dd, &base.packet(b"")));
        frames.push(ends.packet_v4(direction, 17, &udp()));
    }
    frames
}
