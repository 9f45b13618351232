//! `cargo xtask test`: every test of the default members; those of `tests/` use the real kernel, or
//! with `--kernels` others.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::exec;
use crate::kernels::{Environment, Kernels, Series};
use crate::setup::{self, Group};

/// Tells the tests to run their long variants.
const LONG: &str = "NWFILTER_TEST_LONG";
/// What else of this process' environment reaches the tests in other kernels.
const HANDED_ON: [&str; 3] = ["PROPTEST_CASES", "RUST_BACKTRACE", "RUST_TEST_THREADS"];

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
    /// Options and filters of `cargo test`.
    #[arg(allow_hyphen_values = true)]
    arguments: Vec<OsString>,
    /// Options of the test programs.
    #[arg(last = true)]
    program_arguments: Vec<OsString>,
}

pub(crate) fn test(options: &Options) -> Result<ExitCode> {
    if !options.kernels.is_empty() {
        return Kernels::get(&options.kernels)?.test(&environment(options)?);
    }
    setup::setup(&[Group::Build, Group::Run, Group::Test])?;
    // Tests start the workspace's programs, and `cargo test` builds only those of their own package.
    exec::run(&mut exec::cargo("build"))?;
    let mut tests = exec::cargo("test");
    if options.long {
        tests.env(LONG, "1");
    }
    tests.arg("--no-fail-fast").args(&options.arguments);
    tests.arg("--").args(&options.program_arguments);
    exec::replace(&mut tests)?;
    Ok(ExitCode::SUCCESS)
}

/// What the test programs get in other kernels.
pub(crate) fn environment(options: &Options) -> Result<Environment> {
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
            None => bail!("{argument:?} is not UTF-8"),
        }
    }
    Ok(Environment {
        variables,
        arguments,
    })
}
