//! That the demonstration can tell the difference.

use std::cell::Cell;

use anyhow::Result;
use nwfilter_tests::{
    need::{self, Need},
    net::{Direction, NetNs},
};

use super::{
    backend::{Backend, Counter, Decision, Open},
    cases,
    network::{Network, Port},
};

const NEEDS: [Need; 3] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::File("/dev/net/tun"),
];

#[test]
fn a_frame_that_does_not_arrive_is_not_as_expected() {
    if !need::met(&NEEDS) {
        return;
    }
    let network = Network::new().unwrap();
    network.lan.host.ip("link set dev vm2 down").unwrap();
    let mut wrong = Vec::new();
    for case in cases::all(&network) {
        let outcome = cases::run(&case, &network, &mut Open, None).unwrap();
        assert!(outcome.expected, "{}", outcome.name);
        if !outcome.is_as_expected() {
            wrong.push(outcome.way[0].clone().0);
        }
    }
    assert_eq!(wrong[0], "vm1", "the ping to vm2");
    assert!(wrong.len() > 1);
    assert!(wrong[1..].iter().all(|port| port == "vm2"), "{wrong:?}");
}

/// Counts how often it was asked.
struct Counting(Cell<u64>);

impl Backend for Counting {
    fn bind(&mut self, _: &NetNs, _: &Port) -> Result<()> {
        Ok(())
    }

    fn counters(&self, _: &Port) -> Result<Vec<Counter>> {
        self.0.set(self.0.get() + 1);
        let counter = |rule: &str, packets| Counter {
            rule: rule.to_owned(),
            packets,
            bytes: packets * 60,
        };
        Ok(vec![
            counter("never", 7),
            counter("each time", 10 + self.0.get()),
        ])
    }

    fn explain(&mut self, port: &Port, direction: Direction, frame: &[u8]) -> Result<Decision> {
        Open.explain(port, direction, frame)
    }
}

#[test]
fn only_counters_that_moved_are_shown() {
    if !need::met(&NEEDS) {
        return;
    }
    let network = Network::new().unwrap();
    let case = cases::all(&network).pop().unwrap();
    let mut backend = Counting(0.into());
    let outcome = cases::run(&case, &network, &mut backend, Some(false)).unwrap();
    assert!(!outcome.is_as_expected());
    let moved = Counter {
        rule: "each time".to_owned(),
        packets: 1,
        bytes: 60,
    };
    assert_eq!(outcome.moved, [("vm2".to_owned(), moved)]);
}
