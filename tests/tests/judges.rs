//! Generated filters and frames before all judges: the naive interpreter and the engine must agree in
//! verdict, layer and deciding rule. A failing case is shrunk and printed with its seed.
//!
//! `NWFILTER_TEST_LONG=1` judges a million frames; `NWFILTER_TEST_SEED=N` takes another seed.

use std::cell::RefCell;

use nwfilter_ctl::model::{Protocol, Semantics};
use nwfilter_tests::{
    generate::{self, Case, Options},
    judges::{self, Engine, Forgetful},
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
fn judge(case: &Case, semantics: Semantics) -> Result<usize, String> {
    let instances = case
        .resolve(semantics)
        .map_err(|error| format!("{error:#}"))?;
    let mut engine = Engine::new(&instances, semantics).map_err(|error| error.to_string())?;
    let mut forgetful = Forgetful {
        instances: &instances,
        semantics,
    };
    let mut count = 0;
    judges::compare(case, &mut [&mut forgetful, &mut engine], |_, _| count += 1)
        .map_err(|difference| difference.to_string())?;
    Ok(count)
}

/// Judges cases until there have been `verdicts`.
fn run(options: Options, seed: u64, verdicts: usize) {
    let semantics = options.semantics;
    let strategy = generate::case(options);
    let done = RefCell::new(0);
    let mut batch = 0_u64;
    while *done.borrow() < verdicts {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&batch.to_le_bytes());
        bytes[16] = options.focus.map_or(0, |focus| focus as u8 + 1);
        let config = Config {
            cases: 50,
            failure_persistence: None,
            max_shrink_iters: 20_000,
            ..Config::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let result = runner.run(&strategy, |case| match judge(&case, semantics) {
            Ok(count) => {
                *done.borrow_mut() += count;
                Ok(())
            }
            Err(difference) => Err(TestCaseError::fail(difference)),
        });
        match result {
            Ok(()) => batch += 1,
            Err(TestError::Fail(difference, case)) => panic!(
                "{semantics:?}, focus {:?}, seed {seed}, batch {batch}\n{case}\n{difference}",
                options.focus
            ),
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
    let seed = seed();
    println!("seed {seed}");
    run(options(semantics), seed, verdicts() / 4);
    for element in Protocol::ALL {
        let options = Options {
            focus: Some(*element),
            ..options(semantics)
        };
        run(options, seed, verdicts() / 4 / Protocol::ALL.len());
    }
}

#[test]
fn strict() {
    everything(Semantics::Strict);
}

#[test]
fn libvirt() {
    everything(Semantics::Libvirt);
}
