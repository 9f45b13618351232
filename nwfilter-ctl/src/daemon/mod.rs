//! The control plane: one event loop that owns the datapath and turns what is on disk, and what
//! callers ask for, into what is enforced. It decides no frame: the datapath goes on without it.
//!
//! Every piece of state can be rebuilt: filters and bindings from their files, ports from the pins,
//! devices from the kernel. So there is nothing to save at the end, and any end will do.

pub mod api;
mod binding_calls;
mod bindings;
mod config;
mod connections;
mod control;
mod devices;
mod error;
mod event;
mod file;
mod filter_calls;
mod filters;
mod learning;
mod leases;
mod links;
mod monitor;
mod notify;
mod server;
mod set_calls;
mod set_change;
mod set_files;
mod view;

use std::fs;

use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};
use tracing::{error, info};

use self::{
    api::{ApiError, Call, ErrorKind},
    control::Control,
    event::{Event, Events},
    file::StateLock,
    monitor::Monitors,
    notify::{notify, notify_ready},
    server::{Answer, Request, Work},
    set_change::{Outcome, SetChange},
};
pub use self::{
    config::{Config, ConfigError},
    error::DaemonError,
};
pub(crate) use self::{
    error::chain,
    filter_calls::info,
    filters::{Known, uuid_of},
};
use crate::fault;

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
    let result = runtime.block_on(serve(config));
    // What is still done beside the loop has no effect any more, and is nothing to wait for.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config) -> Result<(), DaemonError> {
    for directory in [&config.state_dir, &config.bindings_dir()] {
        fs::create_dir_all(directory).map_err(DaemonError::file("create", directory))?;
    }
    // Whoever has the lock may write; the datapath has one of its own.
    let _lock = StateLock::take(&config.state_dir)?;
    let (mut events, requests) = Events::new()?;
    let mut control = Control::start(config)?;
    let own_socket = server::listen(&control.config.socket, requests.clone())?;
    let mut monitors = Monitors::default();
    events.add_learning(control.datapath.learning()?)?;
    give_back_memory();
    ready(&control);
    loop {
        match events.next(control.until_expiry()).await {
            Event::Stop(signal) => {
                info!("{signal}: stopping; all filters stay in force");
                notify(&[sd_notify::NotifyState::Stopping]);
                if own_socket {
                    // Whoever comes now shall see that nobody is here.
                    let _ = fs::remove_file(&control.config.socket);
                }
                return Ok(());
            }
            Event::Reload => control.reload(),
            Event::Sweep => {
                if let Err(error) = control.datapath.sweep() {
                    error!("cannot remove dead connections: {}", chain(&error));
                }
                control.check_attached();
            }
            Event::Expiry => control.expire_leases(),
            Event::Learning(frames) => control.learn(&frames),
            Event::Watchdog => notify(&[sd_notify::NotifyState::Watchdog]),
            Event::Links(changes) => control.links_changed(&changes),
            Event::Request(Request { work, answer }) => {
                let result = match work {
                    Work::Sets(sets) => control.finish_set_change(sets),
                    Work::Call(Call::Monitor { ports }) => {
                        let result = monitor(ports, &mut control, &mut events, &mut monitors);
                        let _ = answer.send(result);
                        continue;
                    }
                    Work::Call(call) => control.answer(call),
                };
                let result = match result {
                    Ok(Outcome::Begun(change)) => {
                        tokio::spawn(fill(change, answer, requests.clone()));
                        continue;
                    }
                    Ok(Outcome::Done(value)) => Ok(value),
                    Err(error) => Err(error),
                };
                fault::point();
                // The caller may be gone, and what was done stays done.
                let _ = answer.send(Answer::Once(result));
            }
            Event::Drops(drops) => {
                for dropped in &drops {
                    monitors.publish(&control.dropped(dropped));
                }
                if !monitors.any()
                    && let Err(error) = control.datapath.report_drops(false)
                {
                    error!("cannot stop drop events: {}", chain(&error));
                }
                // There may be more without end, and callers want a turn.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Works out a change of sets beside the loop, and hands it back.
async fn fill(change: SetChange, answer: oneshot::Sender<Answer>, requests: mpsc::Sender<Request>) {
    // If either fails the daemon is about to end, and the caller is told by the end of the connection.
    if let Ok(filled) = spawn_blocking(|| change.fill()).await {
        let work = Work::Sets(filled);
        let _ = requests.send(Request { work, answer }).await;
    }
}

/// One more caller who wants to see drops.
fn monitor(
    ports: Vec<String>,
    control: &mut Control,
    events: &mut Events,
    monitors: &mut Monitors,
) -> Answer {
    let failed = |message: String| Answer::Once(Err(ApiError::new(ErrorKind::Kernel, message)));
    if !events.has_drops() {
        match control.datapath.events() {
            Ok(drops) => {
                if let Err(error) = events.add_drops(drops) {
                    return failed(error.to_string());
                }
            }
            Err(error) => return failed(chain(&error)),
        }
    }
    match control.datapath.report_drops(true) {
        Ok(()) => Answer::Stream(monitors.add(ports)),
        Err(error) => failed(chain(&error)),
    }
}

impl Control {
    /// Does what a caller asks for.
    fn answer(&mut self, call: Call) -> Result<Outcome, ApiError> {
        fault::begin(call.name());
        Ok(Outcome::Done(match call {
            Call::Define { xml } => json!(self.define(&xml)?),
            Call::Undefine { filter } => json!(self.undefine(&filter)?),
            Call::List => json!(self.list()),
            Call::Dumpxml { filter } => self.dumpxml(&filter)?,
            Call::BindingCreate { xml, replace } => json!(self.bind(&xml, replace)?),
            Call::BindingDelete { port } => json!(self.unbind(&port)?),
            Call::BindingList => json!(self.binding_list()),
            Call::BindingDumpxml { port } => self.binding_dumpxml(&port)?,
            Call::Show { port, raw } => json!(self.show(&port, raw)?),
            Call::SetDestroy { name } => json!(self.destroy_set(&name)?),
            Call::SetAdd { name, elements } if elements.len() == 1 => {
                json!(self.add_to_set(&name, &elements[0])?)
            }
            Call::SetDel { name, elements } if elements.len() == 1 => {
                json!(self.remove_from_set(&name, &elements[0])?)
            }
            Call::SetCreate { .. }
            | Call::SetImport { .. }
            | Call::SetAdd { .. }
            | Call::SetDel { .. } => return Ok(Outcome::Begun(self.begin_set_change(call)?)),
            Call::SetList => json!(self.list_sets()),
            Call::SetShow { name } => json!(self.show_set(&name)?),
            Call::Connections { port } => json!(self.connections(&port)?),
            Call::Flush { port } => json!(self.flush(&port)?),
            Call::Status => json!(self.status()?),
            Call::Monitor { .. } => {
                let message = "`monitor` is no call with one answer";
                return Err(ApiError::new(ErrorKind::Protocol, message));
            }
        }))
    }
}

/// Loading and compiling takes megabytes that are not needed again soon.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Says that everything that can be enforced is.
fn ready(control: &Control) {
    let status = control.summary();
    info!("ready: {status}");
    notify_ready(&[
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(&status),
    ]);
}
