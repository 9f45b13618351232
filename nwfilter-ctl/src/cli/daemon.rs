//! `nwfilter-ctl daemon`: the control plane in the foreground.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{CliError, Global, Outcome, log};
use crate::daemon::{self, Config, ConfigError};

/// Run the control plane in the foreground; stopping it leaves all filters in force
#[derive(Args, Clone, Debug)]
pub struct DaemonArgs {
    /// Configuration file (TOML) [default: /etc/nwfilter/nwfilter.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where filters are, NAME.xml [default: /etc/nwfilter/filters]
    #[arg(long, value_name = "DIR")]
    pub filter_dir: Option<PathBuf>,

    /// Where bindings are kept [default: /run/nwfilter]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Where to pin, on a BPF file system [default: /sys/fs/bpf/nwfilter]
    #[arg(long, value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// What keeps the daemon from starting.
pub fn run(args: &DaemonArgs, global: &Global) -> Result<Outcome, CliError> {
    let config = config(args, global.socket.as_deref())?;
    log::start();
    daemon::run(config)?;
    Ok(Outcome::Done)
}

fn config(args: &DaemonArgs, socket: Option<&Path>) -> Result<Config, ConfigError> {
    let file = Path::new(Config::FILE);
    let mut config = match &args.config {
        Some(path) => Config::read(path)?,
        None if file.exists() => Config::read(file)?,
        None => Config::default(),
    };
    let given = [
        (&mut config.filter_dir, args.filter_dir.as_deref()),
        (&mut config.state_dir, args.state_dir.as_deref()),
        (&mut config.pin_dir, args.pin_dir.as_deref()),
        (&mut config.socket, socket),
    ];
    for (setting, given) in given {
        if let Some(given) = given {
            given.clone_into(setting);
        }
    }
    Ok(config)
}
