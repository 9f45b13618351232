//! `cargo xtask compatibility`: the comparison with libvirt, which is a program of the tests' crate.

use anyhow::Result;

use crate::exec;
use crate::setup::{self, Group};

pub(crate) fn compatibility() -> Result<()> {
    setup::setup(&[Group::Build, Group::Run, Group::Test])?;
    let page = crate::workspace().join("docs/compatibility.md");
    exec::release(
        "nwfilter-compatibility",
        &["--write".into(), page.into_os_string()],
    )
}
