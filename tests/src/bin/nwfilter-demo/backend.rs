//! What the demonstration asks of a filter: the only module here that knows how filters reach the
//! kernel.

use std::path::Path;

use anyhow::{Result, bail};
use nwfilter_tests::net::{Direction, NetNs};
use serde::Serialize;

use super::network::Port;

/// What filters the ports.
pub(crate) trait Backend {
    /// Enforces the filter on a port of `host`, in both directions, until the backend is dropped.
    fn bind(&mut self, host: &NetNs, port: &Port) -> Result<()>;

    /// The rules of a port with what they have counted, in an order that
    /// does not change.
    fn counters(&self, port: &Port) -> Result<Vec<Counter>>;

    /// What should become of a frame, according to the same filter in userspace. Asked in the order
    /// in which frames are sent, since connections matter.
    fn explain(&mut self, port: &Port, direction: Direction, frame: &[u8]) -> Result<Decision>;
}

/// What one rule of one port has counted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Counter {
    /// The rule, as an operator would look for it.
    pub(crate) rule: String,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// A verdict with its reason.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Decision {
    pub(crate) passes: bool,
    /// The rule or default that decided.
    pub(crate) rule: String,
}

/// clean-traffic, or the filter in a file.
pub(crate) fn connect(_filter: Option<&Path>) -> Result<Box<dyn Backend>> {
    bail!("this build cannot load filters into the kernel; try --no-filter")
}

/// No filter.
#[derive(Debug)]
pub(crate) struct Open;

impl Backend for Open {
    fn bind(&mut self, _: &NetNs, _: &Port) -> Result<()> {
        Ok(())
    }

    fn counters(&self, _: &Port) -> Result<Vec<Counter>> {
        Ok(Vec::new())
    }

    fn explain(&mut self, _: &Port, _: Direction, _: &[u8]) -> Result<Decision> {
        Ok(Decision {
            passes: true,
            rule: "no filter".to_owned(),
        })
    }
}
