//! The same frame on a host with one filtered port, and with a thousand.

use std::fmt::Write as _;

use anyhow::Result;
use nwfilter_common::FrameDirection::{In, Out};

use super::{Program::Port, ROUNDS, Site, Thing, packets};
use crate::{filters, measure::interleaved, report::at_most};

/// Ports of a large host.
pub(super) const PORTS: usize = 1000;
/// Against a host with one.
const BUDGET: f64 = 1.1;
/// Runs in one measurement.
const REPEAT: u32 = 20_000;

pub(super) fn section(ports: &[String]) -> Result<String> {
    let filters = |ports: &[String]| -> Result<Vec<_>> {
        let prepared = ports
            .iter()
            .map(|port| filters::builtin(port, "clean-traffic"));
        prepared.collect()
    };
    let mut one = Site::new(&ports[..1], &filters(&ports[..1])?)?;
    let mut many = Site::new(ports, &filters(ports)?)?;
    let mut out = format!(
        "## Growth with the number of ports\n\nTCP, IPv4, 64 bytes, through `clean-traffic` on a host with one filtered \
         port and on one with {PORTS}, where every measurement is of another port; net.\n\n\
         | frame | 1 port | {PORTS} ports | ratio |\n|---|--:|--:|--:|\n"
    );
    let mut budgets = String::new();
    for (name, direction) in [("from the VM", Out), ("to the VM", In)] {
        let frame = packets::tcp(direction);
        let mut last = 0;
        let samples = interleaved(ROUNDS, 3, |thing| -> Result<f64> {
            let time = match thing {
                0 => one.time(&Thing::empty(&frame), REPEAT)?,
                1 => one.time(&Thing::new(Port(0), direction, &frame, true), REPEAT)?,
                _ => {
                    last = (last + 389) % PORTS;
                    many.time(&Thing::new(Port(last), direction, &frame, true), REPEAT)?
                }
            };
            Ok(time.as_secs_f64() * 1e9)
        })?;
        let [one, many] = [1, 2].map(|thing| samples.net(thing));
        let ratio = samples.net_ratio(2, 1);
        writeln!(out, "| {name} | {one:.0} ns | {many:.0} ns | {ratio:.2} |")?;
        budgets += &at_most(BUDGET, name, ratio);
    }
    write!(out, "\n{budgets}\n")?;
    Ok(out)
}
