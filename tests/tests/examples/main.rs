//! The filters of `examples/`, each bound as its binding says, with frames that shall pass and frames
//! that shall not: before the naive judge, the engine in userspace and the program in the kernel.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;
mod talk;

use std::{collections::BTreeSet, fs, path::Path};

use nwfilter_ctl::{
    builtin::Flavour,
    compile::compile,
    kernel::{Datapath, Options},
    model::Semantics,
    parse::parse_binding,
    resolve::{FilterDir, Instance, resolve},
};
use nwfilter_tests::{
    judge::{FrameDirection, Judge, Verdict},
    judges::{Decider, Engine, Kernel},
    need::{self, Need},
    net::{NetNs, Tap},
};

use self::frames::examples;

const PORT: &str = "vnet0";
const SECOND: u64 = 1_000_000_000;

/// A frame, and whether it passes. Frames of one example share a table of connections.
type Row = (FrameDirection, &'static str, Vec<u8>, bool);

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// The rules of an example's binding.
fn rules(binding: &str) -> Vec<Instance> {
    let text = fs::read_to_string(directory().join(binding)).unwrap();
    let (binding, found) = parse_binding(&text);
    assert_eq!(found, []);
    let filters = FilterDir::load(
        &directory().join("filters"),
        Flavour::default(),
        Semantics::Strict,
    );
    let resolved = resolve(&binding.unwrap(), &filters.unwrap(), Semantics::Strict);
    resolved.unwrap().instances
}

/// Shows an example's frames to somebody, one after the other.
fn ask(example: &str, rows: &[Row], decider: &mut dyn Decider) {
    let mut now = 1_000 * SECOND;
    for (direction, what, frame, passes) in rows {
        now += SECOND / 100;
        let decided = decider.decide(*direction, frame, now).unwrap();
        assert_eq!(
            decided.verdict == Verdict::Accept,
            *passes,
            "{example}, {}, {direction:?}, {what}: {decided:?}",
            decider.name()
        );
    }
}

/// No example is without its frames, and each filter has a binding.
#[test]
fn every_example_is_here() {
    let names = |part: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(directory().join(part)).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(names("filters"), names("bindings"));
    let tested: BTreeSet<String> = examples()
        .iter()
        .filter_map(|(binding, _)| Some(binding.strip_prefix("bindings/")?.to_owned()))
        .collect();
    assert_eq!(names("bindings"), tested);
}

#[test]
fn in_userspace() {
    for (example, rows) in examples() {
        let instances = rules(example);
        ask(
            example,
            &rows,
            &mut Judge::new(&instances, Semantics::Strict),
        );
        let mut engine = Engine::new(&instances, Semantics::Strict).unwrap();
        ask(example, &rows, &mut engine);
    }
}

#[test]
fn in_the_kernel() {
    if !need::met(&[Need::NetworkNamespace, Need::File("/dev/net/tun")]) {
        return;
    }
    let host = NetNs::new().unwrap();
    let _tap = Tap::new(&host, PORT).unwrap();
    host.run(|| {
        let mut datapath = Datapath::open(Options::default()).unwrap();
        for (example, rows) in examples() {
            let instances = rules(example);
            let compiled = compile(&instances, Semantics::Strict).unwrap();
            let mut kernel = Kernel::new(&mut datapath, PORT, &compiled, &instances).unwrap();
            ask(example, &rows, &mut kernel);
        }
    });
}
