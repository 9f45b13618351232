//! The whole matrix of 4.6: every action, direction, `statematch` and list of states, for rules with
//! nothing more, with an ICMP type and with a connection limit, in both families. The frames of a row
//! are in every state that there is.

use super::{BOTH, Ends, Row, Side};
use crate::{
    compat::{Batch, ends::sent},
    generate::Sent,
    judge::FrameDirection::{In, Out},
    peer::Host,
    wire,
};

const ACTIONS: [&str; 4] = ["accept", "return", "drop", "reject"];
const DIRECTIONS: [(&str, Side); 3] =
    [("out", Side::Vm), ("in", Side::Peer), ("inout", Side::Peer)];
const STATEMATCH: [&str; 2] = ["", " statematch='false'"];
const STATES: [&str; 9] = [
    "",
    "state='NEW'",
    "state='ESTABLISHED'",
    "state='RELATED'",
    "state='INVALID'",
    "state='NEW,ESTABLISHED'",
    "state='ESTABLISHED, related'",
    "state='NEW,ESTABLISHED,RELATED,INVALID'",
    "state='NONE'",
];

/// A kind of rule, and the frames that tell its cells apart.
struct Kind {
    name: &'static str,
    element: &'static str,
    attributes: &'static str,
    v6: bool,
    frames: fn(Ends, bool) -> Vec<Sent>,
}

impl Kind {
    /// Whether to ask about these states. Limits take long, and have little to do with states.
    fn tells(&self, states: &str) -> bool {
        let few = ["", "state='NEW'", "state='ESTABLISHED'", "state='NONE'"];
        let all = !self.has_limit() && !self.name.ends_with("host");
        all || few.contains(&states)
    }

    fn has_limit(&self) -> bool {
        self.attributes.contains("connlimit")
    }
}

const fn kind(
    name: &'static str,
    element: &'static str,
    attributes: &'static str,
    frames: fn(Ends, bool) -> Vec<Sent>,
) -> Kind {
    Kind {
        name,
        element,
        attributes,
        v6: false,
        frames,
    }
}

const fn kind_v6(
    name: &'static str,
    element: &'static str,
    attributes: &'static str,
    frames: fn(Ends, bool) -> Vec<Sent>,
) -> Kind {
    Kind {
        v6: true,
        ..kind(name, element, attributes, frames)
    }
}

const KINDS: [Kind; 10] = [
    kind("matrix: udp", "udp", "dstportstart='80'", datagrams),
    kind("matrix: all", "all", "", datagrams),
    kind("matrix: icmp with type", "icmp", "type='8'", echoes),
    kind("matrix: icmp without type", "icmp", "", echoes),
    kind(
        "matrix: connlimit-above",
        "udp",
        "connlimit-above='1'",
        crowds,
    ),
    kind_v6(
        "matrix: udp-ipv6",
        "udp-ipv6",
        "dstportstart='80'",
        datagrams,
    ),
    kind_v6("matrix: all-ipv6", "all-ipv6", "", datagrams),
    kind_v6("matrix: icmpv6 with type", "icmpv6", "type='128'", echoes),
    kind_v6("matrix: icmpv6 without type", "icmpv6", "", echoes),
    kind_v6(
        "matrix: connlimit-above, IPv6",
        "udp-ipv6",
        "connlimit-above='1'",
        crowds,
    ),
];

/// What leaves the VM for the host itself (the list HI), as [`KINDS`].
const HOST: [Kind; 3] = [
    kind(
        "matrix: udp to the host",
        "udp",
        "dstportstart='80'",
        to_host,
    ),
    kind("matrix: all to the host", "all", "", to_host),
    kind(
        "matrix: icmp with type to the host",
        "icmp",
        "type='8'",
        to_host,
    ),
];

/// For each kind one batch of rules that pass, with everything else dropped, and one of rules that
/// stop, with everything else passed.
pub(super) fn batches() -> Vec<Batch> {
    let mut batches = Vec::new();
    for (kind, host) in KINDS
        .iter()
        .map(|kind| (kind, false))
        .chain(HOST.iter().map(|kind| (kind, true)))
    {
        for (actions, last) in [
            (
                &ACTIONS[..2],
                "<rule action='drop' direction='inout' priority='1000'><all/></rule>\n\
                 <rule action='drop' direction='inout' priority='1000'><all-ipv6/></rule>\n",
            ),
            (
                &ACTIONS[2..],
                // Has the kernel track connections whatever the rules are.
                "<rule action='drop' direction='out'>\
                 <udp srcipaddr='192.0.2.1' state='NEW'/></rule>\n\
                 <rule action='drop' direction='out'>\
                 <udp-ipv6 srcipaddr='2001:db8::1' state='NEW'/></rule>\n",
            ),
        ] {
            batches.push(Batch {
                last: last.to_owned(),
                tracked: true,
                host,
                ticks: kind.has_limit(),
                ..Batch::new(kind.name, rows(kind, actions))
            });
        }
    }
    batches
}

fn rows(kind: &Kind, actions: &[&str]) -> Vec<Row> {
    let own = if kind.v6 {
        "srcipaddr='{sip6-0}' srcipmask='64'"
    } else {
        "srcipaddr='{sip0}' srcipmask='24'"
    };
    let mut rows = Vec::new();
    for action in actions {
        for (direction, source) in DIRECTIONS {
            for statematch in STATEMATCH {
                for states in STATES.iter().filter(|states| kind.tells(states)) {
                    let ends = Ends(rows.len() as u16);
                    let Kind {
                        element,
                        attributes,
                        ..
                    } = kind;
                    let rule = format!(
                        "<rule action='{action}' direction='{direction}'{statematch}>\
                         <{element} {own} {attributes} {states}/></rule>"
                    );
                    rows.push(Row {
                        rules: vec![ends.fill(&rule, source)],
                        frames: (kind.frames)(ends, kind.v6),
                    });
                }
            }
        }
    }
    rows
}

fn packet(
    ends: Ends,
    v6: bool,
    direction: crate::judge::FrameDirection,
    protocol: u8,
    payload: &[u8],
) -> Sent {
    if v6 {
        ends.packet_v6(direction, protocol, payload)
    } else {
        ends.packet_v4(direction, protocol, payload)
    }
}

fn icmp_number(v6: bool) -> u8 {
    if v6 { 58 } else { 1 }
}

/// An error about an earlier frame, from its receiver back to its sender.
pub(super) fn complaint(ends: Ends, v6: bool, about: &Sent) -> Sent {
    let quoted = &about.bytes[14..];
    let (error, most) = if v6 { ((1, 4), 56) } else { ((3, 3), 28) };
    let quoted = &quoted[..quoted.len().min(most)];
    let icmp = wire::icmp(error.0, error.1, [0; 4], quoted);
    let direction = if about.direction == In { Out } else { In };
    packet(ends, v6, direction, icmp_number(v6), &icmp)
}

/// Datagrams that open, answer, go on and fail, first from the VM, then to it, to ports that rules
/// test and to others; something invalid.
fn datagrams(ends: Ends, v6: bool) -> Vec<Sent> {
    let mut frames = Vec::new();
    for (there, back, own) in [(Out, In, 1000), (In, Out, 2000)] {
        let udp = |direction, from, to| {
            packet(ends, v6, direction, 17, &wire::udp(from, to, b"datagram"))
        };
        for (from, to) in [(own, 80), (80, own + 1), (own + 2, 81)] {
            frames.push(udp(there, from, to));
            frames.push(udp(back, to, from));
            frames.push(udp(there, from, to));
            frames.push(complaint(ends, v6, &udp(there, from, to)));
        }
        // A reply to nothing that is known opens a connection of its own.
        frames.push(udp(back, 80, own + 4));
        frames.push(udp(there, own + 4, 80));
        // An error about nothing is invalid.
        frames.push(complaint(ends, v6, &udp(there, own + 5, 80)));
    }
    frames
}

/// Echo requests and replies, other messages, errors.
fn echoes(ends: Ends, v6: bool) -> Vec<Sent> {
    let (request, reply) = if v6 { (128, 129) } else { (8, 0) };
    let mut frames = Vec::new();
    for (there, back, id) in [(Out, In, 1), (In, Out, 2)] {
        let icmp = |direction, kind, id| {
            let message = wire::icmp(kind, 0, [0, id, 0, 1], b"echo");
            packet(ends, v6, direction, icmp_number(v6), &message)
        };
        frames.push(icmp(there, request, id));
        frames.push(icmp(back, reply, id));
        frames.push(icmp(there, request, id));
        frames.push(complaint(ends, v6, &icmp(there, request, id)));
        // A reply to nothing.
        frames.push(icmp(back, reply, id + 7));
        let udp = packet(
            ends,
            v6,
            there,
            17,
            &wire::udp(1000, id.into(), b"datagram"),
        );
        let error = complaint(ends, v6, &udp);
        frames.push(udp);
        frames.push(error);
    }
    frames
}

/// More connections of a source than the limit, from either side, and another source.
fn crowds(ends: Ends, v6: bool) -> Vec<Sent> {
    let mut frames = Vec::new();
    for direction in BOTH {
        let udp = |from, to| packet(ends, v6, direction, 17, &wire::udp(from, to, b"datagram"));
        for port in [1, 2, 3, 1] {
            frames.push(udp(port, 80));
        }
        let mut other = udp(9, 80).bytes;
        let source = Side::source(direction);
        let header = if v6 {
            wire::Ipv6 {
                source: ends.v6(source, 2),
                ..ends.header_v6(direction, 17)
            }
            .packet(&wire::udp(9, 80, b"datagram"))
        } else {
            wire::Ipv4 {
                source: ends.v4(source, 2),
                ..ends.header_v4(direction, 17)
            }
            .packet(&wire::udp(9, 80, b"datagram"))
        };
        other.truncate(14);
        other.extend(header);
        frames.push(sent(direction, other));
        // The answer to the first.
        let back = if direction == In { Out } else { In };
        frames.push(packet(ends, v6, back, 17, &wire::udp(80, 1, b"datagram")));
        frames.push(udp(1, 80));
    }
    frames
}

/// Datagrams to the host with an answer in between, and pings.
fn to_host(ends: Ends, _: bool) -> Vec<Sent> {
    let mut frames = Vec::new();
    for port in [80, 81] {
        let datagram = ends.packet_v4(Out, 17, &wire::udp(1000, port, b"datagram"));
        let answer = ends.packet_v4(In, 17, &wire::udp(port, 1000, b"answer"));
        frames.extend([datagram.clone(), answer, datagram]);
    }
    // From the port that rules test the other way round.
    for (from, to) in [(80, 1000), (80, 1001)] {
        frames.push(ends.packet_v4(Out, 17, &wire::udp(from, to, b"datagram")));
    }
    for kind in [8, 13, 0] {
        frames.push(ends.packet_v4(Out, 1, &wire::icmp(kind, 0, [0, 1, 0, 1], &[0; 12])));
    }
    for sent in frames.iter_mut().filter(|sent| sent.direction == Out) {
        sent.bytes[..6].copy_from_slice(&Host::MAC.0);
    }
    frames
}
