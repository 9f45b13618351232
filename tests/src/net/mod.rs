//! Networks for tests: private namespaces, links in them, and both ends of a wire as byte streams.
//! Nothing is named, so nothing can be left behind: a namespace and everything in it lives as long
//! as its [`NetNs`], or as the process at most.

mod lan;
mod link;
mod namespace;
mod ping;
mod probe;
mod tap;
#[cfg(test)]
mod tests;
mod wire;

pub use lan::{Direction, Lan, Vm};
pub use link::FarEnd;
pub use namespace::NetNs;
pub use ping::Ping;
pub use probe::{Probe, in_order, marker};
pub use tap::{Gso, Tap};
pub use wire::{Endpoint, PATIENCE, Wire, uninterrupted};
