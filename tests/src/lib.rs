//! Harness of the tests: frames, network namespaces, ports; an independent judge of filters, and
//! filters and frames to judge.

pub mod bind;
pub mod compat;
pub mod daemon;
pub mod dhcp;
pub mod frame;
pub mod generate;
pub mod guest;
pub mod judge;
pub mod judges;
pub mod learning;
pub mod machine;
pub mod need;
pub mod net;
pub mod peer;
pub mod terminal;
pub mod traffic;
pub mod wire;
