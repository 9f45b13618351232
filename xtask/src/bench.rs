//! `cargo xtask bench`: the benchmarks, which are a program of the tests' crate.

use std::ffi::OsString;

use anyhow::Result;

use crate::exec;
use crate::setup::{self, Group};

pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    // Of the tests' it takes libvirt, to compare with.
    setup::setup(&[Group::Build, Group::Run, Group::Test])?;
    exec::release("nwfilter-bench", arguments)
}
