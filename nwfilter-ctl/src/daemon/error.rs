//! What keeps the daemon from starting or going on.

use std::{io, path::PathBuf};

pub(crate) use crate::chain::chain;
use crate::kernel::KernelError;

/// An error that ends the daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// No event loop.
    #[error("cannot start the event loop")]
    Runtime(#[source] io::Error),
    /// Network devices cannot be watched.
    #[error("cannot watch network devices")]
    Links(#[source] io::Error),
    /// What the service manager handed over is no listening socket.
    #[error("cannot use the socket of the service manager")]
    HandedOver(#[source] io::Error),
    /// Another daemon has the state directory.
    #[error("another daemon uses {path}")]
    Busy {
        /// The state directory.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The datapath could not be opened.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl DaemonError {
    /// For `map_err` on file operations.
    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
