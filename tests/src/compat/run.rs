//! Asking libvirt and ourselves.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::utsname::uname,
    time::{ClockId, clock_gettime},
};
use nwfilter_ctl::{
    builtin::{Flavour, builtin},
    model::{Semantics, SetDirection},
};

use super::{
    Batch,
    ends::OWN,
    report::{Answer, Report, Said},
};
use crate::{
    judge::{FrameDirection, Judge, Lookup, Sets},
    judges::{Decider, Engine},
    net::Direction,
    peer::{Host, Peer},
};

pub use crate::peer::NEEDS;

/// The reading that libvirt itself has.
pub(super) const LIBVIRT: Semantics = Semantics::Libvirt;

/// Has everybody decide all frames of all batches. Several libvirts work at a time, each in a
/// network of its own; the report does not depend on how many.
///
/// # Errors
///
/// Where a batch is refused by libvirt or cannot be run.
pub fn run(batches: &[Batch]) -> Result<Report> {
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        let peer = Peer::start()?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(number) else {
                return Ok(());
            };
            let answer = ask(&peer, number, batch)
                .with_context(|| format!("batch {number}, {}", batch.name))?;
            if let Ok(mut answers) = answers.lock() {
                answers.push((number, answer));
            }
        }
    };
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|payload| std::panic::resume_unwind(payload))
            })
            .collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    let mut answers = answers.into_inner().unwrap_or_default();
    answers.sort_by_key(|(number, _)| *number);
    let mut report = Report {
        versions: Versions::get()?,
        ..Report::default()
    };
    for (number, answers) in &answers {
        report.add(&batches[*number], answers)?;
    }
    Ok(report)
}

/// What it was that was asked.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub(super) libvirt: String,
    pub(super) ebtables: String,
    pub(super) iptables: String,
    pub(super) kernel: String,
}

impl Versions {
    fn get() -> Result<Self> {
        let of = |program: &str| -> Result<String> {
            let output = Command::new(program).arg("--version").output();
            let output = output.with_context(|| format!("start `{program}`"))?;
            let text = String::from_utf8(output.stdout)?;
            Ok(text.lines().next().unwrap_or_default().trim().to_owned())
        };
        // Without what a distribution or a host adds.
        let release = uname()?.release().to_string_lossy().into_owned();
        let kernel = release.split('-').next().unwrap_or_default();
        Ok(Self {
            libvirt: of("libvirtd")?,
            ebtables: of("ebtables")?,
            iptables: of("iptables")?,
            kernel: kernel.to_owned(),
        })
    }
}

/// One batch, with one libvirt.
fn ask(peer: &Peer, number: usize, batch: &Batch) -> Result<Vec<Answer>> {
    let case = batch.case();
    let instances = case.resolve(LIBVIRT)?;
    let named = |text: &str| {
        let text = text.replace("'main'", &format!("'main-{number}'"));
        text.replace("'filter-", &format!("'filter-{number}-"))
    };
    let own = |name: &str| builtin(name, Flavour::V11).is_some();
    for filter in case.filters.iter().rev().filter(|f| !own(&f.name)) {
        peer.define(&named(&filter.xml))?;
    }
    for (name, members) in &batch.sets {
        peer.address_set(name, members)?;
    }
    peer.forget_connections()?;
    let port = format!("vnet{number}");
    let bound = peer.bind(&port, OWN, &format!("main-{number}"), &batch.parameters)?;

    let mut judge = Judge::with_sets(&instances, LIBVIRT, Box::new(Members(batch.sets.clone())));
    let mut engine = Engine::new(&instances, LIBVIRT).map_err(|error| error.to_string());
    if let Ok(engine) = &mut engine {
        for (name, members) in &batch.sets {
            engine.set(name, members);
        }
    }
    let mut answers = Vec::new();
    let host = if batch.host {
        Some(peer.host("10.100.0.0/16", "10.0.0.0/16")?)
    } else {
        None
    };
    for (row, asked) in batch.rows.iter().enumerate() {
        // Frames that go one way are sent as one: what is held back comes out until the last.
        for run in asked
            .frames
            .chunk_by(|a, b| a.direction == b.direction && !batch.ticks)
        {
            if batch.ticks {
                next_tick()?;
            }
            if let (Some(host), FrameDirection::In) = (&host, run[0].direction) {
                // An answer, if there is something to answer.
                if answers
                    .last()
                    .is_some_and(|last: &Answer| last.said.libvirt)
                {
                    for sent in run {
                        says(host, &sent.bytes)?;
                        judge.decide(sent.direction, &sent.bytes, sent.now);
                        if let Ok(engine) = &mut engine {
                            engine.decide(sent.direction, &sent.bytes, sent.now)?;
                        }
                    }
                }
                continue;
            }
            let direction = match run[0].direction {
                FrameDirection::In => Direction::In,
                FrameDirection::Out => Direction::Out,
            };
            let frames: Vec<Vec<u8>> = run.iter().map(|sent| sent.bytes.clone()).collect();
            let arrived = match &host {
                Some(host) => frames
                    .iter()
                    .map(|frame| host.gets(&bound, frame))
                    .collect::<Result<_>>()?,
                None => peer.frames(&bound, direction, &frames)?,
            };
            for (sent, arrived) in run.iter().zip(arrived) {
                let decision = judge.decide(sent.direction, &sent.bytes, sent.now);
                let engine = match &mut engine {
                    Ok(engine) => Ok(engine.decide(sent.direction, &sent.bytes, sent.now)?),
                    Err(error) => Err(error.clone()),
                };
                answers.push(Answer {
                    row,
                    sent: sent.clone(),
                    said: Said {
                        libvirt: arrived,
                        judge: decision,
                        engine,
                    },
                });
            }
        }
    }
    peer.unbind(bound)?;
    Ok(answers)
}

/// Has the host send the datagram of a frame.
fn says(host: &Host<'_>, frame: &[u8]) -> Result<()> {
    let address = |at: usize| Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|i| frame[at + i]));
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let (from, to) = ((address(26), port(34)), (address(30), port(36)));
    host.says(from, to, &frame[42..])
}

/// The host's address sets, of one dimension each.
struct Members(Vec<(&'static str, Vec<IpAddr>)>);

impl Sets for Members {
    fn contains(&self, lookup: &Lookup<'_>) -> bool {
        let address = match lookup.directions.first() {
            Some(SetDirection::Src) => lookup.source,
            Some(SetDirection::Dst) => lookup.destination,
            None => return false,
        };
        self.0
            .iter()
            .any(|(name, members)| *name == lookup.set && members.contains(&address))
    }
}

/// Waits until the kernel's clock has ticked often enough: it takes connections for alive that
/// another CPU has counted in this tick or the one before.
fn next_tick() -> Result<()> {
    let now = || clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE);
    for _ in 0..3 {
        let before = now()?;
        while now()? == before {
            thread::yield_now();
        }
    }
    Ok(())
}
