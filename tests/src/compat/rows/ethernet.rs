//! The Ethernet layer, element by element.

use super::{
    BOTH, DIRECTIONS, Tests,
    packets::{IP, IPV6, ip_frames, ipv6_frames},
    positive, rows, tests,
};
use crate::{
    compat::{
        Batch, Row,
        ends::{Ends, Side, sent},
    },
    frame::STP_GROUP,
    generate::Sent,
    wire::{self, Arp, Bpdu},
};

const MACS: [Tests; 4] = [
    tests("srcmacaddr='{smac1}'"),
    tests("srcmacaddr='{smac0}' srcmacmask='ff:ff:ff:ff:ff:fe'"),
    tests("dstmacaddr='{dmac1}'"),
    tests("dstmacaddr='{dmac0}' dstmacmask='ff:ff:ff:ff:ff:fe'"),
];

pub(super) fn batches() -> Vec<Batch> {
    vec![
        Batch::new("mac", all("mac", &MAC, other_frames)),
        Batch::new("vlan", all("vlan", &VLAN, vlan_frames)),
        Batch::new("stp", stp()),
        Batch::new("arp", all("arp", &ARP, |ends| arp_frames(ends, 0x0806))),
        Batch::new("rarp", all("rarp", &ARP, |ends| arp_frames(ends, 0x8035))),
        Batch::new("ip", all("ip", &IP, ip_frames)),
        Batch::new("ipv6", all("ipv6", &IPV6, ipv6_frames)),
    ]
}

fn all(element: &str, tests: &[Tests], frames: impl Fn(Ends) -> Vec<Sent>) -> Vec<Row> {
    let tests: Vec<Tests> = MACS.iter().chain(tests).copied().collect();
    rows(element, &tests, &DIRECTIONS, own, |ends| {
        let mut frames = frames(ends);
        // The first frame each way, from and to others.
        for direction in BOTH {
            let first = frames.iter().find(|frame| frame.direction == direction);
            let Some(first) = first.cloned() else {
                continue;
            };
            let from = Side::source(direction);
            for (at, mac) in [(6, ends.mac(from, 2)), (0, ends.mac(from.other(), 2))] {
                let mut bytes = first.bytes.clone();
                bytes[at..at + 6].copy_from_slice(&mac.0);
                frames.push(sent(direction, bytes));
            }
        }
        frames
    })
}

/// A MAC address of the row, one that is not in question.
fn own(tests: &Tests) -> &'static str {
    if tests.tested.contains("srcmac") {
        "dstmacaddr='{dmac1}'"
    } else {
        "srcmacaddr='{smac1}'"
    }
}

const MAC: [Tests; 8] = [
    tests("protocolid='0x1234'"),
    tests("protocolid='2048'"),
    tests("protocolid='ipv4'"),
    tests("protocolid='IPv6'"),
    tests("protocolid='arp'"),
    tests("protocolid='rarp'"),
    tests("protocolid='vlan'"),
    positive("comment='&lt;a comment&gt;'"),
];

/// One frame of every kind.
pub(super) fn other_frames(ends: Ends) -> Vec<Sent> {
    let mut frames = Vec::new();
    for direction in BOTH {
        for ethertype in [0x0800, 0x86dd, 0x0806, 0x8035] {
            let first = match ethertype {
                0x0800 => ip_frames(ends),
                0x86dd => ipv6_frames(ends),
                ethertype => arp_frames(ends, ethertype),
            };
            frames.extend(first.into_iter().find(|frame| frame.direction == direction));
        }
        for ethertype in [0x1234, 0x0600, 0x0835] {
            frames.push(ends.frame(direction, ethertype, &[7; 46]));
        }
        // 802.3
        frames.push(ends.frame(direction, 46, &[0xaa; 46]));
        frames.push(tagged(&ends.frame(direction, 0x0806, &[0; 46]), 0x8100, 5));
    }
    frames
}

pub(super) fn tagged(frame: &Sent, kind: u16, control: u16) -> Sent {
    sent(frame.direction, wire::tagged(&frame.bytes, kind, control))
}

const VLAN: [Tests; 8] = [
    tests("vlanid='5'"),
    tests("vlanid='0'"),
    tests("vlanid='0xffe'"),
    // Fact 10: ebtables reads the decimal number that libvirt writes as hexadecimal.
    tests("encap-protocol='arp'"),
    tests("encap-protocol='2054'"),
    tests("encap-protocol='806'"),
    tests("encap-protocol='0x806'"),
    positive("comment='tags'"),
];

pub(super) fn vlan_frames(ends: Ends) -> Vec<Sent> {
    let mut frames = Vec::new();
    for direction in BOTH {
        let arp = ends.frame(direction, 0x0806, &[0; 46]);
        let odd = ends.frame(direction, 0x2054, &[0; 46]);
        for control in [5, 0, 4094, 0xe005, 6] {
            frames.push(tagged(&arp, 0x8100, control));
        }
        frames.push(tagged(&odd, 0x8100, 5));
        frames.push(tagged(&ends.frame(direction, 0x0806, &[0; 46]), 0x88a8, 5));
        frames.push(tagged(&tagged(&arp, 0x8100, 5), 0x8100, 6));
        frames.push(arp);
    }
    frames
}

const STP: [Tests; 22] = [
    positive("srcmacaddr='{smac1}'"),
    positive("srcmacaddr='{smac0}' srcmacmask='ff:ff:ff:ff:ff:fe'"),
    tests("type='0'"),
    tests("type='2'"),
    tests("flags='1'"),
    tests("flags='0'"),
    tests("root-priority='0x8000'"),
    tests("root-priority='1' root-priority-hi='0x8000'"),
    tests("root-address='{smac2}'"),
    tests("root-address='{smac2}' root-address-mask='ff:ff:ff:ff:ff:00'"),
    tests("root-cost='4'"),
    tests("root-cost='4' root-cost-hi='0x10000'"),
    tests("sender-priority='7'"),
    tests("sender-priority='7' sender-priority-hi='0x8000'"),
    tests("sender-address='{smac3}'"),
    tests("sender-address='{smac3}' sender-address-mask='ff:ff:ff:00:00:00'"),
    tests("port='0x8001' port-hi='0x8002'"),
    tests("age='256' age-hi='512'"),
    tests("max-age='5120' max-age-hi='6000'"),
    tests("hello-time='512' hello-time-hi='600'"),
    tests("forward-delay='3840' forward-delay-hi='4000'"),
    positive("comment='trees'"),
];

/// `inout` cannot have a source address, which is what keeps a rule to its row.
fn stp() -> Vec<Row> {
    rows("stp", &STP, &DIRECTIONS[..2], stp_own, stp_frames)
}

fn stp_own(tests: &Tests) -> &'static str {
    if tests.tested.contains("srcmac") {
        ""
    } else {
        "srcmacaddr='{smac1}'"
    }
}

fn stp_frames(ends: Ends) -> Vec<Sent> {
    let mut frames = Vec::new();
    for direction in BOTH {
        let source = Side::source(direction);
        let base = Bpdu {
            kind: 0,
            flags: 1,
            root: (0x8000, ends.mac(source, 2)),
            root_cost: 4,
            sender: (7, ends.mac(source, 3)),
            port: 0x8001,
            timers: [256, 5120, 512, 3840],
        };
        let others = [
            base.clone(),
            Bpdu {
                kind: 2,
                flags: 0,
                ..base.clone()
            },
            Bpdu {
                kind: 128,
                ..base.clone()
            },
            Bpdu {
                flags: 0,
                root: (0x8001, ends.mac(source, 4)),
                root_cost: 0x1_0001,
                sender: (8, ends.mac(source, 2)),
                port: 0x8003,
                timers: [513, 6001, 601, 4001],
                ..base
            },
            Bpdu::default(),
        ];
        let frame = |payload: &[u8]| {
            let source = ends.mac(source, 1);
            sent(
                direction,
                wire::ethernet(STP_GROUP, source, payload.len() as u16, payload),
            )
        };
        frames.extend(others.iter().map(|bpdu| frame(&bpdu.bytes())));
        // In a tag, no BPDU at all, and to somebody else.
        frames.push(tagged(&frame(&others[0].bytes()), 0x8100, 5));
        frames.push(frame(&[0xaa; 46]));
        frames.push(ends.frame(direction, 38, &others[0].bytes()));
    }
    frames
}

const ARP: [Tests; 17] = [
    tests("hwtype='1'"),
    tests("hwtype='6'"),
    tests("protocoltype='0x800'"),
    tests("protocoltype='34525'"),
    tests("opcode='1'"),
    tests("opcode='reply'"),
    tests("opcode='Request_Reverse'"),
    tests("arpsrcmacaddr='{smac1}'"),
    tests("arpdstmacaddr='{dmac1}'"),
    tests("arpsrcipaddr='{sip1}'"),
    tests("arpsrcipaddr='{sip0}' arpsrcipmask='31'"),
    tests("arpdstipaddr='{dip1}'"),
    tests("arpdstipaddr='{dip0}' arpdstipmask='255.255.255.254'"),
    // The target's mask, where there is none, is the sender's.
    tests("arpsrcipaddr='{sip0}' arpsrcipmask='30' arpdstipaddr='{dip0}'"),
    tests("gratuitous='true'"),
    tests("gratuitous='false'"),
    positive("comment='who has'"),
];

pub(super) fn arp_frames(ends: Ends, ethertype: u16) -> Vec<Sent> {
    let mut frames = Vec::new();
    for direction in BOTH {
        let source = Side::source(direction);
        let base = Arp {
            sender_mac: ends.mac(source, 1),
            sender_ip: ends.v4(source, 1),
            target_mac: ends.mac(source.other(), 1),
            target_ip: ends.v4(source.other(), 1),
            ..Arp::default()
        };
        let others = [
            base.clone(),
            Arp {
                opcode: 2,
                ..base.clone()
            },
            Arp {
                opcode: 3,
                sender_mac: ends.mac(source, 2),
                target_mac: ends.mac(source.other(), 2),
                ..base.clone()
            },
            Arp {
                sender_ip: ends.v4(source, 2),
                target_ip: ends.v4(source.other(), 2),
                ..base.clone()
            },
            Arp {
                sender_ip: ends.v4(source, 9),
                ..base.clone()
            },
            Arp {
                sender_ip: ends.v4(source, 9),
                target_ip: ends.v4(source.other(), 9),
                ..base.clone()
            },
            // Gratuitous.
            Arp {
                target_ip: ends.v4(source, 1),
                ..base.clone()
            },
            Arp {
                hardware: 6,
                ..base.clone()
            },
            Arp {
                protocol: 0x86dd,
                ..base.clone()
            },
            Arp {
                lengths: (6, 16),
                ..base.clone()
            },
        ];
        for arp in &others {
            let padded = [arp.bytes(), vec![0; 18]].concat();
            frames.push(ends.frame(direction, ethertype, &padded));
        }
        // Cut off, of the other kind, and tagged.
        frames.push(ends.frame(direction, ethertype, &base.bytes()[..20]));
        frames.push(ends.frame(direction, ethertype ^ 0x0806 ^ 0x8035, &base.bytes()));
        frames.push(tagged(
            &ends.frame(direction, ethertype, &base.bytes()),
            0x8100,
            5,
        ));
    }
    frames
}
