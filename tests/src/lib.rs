//! Harness of the tests: network namespaces, ports, frames.
