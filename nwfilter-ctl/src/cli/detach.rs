//! `nwfilter-ctl detach --all`: the explicit way to remove all filters.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;

use super::Outcome;
use crate::{
    daemon::{Config, chain},
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
/// `out` or `errors` cannot be written to.
pub fn run(
    args: &DetachArgs,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<Outcome> {
    match detach(&args.pin_dir) {
        Ok(Some(ports)) => writeln!(out, "removed the filters of {ports} ports")?,
        Ok(None) => writeln!(out, "nothing is pinned below {}", args.pin_dir.display())?,
        Err(error) => {
            write!(errors, "error: {}", chain(&error))?;
            if matches!(error, KernelError::Busy { .. }) {
                write!(
                    errors,
                    "; stop the daemon first, it would filter them again"
                )?;
            }
            writeln!(errors)?;
            return Ok(Outcome::Failed);
        }
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
    })?;
    let ports = datapath.ports().len();
    datapath.detach_all()?;
    Ok(Some(ports))
}
