//! `cargo xtask ci`: what a change must pass. The summary of the tests comes last.

use std::process::ExitCode;

use anyhow::Result;

use crate::setup::{self, Group};
use crate::{exec, test, tidy};

pub(crate) fn ci() -> Result<ExitCode> {
    exec::run(exec::cargo("fmt").args(["--all", "--check"]))?;
    if tidy::tidy()? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    setup::setup(&[Group::Build, Group::Run, Group::Test])?;
    exec::run(exec::cargo("clippy").args(["--all-targets", "--", "-D", "warnings"]))?;
    let options = test::Options::default();
    test::test(&options)
}
