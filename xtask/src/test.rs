//! `cargo xtask test`: every test of the default members; those of `tests/` use the real kernel.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

use crate::exec;
use crate::setup;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Run the long variants of the tests, too; goes before the options of `cargo test`.
    #[arg(long)]
    long: bool,
    /// Options and filters of `cargo test`.
    #[arg(allow_hyphen_values = true)]
    arguments: Vec<OsString>,
    /// Options of the test programs.
    #[arg(last = true)]
    program_arguments: Vec<OsString>,
}

pub(crate) fn test(options: &Options) -> Result<()> {
    setup::setup(&[])?;
    // Tests start the workspace's programs, and `cargo test` builds only those of their own package.
    exec::run(&mut exec::cargo("build"))?;
    let mut tests = exec::cargo("test");
    if options.long {
        tests.env("NWFILTER_TEST_LONG", "1");
    }
    tests.arg("--no-fail-fast").args(&options.arguments);
    tests.arg("--").args(&options.program_arguments);
    exec::replace(&mut tests)
}
