//! The comparison behind `cargo xtask compatibility`: asks libvirt the whole catalogue and writes
//! `docs/compatibility.md`.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use nwfilter_tests::compat::{NEEDS, catalogue, page, run};

/// Compares nwfilter with libvirt itself.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Write the page to this file instead of printing it
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Ask only what begins with one of these
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

fn main() -> ExitCode {
    match compare(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn compare(options: &Options) -> Result<ExitCode> {
    for need in NEEDS {
        ensure!(need.is_met(), "missing {need}");
    }
    let mut batches = catalogue();
    if !options.only.is_empty() {
        let begins = |name: &str| options.only.iter().any(|only| name.starts_with(only));
        batches.retain(|batch| begins(batch.name));
    }
    let report = run(&batches)?;
    let text = page(&report);
    match &options.write {
        Some(path) => {
            fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
        }
        None => io::stdout().write_all(text.as_bytes())?,
    }
    for difference in &report.unexplained {
        writeln!(io::stderr(), "unexplained: {difference}")?;
    }
    for reason in report.unused() {
        writeln!(io::stderr(), "explains nothing: {}", reason.title())?;
    }
    let fine = report.unexplained.is_empty();
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
