//! Harness of the tests: an independent judge of filters, and filters and frames to judge.

pub mod generate;
pub mod judge;
pub mod wire;
