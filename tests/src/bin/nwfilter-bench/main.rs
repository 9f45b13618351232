//! The benchmarks behind `cargo xtask bench`: they print what they measure, and write it to
//! `docs/benchmarks.md` when asked. Nothing here is a test: machines are noisy, so what counts are
//! ratios of medians within one run.

mod baseline;
mod datapath;
mod filters;
mod language;
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

    /// Also write the results to this file, in place of what it says of the same
    #[arg(long, global = true, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum What {
    /// Time of one frame in the kernel program, with `BPF_PROG_TEST_RUN`
    Datapath,
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
    let sections = match options.what {
        None => &[datapath::SECTIONS, language::SECTIONS].concat(),
        Some(What::Datapath) => datapath::SECTIONS,
        Some(What::Language) => language::SECTIONS,
    };
    let mut report = String::new();
    for section in sections {
        let text = section()?;
        io::stdout().write_all(text.as_bytes())?;
        report.push_str(&text);
    }
    if let Some(path) = &options.write {
        let old = fs::read_to_string(path).unwrap_or_default();
        fs::write(path, page(&old, &report))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// The page of all results: new ones take the place of those with the same title.
fn page(old: &str, report: &str) -> String {
    let split = |text: &str| -> Vec<String> {
        let sections = text.split("\n## ").skip(1);
        sections
            .map(|section| format!("\n## {}\n", section.trim_end()))
            .collect()
    };
    let title = |section: &str| section.lines().nth(1).map(str::to_owned);
    let mut sections = split(old);
    for new in split(&format!("\n{report}")) {
        match sections.iter_mut().find(|old| title(old) == title(&new)) {
            Some(old) => *old = new,
            None => sections.push(new),
        }
    }
    format!(
        "# Benchmarks\n\nWritten by `cargo xtask bench --write docs/benchmarks.md`, each section in one run; do not \
         edit.\nWhat counts are ratios within one run.\n{}",
        sections.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_take_the_place_of_older_ones() {
        let first = page("", "## A\n\n1\n\n## B\n\n2\n\n");
        assert!(first.ends_with("\n## A\n\n1\n\n## B\n\n2\n"), "{first}");
        let second = page(&first, "## B\n\n3\n\n## C\n\n4\n");
        assert!(
            second.ends_with("\n## A\n\n1\n\n## B\n\n3\n\n## C\n\n4\n"),
            "{second}"
        );
    }
}
