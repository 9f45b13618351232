//! What one frame costs in the kernel: the whole program, run by `BPF_PROG_TEST_RUN`, net of an empty
//! program run the same way.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Result, ensure};
use nwfilter_common::{FrameDirection, MacAddr};
use nwfilter_ctl::{
    kernel::{Change, Datapath, Options},
    prepare::Prepared,
};
use nwfilter_tests::{
    frame::{Arp, Ethernet, Ipv4, Tcp},
    net::NetNs,
};

use super::{
    baseline::Baseline,
    filters::{self, IP, MAC, Shape},
    measure::interleaved,
};

/// Runs of the program in one measurement.
const REPEAT: u32 = 100_000;
/// Measurements of which the median is taken.
const ROUNDS: usize = 15;
/// The only interface that every network namespace has.
const PORT: &str = "lo";
const IFINDEX: u32 = 1;

const PEER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);

/// All measurements of the datapath.
pub(crate) const SECTIONS: &[super::Section] = &[
    || NetNs::new()?.run(anti_spoofing),
    || NetNs::new()?.run(long_filters),
];

struct Bound {
    datapath: Datapath,
}

impl Bound {
    fn new(prepared: &Prepared) -> Result<Self> {
        let mut datapath = Datapath::open(Options::default())?;
        datapath.apply(&[Change::Bind(prepared.bind(PORT))])?;
        Ok(Self { datapath })
    }

    fn time(&mut self, direction: FrameDirection, frame: &[u8], accepted: bool) -> Result<f64> {
        let run = self.datapath.test_run(PORT, direction, frame, REPEAT)?;
        ensure!(
            (run.action == -1) == accepted,
            "the program returned {}",
            run.action
        );
        Ok(nanoseconds(run.duration))
    }
}

fn tcp() -> Vec<u8> {
    let ip = Ipv4::new(IP, [10, 0, 0, 2]);
    let mut frame = Ethernet::new(MAC, PEER).ipv4(&ip, &Tcp::new(40000, 5000));
    frame.resize(64, 0);
    frame
}

/// `clean-traffic` against the hand-written program.
fn anti_spoofing() -> Result<String> {
    let mut out = String::from("## Time of a frame in the kernel program\n\n");
    let prepared = filters::builtin(PORT, "clean-traffic")?;
    let mut bound = Bound::new(&prepared)?;
    let baseline = Baseline::load(IFINDEX, MAC, IP)?;
    let other = Ethernet::new(MAC, PEER);
    let stolen = other.ipv4(&Ipv4::new([10, 0, 0, 9], [10, 0, 0, 2]), &Tcp::new(1, 2));
    let arp = Ethernet::broadcast(MAC).arp(&Arp::request(MAC, IP, [10, 0, 0, 2]));
    let frames = [
        ("IPv4/TCP, 64 bytes, accepted", tcp(), true),
        ("IPv4/TCP, another's address, dropped", stolen, false),
        ("ARP request, accepted", arp, true),
    ];
    writeln!(
        out,
        "`clean-traffic`, frames that leave the VM, against a hand-written program that checks only \
         MAC and IP address ({REPEAT} runs, median of {ROUNDS}, interleaved; the empty program's time \
         is taken off). Budget: at most 2 for the first row.\n\n\
         | frame | empty program | hand-written, net | nwfilter, net | ratio |\n|---|--:|--:|--:|--:|"
    )?;
    for (name, frame, accepted) in &frames {
        let by_hand = |program: &'static str| {
            let (baseline, frame) = (&baseline, frame);
            move || -> Result<f64> {
                let (action, time) = baseline.run(program, IFINDEX, frame, REPEAT)?;
                ensure!(
                    program == "empty" || (action == -1) == *accepted,
                    "{program}: {action}"
                );
                Ok(nanoseconds(time))
            }
        };
        let medians = interleaved(
            ROUNDS,
            &mut [
                &mut by_hand("empty"),
                &mut by_hand("anti_spoofing"),
                &mut || bound.time(FrameDirection::Out, frame, *accepted),
            ],
        )?;
        let [empty, hand, ours] = medians[..] else {
            continue;
        };
        let (hand, ours) = (hand - empty, ours - empty);
        writeln!(
            out,
            "| {name} | {empty:.0} ns | {hand:.0} ns | {ours:.0} ns | {:.2} |",
            ours / hand
        )?;
    }
    writeln!(out)?;
    Ok(out)
}

/// Filters of 10 to 10,000 rules.
fn long_filters() -> Result<String> {
    let mut out = String::new();
    let frame = tcp();
    let baseline = Baseline::load(IFINDEX, MAC, IP)?;
    writeln!(
        out,
        "Long filters: the rules, none of which matches, then one that accepts the frame. \"Sparse\" is \
         a list of sources, each with a port; in \"dense\" filters the rules overlap in four fields, \
         which no operator writes.\n\n\
         | rules | shape | net | against 10 rules | image |\n|--:|---|--:|--:|--:|"
    )?;
    for shape in [Shape::Sparse, Shape::Dense] {
        let mut first = None;
        for rules in [10, 100, 1000, 10_000] {
            let prepared = match filters::given(PORT, &filters::long(shape, rules)) {
                Ok(prepared) => prepared,
                Err(error) => {
                    writeln!(out, "| {rules} | {shape:?} | {error} | | |")?;
                    continue;
                }
            };
            let mut bound = Bound::new(&prepared)?;
            let medians = interleaved(
                ROUNDS,
                &mut [
                    &mut || {
                        Ok(nanoseconds(
                            baseline.run("empty", IFINDEX, &frame, REPEAT)?.1,
                        ))
                    },
                    &mut || bound.time(FrameDirection::Out, &frame, true),
                ],
            )?;
            let net = medians[1] - medians[0];
            let first = *first.get_or_insert(net);
            let bytes = 4 * prepared.compiled.image.used_words();
            writeln!(
                out,
                "| {rules} | {shape:?} | {net:.0} ns | {:.2} | {bytes} bytes |",
                net / first
            )?;
        }
    }
    writeln!(out)?;
    Ok(out)
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
