//! Judge and engine against libvirt itself: generated filters, bound by libvirt's own daemon, and
//! generated frames through its port. What they must disagree on is left out, see [`comparable`] and
//! [`sendable`]; the fixed rules and frames of `compatibility.rs` leave out nothing and explain.

use std::{collections::BTreeMap, env};

use anyhow::{Context as _, Result};
use nwfilter_ctl::{
    model::{Attr, Layer, Protocol, Semantics},
    parse::parse_binding,
    resolve::Instance,
};
use nwfilter_tests::{
    frame::{Pseudo, internet_checksum},
    generate::{Case, Options, case, pool},
    judge::{Cause, FrameDirection, Judge, Verdict},
    judges::{Decider, Engine},
    need,
    net::Direction,
    peer::{NEEDS, Peer},
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

const LIBVIRT: Semantics = Semantics::Libvirt;

#[test]
fn libvirt_agrees_on_what_is_generated() {
    if !need::met(&NEEDS) {
        return;
    }
    let count: usize = env::var("NWFILTER_PEER_CASES").map_or(4, |count| count.parse().unwrap());
    let seed: u8 = env::var("NWFILTER_PEER_SEED").map_or(1, |seed| seed.parse().unwrap());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = case(Options {
        time: false,
        limits: false,
        frames: 60,
        ..Options::new(LIBVIRT)
    });
    let peer = Peer::start().unwrap();
    let (mut compared, mut refused, mut differences) = (0, Vec::new(), Vec::new());
    for number in 0..count {
        let (case, instances) = loop {
            let case = strategy.new_tree(&mut runner).unwrap().current();
            let instances = case.resolve(LIBVIRT).unwrap();
            if comparable(&instances) {
                break (case, instances);
            }
        };
        match run(&peer, number, &case, &instances) {
            Ok((frames, found)) => {
                compared += frames;
                differences.extend(found);
            }
            Err(error) => refused.push(format!("{error:#}\n{case}")),
        }
    }
    eprintln!(
        "{compared} frames compared, {} of {count} cases refused",
        refused.len()
    );
    for refused in &refused {
        eprintln!("REFUSED {refused}");
    }
    assert!(
        differences.is_empty(),
        "{}: {}",
        differences.len(),
        differences.join("\n\n")
    );
}

/// Runs one case: how many frames were compared, and the differences.
fn run(
    peer: &Peer,
    number: usize,
    case: &Case,
    instances: &[Instance],
) -> Result<(usize, Vec<String>)> {
    let named = |text: &str| {
        text.replace("'main'", &format!("'main-{number}'"))
            .replace("'filter-", &format!("'filter-{number}-"))
    };
    for filter in case.filters.iter().rev() {
        peer.define(&named(&filter.xml))?;
    }
    let (binding, _) = parse_binding(&case.binding);
    let binding = binding.context("the binding")?;
    let parameters: Vec<(&str, &str)> = binding
        .parameters
        .0
        .iter()
        .flat_map(|(name, values)| {
            values
                .iter()
                .map(move |value| (name.as_str(), value.as_str()))
        })
        .collect();
    peer.forget_connections()?;
    let bound = peer.bind(
        &format!("vnet{number}"),
        pool::VM,
        &format!("main-{number}"),
        &parameters,
    )?;
    let mut judge = Judge::new(instances, LIBVIRT);
    // Unless the compiler refuses the rules.
    let mut engine = Engine::new(instances, LIBVIRT).ok();
    let has_inet = instances
        .iter()
        .any(|instance| instance.protocol.layer() == Layer::Inet);
    let (mut compared, mut differences) = (0, Vec::new());
    for (index, sent) in case.frames.iter().enumerate() {
        if !sendable(&sent.bytes, has_inet) {
            continue;
        }
        let decision = judge.decide(sent.direction, &sent.bytes, sent.now);
        if let Some(engine) = &mut engine {
            let engine = engine.decide(sent.direction, &sent.bytes, sent.now)?;
            if engine != decision {
                differences.push(format!(
                    "frame {index}: judge {decision:?}, engine {engine:?}\n{case}"
                ));
            }
        }
        let direction = match sent.direction {
            FrameDirection::In => Direction::In,
            FrameDirection::Out => Direction::Out,
        };
        let arrived = peer.frames(&bound, direction, std::slice::from_ref(&sent.bytes))?[0];
        if decision.cause == Cause::Missing {
            continue;
        }
        compared += 1;
        if arrived != (decision.verdict == Verdict::Accept) {
            differences.push(format!(
                "frame {index}: libvirt {}, judge {decision:?}\n{case}",
                if arrived { "accepts" } else { "drops" }
            ));
        }
    }
    peer.unbind(bound)?;
    Ok((compared, differences))
}

/// Whether libvirt's reading is determined, and the same as ours is meant to be: no two chains of
/// equal priority, whose order it leaves to chance; no tests of BPDU fields, which the kernel reads
/// at the wrong place (4a.2).
fn comparable(instances: &[Instance]) -> bool {
    let stp = instances.iter().any(|instance| {
        instance.protocol == Protocol::Stp
            && instance.tests.iter().any(|test| {
                !matches!(
                    test.attr,
                    Attr::SrcMacAddr | Attr::SrcMacMask | Attr::Comment
                )
            })
    });
    let mut priorities: BTreeMap<i32, &str> = BTreeMap::new();
    let tie = instances.iter().any(|instance| {
        let name = priorities
            .entry(instance.chain_priority)
            .or_insert(&instance.chain);
        &*instance.chain != "root" && **name != *instance.chain && *name != "root"
    });
    let mut chains: BTreeMap<&str, i32> = BTreeMap::new();
    let torn = instances.iter().any(|instance| {
        *chains
            .entry(&instance.chain)
            .or_insert(instance.chain_priority)
            != instance.chain_priority
    });
    !stp && !tie && !torn
}

/// Whether a bridge forwards the frame unharmed: it has a sender, and the kernel finds nothing wrong
/// with it. With an inet layer, only what kernel and judge track alike: no fragments, which the
/// kernel may put together, no extension headers, and no protocol whose handshakes it follows.
fn sendable(frame: &[u8], has_inet: bool) -> bool {
    if !(14..=1514).contains(&frame.len()) || frame[6] & 1 != 0 || frame[6..12] == [0; 6] {
        return false;
    }
    let packet = &frame[14..];
    match frame[12..14] {
        [0x08, 0x00] => v4_is_right(packet) && (!has_inet || v4_is_tracked(packet)),
        [0x86, 0xdd] => v6_is_right(packet) && (!has_inet || v6_is_tracked(packet)),
        // Of another layout: see the test on what is meant to differ.
        [0x08, 0x06] => packet.len() >= 8 && packet[..2] == [0, 1] && packet[4..6] == [6, 4],
        [0x81, 0x00] | [0x88, 0xa8] => packet.len() >= 6,
        _ => true,
    }
}

fn v4_is_right(packet: &[u8]) -> bool {
    let header = usize::from(packet.first().copied().unwrap_or(0) & 0xf) * 4;
    packet.len() >= 20
        && packet[0] >> 4 == 4
        && (20..=packet.len()).contains(&header)
        && internet_checksum(&[&packet[..header]]) == 0
        && usize::from(u16::from_be_bytes([packet[2], packet[3]])) == packet.len()
}

fn v4_is_tracked(packet: &[u8]) -> bool {
    let address = |at: usize| std::array::from_fn::<u8, 4, _>(|i| packet[at + i]);
    let pseudo = Pseudo::V4(address(12).into(), address(16).into());
    // Neither more fragments nor an offset.
    let whole = u16::from_be_bytes([packet[6], packet[7]]) << 2 == 0;
    let payload = &packet[usize::from(packet[0] & 0xf) * 4..];
    whole && is_tracked(pseudo, packet[9], payload)
}

fn v6_is_right(packet: &[u8]) -> bool {
    packet.len() >= 40
        && packet[0] >> 4 == 6
        && packet[6] != 51
        && usize::from(u16::from_be_bytes([packet[4], packet[5]])) + 40 == packet.len()
}

fn v6_is_tracked(packet: &[u8]) -> bool {
    let address = |at: usize| std::array::from_fn::<u8, 16, _>(|i| packet[at + i]);
    let pseudo = Pseudo::V6(address(8).into(), address(24).into());
    is_tracked(pseudo, packet[6], &packet[40..])
}

/// A protocol that the kernel follows no further than the judge, with a right checksum.
fn is_tracked(pseudo: Pseudo, protocol: u8, payload: &[u8]) -> bool {
    match (protocol, pseudo) {
        (1, Pseudo::V4(..)) => internet_checksum(&[payload]) == 0,
        (6 | 17, _) | (58, Pseudo::V6(..)) => {
            pseudo.checksum(protocol, payload, payload.len()) == 0
        }
        (0 | 33 | 43 | 44 | 51 | 59 | 60 | 132 | 135 | 136, _) => false,
        _ => true,
    }
}
