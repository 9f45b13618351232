//! Address sets: `ipset` with `ipsetflags`, which libvirt keeps on `all` and `all-ipv6` only.

use std::net::IpAddr;

use super::{BOTH, DIRECTIONS, Ends, Side, Tests, beside, positive, rows, tests};
use crate::{
    compat::Batch,
    generate::Sent,
    wire::{self, Ipv4, Ipv6},
};

/// Both sets hold the first address of the VM's side and the second one of the peer's, of each row.
const ROWS: u16 = 64;

const V4: [Tests; 6] = [
    tests("ipset='set-v4' ipsetflags='src'"),
    tests("ipset='set-v4' ipsetflags='dst'"),
    tests("ipset='set-v4' ipsetflags='src,dst'"),
    tests("ipset='set-v4' ipsetflags='DST,src'"),
    beside("dstipaddr='{dip1}'", "ipset='set-v4' ipsetflags='src'"),
    // Ignored without flags.
    positive("ipset='set-v4'"),
];

const V6: [Tests; 3] = [
    tests("ipset='set-v6' ipsetflags='src'"),
    tests("ipset='set-v6' ipsetflags='dst'"),
    positive("ipset='set-v6'"),
];

/// Lost.
const OF_UDP: [Tests; 1] = [tests("ipset='set-v4' ipsetflags='src'")];

pub(super) fn batches() -> Vec<Batch> {
    let own_v4 = |tests: &Tests| match tests.fixed {
        "" => "srcipaddr='{sip0}' srcipmask='24'",
        _ => "",
    };
    let own_v6 = |_: &Tests| "srcipaddr='{sip6-0}' srcipmask='64'";
    let members = |address: fn(Ends, Side, u8) -> IpAddr| {
        (0..ROWS)
            .flat_map(|row| {
                [
                    address(Ends(row), Side::Vm, 1),
                    address(Ends(row), Side::Peer, 2),
                ]
            })
            .collect()
    };
    let mut all = rows("all", &V4, &DIRECTIONS, own_v4, frames);
    // Their addresses go on where those of the others end.
    let first = all.len();
    let filler = vec![positive(""); first / DIRECTIONS.len()];
    let udp: Vec<Tests> = filler.iter().chain(&OF_UDP).copied().collect();
    all.extend(rows("udp", &udp, &DIRECTIONS, own_v4, frames).split_off(first));
    vec![
        Batch {
            sets: vec![(
                "set-v4",
                members(|ends, side, host| IpAddr::V4(ends.v4(side, host))),
            )],
            ..Batch::new("address sets", all)
        },
        Batch {
            sets: vec![(
                "set-v6",
                members(|ends, side, host| IpAddr::V6(ends.v6(side, host))),
            )],
            ..Batch::new(
                "address sets, IPv6",
                rows("all-ipv6", &V6, &DIRECTIONS, own_v6, frames),
            )
        },
    ]
}

/// From and to members and others.
fn frames(ends: Ends) -> Vec<Sent> {
    let mut frames = Vec::new();
    let udp = wire::udp(1000, 80, b"datagram");
    for direction in BOTH {
        let source = Side::source(direction);
        for (from, to) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let v4 = Ipv4 {
                source: ends.v4(source, from),
                destination: ends.v4(source.other(), to),
                ..ends.header_v4(direction, 17)
            };
            let v6 = Ipv6 {
                source: ends.v6(source, from),
                destination: ends.v6(source.other(), to),
                ..ends.header_v6(direction, 17)
            };
            frames.push(ends.frame(direction, 0x0800, &v4.packet(&udp)));
            frames.push(ends.frame(direction, 0x86dd, &v6.packet(&udp)));
        }
    }
    frames
}
