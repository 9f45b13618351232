//! The signals that end the demonstration, as something to wait for: they interrupt nothing half
//! done.

use std::{os::fd::AsFd, time::Duration};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

/// Ctrl-C, SIGTERM and a closed terminal, from now on.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Must come before the first thread, so that no thread takes them the usual way.
    pub(crate) fn take() -> Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block().context("block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(
            SignalFd::with_flags(&signals, flags).context("receive signals")?,
        ))
    }

    /// Whether one has come.
    pub(crate) fn arrived(&self) -> Result<bool> {
        self.wait(Duration::ZERO)
    }

    /// Waits for one, at most this long; whether it has come. Once it has, it stays so.
    pub(crate) fn wait(&self, time: Duration) -> Result<bool> {
        let timeout = PollTimeout::try_from(time)?;
        match poll(
            &mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)],
            timeout,
        ) {
            Ok(count) => Ok(count > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error).context("wait for signals"),
        }
    }
}
