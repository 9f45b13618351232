//! `cargo xtask ci`: what a change must pass. The summary of the tests comes last.

use std::env;
use std::process::ExitCode;

use anyhow::Result;

use crate::kernels::{self, Kernels};
use crate::setup::{self, Group};
use crate::{exec, test, tidy};

pub(crate) fn ci() -> Result<ExitCode> {
    exec::run(exec::cargo("fmt").args(["--all", "--check"]))?;
    if tidy::tidy()? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    setup::setup(&[Group::Build, Group::Run, Group::Test])?;
    exec::run(exec::cargo("clippy").args(["--all-targets", "--", "-D", "warnings"]))?;
    // Not for its own target: not every eBPF toolchain has a clippy, and one clippy for all of the
    // repository means that every machine finds the same. The host's `core` cannot unwind there.
    exec::run(
        exec::cargo("clippy")
            .args([
                "--package",
                "nwfilter-ebpf",
                "--bins",
                "--config",
                "profile.dev.panic='abort'",
            ])
            .args(["--", "-D", "warnings"]),
    )?;
    let options = test::Options::default();
    match Kernels::get(&kernels::USUAL) {
        Ok(kernels) => {
            if kernels.test(&test::environment(&options)?)? != ExitCode::SUCCESS {
                return Ok(ExitCode::FAILURE);
            }
        }
        Err(error) if env::var_os("CI").is_none() => eprintln!("skipped: other kernels: {error:#}"),
        Err(error) => return Err(error),
    }
    test::test(&options)
}
