//! The `nwfilter-ctl` binary.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use nwfilter_ctl::cli::{check, explain_code};

/// libvirt's network filters, enforced by one eBPF program per host
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::CheckArgs),
    ExplainCode(explain_code::ExplainCodeArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut errors = io::stderr().lock();
    let outcome = match Cli::parse().command {
        Command::Check(mut args) => {
            args.color = io::stdout().is_terminal();
            check::run(&args, &mut out, &mut errors)?
        }
        Command::ExplainCode(args) => explain_code::run(&args, &mut out, &mut errors)?,
    };
    out.flush()?;
    Ok(ExitCode::from(outcome.code()))
}
