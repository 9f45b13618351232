//! Everything that the daemon reacts to, as one stream.

use std::{io, time::Duration};

use nwfilter_common::DropEvent;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval},
};
use tracing::error;

use super::{
    DaemonError,
    links::{LinkChanges, Links},
    server::Request,
};
use crate::kernel::DropEvents;

/// Calls that wait for the loop; further callers wait with theirs.
const BACKLOG: usize = 16;
/// Drop events that are handled before anything else gets a turn.
const BATCH: usize = 256;
/// How often dead connections are removed. They count no more long before; this is for their memory,
/// and for room when a port comes close to its quota.
const SWEEP: Duration = Duration::from_secs(5);

/// Something happened.
#[derive(Debug)]
pub(super) enum Event {
    /// A signal of this name asks to stop.
    Stop(&'static str),
    /// Files are to be read again.
    Reload,
    /// A caller asks for something.
    Request(Request),
    /// Network devices have changed.
    Links(LinkChanges),
    /// Dead connections are to be removed.
    Sweep,
    /// Frames were dropped.
    Drops(Vec<DropEvent>),
}

/// Where events come from.
pub(super) struct Events {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    links: Links,
    requests: mpsc::Receiver<Request>,
    drops: Option<AsyncFd<DropEvents>>,
    sweep: Interval,
}

impl Events {
    /// Signals and network devices count from here on. Requests come by what is returned.
    pub(super) fn new() -> Result<(Self, mpsc::Sender<Request>), DaemonError> {
        let listen = |kind| signal(kind).map_err(DaemonError::Runtime);
        let (sender, requests) = mpsc::channel(BACKLOG);
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let events = Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            links: Links::open().map_err(DaemonError::Links)?,
            requests,
            drops: None,
            sweep,
        };
        Ok((events, sender))
    }

    /// Whether drops are among the events.
    pub(super) const fn has_drops(&self) -> bool {
        self.drops.is_some()
    }

    /// From now on, they are.
    pub(super) fn add_drops(&mut self, drops: DropEvents) -> io::Result<()> {
        // SAFETY: the ring owns its descriptor and has the same one as long as it lives.
        self.drops = Some(unsafe { AsyncFd::register(drops) }?);
        Ok(())
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return Event::Stop("SIGTERM"),
                _ = self.interrupt.recv() => return Event::Stop("SIGINT"),
                _ = self.hangup.recv() => return Event::Reload,
                changes = self.links.next() => match changes {
                    Ok(changes) => return Event::Links(changes),
                    Err(error) => {
                        error!("cannot watch network devices: {error}");
                        return Event::Links(LinkChanges { overrun: true, ..LinkChanges::default() });
                    }
                },
                _ = self.sweep.tick() => return Event::Sweep,
                Some(request) = self.requests.recv() => return Event::Request(request),
                drops = next_drops(&mut self.drops) => {
                    if !drops.is_empty() {
                        return Event::Drops(drops);
                    }
                }
            }
        }
    }
}

/// What is in the ring, once there is something; never, without one.
async fn next_drops(ring: &mut Option<AsyncFd<DropEvents>>) -> Vec<DropEvent> {
    let Some(ring) = ring else {
        return std::future::pending().await;
    };
    match ring.readable_mut().await {
        Ok(mut guard) => {
            let drops: Vec<_> = guard.get_inner_mut().by_ref().take(BATCH).collect();
            if drops.len() < BATCH {
                guard.clear_ready();
            }
            drops
        }
        Err(error) => {
            error!("cannot read drop events: {error}");
            std::future::pending().await
        }
    }
}
