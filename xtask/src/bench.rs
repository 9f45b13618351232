//! `cargo xtask bench`: the benchmarks, which are a program of the tests' crate.

use std::ffi::OsString;

use anyhow::Result;

use crate::exec;
use crate::setup::{self, Group};

pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    setup::setup(&[Group::Build, Group::Run])?;
    exec::release("nwfilter-bench", arguments)
}
