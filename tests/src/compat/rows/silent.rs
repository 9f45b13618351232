//! Rules that the semantics reference says little about.

use super::{BOTH, Ends, Row, Side, packets};
use crate::{
    compat::Batch,
    generate::Sent,
    wire::{self, Arp},
};

/// The frames of a row.
type Frames = fn(Ends) -> Vec<Sent>;

/// Rules from the VM's side, each with the frames of its kind.
const RULES: [(&str, Frames); 9] = [
    // `statematch='false'` makes `state` vanish.
    (
        "<rule action='drop' direction='out' statematch='false'>\
         <udp srcipaddr='{sip1}' state='ESTABLISHED'/></rule>",
        datagrams,
    ),
    (
        "<rule action='drop' direction='in' statematch='false'>\
         <udp dstipaddr='{sip1}' state='NEW'/></rule>",
        datagrams,
    ),
    // So does the sign of `state`.
    (
        "<rule action='drop' direction='out'><udp srcipaddr='{sip1}'/>\
         <udp match='no' state='NEW'/></rule>",
        datagrams,
    ),
    (
        "<rule action='drop' direction='inout'><udp srcmacaddr='{dmac1}' state='NEW'/></rule>",
        datagrams,
    ),
    (
        "<rule action='drop' direction='inout'><udp srcmacaddr='{dmac1}' comment='x'/></rule>",
        datagrams,
    ),
    (
        "<rule action='accept' direction='out'><udp srcmacaddr='{smac1}'/></rule>\
         <rule action='drop' direction='inout'><udp srcipaddr='{dip1}'/></rule>",
        datagrams,
    ),
    (
        "<rule action='drop' direction='out'><arp arpsrcmacaddr='{smac1}'/></rule>",
        odd_arp,
    ),
    (
        "<rule action='drop' direction='out'><arp srcmacaddr='{smac1}'/>\
         <arp match='no' arpsrcipaddr='1.0.0.0'/></rule>",
        odd_arp,
    ),
    (
        "<rule action='drop' direction='out'><tcp-ipv6 srcipaddr='{sip6-1}'/></rule>",
        packets::ipv6_frames,
    ),
];

pub(super) fn batches() -> Vec<Batch> {
    let rows = RULES.iter().enumerate().map(|(number, (rule, frames))| {
        let ends = Ends(number as u16);
        let rules = ends
            .fill(rule, Side::Vm)
            .replace("</rule><rule", "</rule>\n<rule");
        Row {
            rules: rules.lines().map(ToOwned::to_owned).collect(),
            frames: frames(ends),
        }
    });
    vec![Batch {
        tracked: true,
        ..Batch::new("where the reference is silent", rows.collect())
    }]
}

/// A datagram, its answer and another, from either side.
fn datagrams(ends: Ends) -> Vec<Sent> {
    let mut frames = Vec::new();
    for (number, there) in BOTH.into_iter().enumerate() {
        let back = BOTH[1 - number];
        let port = 1000 + number as u16;
        let question = ends.packet_v4(there, 17, &wire::udp(port, 80, b"question"));
        frames.push(question.clone());
        frames.push(ends.packet_v4(back, 17, &wire::udp(80, port, b"answer")));
        frames.push(question);
    }
    frames
}

/// ARP of other lengths and another hardware type, with much padding.
fn odd_arp(ends: Ends) -> Vec<Sent> {
    let mut frames = Vec::new();
    for direction in BOTH {
        let side = Side::source(direction);
        for (lengths, hardware) in [((6, 4), 1), ((8, 4), 1), ((6, 4), 6), ((6, 16), 1)] {
            let arp = Arp {
                lengths,
                hardware,
                sender_mac: ends.mac(side, 1),
                ..Arp::default()
            };
            let padded = [arp.bytes(), vec![0; 40]].concat();
            frames.push(ends.frame(direction, 0x0806, &padded));
        }
    }
    frames
}
