//! `nwfilter-ctl detach --all`: the explicit way to remove all filters.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{CliError, Global, Outcome};
use crate::{
    daemon::Config,
    kernel::{AttachMode, Datapath, KernelError, Options},
};

/// Remove every filter from every port; the daemon must be stopped
#[derive(Args, Clone, Debug)]
pub struct DetachArgs {
    /// All of them: there is no other choice, and none by accident
    #[arg(long, required = true)]
    pub all: bool,

    /// Where the daemon pinned
    #[arg(long, value_name = "DIR", default_value = Config::PIN_DIR)]
    pub pin_dir: PathBuf,
}

/// Removes all filters and pins.
///
/// # Errors
///
/// While a daemon has the pins, and what the kernel refuses.
pub fn run(args: &DetachArgs, global: &Global, out: &mut impl Write) -> Result<Outcome, CliError> {
    let path = &args.pin_dir;
    let ports = detach(path).map_err(|error| match error {
        KernelError::Busy { path } => CliError::DetachBusy { path },
        error => CliError::Detach(error),
    })?;
    if global.json {
        writeln!(
            out,
            "{}",
            json!({ "schema": 1, "ports": ports.unwrap_or(0) })
        )?;
    } else if let Some(ports) = ports {
        writeln!(out, "removed the filters of {ports} ports")?;
    } else {
        writeln!(out, "nothing is pinned below {}", path.display())?;
    }
    Ok(Outcome::Done)
}

/// The number of ports that were filtered; `None` if there are no pins.
fn detach(pins: &Path) -> Result<Option<usize>, KernelError> {
    if !pins.exists() {
        return Ok(None);
    }
    let datapath = Datapath::open(Options {
        pins: Some(pins.to_owned()),
        attach: AttachMode::Auto,
        ..Options::default()
    })?;
    let ports = datapath.ports().len();
    datapath.detach_all()?;
    Ok(Some(ports))
}
