//! Networks for tests: private namespaces, links in them, and both ends of a wire as byte streams.
//! Nothing is named, so nothing can be left behind: a namespace and everything in it lives as long
//! as its [`NetNs`], or as the process at most.

mod link;
mod namespace;
mod probe;
mod tap;
#[cfg(test)]
mod tests;
mod wire;

pub use link::FarEnd;
pub use namespace::NetNs;
pub use probe::{Probe, marker};
pub use tap::{Gso, Tap};
pub use wire::{Endpoint, PATIENCE, Wire};
