//! Tests of the judge: rules by hand against frames by hand.

mod chains;
mod clean_traffic;
mod connections;
mod ethernet;
mod inet;
mod matrix;
mod missing;

use std::{net::Ipv4Addr, sync::Arc};

use nwfilter_common::MacAddr;
use nwfilter_ctl::{
    model::{Action, Attr, Datum, Direction, Layer, Protocol, Semantics},
    resolve::{Instance, Origin, Test, VariableElement},
};

use super::{Cause, Decision, FrameDirection, Judge, Verdict};
use crate::wire;

const VM: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const PEER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
const BOTH: [Semantics; 2] = [Semantics::Strict, Semantics::Libvirt];
const SECOND: u64 = 1_000_000_000;

/// A rule in root with priority 500; its number is the line and the index in its filter.
fn rule(number: u32, action: Action, direction: Direction, protocol: Protocol) -> Instance {
    Instance {
        origin: Origin {
            filter: Arc::from("test"),
            rule: number,
            line: number,
        },
        chain: Arc::from("root"),
        chain_priority: 0,
        priority: 500,
        action,
        direction,
        statematch: true,
        protocol,
        tests: Vec::new(),
    }
}

/// Short ways to change a rule.
trait Change {
    fn chain(self, name: &str, priority: i32) -> Self;
    fn priority(self, priority: i32) -> Self;
    fn with(self, attr: Attr, value: impl Into<Value>) -> Self;
    fn without(self, attr: Attr, value: impl Into<Value>) -> Self;
    fn stateless(self) -> Self;
    /// The last test's value came from a variable.
    fn variable(self) -> Self;
    /// Turns the sign of every test, except a `protocol` that stands beside others.
    fn negated(self) -> Self;
}

impl Change for Instance {
    fn chain(mut self, name: &str, priority: i32) -> Self {
        self.chain = Arc::from(name);
        self.chain_priority = priority;
        self
    }

    fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    fn with(mut self, attr: Attr, value: impl Into<Value>) -> Self {
        let Value(values) = value.into();
        self.tests.push(Test {
            attr,
            negated: false,
            values,
            variable: None,
        });
        self
    }

    fn without(mut self, attr: Attr, value: impl Into<Value>) -> Self {
        let Value(values) = value.into();
        self.tests.push(Test {
            attr,
            negated: true,
            values,
            variable: None,
        });
        self
    }

    fn stateless(mut self) -> Self {
        self.statematch = false;
        self
    }

    fn variable(mut self) -> Self {
        let last = self.tests.last_mut().unwrap();
        last.variable = Some(VariableElement {
            name: Arc::from("V"),
            index: 0,
        });
        self
    }

    fn negated(mut self) -> Self {
        let alone = self.tests.len() == 1;
        for test in self
            .tests
            .iter_mut()
            .filter(|test| alone || test.attr != Attr::IpProtocol)
        {
            test.negated = !test.negated;
        }
        self
    }
}

struct Value(Vec<Datum>);

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self(vec![Datum::Number(number)])
    }
}

impl From<&[u32]> for Value {
    fn from(numbers: &[u32]) -> Self {
        Self(numbers.iter().copied().map(Datum::Number).collect())
    }
}

impl From<MacAddr> for Value {
    fn from(address: MacAddr) -> Self {
        Self(vec![Datum::Mac(address)])
    }
}

impl From<Datum> for Value {
    fn from(value: Datum) -> Self {
        Self(vec![value])
    }
}

/// An address, IPv4 or IPv6.
impl From<&str> for Value {
    fn from(address: &str) -> Self {
        Self(vec![match address.parse().unwrap() {
            std::net::IpAddr::V4(address) => Datum::Ipv4(address),
            std::net::IpAddr::V6(address) => Datum::Ipv6(address),
        }])
    }
}

fn mac_mask(octets: [u8; 6]) -> Datum {
    Datum::MacMask(MacAddr(octets))
}

/// The decision of a judge that has seen nothing else.
fn decide(
    rules: &[Instance],
    semantics: Semantics,
    direction: FrameDirection,
    frame: &[u8],
) -> Decision {
    Judge::new(rules, semantics).decide(direction, frame, 0)
}

fn by_rule(decision: &Decision) -> Option<u32> {
    match &decision.cause {
        Cause::Rule(origin) => Some(origin.rule),
        _ => None,
    }
}

/// A frame from the VM to the peer.
fn out(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    wire::ethernet(PEER, VM, ethertype, payload)
}

/// A frame from the peer to the VM.
fn into(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    wire::ethernet(VM, PEER, ethertype, payload)
}

/// `10.0.0.n`
fn v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}

/// An IPv4 packet from 10.0.0.`ends.0` to 10.0.0.`ends.1`.
fn ipv4(ends: (u8, u8), protocol: u8, payload: &[u8]) -> Vec<u8> {
    wire::Ipv4 {
        source: v4(ends.0),
        destination: v4(ends.1),
        protocol,
        ..wire::Ipv4::default()
    }
    .packet(payload)
}

/// An IPv6 packet between `fd00::n` of both ends.
fn ipv6(ends: (u16, u16), protocol: u8, payload: &[u8]) -> Vec<u8> {
    let address = |n| std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n);
    wire::Ipv6 {
        source: address(ends.0),
        destination: address(ends.1),
        protocol,
        ..wire::Ipv6::default()
    }
    .packet(payload)
}

/// A rule with these tests drops `hits` and passes `misses`; with each test negated it is the other
/// way round. All frames leave the VM.
#[track_caller]
fn tells_apart(semantics: Semantics, rule: &Instance, hits: &[Vec<u8>], misses: &[Vec<u8>]) {
    let drops = |rule: &Instance, frame: &[u8]| {
        let decision = decide(
            std::slice::from_ref(rule),
            semantics,
            FrameDirection::Out,
            frame,
        );
        assert_ne!(
            decision.cause,
            Cause::Missing,
            "{semantics:?} {rule:?} {frame:02x?}"
        );
        decision.verdict == Verdict::Drop
    };
    for frame in hits {
        assert!(
            drops(rule, frame),
            "hit: {semantics:?} {rule:?} {frame:02x?}"
        );
    }
    for frame in misses {
        assert!(
            !drops(rule, frame),
            "miss: {semantics:?} {rule:?} {frame:02x?}"
        );
    }
    let negated = rule.clone().negated();
    for frame in misses {
        assert!(
            drops(&negated, frame),
            "negated miss: {semantics:?} {rule:?} {frame:02x?}"
        );
    }
    for frame in hits {
        assert!(
            !drops(&negated, frame),
            "negated hit: {semantics:?} {rule:?} {frame:02x?}"
        );
    }
}

/// Frames that a rule passes whatever the sign of its tests.
#[track_caller]
fn never_matches(semantics: Semantics, rule: &Instance, frames: &[Vec<u8>]) {
    for rule in [rule.clone(), rule.clone().negated()] {
        for frame in frames {
            let decision = decide(
                std::slice::from_ref(&rule),
                semantics,
                FrameDirection::Out,
                frame,
            );
            assert_eq!(
                (decision.verdict, &decision.cause),
                (Verdict::Accept, &Cause::EndOfLayer),
                "{semantics:?} {rule:?} {frame:02x?}"
            );
        }
    }
}

/// Frames that a rule drops for want of a header, whatever the sign of its tests.
#[track_caller]
fn is_missing(semantics: Semantics, rule: &Instance, frames: &[Vec<u8>]) {
    for rule in [rule.clone(), rule.clone().negated()] {
        for frame in frames {
            let decision = decide(
                std::slice::from_ref(&rule),
                semantics,
                FrameDirection::Out,
                frame,
            );
            assert_eq!(
                decision,
                Decision {
                    verdict: Verdict::Drop,
                    layer: rule.protocol.layer(),
                    cause: Cause::Missing
                },
                "{semantics:?} {rule:?} {frame:02x?}"
            );
        }
    }
}

/// What source without blanks takes from a crate: the first name of each path.
fn taken<'a>(source: &'a str, from: &str) -> Vec<&'a str> {
    let name = |path: &'a str| {
        path.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
    };
    let mut taken = Vec::new();
    for (at, path) in source.match_indices(from) {
        let path = &source[at + path.len()..];
        let Some(list) = path.strip_prefix('{') else {
            taken.extend(name(path));
            continue;
        };
        let mut depth = 1;
        let mut start = 0;
        for (at, c) in list.char_indices() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 0 || depth == 1 && c == ',' {
                taken.extend(name(&list[start..at]).filter(|name| !name.is_empty()));
                start = at + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    taken
}

/// It may know what rules are, and nothing of how anybody else decides.
#[test]
fn the_judge_shares_nothing_with_what_it_judges() {
    assert_eq!(
        taken("useab::{c::{d,e},f::G};ab::h::i", "ab::"),
        ["c", "f", "h"]
    );
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/judge");
    let mut uses = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let source: String = source.split_whitespace().collect();
        for (from, allowed) in [
            ("nwfilter_common::", &["MacAddr"][..]),
            ("nwfilter_ctl::", &["model", "resolve"]),
            ("crate::", &[]),
        ] {
            for name in taken(&source, from) {
                assert!(allowed.contains(&name), "{}: {from}{name}", path.display());
                uses += 1;
            }
        }
    }
    assert!(uses > 10, "{uses}");
}
