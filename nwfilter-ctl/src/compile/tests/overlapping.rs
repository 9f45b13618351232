//! Lists of rules that overlap in many fields, compared with walking through the flat list.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use nwfilter_common::{Field, SetKey, SetName};

use super::{large::Numbers, *};

/// How rules overlap.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Overlap {
    /// Random networks and port ranges.
    Dense,
    /// The same, but most rules test only two of the fields.
    HalfDense,
    /// As wide as half of all values in each field: no search makes such a list shorter.
    Hopeless,
}

/// Most rules that the test of a debug build takes.
const LONG: u32 = if cfg!(debug_assertions) { 400 } else { 10_000 };

/// The attributes of rules about networks and port ranges.
fn attributes(overlap: Overlap, v6: bool, count: u32) -> Vec<String> {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    // IPv6 addresses that differ in the first half or in the second.
    let address = |bits: u32, second: bool| match (v6, second) {
        (false, _) => Ipv4Addr::from(bits).to_string(),
        (true, false) => Ipv6Addr::from(u128::from(bits) << 96).to_string(),
        (true, true) => Ipv6Addr::from(0xfd00 << 112 | u128::from(bits)).to_string(),
    };
    let mut rule = || {
        let mut network = |end: &str| {
            let bits = numbers.next(1 << 32) as u32;
            match overlap {
                Overlap::Hopeless => {
                    let [first, last] =
                        [bits >> 1, bits >> 1 | 1 << 31].map(|bits| address(bits, false));
                    format!(" {end}ipfrom='{first}' {end}ipto='{last}'")
                }
                _ => {
                    let second = v6 && bits & 1 != 0;
                    let address = address(bits >> 16 << 16, second);
                    let mask = if second { 98 } else { 2 } + numbers.next(14);
                    format!(" {end}ipaddr='{address}' {end}ipmask='{mask}'")
                }
            }
        };
        let networks = [network("src"), network("dst")];
        let mut ports = |end: &str| {
            let (first, width) = match overlap {
                Overlap::Hopeless => (numbers.next(1 << 15), (1 << 15) - 1),
                _ => (numbers.next(60_000), numbers.next(2_000)),
            };
            format!(" {end}portstart='{first}' {end}portend='{}'", first + width)
        };
        let [source, destination] = networks;
        let tests = [source, destination, ports("src"), ports("dst")];
        let wanted = match overlap {
            Overlap::HalfDense => {
                [0b0011, 0b1010, 0b1001, 0b1111, 0b0101][numbers.next(5) as usize]
            }
            _ => 0b1111,
        };
        let tests = tests.iter().enumerate();
        tests
            .filter(|(i, _)| wanted >> i & 1 != 0)
            .map(|(_, test)| test.as_str())
            .collect()
    };
    (0..count).map(|_| rule()).collect()
}

/// Rules of an element with these attributes.
fn rules(element: &str, attributes: &[String]) -> Vec<Instance> {
    let actions = ["drop", "reject", "return", "drop"];
    let rule = |(i, attributes): (usize, &String)| {
        let action = actions[i * 7 % 4];
        format!("<rule action='{action}' direction='out'><{element}{attributes}/></rule>")
    };
    instances(&attributes.iter().enumerate().map(rule).collect::<String>())
}

/// A TCP frame from the VM, made for a rule: its values are at the ends of what the rule asks for, or one
/// beyond.
fn frame(v6: bool, rule: &FlatRule, numbers: &mut Numbers) -> Vec<u8> {
    let mut value = |field: Field| {
        let set = rule
            .conditions
            .iter()
            .find_map(|condition| match condition {
                Condition::In(of, set) if *of == field => Some(set),
                _ => None,
            });
        let Some((low, high)) = set.map(|set| set.intervals()[0]) else {
            return numbers.next(u64::MAX) & field.max_value();
        };
        match numbers.next(20) {
            0 => low.saturating_sub(1),
            1 => high.saturating_add(1).min(field.max_value()),
            2..8 => low,
            8..14 => high,
            _ => low + numbers.next((high - low).saturating_add(1)),
        }
    };
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
        for field in [
            Field::Ip6SrcHigh,
            Field::Ip6SrcLow,
            Field::Ip6DstHigh,
            Field::Ip6DstLow,
        ] {
            frame.extend(value(field).to_be_bytes());
        }
    } else {
        frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
        for field in [Field::Ip4Src, Field::Ip4Dst] {
            frame.extend((value(field) as u32).to_be_bytes());
        }
    }
    for field in [Field::SrcPort, Field::DstPort] {
        frame.extend((value(field) as u16).to_be_bytes());
    }
    frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    frame
}

/// The entry that decides, and the limits that look at the frame, by walking through the list.
fn expected(rules: &[FlatRule], work: &Work) -> (u32, Vec<u16>) {
    let mut looked = Vec::new();
    let mut at = 0;
    loop {
        let rule = &rules[at];
        let holds = |condition: &Condition| match condition {
            Condition::In(field, set) => set.contains(work.fields[field.index()]),
            // See `agrees`.
            Condition::Set(test, wanted) => {
                let end = [Field::Ip4Src, Field::Ip4Dst][usize::from(test.destinations)];
                (work.fields[end.index()] >> 31 & 1 != 0) == *wanted
            }
            Condition::Limit(..) => true,
            other => panic!("{other}"),
        };
        at += 1;
        if !rule.conditions.iter().all(holds) {
            continue;
        }
        let mut below = true;
        for condition in &rule.conditions {
            if let Condition::Limit(test, above) = condition {
                looked.push(test.number);
                below &= !above;
            }
        }
        match rule.outcome {
            _ if !below => {}
            Outcome::Skip(position) => at = position,
            Outcome::Decide(_) => return (rule.entry, looked),
        }
    }
}

/// The image of these rules, which decides as the list of a layer does, as does the one made for tests.
fn agrees(rules: &[Instance], layer: TableLayer, v6: bool, frames: u32) -> Compiled {
    if rules.len() <= 400 {
        let long = compile_as_long(rules, Semantics::Strict).unwrap();
        agrees_with_list(&long, layer, v6, frames);
    }
    let compiled = compile(rules, Semantics::Strict).unwrap();
    agrees_with_list(&compiled, layer, v6, frames);
    compiled
}

/// Whether an image decides as its list does; the set `high` has the upper half of all IPv4 addresses.
fn agrees_with_list(compiled: &Compiled, layer: TableLayer, v6: bool, frames: u32) {
    let list = &compiled.lists[&(FrameDirection::Out, layer)];
    let upper_half = SetKey {
        prefix: SetKey::BEFORE_ADDRESS + 1,
        form: 4,
        address: [128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ..SetKey::default()
    };
    let mut numbers = Numbers(7);
    let mut deciding = std::collections::BTreeSet::new();
    for _ in 0..frames {
        let tables = MemoryTables::new();
        tables.set(SetName::new("high").unwrap(), [(upper_half, false)]);
        let rule = &list[numbers.next(list.len() as u64) as usize];
        let frame = frame(v6, rule, &mut numbers);
        let mut work = Work::new();
        let verdict = verdict(compiled, &frame, &tables, &mut work);
        let entry = match layer {
            TableLayer::Ethernet => verdict.ethernet,
            TableLayer::Inet => verdict.inet,
        };
        let limits = (0..nwfilter_common::MAX_LOOKED as u16)
            .filter(|limit| work.limit((*limit).into()).is_some());
        assert_eq!(
            (entry, limits.collect()),
            expected(list, &work),
            "{frame:x?}"
        );
        deciding.insert(entry);
    }
    assert!(
        deciding.len() > 20,
        "only {} rules ever decide",
        deciding.len()
    );
}

/// Most nodes on a way, of a list of so many rules.
const fn most_steps(overlap: Overlap, count: u32) -> usize {
    match overlap {
        Overlap::Dense | Overlap::HalfDense => 20,
        // About thirty rules in a node.
        Overlap::Hopeless => 10 + count as usize / 20,
    }
}

fn networks_and_ports(overlap: Overlap, element: &str) {
    let v6 = element == "tcp-ipv6";
    // Each range of IPv6 addresses is three rules of the list.
    let rare = v6 && overlap == Overlap::Hopeless;
    for count in [60, if rare { 60 } else { LONG }] {
        let rules = rules(element, &attributes(overlap, v6, count));
        if count == 60 {
            let long = compile_as_long(&rules, Semantics::Strict).unwrap();
            let text = decode(long.image.words());
            assert!(text.iter().any(|line| line.contains(": rows of")));
        }
        let compiled = agrees(&rules, TableLayer::Inet, v6, 1000);
        assert!(
            compiled.steps <= most_steps(overlap, count),
            "{}",
            compiled.steps
        );
    }
}

#[test]
fn dense() {
    networks_and_ports(Overlap::Dense, "tcp");
}

#[test]
fn dense_v6() {
    networks_and_ports(Overlap::Dense, "tcp-ipv6");
}

#[test]
fn half_dense() {
    networks_and_ports(Overlap::HalfDense, "tcp");
}

#[test]
fn half_dense_v6() {
    networks_and_ports(Overlap::HalfDense, "tcp-ipv6");
}

#[test]
fn hopeless() {
    networks_and_ports(Overlap::Hopeless, "tcp");
}

#[test]
fn hopeless_v6() {
    networks_and_ports(Overlap::Hopeless, "tcp-ipv6");
}

#[test]
fn chains_that_end_early() {
    let mut rules = rules("ip protocol='tcp'", &attributes(Overlap::Dense, false, 400));
    for (i, rule) in rules.iter_mut().enumerate() {
        rule.chain = ["ipv4-a", "ipv4-b", "root"][i % 3].into();
        rule.chain_priority = [-30, -20, 60][i % 3];
    }
    agrees(&rules, TableLayer::Ethernet, false, 1000);
}

#[test]
fn sets_and_limits_in_between() {
    let mut attributes = attributes(Overlap::HalfDense, false, 400);
    for (i, rule) in attributes.iter_mut().enumerate() {
        *rule += match i % 40 {
            7 => " ipset='high' ipsetflags='src'",
            // Far more than there are, so that the rule looks and goes on.
            23 => " connlimit-above='1000'",
            _ => "",
        };
    }
    agrees(&rules("tcp", &attributes), TableLayer::Inet, false, 2000);
}

#[test]
fn sets_in_all_rules() {
    let attributes = attributes(Overlap::Dense, false, 400);
    let attributes: Vec<_> = attributes
        .iter()
        .map(|rule| format!("{rule} ipset='high' ipsetflags='src'"))
        .collect();
    let compiled = agrees(&rules("tcp", &attributes), TableLayer::Inet, false, 1000);
    assert!(compiled.steps < 12, "{}", compiled.steps);
}

#[test]
fn sets_and_addresses_of_the_vm_in_thirds_of_the_rules() {
    let mut attributes = attributes(Overlap::Hopeless, false, 400);
    for (i, rule) in attributes.iter_mut().enumerate() {
        *rule += [
            " ipset='high' ipsetflags='src'",
            " ipset='high' ipsetflags='dst'",
            " srcmacaddr='02:00:00:00:00:01'",
        ][i % 3];
    }
    let compiled = agrees(&rules("tcp", &attributes), TableLayer::Inet, false, 1000);
    assert!(compiled.steps < 40, "{}", compiled.steps);
}

#[test]
fn more_limits_than_may_look_at_a_frame() {
    let mut attributes = attributes(Overlap::Hopeless, false, 400);
    // More than a frame may meet, but each is about another port.
    for (i, rule) in attributes.iter_mut().step_by(10).enumerate() {
        let end = rule.find(" dstportstart").unwrap();
        rule.truncate(end);
        let _ = write!(rule, " dstportstart='{}' connlimit-above='1000'", 1000 * i);
    }
    let compiled = agrees(&rules("tcp", &attributes), TableLayer::Inet, false, 1000);
    assert!(compiled.steps < 200, "{}", compiled.steps);
}

#[test]
fn the_same_tree_for_the_same_list() {
    let rules = rules("tcp", &attributes(Overlap::Dense, false, 300));
    let image = || compile(&rules, Semantics::Strict).unwrap().image;
    assert_eq!(image(), image());
}
