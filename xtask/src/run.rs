//! `cargo xtask run`: the demo, which is a program of the tests' crate.

use std::ffi::OsString;

use anyhow::Result;

use crate::exec;
use crate::setup::{self, Group};

pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    setup::setup(&[Group::Build, Group::Run])?;
    exec::release("nwfilter-demo", arguments)
}
