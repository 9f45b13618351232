//! End to end: what it costs to send a frame from a VM's tap through a bridge, with nobody, nwfilter or
//! libvirt's own daemon to filter the port; all three exist side by side and are measured in turns.

mod packets;
mod site;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    panic, thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nwfilter_tests::{need, peer};

use self::{
    packets::Row,
    site::{Enforcer, Filter, Site},
};
use super::{
    measure::{interleaved, pin},
    report::at_least,
};

/// Frames sent in one measurement; so many fit into the receiver's queue.
const BURST: u32 = 400;
/// Measurements of which the median is taken.
const ROUNDS: usize = 41;
/// What libvirt takes at least of what nwfilter does: never less with one port, and with many.
const BUDGETS: [(usize, f64); 2] = [(1, 1.0), (200, 3.0)];

/// All measurements of the bridge.
pub(crate) const SECTIONS: &[super::Section] = &[
    |_| section(1),
    |options| match options.ports {
        1 => Ok(String::new()),
        ports => section(ports),
    },
];

/// Who filters, and whether netfilter sees what the bridge forwards.
const VARIANTS: [(Enforcer, bool); 5] = [
    (Enforcer::Nobody, true),
    (Enforcer::Nwfilter, true),
    (Enforcer::Libvirt, true),
    (Enforcer::Nobody, false),
    (Enforcer::Nwfilter, false),
];

fn section(ports: usize) -> Result<String> {
    ensure!(need::met(&peer::NEEDS), "libvirt is to be compared with");
    let plural = if ports == 1 { "" } else { "s" };
    let mut out = format!("## End to end on a bridge, {ports} port{plural}\n\n");
    if ports == 1 {
        write!(
            out,
            "Frames of 64 bytes written to a VM's tap on a bridge, until they are in the queue of the tap that they \
             leave by ({BURST} at a time, CPU time of the writing thread, system call included; medians of {ROUNDS}, \
             interleaved; every frame's arrival is checked). \"Out\" goes to a port that is not filtered, \"in\" comes \
             from there, \"between\" is filtered at both ends. `server` keeps the VM to its addresses and uses the state of \
             connections. libvirt takes `bridge-nf-call-iptables`, which costs something without any rule; nwfilter \
             does not: the last two columns are without. \"Added\" is what is more than without a filter.\n\n"
        )?;
    } else {
        write!(
            out,
            "As above; all ports have the same filter. Ports are numbered in the order in which they were bound: \
             libvirt's lists are walked from the first, so one in the middle is the average.\n\n"
        )?;
    }
    out.push_str(
        "| filter | frame | no filter | nwfilter | libvirt | libvirt / nwfilter | added by nwfilter | by libvirt | \
         libvirt / nwfilter | no filter, nf off | nwfilter, nf off |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut budgets = String::new();
    let mut bound = String::new();
    for filter in [Filter::CleanTraffic, Filter::Server] {
        if ports > 1 {
            writeln!(
                io::stderr(),
                "libvirt binds {ports} ports to {filter}, which takes it minutes"
            )?;
        }
        let sites = [Enforcer::Nobody, Enforcer::Nwfilter, Enforcer::Libvirt]
            .map(|enforcer| Site::new(enforcer, filter, ports));
        let sites = sites.into_iter().collect::<Result<Vec<_>>>()?;
        let mut worst = f64::INFINITY;
        for row in Row::all(ports) {
            let [open, ours, theirs, open_off, ours_off] = row_times(&sites, &row)?;
            worst = worst.min(theirs / ours);
            // A frame that is dropped saves the rest of its way.
            let added = if row.accepted {
                let (ours, theirs) = (ours - open, theirs - open);
                format!("{ours:.0} ns | {theirs:.0} ns | {:.1}", theirs / ours)
            } else {
                "- | - | -".into()
            };
            writeln!(
                out,
                "| {filter} | {row} | {open:.0} ns | {ours:.0} ns | {theirs:.0} ns | {:.2} | {added} | \
                 {open_off:.0} ns | {ours_off:.0} ns |",
                theirs / ours
            )?;
        }
        for (_, limit) in BUDGETS.iter().filter(|(of, _)| *of == ports) {
            let what = format!("{filter}, libvirt / nwfilter, the frame where it is least");
            budgets += &at_least(*limit, &what, worst);
        }
        let [ours, theirs] = [Enforcer::Nwfilter, Enforcer::Libvirt]
            .map(|enforcer| sites[enforcer as usize].time_to_bind().as_secs_f64());
        writeln!(
            bound,
            "Binding {ports} port{plural} to {filter} took {ours:.1} s, the load of the programs included; \
             libvirt {theirs:.1} s."
        )?;
    }
    write!(out, "\n{budgets}\n{bound}\n")?;
    Ok(out)
}

/// Nanoseconds of a frame, by [`VARIANTS`].
fn row_times(sites: &[Site], row: &Row) -> Result<[f64; VARIANTS.len()]> {
    for site in sites {
        site.call_netfilter(true)?;
        site.connect(row)?;
    }
    let time = |variant: usize| {
        let (enforcer, netfilter) = VARIANTS[variant];
        let site = &sites[enforcer as usize];
        site.call_netfilter(netfilter)?;
        let time = site.burst(row, BURST);
        time.with_context(|| format!("{row}, filtered by {enforcer:?}"))
    };
    // On a thread of its own, because it stays on one CPU.
    let samples = thread::scope(|scope| {
        let measure = || {
            pin()?;
            interleaved(ROUNDS, VARIANTS.len(), time)
        };
        scope.spawn(measure).join()
    });
    let samples = samples.unwrap_or_else(|payload| panic::resume_unwind(payload))?;
    let medians: Result<_, _> = samples.medians().try_into();
    medians.map_err(|_| anyhow!("other things were measured"))
}
