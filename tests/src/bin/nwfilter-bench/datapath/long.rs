//! Filters of 10 to 10,000 rules.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use nwfilter_common::FrameDirection::{In, Out};

use super::{
    Program::{ByHand, Port},
    Site, Thing, packets,
};
use crate::{
    filters::{self, Shape},
    report::at_most,
};

const RULES: [u32; 4] = [10, 100, 1000, 10_000];
/// One for each of them.
pub(super) const PORTS: usize = RULES.len();
/// Place of the first filter's frames among what is measured: after the empty program and the
/// hand-written one.
const FIRST: usize = 2;
/// Against 10 rules: how many, and the ratio.
const BUDGETS: [(u32, f64); 2] = [(1000, 1.5), (10_000, 3.0)];

pub(super) fn section(ports: &[String]) -> Result<String> {
    let mut out = String::from(
        "## Time of a frame that meets a long filter\n\nThe rules, none of which matches, then one that accepts the \
         frame. \"Sparse\" is a list of sources, each with a port, in the Ethernet layer; \"peers\" the same in the \
         inet layer with the state of connections; in \"dense\" filters the rules overlap in four fields, which no \
         operator writes. Rules are about TCP from the VM. Net of the empty program but for \"/ empty\"; \"/ hand\" is against \
         the hand-written check of addresses, all of TCP from the VM.\n\n\
         | shape | rules | image | TCP from the VM | / 10 rules | / hand | / empty | UDP from it | TCP to it |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut budgets = String::new();
    for shape in [Shape::Sparse, Shape::Peers, Shape::Dense] {
        let filters = ports.iter().zip(RULES).map(|(port, rules)| {
            filters::given(port, &filters::long(shape, rules))
                .with_context(|| format!("{shape:?}, {rules} rules"))
        });
        let filters = filters.collect::<Result<Vec<_>>>()?;
        let mut site = Site::new(ports, &filters)?;
        site.connect()?;
        let frames = [packets::tcp(Out), packets::udp(Out), packets::tcp(In)];
        let directions = [Out, Out, In];
        let mut things = vec![
            Thing::empty(&frames[0]),
            Thing::new(ByHand, Out, &frames[0], true),
        ];
        for port in 0..PORTS {
            for (frame, direction) in frames.iter().zip(directions) {
                things.push(Thing::new(Port(port), direction, frame, true));
            }
        }
        let samples = site.samples(&things)?;
        let name = format!("{shape:?}").to_lowercase();
        for (port, (prepared, rules)) in filters.iter().zip(RULES).enumerate() {
            let [tcp, udp, back] = [0, 1, 2].map(|frame| FIRST + frames.len() * port + frame);
            let bytes = 4 * prepared.compiled.image.used_words();
            writeln!(
                out,
                "| {name} | {rules} | {bytes} B | {:.0} ns | {:.2} | {:.2} | {:.1} | {:.0} ns | {:.0} ns |",
                samples.net(tcp),
                samples.net_ratio(tcp, FIRST),
                samples.net_ratio(tcp, 1),
                samples.median_of(|round| round[tcp] / round[0]),
                samples.net(udp),
                samples.net(back),
            )?;
            for (_, limit) in BUDGETS.iter().filter(|(of, _)| *of == rules) {
                let what = format!("{name}, {rules} rules by 10");
                budgets += &at_most(*limit, &what, samples.net_ratio(tcp, FIRST));
            }
        }
    }
    write!(out, "\n{budgets}\n")?;
    Ok(out)
}
