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
    || NetNs::new()?.run(connections),
    || {
        let host = NetNs::new()?;
        let commands =
            (0..PORTS).map(|port| format!("link add vm{port} type veth peer name far{port}"));
        host.ip(&commands.collect::<Vec<_>>().join("\n"))?;
        host.run(many_ports)
    },
    || NetNs::new()?.run(programs),
    || NetNs::new()?.run(long_filters),
];

/// Ports of a large host.
const PORTS: usize = 1000;

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

/// A frame of a connection against the same frame that is accepted without one.
fn connections() -> Result<String> {
    const SYN: u8 = 2;
    const ACK: u8 = 16;
    const REST: &str =
        "<rule action='drop' direction='inout' priority='900'><all/></rule></filter>";
    let accept = |name: &str, statematch: bool| {
        format!(
            "<filter name='{name}'><rule action='accept' direction='out' statematch='{statematch}'>\
             <tcp/></rule>{REST}"
        )
    };
    let stateless = filters::given(PORT, &accept("stateless", false))?;
    let stateful = filters::given(PORT, &accept("stateful", true))?;
    let (mut without, mut with) = (Bound::new(&stateless)?, Bound::new(&stateful)?);
    let frame = |back: bool, flags: u8| {
        let (mut from, mut to) = (([10, 0, 0, 1], 40000), ([10, 0, 0, 2], 5000));
        let mut ethernet = Ethernet::new(MAC, PEER);
        if back {
            (from, to) = (to, from);
            ethernet = Ethernet::new(PEER, MAC);
        }
        let mut segment = Tcp::new(from.1, to.1);
        segment.flags = flags;
        let mut frame = ethernet.ipv4(&Ipv4::new(from.0, to.0), &segment);
        frame.resize(64, 0);
        frame
    };
    let data = frame(false, ACK);
    for (direction, frame) in [
        (FrameDirection::Out, frame(false, SYN)),
        (FrameDirection::In, frame(true, SYN | ACK)),
        (FrameDirection::Out, data.clone()),
    ] {
        with.datapath.test_run(PORT, direction, &frame, 1)?;
    }
    let baseline = Baseline::load(IFINDEX, MAC, IP)?;
    let answer = frame(true, ACK);
    let medians = interleaved(
        ROUNDS,
        &mut [
            &mut || {
                let (_, time) = baseline.run("empty", IFINDEX, &data, REPEAT)?;
                Ok(nanoseconds(time))
            },
            &mut || without.time(FrameDirection::Out, &data, true),
            &mut || with.time(FrameDirection::Out, &data, true),
        ],
    )?;
    // One port, two datapaths: each has tables of its own.
    let answers = interleaved(
        ROUNDS,
        &mut [
            &mut || without.time(FrameDirection::In, &answer, true),
            &mut || with.time(FrameDirection::In, &answer, true),
        ],
    )?;
    let empty = medians[0];
    let rows = [
        ("from the VM", medians[1] - empty, medians[2] - empty),
        ("to the VM", answers[0] - empty, answers[1] - empty),
    ];
    let mut out = String::from(
        "## Time of a frame of a connection\n\nTCP of an established connection, `accept out` with and without `statematch`, 64 bytes. Budget: \
         at most 1.5.\n\n| frame | without state, net | established, net | ratio |\n|---|--:|--:|--:|\n",
    );
    for (name, without, with) in rows {
        writeln!(
            out,
            "| {name} | {without:.0} ns | {with:.0} ns | {:.2} |",
            with / without
        )?;
    }
    writeln!(out)?;
    Ok(out)
}

/// The same frame on a host with one filtered port, and with a thousand.
fn many_ports() -> Result<String> {
    let frame = tcp();
    let names: Vec<String> = (0..PORTS).map(|port| format!("vm{port}")).collect();
    let prepared = filters::builtin(PORT, "clean-traffic")?;
    let open = |ports: &[String]| -> Result<Datapath> {
        let mut datapath = Datapath::open(Options::default())?;
        let changes: Vec<_> = ports
            .iter()
            .map(|port| Change::Bind(prepared.bind(port)))
            .collect();
        datapath.apply(&changes)?;
        Ok(datapath)
    };
    let (mut one, mut many) = (open(&names[..1])?, open(&names)?);
    let mut last = PORTS - 1;
    let baseline = Baseline::load(IFINDEX, MAC, IP)?;
    let medians = interleaved(
        ROUNDS,
        &mut [
            &mut || -> Result<f64> {
                let (_, time) = baseline.run("empty", IFINDEX, &frame, REPEAT)?;
                Ok(nanoseconds(time))
            },
            &mut || {
                let run = one.test_run(&names[0], FrameDirection::Out, &frame, REPEAT)?;
                Ok(nanoseconds(run.duration))
            },
            &mut || {
                // Another one each time.
                last = (last + 389) % PORTS;
                let run = many.test_run(&names[last], FrameDirection::Out, &frame, REPEAT)?;
                Ok(nanoseconds(run.duration))
            },
        ],
    )?;
    let (one, many) = (medians[1] - medians[0], medians[2] - medians[0]);
    Ok(format!(
        "## Growth with the number of ports\n\nThe frame of the first table on a host with one filtered port: {one:.0} ns; with {PORTS}: {many:.0} ns; \
         ratio {:.2}. Budget: at most 1.1.\n\n",
        many / one
    ))
}

/// What the verifier has to do.
fn programs() -> Result<String> {
    let datapath = Datapath::open(Options::default())?;
    let mut out = String::from(
        "## Programs\n\nThey are the same for all filters.\n\n| program | verifier instructions |\n|---|--:|\n",
    );
    for (name, instructions) in datapath.verified_instructions()? {
        let instructions = instructions.map_or_else(|| "unknown".into(), |count| count.to_string());
        writeln!(out, "| {name} | {instructions} |")?;
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
        "## Time of a frame that meets a long filter\n\nThe rules, none of which matches, then one that accepts the frame. \"Sparse\" is \
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
