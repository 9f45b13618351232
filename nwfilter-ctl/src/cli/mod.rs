//! The command line: its root, what all commands have in common, and how they end. What a command
//! does is in the module of its name, with its arguments and a `run`.

pub mod binding;
pub mod check;
pub mod compile;
pub mod connections;
pub mod daemon;
pub mod detach;
pub mod doctor;
pub mod explain;
pub mod explain_code;
pub mod filter;
pub mod port;
pub mod set;

mod client;
mod condition;
mod diagnose;
mod document;
mod load;
mod log;
mod place;
mod render;
mod table;

pub use client::ClientError;

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};
use serde_json::json;

use crate::{
    daemon::{ConfigError, DaemonError},
    kernel::KernelError,
};

/// libvirt's network filters, enforced by one eBPF program per host
#[derive(Clone, Debug, Parser)]
#[command(name = "nwfilter-ctl", version)]
pub struct Cli {
    /// For all commands.
    #[command(flatten)]
    pub global: Global,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Print one JSON document
    #[arg(long, global = true)]
    pub json: bool,

    /// The daemon's control socket
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// See [`check`].
    Check(check::CheckArgs),
    /// See [`compile`].
    Compile(compile::CompileArgs),
    /// See [`daemon`].
    Daemon(daemon::DaemonArgs),
    /// See [`detach`].
    Detach(detach::DetachArgs),
    /// See [`explain`].
    Explain(explain::ExplainArgs),
    /// See [`explain_code`].
    ExplainCode(explain_code::ExplainCodeArgs),
    /// See [`filter::define`].
    Define(filter::DefineArgs),
    /// See [`filter::undefine`].
    Undefine(filter::UndefineArgs),
    /// See [`filter::list`].
    List(filter::ListArgs),
    /// See [`filter::dumpxml`].
    Dumpxml(filter::DumpxmlArgs),
    /// See [`filter::edit`].
    Edit(filter::EditArgs),
    /// See [`binding::create`].
    BindingCreate(binding::BindingCreateArgs),
    /// See [`binding::delete`].
    BindingDelete(binding::BindingDeleteArgs),
    /// See [`binding::list`].
    BindingList(binding::BindingListArgs),
    /// See [`binding::dumpxml`].
    BindingDumpxml(binding::BindingDumpxmlArgs),
    /// See [`port::show`].
    Show(port::ShowArgs),
    /// See [`connections::flush`].
    Flush(connections::FlushArgs),
    /// See [`port::monitor`].
    Monitor(port::MonitorArgs),
    /// See [`port::status`].
    Status(port::StatusArgs),
    /// See [`set`].
    Set(set::SetArgs),
    /// See [`doctor`].
    Doctor(doctor::DoctorArgs),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Done, nothing found.
    Done,
    /// Something was found: an invalid filter, a dropped packet, a difference.
    Findings,
    /// Usage or operational error.
    Failed,
}

impl Outcome {
    /// The exit status: 0, 1 or 2.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Findings => 1,
            Self::Failed => 2,
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Standard output or standard error.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    /// A file or directory.
    #[error("{}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// `--packet`
    #[error("--packet {text}")]
    Packet {
        /// As given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: explain::PacketError,
    },
    /// A capture file.
    #[error("{}", path.display())]
    Capture {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: explain::CaptureError,
    },
    /// The datapath.
    #[error("the kernel does not run the filter")]
    Kernel(#[from] KernelError),
    /// The daemon does not do it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The user's editor.
    #[error("the editor `{editor}` failed")]
    Editor {
        /// The command.
        editor: String,
        /// Why, or how it ended.
        #[source]
        source: io::Error,
    },
    /// The daemon's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What ended the daemon.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// Pins that cannot be removed.
    #[error("cannot remove the filters")]
    Detach(#[source] KernelError),
    /// The daemon that holds the pins would filter the ports again.
    #[error("{} is in use; stop the daemon first, it would filter the ports again", path.display())]
    DetachBusy {
        /// The pin directory.
        path: PathBuf,
    },
    /// A network namespace to run the filter in.
    #[error("cannot make a network namespace to run the filter in")]
    Namespace(#[source] io::Error),
}

impl Cli {
    /// Runs the command. Errors are printed on `errors`; that nobody reads the output any more is
    /// none.
    pub fn run(&self, out: &mut impl Write, errors: &mut impl Write) -> Outcome {
        let done = self.dispatch(out, errors).and_then(|outcome| {
            out.flush()?;
            Ok(outcome)
        });
        match done {
            Ok(outcome) => outcome,
            Err(error) if is_broken_pipe(&error) => Outcome::Done,
            Err(error) => {
                let text = with_causes(&error);
                // There is nobody else to tell if these fail.
                let _ = writeln!(errors, "error: {text}");
                if self.global.json {
                    let _ = writeln!(out, "{}", json!({ "schema": 1, "error": text }));
                    let _ = out.flush();
                }
                match &error {
                    CliError::Client(error) => error.outcome(),
                    _ => Outcome::Failed,
                }
            }
        }
    }

    fn dispatch(&self, out: &mut impl Write, errors: &mut impl Write) -> Result<Outcome, CliError> {
        let global = &self.global;
        match &self.command {
            Command::Check(args) => {
                let mut args = args.clone();
                args.color = io::stdout().is_terminal();
                if global.json {
                    args.format = check::Format::Json;
                }
                Ok(check::run(&args, out, errors)?)
            }
            Command::Compile(args) => compile::run(args, global, out, errors),
            Command::Daemon(args) => daemon::run(args, global),
            Command::Detach(args) => detach::run(args, global, out),
            Command::Explain(args) => explain::run(args, global, out, errors),
            Command::ExplainCode(args) => Ok(explain_code::run(args, global, out, errors)?),
            Command::Define(args) => filter::define(args, global, out),
            Command::Undefine(args) => filter::undefine(args, global, out),
            Command::List(args) => filter::list(args, global, out),
            Command::Dumpxml(args) => filter::dumpxml(args, global, out),
            Command::Edit(args) => filter::edit(args, global, out, errors),
            Command::BindingCreate(args) => binding::create(args, global, out),
            Command::BindingDelete(args) => binding::delete(args, global, out),
            Command::BindingList(_) => binding::list(global, out),
            Command::BindingDumpxml(args) => binding::dumpxml(args, global, out),
            Command::Show(args) => port::show(args, global, out),
            Command::Flush(args) => connections::flush(args, global, out),
            Command::Monitor(args) => port::monitor(args, global, out),
            Command::Status(_) => port::status(global, out),
            Command::Set(args) => set::run(args, global, out),
            Command::Doctor(_) => doctor::run(global, out),
        }
    }
}

fn is_broken_pipe(error: &CliError) -> bool {
    matches!(error, CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error and what caused it, on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
