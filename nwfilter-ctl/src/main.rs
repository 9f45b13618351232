//! The `nwfilter-ctl` binary.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use nwfilter_ctl::cli::{check, daemon, detach, explain_code};

/// libvirt's network filters, enforced by one eBPF program per host
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Socket of the daemon
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::CheckArgs),
    Daemon(daemon::DaemonArgs),
    Detach(detach::DetachArgs),
    ExplainCode(explain_code::ExplainCodeArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut errors = io::stderr().lock();
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Check(mut args) => {
            args.color = io::stdout().is_terminal();
            check::run(&args, &mut out, &mut errors)?
        }
        Command::Daemon(args) => daemon::run(&args, cli.socket.as_deref(), &mut errors)?,
        Command::Detach(args) => detach::run(&args, &mut out, &mut errors)?,
        Command::ExplainCode(args) => explain_code::run(&args, &mut out, &mut errors)?,
    };
    out.flush()?;
    Ok(ExitCode::from(outcome.code()))
}
