//! `cargo xtask test`: the tests of the kernel inside other kernels, then every test of the default
//! members, whose tests of the kernel use the one that runs.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::exec;
use crate::kernels::{Environment, Kernels, Scope, Series};
use crate::setup::{self, Group};

/// Tells the tests to run their long variants.
const LONG: &str = "NWFILTER_TEST_LONG";
/// What else of this process' environment reaches the tests in other kernels.
const HANDED_ON: [&str; 3] = ["PROPTEST_CASES", "RUST_BACKTRACE", "RUST_TEST_THREADS"];
/// Other kernels in which all is tested: the oldest that will do, and a newer one.
const KERNELS: [Series; 2] = [Series::new(6, 1), Series::new(6, 12)];

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Run the long variants of the tests, too; goes before the options of `cargo test`.
    #[arg(long)]
    long: bool,
    /// Run the tests of the kernel inside Debian's kernels of these series, such as 6.1,6.12, and no
    /// others; goes before the options of the test programs.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "SERIES",
        conflicts_with = "arguments"
    )]
    kernels: Vec<Series>,
    /// Only that the program loads, is attached and filters frames in these kernels.
    #[arg(long, requires = "kernels")]
    smoke: bool,
    /// Options and filters of `cargo test`.
    #[arg(allow_hyphen_values = true)]
    arguments: Vec<OsString>,
    /// Options of the test programs.
    #[arg(last = true)]
    program_arguments: Vec<OsString>,
}

pub(crate) fn test(options: &Options) -> Result<ExitCode> {
    if !options.kernels.is_empty() {
        let scope = if options.smoke {
            Scope::Smoke
        } else {
            Scope::Whole
        };
        return Kernels::get(&options.kernels)?.test(&environment(options, scope)?);
    }
    setup::setup(&[Group::Build, Group::Run, Group::Test])?;
    // Tests start the workspace's programs, and `cargo test` builds only those of their own package.
    exec::run(&mut exec::cargo("build"))?;
    let kernels = kernels()?;
    let everything = options.arguments.is_empty() && options.program_arguments.is_empty();
    let in_kernels = match &kernels {
        Some(kernels) if everything => kernels.test(&environment(options, Scope::Whole)?)?,
        _ => ExitCode::SUCCESS,
    };
    let mut tests = exec::cargo("test");
    if options.long {
        tests.env(LONG, "1");
    }
    tests.arg("--no-fail-fast").args(&options.arguments);
    tests.arg("--").args(&options.program_arguments);
    if in_kernels == ExitCode::SUCCESS {
        exec::replace(&mut tests)?;
    }
    // What has failed is far above by then.
    let status = exec::run(&mut tests);
    eprintln!("tests failed in other kernels, see above");
    status.map(|()| in_kernels)
}

/// The kernels in which all is tested, and the virtual machine that tests boot. Where they cannot be
/// had they are left out, but not under CI.
fn kernels() -> Result<Option<Kernels>> {
    let made = Kernels::get(&KERNELS).and_then(|kernels| {
        kernels.make_vm()?;
        Ok(kernels)
    });
    match made {
        Ok(kernels) => Ok(Some(kernels)),
        Err(error) if env::var_os("CI").is_none() => {
            eprintln!("skipped: tests in other kernels and with a virtual machine: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What the test programs get in other kernels.
pub(crate) fn environment(options: &Options, scope: Scope) -> Result<Environment> {
    let handed_on = HANDED_ON
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)));
    let mut variables: Vec<(String, String)> = handed_on.collect();
    // A guest has all that its tests need: nothing is to be skipped there.
    variables.push((
        "CI".to_owned(),
        env::var("CI").unwrap_or_else(|_| "1".to_owned()),
    ));
    if options.long || env::var_os(LONG).is_some() {
        variables.push((LONG.to_owned(), "1".to_owned()));
    }
    let mut arguments = Vec::new();
    for argument in &options.program_arguments {
        match argument.to_str() {
            Some(argument) => arguments.push(argument.to_owned()),
            None => bail!("{} is not UTF-8", argument.display()),
        }
    }
    Ok(Environment {
        scope,
        variables,
        arguments,
    })
}
