//! The parser and the formatter against libvirt itself: generated documents in odd spellings, which
//! libvirt's own daemon defines and dumps or refuses. How it reads what it has accepted is the
//! affair of `judge_and_peer`. `NWFILTER_DUMP_CASES=N` compares more documents,
//! `NWFILTER_PEER_SEED=N` others.

mod documents;
mod values;

use std::env;

use nwfilter_ctl::{
    diag::{Code, any_error},
    format::format_filter,
    model::Semantics,
    parse::parse_filter,
};
use nwfilter_tests::{
    need,
    peer::{NEEDS, Peer},
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use self::documents::{DOCUMENTS, NAME, document};

/// What `dumpxml` would print; `None` for a document that is refused.
fn ours(document: &str, semantics: Semantics) -> Option<String> {
    let (filter, found) = parse_filter(document, semantics);
    assert_eq!(filter.is_none(), any_error(&found), "{document}");
    filter.map(|filter| format_filter(&filter))
}

/// A dump without a UUID that the document does not give.
fn comparable(dump: Option<String>, document: &str) -> Option<String> {
    let given = parse_filter(document, Semantics::Libvirt)
        .0
        .is_some_and(|filter| filter.uuid.is_some());
    let keep = |line: &&str| given || !line.contains("<uuid>");
    let lines = |dump: String| {
        dump.lines()
            .filter(keep)
            .map(|line| format!("{line}\n"))
            .collect()
    };
    dump.map(lines)
}

/// How libvirt writes the empty list of states, which we write as what it means.
fn as_libvirt_writes(dump: String, libvirt: &str) -> String {
    if libvirt.contains(" state=''") {
        dump.replace(" state='NONE'", " state=''")
    } else {
        dump
    }
}

#[test]
fn libvirt_dumps_what_we_write() {
    if !need::met(&NEEDS) {
        return;
    }
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().unwrap());
    let count: usize = number("NWFILTER_DUMP_CASES", 600);
    let seed = number("NWFILTER_PEER_SEED", 1) as u8;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = document();
    let generated = (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    let documents: Vec<String> = DOCUMENTS
        .iter()
        .map(|document| (*document).to_owned())
        .chain(generated)
        .collect();
    let peer = Peer::start().unwrap();
    let dumps = peer.dumps(NAME, &documents).unwrap();

    let told = [
        Code::CannotBind,
        Code::IllegalValue,
        Code::IpSetLost,
        Code::NotRead,
        Code::PortNegation,
        Code::RangeEndFamily,
        Code::SignChanged,
    ];
    let mut accepted = 0;
    let mut differences = Vec::new();
    for (document, dump) in documents.iter().zip(dumps) {
        accepted += usize::from(dump.is_some());
        let libvirt = comparable(dump, document);
        let read = |semantics| comparable(ours(document, semantics), document);
        let same = read(Semantics::Libvirt);
        let written = match (&libvirt, same.clone()) {
            (Some(libvirt), Some(same)) => Some(as_libvirt_writes(same, libvirt)),
            (_, same) => same,
        };
        if libvirt != written {
            differences.push(format!(
                "{document}\n libvirt {libvirt:?}\n ours    {same:?}"
            ));
        }
        // In strict semantics filters are written as they were read; who reads otherwise is told.
        if read(Semantics::Strict) != same {
            let (_, found) = parse_filter(document, Semantics::Strict);
            assert!(
                found.iter().any(|found| told.contains(&found.code)),
                "{document}"
            );
        }
    }
    eprintln!("{} documents, {accepted} accepted", documents.len());
    assert!(
        differences.is_empty(),
        "{}:\n{}",
        differences.len(),
        differences.join("\n")
    );
}
