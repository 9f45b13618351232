//! Kinds of frames through filters as operators use them.

use std::fmt::Write as _;

use anyhow::Result;
use nwfilter_common::FrameDirection::{In, Out};

use super::{Program, ROUNDS, Site, Thing, packets};
use crate::{filters, report::at_most};

/// Against the hand-written program.
const BUDGET: f64 = 2.0;

pub(super) fn section(ports: &[String]) -> Result<String> {
    let filters = [
        filters::builtin(&ports[0], "clean-traffic")?,
        filters::given(&ports[1], filters::SERVER)?,
    ];
    let mut site = Site::new(ports, &filters)?;
    site.connect()?;
    // What the hand-written program says, if anything sensible, and each of the filters.
    let rows = [
        ("IPv4/TCP", Out, packets::tcp(Out), Some(true), [true, true]),
        (
            "the same, another's address",
            Out,
            packets::stolen(),
            Some(false),
            [false, false],
        ),
        ("IPv4/UDP", Out, packets::udp(Out), Some(true), [true, true]),
        (
            "ARP request",
            Out,
            packets::arp(Out),
            Some(true),
            [true, true],
        ),
        ("IPv6/TCP", Out, packets::tcp6(Out), None, [false, true]),
        (
            "VLAN, IPv4/TCP",
            Out,
            packets::tagged(Out),
            None,
            [false, true],
        ),
        ("IPv4/TCP", In, packets::tcp(In), None, [true, true]),
        ("IPv4/UDP", In, packets::udp(In), None, [true, true]),
        ("ARP reply", In, packets::arp(In), None, [true, true]),
        ("IPv6/TCP", In, packets::tcp6(In), None, [false, true]),
    ];
    let sizes = filters.map(|prepared| 4 * prepared.compiled.image.used_words());
    let mut out = format!(
        "## Time of a frame in the kernel program\n\n\
         Frames of 64 bytes that leave the VM (out) or enter it (in), through `clean-traffic` (image: {} \
         bytes) and a server's filter (anti-spoofing and nine rules that use the state of connections, of which \
         TCP's are established; {} bytes), against a hand-written program that checks only MAC and IP address. \
         \"Net\" is without the empty program's time, \"/ hand\" is net by net, \"/ empty\" is everything \
         by the empty program; medians of {ROUNDS} rounds, in each of which everything is measured once. So \
         are all that follow: a ratio is that of the same round.\n\n\
         | frame | | empty | by hand, net | clean-traffic, net | / hand | / empty | server, net | / hand | \
         / empty |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        sizes[0], sizes[1]
    );
    let mut first = None;
    for (name, direction, frame, by_hand, accepted) in &rows {
        let mut things = vec![Thing::empty(frame)];
        for (port, accepted) in accepted.iter().enumerate() {
            things.push(Thing::new(
                Program::Port(port),
                *direction,
                frame,
                *accepted,
            ));
        }
        if let Some(accepted) = by_hand {
            things.push(Thing::new(Program::ByHand, *direction, frame, *accepted));
        }
        let samples = site.samples(&things)?;
        let nothing = || String::from("-");
        write!(
            out,
            "| {name} | {} | {:.0} ns | {} |",
            match direction {
                In => "in",
                Out => "out",
            },
            samples.median(0),
            by_hand.map_or_else(nothing, |_| format!("{:.0} ns", samples.net(3))),
        )?;
        for (thing, accepted) in (1..).zip(accepted) {
            let ratio = by_hand.map(|_| samples.net_ratio(thing, 3));
            first = first.or(ratio);
            write!(
                out,
                " {:.0} ns{} | {} | {:.1} |",
                samples.net(thing),
                if *accepted { "" } else { ", dropped" },
                ratio.map_or_else(nothing, |ratio| format!("{ratio:.2}")),
                samples.median_of(|round| round[thing] / round[0])
            )?;
        }
        writeln!(out)?;
    }
    let what = "first row, `clean-traffic` by the hand-written program";
    let budget = at_most(BUDGET, what, first.unwrap_or(f64::INFINITY));
    write!(out, "\n{budget}\n")?;
    Ok(out)
}
