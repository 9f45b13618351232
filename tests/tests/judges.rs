//! Generated filters and frames before all judges: the naive interpreter, the engine in userspace and
//! the program in the kernel must agree in verdict, layer and deciding rule. A failing case is shrunk and printed with its seed.
//!
//! `NWFILTER_TEST_LONG=1` judges a million frames; `NWFILTER_TEST_SEED=N` takes another seed.

use std::cell::RefCell;

use nwfilter_ctl::{
    kernel::{self, Datapath},
    model::Semantics,
};
use nwfilter_tests::{
    generate::{self, Case, Options},
    judges::{self, Engine, Forgetful, Kernel},
    need::{self, Need},
    net::NetNs,
};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// What is generated: all that the datapath has.
///
/// Not yet there, and so left out here and nowhere else: connection tracking, `connlimit-above`,
/// `option`, `ipset`, and the memory of first fragments.
fn options(semantics: Semantics) -> Options {
    Options {
        ignored_combinations: true,
        continue_in_inet: true,
        connections: false,
        limits: false,
        tcp_options: false,
        sets: false,
        frames: 60,
        ..Options::new(semantics)
    }
}

/// What everybody says of a case.
fn judge(case: &Case, semantics: Semantics, datapath: &mut Datapath) -> Result<usize, String> {
    let instances = case
        .resolve(semantics)
        .map_err(|error| format!("{error:#}"))?;
    let mut engine = Engine::new(&instances, semantics).map_err(|error| error.to_string())?;
    let mut forgetful = Forgetful {
        instances: &instances,
        semantics,
    };
    let mut kernel = Kernel::new(datapath, &instances, semantics)
        .map_err(|error| format!("{error:#}"))?;
    let mut count = 0;
    judges::compare(case, &mut [&mut forgetful, &mut engine, &mut kernel], |_, _| count += 1)
        .map_err(|difference| difference.to_string())?;
    Ok(count)
}

/// Judges cases until there have been `verdicts`.
fn run(options: Options, seed: u64, verdicts: usize) {
    let semantics = options.semantics;
    let strategy = generate::case(options);
    let done = RefCell::new(0);
    let datapath = RefCell::new(Datapath::open(kernel::Options::default()).expect("a datapath"));
    let mut batch = 0_u64;
    while *done.borrow() < verdicts {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&batch.to_le_bytes());
        let config = Config {
            cases: 50,
            failure_persistence: None,
            max_shrink_iters: 20_000,
            ..Config::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let result = runner.run(&strategy, |case| match judge(&case, semantics, &mut datapath.borrow_mut()) {
            Ok(count) => {
                *done.borrow_mut() += count;
                Ok(())
            }
            Err(difference) => Err(TestCaseError::fail(difference)),
        });
        match result {
            Ok(()) => batch += 1,
            Err(TestError::Fail(difference, case)) => {
                panic!("{semantics:?}, seed {seed}, batch {batch}\n{case}\n{difference}")
            }
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    }
}

fn seed() -> u64 {
    match std::env::var("NWFILTER_TEST_SEED") {
        Ok(seed) => seed.parse().expect("NWFILTER_TEST_SEED is a number"),
        Err(_) => 1,
    }
}

fn verdicts() -> usize {
    if std::env::var_os("NWFILTER_TEST_LONG").is_some() {
        1_000_000
    } else {
        20_000
    }
}

fn everything(semantics: Semantics) {
    if !need::met(&[Need::NetworkNamespace]) {
        return;
    }
    let seed = seed();
    println!("seed {seed}");
    NetNs::new()
        .expect("a network namespace")
        .run(|| run(options(semantics), seed, verdicts() / 2));
}

#[test]
fn strict() {
    everything(Semantics::Strict);
}

#[test]
fn libvirt() {
    everything(Semantics::Libvirt);
}
