//! Long lists: what they cost, and that they are never refused for nothing.

use std::fmt::Write as _;

use nwfilter_common::{Field, MAX_STEPS};

use super::*;

/// Lengths of lists.
const COUNTS: &[u32] = if cfg!(debug_assertions) {
    &[10, 100, 1_000]
} else {
    &[10, 100, 1_000, 10_000]
};

/// A small generator of numbers (Marsaglia, "Xorshift RNGs", 2003): the same on every run.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Rules about as many sources.
fn sparse(count: u32) -> String {
    let mut xml = String::new();
    for i in 0..count {
        let ip = std::net::Ipv4Addr::from(0x0a00_0000 + 3 * i);
        let _ = write!(
            xml,
            "<rule action='{}' direction='out'><tcp srcipaddr='{ip}' dstportstart='{}'/></rule>",
            if i % 2 == 0 { "accept" } else { "drop" },
            i % 7
        );
    }
    xml.replace(
        "action='accept' direction='out'",
        "action='accept' direction='out' statematch='false'",
    )
}

/// Rules about random networks and port ranges, which overlap in every way.
fn dense(count: u32) -> String {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut xml = String::new();
    for _ in 0..count {
        let source = std::net::Ipv4Addr::from((numbers.next(1 << 16) << 16) as u32);
        let destination = std::net::Ipv4Addr::from((numbers.next(1 << 16) << 16) as u32);
        let (low, width) = (numbers.next(60_000), numbers.next(2_000));
        let _ = write!(
            xml,
            "<rule action='{}' direction='out'><tcp srcipaddr='{source}' srcipmask='{}' \
             dstipaddr='{destination}' dstipmask='{}' dstportstart='{low}' dstportend='{}'/></rule>",
            ["drop", "reject", "return"][numbers.next(3) as usize],
            2 + numbers.next(14),
            2 + numbers.next(14),
            low + width
        );
    }
    xml
}

/// A TCP frame from the VM.
fn frame(source: u32, destination: u32, port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
    frame.extend(source.to_be_bytes());
    frame.extend(destination.to_be_bytes());
    frame.extend([0x12, 0x34]);
    frame.extend(port.to_be_bytes());
    frame.resize(54, 0);
    frame
}

/// Who decides a frame from the VM.
fn decided(compiled: &Compiled, frame: &[u8]) -> Entry {
    let verdict = verdict(compiled, frame, &MemoryTables::new(), &mut Work::new());
    compiled.entries[verdict.entry() as usize].clone()
}

/// The rule of the flat list that decides, found the slow way.
fn expected(compiled: &Compiled, source: u32, destination: u32, port: u16) -> Entry {
    let rules = &compiled.lists[&(FrameDirection::Out, TableLayer::Inet)];
    let field = |field: Field| match field {
        Field::Ip4Src => u64::from(source),
        Field::Ip4Dst => u64::from(destination),
        Field::DstPort => u64::from(port),
        Field::EtherType => 0x800,
        Field::IpProtocol => 6,
        field => panic!("{field:?}"),
    };
    let holds = |condition: &Condition| match condition {
        Condition::In(of, set) => set.contains(field(*of)),
        other => panic!("{other}"),
    };
    let rule = rules
        .iter()
        .find(|rule| rule.conditions.iter().all(holds))
        .unwrap();
    compiled.entries[rule.entry as usize].clone()
}

fn agrees(compiled: &Compiled, frames: u32) {
    let mut numbers = Numbers(7);
    for _ in 0..frames {
        let source = if numbers.next(2) == 0 {
            0x0a00_0000 + numbers.next(40_000) as u32
        } else {
            numbers.next(1 << 32) as u32
        };
        let destination = numbers.next(1 << 32) as u32;
        let port = if numbers.next(2) == 0 {
            numbers.next(8)
        } else {
            numbers.next(1 << 16)
        } as u16;
        let entry = decided(compiled, &frame(source, destination, port));
        assert_eq!(entry, expected(compiled, source, destination, port));
    }
}

#[test]
fn rules_about_distinct_sources() {
    for &count in COUNTS {
        let compiled = compiled(&sparse(count));
        agrees(&compiled, 300);
        assert!(compiled.steps < 40, "{}", compiled.steps);
        let words = compiled.image.used_words();
        assert!(words < 2_000 + 60 * count as usize, "{words}");
    }
}

#[test]
fn rules_that_overlap_in_every_way() {
    for &count in COUNTS {
        let compiled = compiled(&dense(count));
        agrees(&compiled, 300);
        assert!(compiled.steps <= MAX_STEPS);
    }
}

/// Six rules in a chain with `return`, all about something else: once they took minutes.
#[test]
fn skips_into_the_middle_of_a_part() {
    let mut xml = String::new();
    let attributes = [
        "srcmacaddr='02:00:00:00:00:0N'",
        "dstmacaddr='02:00:00:00:00:0N'",
        "protocolid='0x700N'",
    ];
    for n in 0..9 {
        for (i, a) in attributes.iter().enumerate() {
            let b = attributes[(i + n % 2 + 1) % 3];
            let (a, b) = (
                a.replace('N', &n.to_string()),
                b.replace('N', &(8 - n).to_string()),
            );
            let _ = write!(
                xml,
                "<rule action='{}' direction='inout' priority='{}'><mac {a}/><mac match='no' {b}/></rule>",
                ["drop", "return", "accept"][(n + i) % 3],
                n * 10
            );
        }
    }
    let mut rules = instances(&xml);
    for (i, rule) in rules.iter_mut().enumerate() {
        rule.chain = ["mac-a", "mac-b", "root"][i % 3].into();
        rule.chain_priority = [0, 30, 60][i % 3];
    }
    let compiled = compile(&rules, Semantics::Strict).unwrap();
    assert!(compiled.image.used_words() < MAX_IMAGE_WORDS / 8);
}
