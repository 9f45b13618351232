//! The `nwfilter-ctl` binary: streams and exit status. Everything else is the library's.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

use clap::Parser as _;
use nwfilter_ctl::cli::Cli;

fn main() -> ExitCode {
    // Not locked: other threads may log.
    let mut out = BufWriter::new(io::stdout());
    ExitCode::from(Cli::parse().run(&mut out, &mut io::stderr()).code())
}
