//! The benchmarks behind `cargo xtask bench`: they print what they measure, and write it to
//! `docs/benchmarks.md` when asked. Nothing here is a test: machines are noisy, so what counts are
//! ratios of medians within one run.

mod baseline;
mod bridge;
mod control;
mod datapath;
mod filters;
mod language;
mod machine;
mod measure;
mod report;

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand, builder::RangedU64ValueParser};

use machine::Machine;

/// A part of the report, as Markdown.
type Section = fn(&Options) -> Result<String>;

/// Measures nwfilter.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// What to measure; everything if left out
    #[command(subcommand)]
    what: Option<What>,

    /// Also write the results to this file, in place of what it has of the same name
    #[arg(long, global = true, value_name = "FILE")]
    write: Option<PathBuf>,

    /// Ports of the bridge that has many, 1 for none; libvirt takes seconds to bind each, for either of
    /// two filters
    #[arg(long, global = true, value_name = "NUMBER", default_value_t = 200,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    ports: usize,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum What {
    /// Time of one frame in the kernel program, with `BPF_PROG_TEST_RUN`
    Datapath,
    /// A frame's way from tap to tap, against libvirt's filter
    Bridge,
    /// The daemon with many ports, against libvirt's
    Control,
    /// Time to parse and resolve long filters
    Language,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let chosen = match options.what {
        None => [
            datapath::SECTIONS,
            bridge::SECTIONS,
            control::SECTIONS,
            language::SECTIONS,
        ]
        .concat(),
        Some(What::Datapath) => datapath::SECTIONS.to_vec(),
        Some(What::Bridge) => bridge::SECTIONS.to_vec(),
        Some(What::Control) => control::SECTIONS.to_vec(),
        Some(What::Language) => language::SECTIONS.to_vec(),
    };
    ensure!(
        !cfg!(debug_assertions),
        "this is a build for debugging; `cargo xtask bench` makes the right one"
    );
    let machine = Machine::now()?;
    for warning in machine.warnings() {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    let mut measured = Vec::new();
    let mut failed = 0;
    for section in chosen {
        let machine = Machine::now()?;
        // One that cannot be measured here does not keep the others from it.
        match section(options) {
            Ok(text) => {
                let text = report::stamped(&text, &machine.stamp()?);
                io::stdout().write_all(text.as_bytes())?;
                measured.push(text);
            }
            Err(error) => {
                writeln!(io::stderr(), "error: {error:#}")?;
                failed += 1;
            }
        }
    }
    if let Some(path) = &options.write {
        let before = fs::read_to_string(path).unwrap_or_default();
        let report = report::merge(&before, &measured, &machine.stamp()?);
        fs::write(path, report).with_context(|| format!("write {}", path.display()))?;
    }
    ensure!(failed == 0, "{failed} sections could not be measured");
    Ok(())
}
