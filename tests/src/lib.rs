//! Harness of the tests: an independent judge of filters, generated filters and frames.

pub mod judge;
