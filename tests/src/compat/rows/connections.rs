//! Ways of connections: what state each of their frames is in. Every way is gone by twice, opened
//! from the VM and from the peer, under each of several pairs of rules: those that drop one state,
//! and those that accept what one side opens.

use super::{
    Ends, Row,
    fragments::{EXTENSIONS, FRAGMENTS},
    talk::Talk,
};
use crate::{
    compat::Batch,
    generate::Sent,
    judge::FrameDirection::{In, Out},
    wire,
};

/// The frames of a way, the first one in the direction given.
pub(super) type Way = fn(Talk) -> Vec<Sent>;

const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

const TCP: [Way; 13] = [
    // A whole connection, a late segment, and the same once more.
    |talk| {
        vec![
            talk.tcp(true, SYN, (100, 0)),
            talk.tcp(false, SYN | ACK, (900, 101)),
            talk.tcp(true, ACK, (101, 901)),
            talk.tcp(false, ACK, (901, 101)),
            talk.tcp(true, FIN | ACK, (101, 901)),
            talk.tcp(false, ACK, (901, 102)),
            talk.tcp(false, FIN | ACK, (901, 102)),
            talk.tcp(true, ACK, (102, 902)),
            talk.tcp(true, ACK, (102, 902)),
            talk.tcp(true, SYN, (50_000, 0)),
            talk.tcp(false, SYN | ACK, (60_000, 50_001)),
        ]
    },
    // Refused, and once more.
    |talk| {
        vec![
            talk.tcp(true, SYN, (100, 0)),
            talk.tcp(false, RST | ACK, (0, 101)),
            talk.tcp(true, SYN, (500, 0)),
            talk.tcp(false, SYN | ACK, (900, 501)),
        ]
    },
    // Refused, then from the other side.
    |talk| {
        vec![
            talk.tcp(true, SYN, (100, 0)),
            talk.tcp(false, RST | ACK, (0, 101)),
            talk.tcp(false, SYN, (700, 0)),
            talk.tcp(true, SYN | ACK, (900, 701)),
        ]
    },
    // Reset in the middle.
    |talk| {
        vec![
            talk.tcp(true, SYN, (100, 0)),
            talk.tcp(false, SYN | ACK, (900, 101)),
            talk.tcp(true, ACK, (101, 901)),
            talk.tcp(true, RST, (101, 0)),
            talk.tcp(false, ACK, (901, 101)),
        ]
    },
    // A SYN again and again.
    |talk| vec![talk.tcp(true, SYN, (100, 0)); 3],
    // From the middle.
    |talk| {
        vec![
            talk.tcp(true, ACK, (101, 901)),
            talk.tcp(false, ACK, (901, 101)),
            talk.tcp(true, ACK, (101, 901)),
            talk.tcp(false, FIN | ACK, (901, 101)),
        ]
    },
    // What opens nothing.
    |talk| {
        vec![
            talk.tcp(true, SYN | ACK, (1, 1)),
            talk.tcp(false, ACK, (1, 2)),
        ]
    },
    |talk| {
        vec![
            talk.tcp(true, FIN | ACK, (1, 1)),
            talk.tcp(false, ACK, (1, 2)),
        ]
    },
    |talk| {
        vec![
            talk.tcp(true, RST, (1, 0)),
            talk.tcp(true, RST | ACK, (1, 1)),
        ]
    },
    |talk| {
        vec![
            talk.tcp(true, 0, (1, 0)),
            talk.tcp(true, SYN | FIN, (1, 0)),
            talk.tcp(true, FIN, (1, 0)),
            talk.tcp(true, SYN | RST, (1, 0)),
        ]
    },
    // Both sides open.
    |talk| {
        vec![
            talk.tcp(true, SYN, (100, 0)),
            talk.tcp(false, SYN, (900, 0)),
            talk.tcp(true, SYN | ACK, (100, 901)),
            talk.tcp(false, SYN | ACK, (900, 101)),
        ]
    },
    // Far outside the window.
    |talk| {
        vec![
            talk.tcp(true, SYN, (100, 0)),
            talk.tcp(false, SYN | ACK, (900, 101)),
            talk.tcp(true, ACK, (101, 901)),
            talk.tcp(true, ACK, (2_000_000_000, 901)),
        ]
    },
    // A wrong checksum.
    |talk| {
        let mut bad = talk.tcp(true, SYN, (100, 0));
        if let Some(last) = bad.bytes.last_mut() {
            *last ^= 0x55;
        }
        vec![bad, talk.tcp(false, SYN | ACK, (900, 101))]
    },
];

const OTHERS: [Way; 10] = [
    |talk| {
        vec![
            talk.udp(true),
            talk.udp(true),
            talk.udp(false),
            talk.udp(true),
        ]
    },
    // A wrong checksum, and none.
    |talk| {
        let mut bad = talk.udp(true);
        if let Some(last) = bad.bytes.last_mut() {
            *last ^= 0x55;
        }
        vec![bad, talk.udp(false)]
    },
    |talk| {
        let init = talk.sctp(true, 1, 0);
        vec![
            init.clone(),
            talk.sctp(false, 2, 7),
            talk.sctp(true, 10, 7),
            talk.sctp(false, 11, 7),
            talk.sctp(true, 0, 7),
            talk.sctp(false, 3, 7),
            init,
        ]
    },
    // SCTP from the middle, and of which only the ports are right.
    |talk| vec![talk.sctp(true, 0, 7), talk.sctp(false, 3, 7)],
    |talk| {
        let packet = wire::sctp(1000, 80);
        vec![
            talk.packet(true, 132, &packet),
            talk.packet(true, 132, &packet),
        ]
    },
    // UDP-Lite, whose checksum covers everything.
    |talk| vec![talk.packet(true, 136, &wire::udp(1000, 80, b"whole")); 2],
    |talk| other(talk, 50, &[0, 0, 1, 0, 0, 0, 0, 1]),
    |talk| other(talk, 47, &[0, 0, 8, 0, 1, 2, 3, 4]),
    |talk| other(talk, 253, &[1; 12]),
    |talk| other(talk, 2, &[0x11, 0, 0xee, 0xff, 0, 0, 0, 0]),
];

fn other(talk: Talk, protocol: u8, payload: &[u8]) -> Vec<Sent> {
    vec![
        talk.packet(true, protocol, payload),
        talk.packet(true, protocol, payload),
        talk.packet(false, protocol, payload),
        talk.packet(true, protocol, payload),
    ]
}

/// Requests and replies, alone and in pairs.
const ICMP: [Way; 5] = [
    |talk| exchange(talk, 8, 0),
    |talk| exchange(talk, 13, 14),
    |talk| exchange(talk, 15, 16),
    |talk| exchange(talk, 17, 18),
    |talk| {
        [9, 10, 30, 40, 255]
            .map(|kind| talk.icmp(true, kind, [0; 4], &[0; 8]))
            .to_vec()
    },
];

const ICMPV6: [Way; 4] = [
    |talk| exchange(talk, 128, 129),
    |talk| exchange(talk, 139, 140),
    // Neighbour discovery and multicast listeners.
    |talk| {
        [133, 134, 135, 136, 137, 130, 131, 132, 143]
            .map(|kind| talk.icmp(true, kind, [0; 4], &[0; 40]))
            .to_vec()
    },
    |talk| {
        [138, 139, 140, 144, 200, 255]
            .map(|kind| talk.icmp(true, kind, [0; 4], &[0; 40]))
            .to_vec()
    },
];

fn exchange(talk: Talk, request: u8, reply: u8) -> Vec<Sent> {
    let id = [0, 1, 0, 1];
    vec![
        talk.icmp(false, reply, id, &[0; 12]),
        talk.icmp(true, request, id, &[0; 12]),
        talk.icmp(true, request, [0, 1, 0, 2], &[0; 12]),
        talk.icmp(false, reply, id, &[0; 12]),
        talk.icmp(true, request, id, &[0; 12]),
        talk.icmp(false, reply, [0, 9, 0, 1], &[0; 12]),
        talk.icmp(false, request, id, &[0; 12]),
        talk.packet(
            false,
            if talk.v6 { 58 } else { 1 },
            &wire::icmp(reply, 1, id, &[0; 12]),
        ),
    ]
}

/// Errors about what is there and what is not.
const ERRORS: [Way; 7] = [
    |talk| {
        let udp = talk.udp(true);
        let errors = error_types(talk).iter();
        let errors = errors.map(|kind| talk.error(*kind, &udp, 1000));
        std::iter::once(udp.clone()).chain(errors).collect()
    },
    // About a reply.
    |talk| {
        let reply = talk.udp(false);
        let error = talk.error(error_types(talk)[0], &reply, 1000);
        vec![talk.udp(true), reply, error]
    },
    |talk| {
        let syn = talk.tcp(true, SYN, (100, 0));
        let error = talk.error(error_types(talk)[0], &syn, 1000);
        vec![syn, error, talk.tcp(false, SYN | ACK, (900, 101))]
    },
    |talk| {
        let request = if talk.v6 { 128 } else { 8 };
        let echo = talk.icmp(true, request, [0, 1, 0, 1], &[0; 12]);
        let error = talk.error(error_types(talk)[0], &echo, 1000);
        vec![echo, error]
    },
    // Quoted in part: the transport header to its eighth byte, and less.
    |talk| {
        let udp = talk.udp(true);
        let header = if talk.v6 { 40 } else { 20 };
        let errors = [8, 7, 4, 0, -1].map(|more| {
            let length = usize::try_from(header + more).unwrap_or(0);
            talk.error(error_types(talk)[0], &udp, length)
        });
        std::iter::once(udp.clone()).chain(errors).collect()
    },
    // To somebody else than the sender of what is quoted, and about an error.
    |talk| {
        let udp = talk.udp(true);
        let kind = error_types(talk)[0];
        let quoted = &udp.bytes[14..];
        let error = talk.error(kind, &udp, 1000);
        vec![
            udp.clone(),
            talk.icmp(true, kind, [0; 4], quoted),
            talk.error(kind, &error, 1000),
        ]
    },
    |talk| {
        let packet = talk.packet(true, 253, &[1; 12]);
        let error = talk.error(error_types(talk)[0], &packet, 1000);
        vec![packet, error]
    },
];

fn error_types(talk: Talk) -> &'static [u8] {
    if talk.v6 {
        &[1, 2, 3, 4, 100, 127]
    } else {
        &[3, 4, 5, 11, 12]
    }
}

/// Transport headers that are cut off.
const SHORT: [Way; 5] = [
    |talk| short(talk, 6, &wire::tcp(1000, 80, SYN, b""), &[19, 12, 4, 0]),
    |talk| short(talk, 17, &wire::udp(1000, 80, b""), &[7, 4, 0]),
    |talk| short(talk, 132, &wire::sctp(1000, 80), &[11, 8, 4, 0]),
    |talk| {
        let (protocol, request) = if talk.v6 { (58, 128) } else { (1, 8) };
        let echo = wire::icmp(request, 0, [0, 1, 0, 1], b"");
        short(talk, protocol, &echo, &[7, 4, 2, 0])
    },
    |talk| short(talk, 253, &[1; 4], &[4, 1, 0]),
];

fn short(talk: Talk, protocol: u8, payload: &[u8], lengths: &[usize]) -> Vec<Sent> {
    lengths
        .iter()
        .map(|length| talk.packet(true, protocol, &payload[..*length]))
        .collect()
}

/// Rules that show what a frame is: one state is dropped in both directions, or all is dropped but
/// what one side opens.
const PROBES: [&str; 6] = ["NEW", "ESTABLISHED", "RELATED", "INVALID", "out", "in"];

pub(super) fn batches() -> Vec<Batch> {
    let groups: [(&'static str, bool, &[Way]); 13] = [
        ("connections: TCP", false, &TCP),
        ("connections: TCP, IPv6", true, &TCP),
        ("connections: others", false, &OTHERS),
        ("connections: others, IPv6", true, &OTHERS),
        ("connections: ICMP", false, &ICMP),
        ("connections: ICMPv6", true, &ICMPV6),
        ("connections: errors", false, &ERRORS),
        ("connections: errors, IPv6", true, &ERRORS),
        ("connections: short headers", false, &SHORT),
        ("connections: short headers, IPv6", true, &SHORT),
        ("connections: fragments", false, &FRAGMENTS),
        ("connections: fragments, IPv6", true, &FRAGMENTS),
        ("connections: extension headers", true, &EXTENSIONS),
    ];
    groups
        .iter()
        .map(|(name, v6, ways)| Batch {
            tracked: true,
            ..Batch::new(name, rows(*v6, ways))
        })
        .collect()
}

fn rows(v6: bool, ways: &[Way]) -> Vec<Row> {
    let mut rows = Vec::new();
    for way in ways {
        for there in [Out, In] {
            for probe in PROBES {
                let ends = Ends(rows.len() as u16);
                rows.push(Row {
                    rules: probe_rules(probe, v6, ends),
                    frames: way(Talk { ends, there, v6 }),
                });
            }
        }
    }
    rows
}

fn probe_rules(probe: &str, v6: bool, ends: Ends) -> Vec<String> {
    use crate::compat::ends::Side::{Peer, Vm};
    let (element, own) = if v6 {
        ("all-ipv6", "srcipaddr='{sip6-0}' srcipmask='64'")
    } else {
        ("all", "srcipaddr='{sip0}' srcipmask='24'")
    };
    let rule = |action, direction, state: &str, source| {
        let rule = format!(
            "<rule action='{action}' direction='{direction}'><{element} {own} {state}/></rule>"
        );
        ends.fill(&rule, source)
    };
    match probe {
        "out" => vec![
            rule("accept", "out", "", Vm),
            rule("drop", "inout", "", Peer),
        ],
        "in" => vec![
            rule("accept", "in", "", Peer),
            rule("drop", "inout", "", Peer),
        ],
        state => {
            let state = format!("state='{state}'");
            vec![
                rule("drop", "out", &state, Vm),
                rule("drop", "in", &state, Peer),
            ]
        }
    }
}
