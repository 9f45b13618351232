//! The benchmarks behind `cargo xtask bench`: they print what they measure, and write it to
//! `docs/benchmarks.md` when asked. Nothing here is a test: machines are noisy, so what counts are
//! ratios of medians within one run.

mod baseline;
mod datapath;
mod filters;
mod measure;

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

/// A part of the report, as Markdown.
type Section = fn() -> Result<String>;

/// Measures nwfilter.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// What to measure; everything if left out
    #[command(subcommand)]
    what: Option<What>,

    /// Also write the results to this file
    #[arg(long, global = true, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum What {
    /// Time of one frame in the kernel program, with `BPF_PROG_TEST_RUN`
    Datapath,
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
    let sections = match options.what {
        None | Some(What::Datapath) => datapath::SECTIONS,
    };
    let mut report = String::new();
    for section in sections {
        let text = section()?;
        io::stdout().write_all(text.as_bytes())?;
        report.push_str(&text);
    }
    if let Some(path) = &options.write {
        let text = format!(
            "# Benchmarks\n\nWritten by `cargo xtask bench --write docs/benchmarks.md`; do not edit.\n\
             What counts are ratios within one run.\n\n{report}"
        );
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
