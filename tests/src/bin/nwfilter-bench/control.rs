//! The daemon with many ports, and libvirt's with as many as it takes patience for, in one run.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use nwfilter_common::{Counter, MacAddr, PortRecord};
use nwfilter_ctl::daemon::api::Call;
use nwfilter_tests::{
    daemon::{Caller, Daemon, Site, binding_xml},
    need,
    net::NetNs,
    peer::{self, Peer},
};
use serde_json::Value;

use super::{measure::median, report::kept};

/// All measurements of the control plane.
pub(crate) const SECTIONS: &[super::Section] = &[|_| control()];

/// Ports of ours.
const PORTS: usize = 1000;
/// Ports of libvirt's, which takes seconds for each.
const LIBVIRT_PORTS: usize = 5;
/// How often what can be repeated is.
const ROUNDS: usize = 7;

/// A filter in versions that differ in one rule.
fn filter(version: usize) -> String {
    format!(
        "<filter name='shared'><uuid>11111111-2222-3333-4444-555555555555</uuid>
  <filterref filter='clean-traffic'/>
  <rule action='drop' direction='out'><udp dstportstart='{}'/></rule>
</filter>",
        1000 + version
    )
}

fn address(number: usize) -> (MacAddr, String) {
    let [high, low] = (number as u16 + 1).to_be_bytes();
    let mac = MacAddr([0x52, 0x54, 0, 0, high, low]);
    (mac, format!("10.0.{high}.{low}"))
}

fn binding(number: usize) -> String {
    let (mac, address) = address(number);
    binding_xml(&format!("vm{number}"), mac, "shared", &address)
}

fn control() -> Result<String> {
    let ours = Ours::measure()?;
    let theirs = if need::met(&peer::NEEDS) {
        Some(Theirs::measure()?)
    } else {
        None
    };
    let theirs = |value: fn(&Theirs) -> String| theirs.as_ref().map_or_else(|| "-".into(), value);
    let mut text = format!(
        "## The control plane\n\n\
         `clean-traffic` and one rule more, shared by {PORTS} ports (veth); libvirt's daemon with \
         {LIBVIRT_PORTS} ports. Medians of {ROUNDS} where something can be repeated. Binding a port waits \
         twice, once for each direction, until no program runs at the hook as it was before: that is \
         the kernel's part, and longer on a busy machine.\n\n\
         | what | budget | nwfilter | libvirt |\n|---|---|--:|--:|\n"
    );
    let mut row = |what: &str, budget: String, ours: String, theirs: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {what} | {budget} | {ours} | {theirs} |");
    };
    let none = || String::from("-");
    let [median, worst] = ours.bind;
    row(
        "bind a port, from request to answer: median",
        within(30, median),
        milliseconds(median),
        none(),
    );
    row(
        "the same: 99 of 100 take at most",
        within(30, worst),
        milliseconds(worst),
        none(),
    );
    row(
        "bind a port by command (`binding-create`, `virsh nwfilter-binding-create`)",
        String::new(),
        milliseconds(ours.bind_command),
        theirs(|theirs| milliseconds(theirs.bind)),
    );
    row(
        &format!("redefine the filter of {PORTS} ports"),
        within(100, ours.redefine),
        milliseconds(ours.redefine),
        none(),
    );
    row(
        &format!("redefine by command, {PORTS} ports here and {LIBVIRT_PORTS} there"),
        String::new(),
        milliseconds(ours.redefine_command),
        theirs(|theirs| milliseconds(theirs.redefine)),
    );
    row(
        &format!("start with {PORTS} pinned ports, until ready"),
        within(1000, ours.start),
        milliseconds(ours.start),
        none(),
    );
    for (what, limit, measured) in [
        ("memory of the daemon per further VM", 4096, ours.memory),
        ("of the maps per further VM", 2048, ours.maps),
    ] {
        let budget = format!("{limit} B: {}", kept(measured <= limit));
        row(what, budget, format!("{measured} B"), none());
    }
    text.push('\n');
    Ok(text)
}

/// A budget of so many milliseconds.
fn within(limit: u64, measured: Duration) -> String {
    let is_kept = measured <= Duration::from_millis(limit);
    format!("{limit} ms: {}", kept(is_kept))
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

fn time(action: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    action()?;
    Ok(start.elapsed())
}

/// The median of some rounds.
fn repeated(mut action: impl FnMut(usize) -> Result<()>) -> Result<Duration> {
    let rounds = (0..ROUNDS).map(|round| Ok(time(|| action(round))?.as_secs_f64()));
    let rounds: Result<Vec<f64>> = rounds.collect();
    Ok(Duration::from_secs_f64(median(rounds?)))
}

struct Ours {
    bind: [Duration; 2],
    bind_command: Duration,
    redefine: Duration,
    redefine_command: Duration,
    start: Duration,
    memory: u64,
    maps: u64,
}

impl Ours {
    fn measure() -> Result<Self> {
        /// Ports that are there before memory is looked at: what the first ones need is shared.
        const FIRST: usize = 500;
        let host = NetNs::new()?;
        let links = (0..=PORTS)
            .map(|port| format!("link add name vm{port} type veth peer name far{port}\n"));
        host.ip(&links.collect::<String>())?;
        // In memory, as `/run` is.
        let site = Site::inside(Path::new("/dev/shm"))?;
        fs::write(site.filters().join("shared.xml"), filter(0))?;
        let daemon = site.start(&host)?;
        let mut caller = Caller::connect(&site)?;
        let mut times = Vec::with_capacity(PORTS);
        let mut before = 0;
        for port in 0..PORTS {
            if port == FIRST {
                before = memory(&daemon)?;
            }
            let call = Call::BindingCreate {
                xml: binding(port),
                replace: false,
            };
            times.push(time(|| {
                let answer = caller.call(&call)?;
                ensure!(answer["state"] == "enforced", "{answer}");
                Ok(())
            })?);
        }
        let memory = memory(&daemon)?.saturating_sub(before) / (PORTS - FIRST) as u64;
        times.sort();
        let bind = [times[PORTS / 2], times[PORTS * 99 / 100]];

        let file = site.state().join("document");
        let path = file.to_str().context("an odd path")?;
        let run = |arguments: &[&str]| -> Result<()> {
            let output = site.run(&host, arguments)?;
            ensure!(output.status.success(), "{arguments:?}: {output:?}");
            Ok(())
        };
        fs::write(&file, binding(PORTS))?;
        let bind_command = time(|| run(&["binding-create", path]))?;
        run(&["binding-delete", &format!("vm{PORTS}")])?;

        let redefine = repeated(|round| {
            let xml = filter(round + 1);
            caller.call(&Call::Define { xml })?;
            Ok(())
        })?;
        fs::write(&file, filter(ROUNDS + 1))?;
        let redefine_command = time(|| run(&["define", path]))?;
        let port = "vm7".into();
        let raw = caller.call(&Call::Show { port, raw: false })?["raw"].take();
        let maps = used(&raw)?;

        daemon.end(Signal::SIGKILL)?;
        let mut daemon = None;
        let start = repeated(|_| {
            daemon = None;
            daemon = Some(site.start(&host)?);
            Ok(())
        })?;
        ensure!(site.run(&host, &["status"])?.status.success());
        drop(daemon);
        run(&[
            "detach",
            "--all",
            "--pin-dir",
            site.pins.to_str().context("an odd path")?,
        ])?;
        Ok(Self {
            bind,
            bind_command,
            redefine,
            redefine_command,
            start,
            memory,
            maps,
        })
    }
}

/// Memory that is the daemon's alone, in bytes.
fn memory(daemon: &Daemon) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", daemon.id()))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("no memory")?.parse::<u64>()? << 10)
}

/// Bytes of the maps that are for one port alone: its records and its counters.
fn used(raw: &Value) -> Result<u64> {
    let entries = raw["entries"].as_u64().context("no entries")?;
    let counters = u64::from(nwfilter_common::FAULT_COUNTERS) + entries;
    Ok(2 * size_of::<PortRecord>() as u64 + counters * size_of::<Counter>() as u64)
}

struct Theirs {
    bind: Duration,
    redefine: Duration,
}

impl Theirs {
    fn measure() -> Result<Self> {
        let peer = Peer::start()?;
        peer.define(&filter(0))?;
        let mut bound = Vec::new();
        let mut times = Vec::new();
        for port in 0..LIBVIRT_PORTS {
            let (mac, address) = address(port);
            let vm = peer.port(&format!("vm{port}"), mac)?;
            times.push(time(|| {
                bound.push(peer.filter(vm, "shared", &[("IP", &address)])?);
                Ok(())
            })?);
        }
        times.sort();
        let redefine = time(|| peer.define(&filter(1)))?;
        for port in bound {
            peer.unbind(port)?;
        }
        Ok(Self {
            bind: times[LIBVIRT_PORTS / 2],
            redefine,
        })
    }
}
