//! Harness of the tests: an independent judge of filters, and the frames to judge.

pub mod judge;
pub mod wire;
