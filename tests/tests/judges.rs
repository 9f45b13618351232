//! Generated filters and frames before all judges: the naive interpreter, the engine in userspace and
//! the program in the kernel must agree in verdict, layer and deciding rule. A failing case is shrunk
//! and printed with its seed.
//!
//! `NWFILTER_TEST_LONG=1` judges more than a million frames; `NWFILTER_TEST_SEED=N` takes another
//! seed; `NWFILTER_TEST_BATCH=FOCUS/N`, as a failure prints it, judges that batch and no other.
//!
//! For many seeds, `cargo test --profile long -p nwfilter-tests --test judges` builds with
//! optimisation and with the checks of a debug build.
#![expect(clippy::print_stdout, reason = "seed and coverage, for those who look")]

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
};

use nwfilter_ctl::{
    compile::{compile, compile_as_long},
    kernel::{Datapath, Options as DatapathOptions},
    model::{Attr, Protocol, Semantics},
};
use nwfilter_tests::{
    generate::{self, Case, Options},
    judge::Judge,
    judges::{self, Coverage, Decider, Engine, Kernel},
    need::{self, Need},
    net::{NetNs, Tap},
};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// What is generated: all that the datapath has.
///
/// The address sets are [`judges::sets`].
fn options(semantics: Semantics) -> Options {
    Options {
        ignored_combinations: true,
        continue_in_inet: true,
        limits: true,
        tcp_options: true,
        sets: true,
        frames: 60,
        ..Options::new(semantics)
    }
}

/// Attributes that no test can be seen of: see [`options`]; and comments test nothing.
const EXEMPT: &[Attr] = &[Attr::Comment];

/// What everybody says of a case; the number of frames they agree on.
fn judge(
    case: &Case,
    semantics: Semantics,
    coverage: &mut Coverage,
    datapath: Option<&mut Datapath>,
) -> Result<usize, String> {
    let instances = case
        .resolve(semantics)
        .map_err(|error| format!("{error:#}"))?;
    let mut engine = Engine::new(&instances, semantics).map_err(|error| error.to_string())?;
    let mut trees = Engine::as_long(&instances, semantics).map_err(|error| error.to_string())?;
    let mut judge = Judge::with_sets(&instances, semantics, Box::new(judges::sets::Naive));
    let result = if let Some(datapath) = datapath {
        // Every other case with the tables of long lists.
        let compiled = if case.frames.len().is_multiple_of(2) {
            compile_as_long(&instances, semantics)
        } else {
            compile(&instances, semantics)
        };
        let compiled = compiled.map_err(|error| error.to_string())?;
        let mut kernel = Kernel::new(datapath, PORT, &compiled, &instances)
            .map_err(|error| format!("{error:#}"))?;
        let deciders: &mut [&mut dyn Decider] = &mut [&mut judge, &mut engine, &mut kernel];
        judges::compare(case, deciders, |sent, said| coverage.decided(sent, said))
    } else {
        coverage.look(case, &instances, semantics);
        let deciders: &mut [&mut dyn Decider] = &mut [&mut judge, &mut engine, &mut trees];
        judges::compare(case, deciders, |sent, said| coverage.decided(sent, said))
    };
    result.map_err(|difference| difference.to_string())?;
    Ok(case.frames.len())
}

/// The case without all frames and rules that a difference does not need. `proptest` shrinks values;
/// leaving out whole ones is quicker done here.
fn smallest(
    mut case: Case,
    mut difference: String,
    semantics: Semantics,
    judge: &mut impl FnMut(&Case) -> Result<usize, String>,
) -> (Case, String) {
    let mut differs = |other: &Case| {
        other.resolve(semantics).ok()?;
        match catch_unwind(AssertUnwindSafe(|| judge(other))) {
            Ok(result) => result.err(),
            Err(_) => Some("panicked".to_owned()),
        }
    };
    loop {
        let (frames, rules) = (case.frames.len(), case.rules());
        let without = (0..frames)
            .rev()
            .map(|frame| {
                let mut other = case.clone();
                other.frames.remove(frame);
                other
            })
            .chain((0..rules).rev().map(|rule| case.without_rule(rule)));
        let smaller = without
            .filter(|other| !other.frames.is_empty())
            .find_map(|other| differs(&other).map(|difference| (other, difference)));
        match smaller {
            Some(smaller) => (case, difference) = smaller,
            None => return (case, difference),
        }
    }
}

/// Judges cases until there have been `verdicts`.
fn run(
    options: Options,
    seed: u64,
    verdicts: usize,
    mut judge: impl FnMut(&Case) -> Result<usize, String>,
) {
    let semantics = options.semantics;
    let focus = options.focus.map_or("everything", Protocol::as_str);
    let only = only();
    if only.as_ref().is_some_and(|(wanted, _)| wanted != focus) {
        return;
    }
    let only = only.map(|(_, batch)| batch);
    let strategy = generate::case(options);
    let judge = RefCell::new(&mut judge);
    let done = Cell::new(0);
    let mut batch = only.unwrap_or(0);
    let end = only.map(|batch| batch + 1);
    while end.map_or(done.get() < verdicts, |end| batch < end) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&batch.to_le_bytes());
        bytes[16] = options.focus.map_or(0, |focus| focus as u8 + 1);
        let config = Config {
            cases: 10,
            failure_persistence: None,
            max_shrink_iters: 1_000,
            ..Config::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let result = runner.run(&strategy, |case| match (judge.borrow_mut())(&case) {
            Ok(count) => {
                done.set(done.get() + count);
                Ok(())
            }
            Err(difference) => Err(TestCaseError::fail(difference)),
        });
        match result {
            Ok(()) => batch += 1,
            Err(TestError::Fail(difference, case)) => {
                let judge = &mut **judge.borrow_mut();
                let (case, difference) = smallest(case, difference.to_string(), semantics, judge);
                panic!("{semantics:?}, seed {seed}, batch {focus}/{batch}\n{case}\n{difference}")
            }
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    }
}

/// Focus and number of the only batch that is wanted.
fn only() -> Option<(String, u64)> {
    let only = std::env::var("NWFILTER_TEST_BATCH").ok()?;
    let (focus, batch) = only.rsplit_once('/').expect("FOCUS/N");
    Some((
        focus.to_owned(),
        batch.parse().expect("a number of a batch"),
    ))
}

fn seed() -> u64 {
    let seed = match std::env::var("NWFILTER_TEST_SEED") {
        Ok(seed) => seed.parse().expect("NWFILTER_TEST_SEED is a number"),
        Err(_) => 1,
    };
    println!("seed {seed}");
    seed
}

/// Whether there is time for many verdicts.
fn long() -> bool {
    std::env::var_os("NWFILTER_TEST_LONG").is_some()
}

/// Verdicts of one test.
fn verdicts() -> usize {
    if long() { 600_000 } else { 20_000 }
}

/// Everything mixed, and then each element with frames of its kind.
fn everything(
    options: Options,
    verdicts: usize,
    mut judge: impl FnMut(&Case) -> Result<usize, String>,
) {
    let seed = seed();
    run(options, seed, verdicts / 4, &mut judge);
    let shares: usize = Protocol::ALL.iter().map(|element| share(*element)).sum();
    for element in Protocol::ALL {
        let options = Options {
            focus: Some(*element),
            filters: 1,
            rules: 4,
            ..options
        };
        run(
            options,
            seed,
            verdicts * 3 / 4 * share(*element) / shares,
            &mut judge,
        );
    }
}

/// Some elements have as many attributes as several others, or rules that match less often.
const fn share(element: Protocol) -> usize {
    match element {
        Protocol::Stp | Protocol::Ipv6 => 8,
        Protocol::Arp | Protocol::Rarp => 4,
        _ => 1,
    }
}

fn judge_and_engine(semantics: Semantics) {
    let mut coverage = Coverage::default();
    everything(options(semantics), verdicts(), |case| {
        judge(case, semantics, &mut coverage, None)
    });
    println!("{coverage}");
    if only().is_some() {
        return;
    }
    let mut missing = coverage.missing_rules();
    if semantics == Semantics::Libvirt {
        // Documented, but no element of libvirt's.
        missing.retain(|kind| kind != Protocol::IgmpIpv6.as_str());
    }
    assert_eq!(missing, [""; 0]);
    let mut gaps = coverage.gaps(EXEMPT);
    if semantics == Semantics::Libvirt {
        gaps.retain(|gap| gap != Coverage::NEGATED_LIST);
    }
    // The rarest need more verdicts than the short run has.
    if long() {
        assert_eq!(gaps, [""; 0], "what nothing depended on");
    }
    println!("nothing depended on: {gaps:?}");
}

#[test]
fn strict() {
    judge_and_engine(Semantics::Strict);
}

#[test]
fn libvirt() {
    judge_and_engine(Semantics::Libvirt);
}

const PORT: &str = "vnet0";

/// A tenth of it in the kernel, too.
#[test]
fn kernel() {
    if !need::met(&[Need::NetworkNamespace, Need::File("/dev/net/tun")]) {
        return;
    }
    let host = NetNs::new().unwrap();
    let _tap = Tap::new(&host, PORT).unwrap();
    host.run(|| {
        let mut datapath = Datapath::open(DatapathOptions::default()).unwrap();
        for (name, elements) in judges::sets::sets() {
            datapath.replace_set(name, elements).unwrap();
        }
        for semantics in [Semantics::Strict, Semantics::Libvirt] {
            let mut options = options(semantics);
            if long() {
                // It takes longer to bind a filter than to decide all these frames.
                options.frames *= 4;
            }
            everything(options, verdicts() / 10, |case| {
                let mut case = case.clone();
                case.frames.retain(|sent| Kernel::takes(&sent.bytes));
                // The kernel goes by its own clock.
                case.frames.iter_mut().for_each(|sent| sent.now = 1);
                let coverage = &mut Coverage::default();
                judge(&case, semantics, coverage, Some(&mut datapath))
            });
        }
    });
}
