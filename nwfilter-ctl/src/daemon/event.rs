//! Everything that the daemon reacts to, as one stream.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::DaemonError;

/// Something happened.
#[derive(Debug)]
pub(super) enum Event {
    /// A signal of this name asks to stop.
    Stop(&'static str),
    /// Files are to be read again.
    Reload,
}

/// Where events come from.
pub(super) struct Events {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Events {
    /// Signals count from here on.
    pub(super) fn new() -> Result<Self, DaemonError> {
        let listen = |kind| signal(kind).map_err(DaemonError::Runtime);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Event::Stop("SIGINT"),
            _ = self.hangup.recv() => Event::Reload,
        }
    }
}
