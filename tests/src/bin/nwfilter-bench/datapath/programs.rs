//! What the verifier has to do.

use std::fmt::Write as _;

use anyhow::Result;
use nwfilter_ctl::kernel::{Datapath, Options};

pub(super) fn section(_: &[String]) -> Result<String> {
    let datapath = Datapath::open(Options::default())?;
    let mut out = String::from(
        "## Programs\n\nThey are the same for all filters.\n\n| program | verifier instructions |\n|---|--:|\n",
    );
    for (name, instructions) in datapath.verified_instructions()? {
        let instructions = instructions.map_or_else(|| "unknown".into(), |count| count.to_string());
        writeln!(out, "| {name} | {instructions} |")?;
    }
    writeln!(out)?;
    Ok(out)
}
