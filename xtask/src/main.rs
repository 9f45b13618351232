//! Developer commands, `cargo xtask help` lists them. What users run is nwfilter-ctl.
#![expect(
    clippy::print_stdout,
    reason = "the commands tell developers what they do"
)]
#![expect(clippy::print_stderr, reason = "errors go to standard error")]

mod bench;
mod ci;
mod compatibility;
mod exec;
mod kernels;
mod run;
mod setup;
mod test;
mod tidy;
#[path = "../../nwfilter-ebpf/toolchain/mod.rs"]
mod toolchain;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use setup::Group;

/// Set-up, demo, tests and benchmarks of nwfilter.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what build, tests and demo need and what is not there yet.
    ///
    /// The eBPF program is compiled by the toolchain in use, by rustup's nightly or by the system's,
    /// the first that has rust-src. `NWFILTER_EBPF_TOOLCHAIN` (the directory that holds `bin/rustc`)
    /// and `NWFILTER_BPF_LINKER` (the program) name others, for set-up and for builds.
    Setup {
        /// Only what these need; everything without any.
        groups: Vec<Group>,
    },
    /// Build and run the demo: one filter on one real port.
    Run {
        /// Options of the demo: `--once`, `--filter FILE`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run the unit, integration and kernel tests.
    Test {
        #[command(flatten)]
        options: test::Options,
    },
    /// Build and run the benchmarks.
    Bench {
        /// Which (`datapath`, `bridge`, `control`, `language`; all without any) and options: `--write FILE`,
        /// `--ports NUMBER`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Compare with libvirt itself and write docs/compatibility.md; takes some minutes.
    Compatibility,
    /// All checks of a change: format, rules of this repository, lints, tests.
    Ci,
    /// Check the rules of this repository that no other tool knows.
    Tidy,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup { groups } => {
            setup::setup(&groups)?;
            println!("setup: nothing is missing");
        }
        Command::Run { arguments } => run::run(&arguments)?,
        Command::Test { options } => return test::test(&options),
        Command::Bench { arguments } => bench::bench(&arguments)?,
        Command::Compatibility => compatibility::compatibility()?,
        Command::Ci => return ci::ci(),
        Command::Tidy => return tidy::tidy(),
    }
    Ok(ExitCode::SUCCESS)
}

/// The repository's root.
fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.unwrap_or(Path::new(".")).to_path_buf()
}
