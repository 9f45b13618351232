//! The connections and fragments of ports: listing, forgetting, and removing the dead ones.

use nwfilter_common::Tracking;

use super::{Datapath, switch::Ready};
use crate::kernel::{
    KernelError,
    connections::{self, Connection},
    object,
};

impl Datapath {
    /// The connections that are stored for a port, in no order; see [`nwfilter_common::Entry::is_alive`].
    ///
    /// # Errors
    ///
    /// An unknown port, or a map that cannot be read.
    pub fn connections(&self, port: &str) -> Result<Vec<Connection>, KernelError> {
        self.connections.of_port(self.known(port)?.number)
    }

    /// What connection tracking has counted for a port, by [`nwfilter_common::TrackingCounter`].
    ///
    /// # Errors
    ///
    /// An unknown port, or a map that cannot be read.
    pub fn tracking(&self, port: &str) -> Result<Tracking, KernelError> {
        self.connections.tracking(self.known(port)?.number)
    }

    /// The clock of connections and fragments, in nanoseconds.
    pub fn now(&self) -> u64 {
        connections::now()
    }

    /// Forgets the connections and fragments of a port.
    ///
    /// # Errors
    ///
    /// An unknown port, or a map that cannot be written.
    pub fn flush(&mut self, port: &str) -> Result<(), KernelError> {
        let mut state = *self.known(port)?;
        // What began in the same tick of the clock is forgotten, too.
        state.record.since = connections::now() + 1;
        state.record.limits = connections::epoch(Some(state.record.limits));
        self.switch(&[Ready {
            name: port.to_owned(),
            state,
            identities: None,
        }])?;
        self.ports.insert(port.to_owned(), state);
        connections::wait_until(state.record.since);
        self.sweep()
    }

    /// Removes dead connections and fragments; to be called every few seconds.
    ///
    /// # Errors
    ///
    /// When the program cannot be run.
    pub fn sweep(&mut self) -> Result<(), KernelError> {
        object::sweep(&mut self.ebpf)
    }
}
