//! What one frame costs in the kernel: the whole program, run by `BPF_PROG_TEST_RUN`, net of an empty
//! program run the same way.

mod connections;
mod frames;
mod long;
mod packets;
mod ports;
mod programs;

use std::time::Duration;

use anyhow::{Result, ensure};
use nwfilter_common::FrameDirection;
use nwfilter_ctl::{
    kernel::{Change, Datapath, Options},
    prepare::Prepared,
};
use nwfilter_tests::net::NetNs;

use super::{
    baseline::Baseline,
    filters::{IP, MAC},
    measure::{Samples, interleaved, pin},
};

/// How long one measurement takes: so short that most have a CPU for themselves all the time.
const SAMPLE: Duration = Duration::from_millis(1);
/// Measurements of which the median is taken.
const ROUNDS: usize = 151;

/// All measurements of the datapath.
pub(crate) const SECTIONS: &[super::Section] = &[
    |_| Site::run(2, frames::section),
    |_| Site::run(2, connections::section),
    |_| Site::run(ports::PORTS, ports::section),
    |_| Site::run(1, programs::section),
    |_| Site::run(long::PORTS, long::section),
];

/// What is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Program {
    /// One that does nothing.
    Empty,
    /// The hand-written one.
    ByHand,
    /// Ours, at the port of that number.
    Port(usize),
}

/// Something to measure.
#[derive(Clone, Copy)]
struct Thing<'a> {
    program: Program,
    direction: FrameDirection,
    frame: &'a [u8],
    /// What the program has to say to it.
    accepted: bool,
}

impl<'a> Thing<'a> {
    fn new(program: Program, direction: FrameDirection, frame: &'a [u8], accepted: bool) -> Self {
        Self {
            program,
            direction,
            frame,
            accepted,
        }
    }

    /// The program that does nothing, on this frame.
    fn empty(frame: &'a [u8]) -> Self {
        Self::new(Program::Empty, FrameDirection::Out, frame, true)
    }
}

/// A host with ports, and the programs.
struct Site {
    ports: Vec<String>,
    datapath: Datapath,
    baseline: Baseline,
}

impl Site {
    /// Makes a host with so many ports, `vm0` and so on, and runs a section there.
    fn run(ports: usize, section: fn(&[String]) -> Result<String>) -> Result<String> {
        let host = NetNs::new()?;
        let ports: Vec<_> = (0..ports).map(|port| format!("vm{port}")).collect();
        let links = ports
            .iter()
            .map(|port| format!("link add {port} type veth peer name far-{port}\n"));
        host.ip(&links.collect::<String>())?;
        host.run(|| {
            pin()?;
            section(&ports)
        })
    }

    /// With a filter on each port that there is one for.
    fn new(ports: &[String], filters: &[Prepared]) -> Result<Self> {
        let mut datapath = Datapath::open(Options::default())?;
        let changes = ports.iter().zip(filters);
        let changes: Vec<_> = changes
            .map(|(port, prepared)| Change::Bind(prepared.bind(port)))
            .collect();
        datapath.apply(&changes)?;
        Ok(Self {
            baseline: Baseline::load(nix::net::if_::if_nametoindex(&*ports[0])?, MAC, IP)?,
            ports: ports.to_vec(),
            datapath,
        })
    }

    /// Runs a program, and returns the time of one run.
    fn time(&mut self, thing: &Thing<'_>, repeat: u32) -> Result<Duration> {
        let (action, time) = match thing.program {
            Program::Empty => self.baseline.run("empty", thing.frame, repeat)?,
            Program::ByHand => self.baseline.run("anti_spoofing", thing.frame, repeat)?,
            Program::Port(port) => {
                let port = &self.ports[port];
                let run = self
                    .datapath
                    .test_run(port, thing.direction, thing.frame, repeat)?;
                (run.action, run.duration)
            }
        };
        ensure!(
            (action == -1) == thing.accepted,
            "{:?} returned {action} for a frame that goes {:?}",
            thing.program,
            thing.direction
        );
        Ok(time)
    }

    /// Nanoseconds of a run of each, interleaved.
    fn samples(&mut self, things: &[Thing<'_>]) -> Result<Samples> {
        let mut repeats = Vec::with_capacity(things.len());
        for thing in things {
            let once = self.time(thing, 100)?.as_nanos().max(1);
            repeats.push((SAMPLE.as_nanos() / once).clamp(10, 100_000) as u32);
        }
        interleaved(ROUNDS, things.len(), |thing| {
            let time = self.time(&things[thing], repeats[thing])?;
            Ok(time.as_secs_f64() * 1e9)
        })
    }

    /// Has every port see a connection's first frames.
    fn connect(&mut self) -> Result<()> {
        for port in &self.ports {
            for (direction, frame) in packets::handshake() {
                self.datapath.test_run(port, direction, &frame, 1)?;
            }
        }
        Ok(())
    }
}
