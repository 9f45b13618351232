//! A frame of a connection against the same frame that is accepted without one.

use std::fmt::Write as _;

use anyhow::Result;
use nwfilter_common::FrameDirection::{In, Out};

use super::{Program::Port, Site, Thing, packets};
use crate::{filters, report::at_most};

/// Against a filter without state.
const BUDGET: f64 = 1.5;

pub(super) fn section(ports: &[String]) -> Result<String> {
    const REST: &str =
        "<rule action='drop' direction='inout' priority='900'><all/></rule></filter>";
    let accept = |name: &str, statematch: bool| {
        format!(
            "<filter name='{name}'><rule action='accept' direction='out' statematch='{statematch}'>\
             <tcp/></rule>{REST}"
        )
    };
    let filters = [
        filters::given(&ports[0], &accept("stateless", false))?,
        filters::given(&ports[1], &accept("stateful", true))?,
    ];
    let mut site = Site::new(ports, &filters)?;
    site.connect()?;
    let mut out = String::from(
        "## Time of a frame of a connection\n\nTCP of an established connection, `accept out` with and \
         without `statematch`, 64 bytes.\n\n\
         | frame | without state, net | established, net | ratio |\n|---|--:|--:|--:|\n",
    );
    let mut budgets = String::new();
    for (name, direction) in [("from the VM", Out), ("to the VM", In)] {
        let frame = packets::tcp(direction);
        let samples = site.samples(&[
            Thing::empty(&frame),
            Thing::new(Port(0), direction, &frame, true),
            Thing::new(Port(1), direction, &frame, true),
        ])?;
        let [without, with] = [1, 2].map(|thing| samples.net(thing));
        let ratio = samples.net_ratio(2, 1);
        writeln!(
            out,
            "| {name} | {without:.0} ns | {with:.0} ns | {ratio:.2} |"
        )?;
        budgets += &at_most(BUDGET, name, ratio);
    }
    write!(out, "\n{budgets}\n")?;
    Ok(out)
}
