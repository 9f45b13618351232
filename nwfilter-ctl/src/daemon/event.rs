//! Everything that the daemon reacts to, as one stream.

use std::{io, time::Duration};

use nwfilter_common::{DropEvent, LearnEvent};
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval, sleep},
};
use tracing::error;

use super::{
    DaemonError,
    links::{LinkChanges, Links},
    server::Request,
};
use crate::kernel::{DropEvents, LearnEvents, Ring};

/// Calls that wait for the loop; further callers wait with theirs.
const BACKLOG: usize = 16;
/// Events of a ring buffer that are handled before anything else gets a turn.
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
    /// A lease is over.
    Expiry,
    /// Frames to learn from have passed.
    Learning(Vec<LearnEvent>),
    /// It is time to remove dead connections, and to look whether all filters are where they should be.
    Sweep,
    /// The service manager wants to know whether this loop still runs.
    Watchdog,
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
    learning: Option<AsyncFd<LearnEvents>>,
    sweep: Interval,
    watchdog: Option<Interval>,
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
            learning: None,
            sweep,
            // Twice in the time after which it would be taken for hung.
            watchdog: sd_notify::watchdog_enabled().map(|limit| interval(limit / 2)),
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

    /// From now on, frames to learn from are among the events.
    pub(super) fn add_learning(&mut self, learning: LearnEvents) -> Result<(), DaemonError> {
        // SAFETY: as in `add_drops`.
        let learning = unsafe { AsyncFd::register(learning) }
            .map_err(|error| DaemonError::Runtime(error.into()))?;
        self.learning = Some(learning);
        Ok(())
    }

    /// The next one; [`Event::Expiry`] if there is none for some time.
    pub(super) async fn next(&mut self, expiry: Option<Duration>) -> Event {
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
                () = elapsed(expiry) => return Event::Expiry,
                frames = next_batch(&mut self.learning) => {
                    if !frames.is_empty() {
                        return Event::Learning(frames);
                    }
                }
                _ = self.sweep.tick() => return Event::Sweep,
                () = tick(&mut self.watchdog) => return Event::Watchdog,
                Some(request) = self.requests.recv() => return Event::Request(request),
                drops = next_batch(&mut self.drops) => {
                    if !drops.is_empty() {
                        return Event::Drops(drops);
                    }
                }
            }
        }
    }
}

/// Ends after some time, or never.
async fn elapsed(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The next tick; never, without a clock.
async fn tick(clock: &mut Option<Interval>) {
    match clock {
        Some(clock) => _ = clock.tick().await,
        None => std::future::pending().await,
    }
}

/// What is in the ring, once there is something; never, without one.
async fn next_batch<T>(ring: &mut Option<AsyncFd<Ring<T>>>) -> Vec<T>
where
    Ring<T>: Iterator<Item = T>,
{
    let Some(ring) = ring else {
        return std::future::pending().await;
    };
    match ring.readable_mut().await {
        Ok(mut guard) => {
            let events: Vec<_> = guard.get_inner_mut().by_ref().take(BATCH).collect();
            if events.len() < BATCH {
                guard.clear_ready();
            }
            events
        }
        Err(error) => {
            error!("cannot read events: {error}");
            std::future::pending().await
        }
    }
}
