//! Harness of the tests: frames, network namespaces, ports.

pub mod frame;
pub mod need;
pub mod net;
pub mod peer;
