//! The control plane: one event loop that owns the datapath and turns what is on disk, and what
//! callers ask for, into what is enforced. It decides no frame: the datapath goes on without it.
//!
//! Every piece of state can be rebuilt: filters and bindings from their files, ports from the pins,
//! devices from the kernel. So there is nothing to save at the end, and any end will do.

mod bindings;
mod config;
mod control;
mod error;
mod event;
mod file;
mod filters;

use std::fs;

use tracing::{info, warn};

pub(crate) use self::error::chain;
pub use self::{
    config::{Config, ConfigError},
    error::DaemonError,
};
use self::{
    control::Control,
    event::{Event, Events},
    file::StateLock,
};

/// Runs the daemon until SIGTERM or SIGINT. What it enforces stays enforced.
///
/// # Errors
///
/// What keeps it from starting; what was enforced before still is.
pub fn run(config: Config) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::Runtime)?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), DaemonError> {
    for directory in [&config.state_dir, &config.bindings_dir()] {
        fs::create_dir_all(directory).map_err(DaemonError::file("create", directory))?;
    }
    // Whoever has the lock may write; the datapath has one of its own.
    let _lock = StateLock::take(&config.state_dir)?;
    let mut events = Events::new()?;
    let mut control = Control::start(config)?;
    ready(&control);
    loop {
        match events.next().await {
            Event::Stop(signal) => {
                info!("{signal}: stopping; all filters stay in force");
                notify(&[sd_notify::NotifyState::Stopping]);
                return Ok(());
            }
            Event::Reload => control.reload(),
        }
    }
}

/// Says that everything that can be enforced is.
fn ready(control: &Control) {
    let status = control.summary();
    info!("ready: {status}");
    notify(&[
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(&status),
    ]);
}

/// Tells the service manager, if there is one.
fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!("cannot notify the service manager: {error}");
    }
}
