//! What a port may store: quotas, the sweep, flushes, settings.

use super::{
    In, Out, Rig, SECOND,
    frames::{ACK, PEER, SYN, VM, tcp, udp},
};
use crate::ct::{Tables as _, TrackingCounter};
use crate::{CtState, Timeout};
use CtState::{EstablishedOriginal, EstablishedReply, Invalid, New};

fn counters(rig: &Rig, port: u32) -> [u64; 4] {
    [
        TrackingCounter::Entries,
        TrackingCounter::Created,
        TrackingCounter::OverQuota,
        TrackingCounter::TableFull,
    ]
    .map(|counter| rig.tables.counter(port, counter))
}

#[test]
fn over_its_quota_a_port_gets_no_answers() {
    let mut rig = Rig::new();
    rig.record.quota = 2;
    for port in 1..=2 {
        rig.expect(&[(Out, &udp(VM, port, PEER, 53), New)]);
    }
    rig.expect(&[
        (Out, &udp(VM, 3, PEER, 53), New),
        (In, &udp(PEER, 53, VM, 3), New),
        (In, &udp(PEER, 53, VM, 2), EstablishedReply),
    ]);
    assert_eq!(counters(&rig, 7), [2, 2, 2, 0]);
    // The neighbour has its own share.
    rig.port = 8;
    rig.expect(&[
        (Out, &udp(VM, 3, PEER, 53), New),
        (In, &udp(PEER, 53, VM, 3), EstablishedReply),
    ]);
    assert_eq!(counters(&rig, 8), [1, 1, 0, 0]);
    // Room again when the sweep has removed what has expired.
    rig.port = 7;
    rig.tables.pass(31 * SECOND);
    rig.tables.sweep(&rig.record);
    assert_eq!(counters(&rig, 7), [0, 2, 2, 0]);
    assert_eq!(rig.tables.counter(7, TrackingCounter::Expired), 2);
    rig.expect(&[
        (Out, &udp(VM, 3, PEER, 53), New),
        (In, &udp(PEER, 53, VM, 3), EstablishedReply),
    ]);
}

#[test]
fn an_expired_connection_is_taken_over() {
    let mut rig = Rig::new();
    rig.record.quota = 1;
    rig.expect(&[(Out, &udp(VM, 1, PEER, 53), New)]);
    rig.tables.pass(30 * SECOND);
    // From the other side, and with the quota used up.
    rig.expect(&[
        (In, &udp(PEER, 53, VM, 1), New),
        (Out, &udp(VM, 1, PEER, 53), EstablishedReply),
    ]);
    assert_eq!(counters(&rig, 7), [1, 2, 0, 0]);
}

#[test]
fn a_full_table_is_like_a_quota() {
    let mut rig = Rig::new();
    rig.tables.capacity.set(Some(1));
    rig.expect(&[
        (Out, &udp(VM, 1, PEER, 53), New),
        (Out, &udp(VM, 2, PEER, 53), New),
        (In, &udp(PEER, 53, VM, 2), New),
    ]);
    assert_eq!(counters(&rig, 7), [1, 1, 0, 2]);
}

#[test]
fn close_to_the_quota_half_open_connections_go_first() {
    let mut rig = Rig::new();
    rig.record.quota = 4;
    rig.expect(&[
        (In, &tcp(PEER, 1, VM, 80, SYN), New),
        (In, &tcp(PEER, 2, VM, 80, SYN), New),
        (Out, &tcp(VM, 80, PEER, 2, SYN | ACK), EstablishedReply),
        (In, &tcp(PEER, 3, VM, 80, SYN), New),
        (Out, &tcp(VM, 80, PEER, 3, SYN | ACK), EstablishedReply),
        (In, &tcp(PEER, 3, VM, 80, ACK), EstablishedOriginal),
    ]);
    rig.tables.pass(5 * SECOND);
    rig.tables.sweep(&rig.record);
    assert_eq!(rig.tables.connections().len(), 3, "not old enough");
    rig.tables.pass(1);
    rig.tables.sweep(&rig.record);
    let left = rig.tables.connections();
    assert!(left.iter().any(|(key, _)| key.ports.contains(&3)));
    assert_eq!(
        rig.tables.counter(7, TrackingCounter::Evicted),
        1,
        "then below the mark"
    );
    // Far from the quota they stay.
    rig.record.quota = 0;
    rig.tables.sweep(&rig.record);
    assert_eq!(rig.tables.connections().len(), 2);
}

#[test]
fn a_flush_takes_effect_at_once() {
    let mut rig = Rig::new();
    rig.expect(&[(Out, &udp(VM, 1, PEER, 53), New)]);
    rig.tables.pass(1);
    rig.record.since = rig.tables.clock.get();
    rig.expect(&[(In, &udp(PEER, 53, VM, 1), New)]);
    rig.expect(&[(Out, &udp(VM, 1, PEER, 53), EstablishedReply)]);
    assert_eq!(rig.tables.connections().len(), 1);
}

#[test]
fn timeouts_can_be_set() {
    let mut rig = Rig::new();
    let mut timeouts = rig.tables.timeouts.get();
    timeouts[Timeout::Udp as usize] = 5;
    rig.tables.timeouts.set(timeouts);
    rig.expect(&[
        (Out, &udp(VM, 1, PEER, 53), New),
        (Out, &tcp(VM, 1, PEER, 53, SYN), New),
    ]);
    rig.tables.pass(5 * SECOND);
    rig.expect(&[
        (In, &udp(PEER, 53, VM, 1), New),
        (In, &tcp(PEER, 53, VM, 1, SYN | ACK), EstablishedReply),
    ]);
    rig.tables.pass(60 * SECOND);
    rig.expect(&[(In, &tcp(PEER, 53, VM, 1, SYN | ACK), Invalid)]);
}
