//! That the catalogue asks about everything, that its rows tell something, and that the page is that
//! of the catalogue.

use std::{collections::BTreeSet, fs, path::Path};

use nwfilter_ctl::{
    model::{Attr, Protocol},
    resolve::Instance,
};

use super::{Batch, catalogue, run::LIBVIRT, sample};
use crate::{
    generate::Sent,
    judge::{FrameDirection, Judge, Verdict},
};

/// Elements and attributes of all rules.
fn asked() -> BTreeSet<(Protocol, Attr)> {
    let batches = catalogue();
    let instances = batches
        .iter()
        .flat_map(|batch| batch.case().resolve(LIBVIRT).unwrap());
    instances
        .flat_map(|rule| {
            let tests = rule.tests.into_iter();
            tests.map(move |test| (rule.protocol, test.attr))
        })
        .collect()
}

#[test]
fn every_element_and_attribute_is_asked_about() {
    let asked = asked();
    for element in Protocol::ALL {
        // Documented, but no element of libvirt's; and what has no attributes.
        let exempt = [Protocol::IgmpIpv6, Protocol::None];
        let has = asked.iter().any(|(other, _)| other == element);
        assert!(has || exempt.contains(element), "{element}");
    }
    // libvirt refuses or ignores the end of a range where it has no start, and reads no other.
    for attr in Attr::ALL {
        assert!(asked.iter().any(|(_, other)| other == attr), "{attr}");
    }
}

/// The rows of single rules, but for those of the matrix, some of which must tell nothing.
#[test]
fn rows_let_some_frames_pass_and_others_not() {
    let nothing = [
        // 4.6: rules with an ICMP type exist in their own direction only.
        "direction='inout'><icmp ",
        "direction='inout'><icmpv6 ",
        // 2.4: matches nothing.
        "protocol='59'",
    ];
    let batches = catalogue();
    let ethernet_and_inet = batches
        .iter()
        .take_while(|batch| !batch.name.starts_with("matrix"));
    for batch in ethernet_and_inet {
        let instances = batch.case().resolve(LIBVIRT).unwrap();
        // One rule each.
        for (number, row) in batch.rows.iter().enumerate() {
            let own = instances
                .iter()
                .filter(|instance| instance.origin.rule as usize == number);
            let own: Vec<Instance> = own.cloned().collect();
            let mut judge = Judge::new(&own, LIBVIRT);
            let verdicts: BTreeSet<bool> = row
                .frames
                .iter()
                .map(|sent| judge.decide(sent.direction, &sent.bytes, sent.now))
                .map(|decision| decision.verdict == Verdict::Accept)
                .collect();
            let rule = &row.rules[0];
            let tells = !nothing.iter().any(|part| rule.contains(part));
            assert!(verdicts.len() == 2 || !tells, "{rule}");
        }
    }
}

#[test]
fn a_sample_has_something_of_everything() {
    let all = catalogue();
    let sampled = sample(catalogue());
    assert_eq!(all.len(), sampled.len());
    assert!(sampled.iter().all(|batch| !batch.rows.is_empty()));
    let directions = |name: &str| -> BTreeSet<&str> {
        sampled
            .iter()
            .filter(|batch| batch.name == name)
            .flat_map(|batch| &batch.rows)
            .filter_map(|row| row.rules[0].split("direction='").nth(1)?.split('\'').next())
            .collect()
    };
    for name in ["matrix: udp", "arp", "tcp", "icmpv6"] {
        assert_eq!(directions(name).len(), 3, "{name}");
    }
}

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let page = fs::read_to_string(path).unwrap();
    let batches = catalogue();
    let rows = || batches.iter().flat_map(|batch| &batch.rows);
    // What the host says is no question.
    let asked = |batch: &Batch, sent: &Sent| !batch.host || sent.direction == FrameDirection::Out;
    let verdicts: usize = batches
        .iter()
        .flat_map(|batch| batch.rows.iter().map(move |row| (batch, row)))
        .map(|(batch, row)| row.frames.iter().filter(|sent| asked(batch, sent)).count())
        .sum();
    let rules: usize = rows().map(|row| row.rules.len()).sum();
    let counts = format!("**{verdicts} verdicts** on {rules} rules");
    assert!(
        page.contains(&counts),
        "{counts}: run `cargo xtask compatibility`"
    );
}
