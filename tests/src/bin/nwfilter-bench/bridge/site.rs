//! A host with a bridge, a tap for each VM and one for the outside, and whoever filters the VMs'.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    net::Ipv4Addr,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nwfilter_ctl::kernel::{Change, Datapath, Options};
use nwfilter_tests::{
    bind::{prepared, prepared_given},
    net::{Endpoint, Lan, NetNs, Tap, Vm},
    peer::Peer,
};

use super::packets::{End, Row};
use crate::measure::cpu_time;

/// The VM's own addresses only, and a few rules that use the state of connections. Short, for each
/// rule takes libvirt some processes for each port.
const SERVER: &str = "<filter name='server'>
  <filterref filter='no-mac-spoofing'/>
  <filterref filter='no-ip-spoofing'/>
  <rule action='accept' direction='in' priority='100'><tcp dstportstart='22'/></rule>
  <rule action='accept' direction='in' priority='100'><udp dstportstart='53'/></rule>
  <rule action='accept' direction='out' priority='200'><all/></rule>
  <rule action='drop' direction='inout' priority='900'><all/></rule>
</filter>";

/// Who filters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Enforcer {
    Nobody,
    Nwfilter,
    Libvirt,
}

/// What is enforced on all ports.
#[derive(Clone, Copy, Debug)]
pub(super) enum Filter {
    CleanTraffic,
    /// See [`SERVER`].
    Server,
}

impl Filter {
    fn name(self) -> &'static str {
        match self {
            Self::CleanTraffic => "clean-traffic",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A host.
pub(super) struct Site {
    /// The VMs' side of the taps.
    vms: Vec<File>,
    outside: File,
    /// The setting that has netfilter see what bridges forward.
    netfilter: File,
    enforcer: Enforcer,
    time_to_bind: Duration,
    /// What filters, and what is filtered, as long as it is there.
    _keep: Box<dyn Send + Sync>,
}

impl Site {
    pub(super) fn new(enforcer: Enforcer, filter: Filter, ports: usize) -> Result<Self> {
        match enforcer {
            Enforcer::Libvirt => Self::theirs(filter, ports),
            Enforcer::Nobody | Enforcer::Nwfilter => Self::ours(enforcer, filter, ports),
        }
    }

    fn ours(enforcer: Enforcer, filter: Filter, ports: usize) -> Result<Self> {
        let lan = Lan::new()?;
        let taps = Taps::new(&lan.host, ports)?;
        let begin = Instant::now();
        let datapath = match enforcer {
            Enforcer::Nwfilter => Some(lan.host.run(|| enforce(filter, &taps.vms))?),
            _ => None,
        };
        Ok(Self {
            time_to_bind: begin.elapsed(),
            netfilter: netfilter(&lan.host)?,
            vms: files(&taps.vms)?,
            outside: file(&taps.outside)?,
            enforcer,
            _keep: Box::new((datapath, taps.vms, taps.outside, lan)),
        })
    }

    fn theirs(filter: Filter, ports: usize) -> Result<Self> {
        let peer = Peer::start()?;
        if let Filter::Server = filter {
            peer.define(SERVER)?;
        }
        let taps = Taps::new(peer.namespace(), ports)?;
        let vms = files(&taps.vms)?;
        let begin = Instant::now();
        let bound = taps
            .vms
            .into_iter()
            .enumerate()
            .map(|(number, vm)| peer.filter(vm, filter.name(), &[("IP", &address(number))]));
        let bound = bound.collect::<Result<Vec<_>>>()?;
        Ok(Self {
            time_to_bind: begin.elapsed(),
            netfilter: netfilter(peer.namespace())?,
            vms,
            outside: file(&taps.outside)?,
            enforcer: Enforcer::Libvirt,
            _keep: Box::new((bound, taps.outside, peer)),
        })
    }

    /// How long it took to bind all ports.
    pub(super) const fn time_to_bind(&self) -> Duration {
        self.time_to_bind
    }

    /// Whether netfilter is to see IPv4 on bridges.
    pub(super) fn call_netfilter(&self, on: bool) -> Result<()> {
        let value = if on { b"1" } else { b"0" };
        self.netfilter
            .write_all_at(value, 0)
            .context("have bridges call netfilter or not")
    }

    fn end(&self, end: End) -> &File {
        match end {
            End::Vm(number) => &self.vms[number],
            End::Outside => &self.outside,
        }
    }

    /// Sends what comes before the frame that is measured.
    pub(super) fn connect(&self, row: &Row) -> Result<()> {
        for (from, frame) in &row.before {
            let to = if *from == row.from { row.to } else { row.from };
            received(self.end(to), frame)?;
            send(self.end(*from), frame)?;
            let arrived = received(self.end(to), frame)?;
            ensure!(arrived == 1, "{row}: the connection does not come about");
        }
        Ok(())
    }

    /// Sends a frame so often, checks that it arrives as often as it should, and returns the
    /// nanoseconds that it took each time.
    pub(super) fn burst(&self, row: &Row, times: u32) -> Result<f64> {
        let (from, to) = (self.end(row.from), self.end(row.to));
        received(to, &row.frame)?;
        let begin = cpu_time()?;
        for _ in 0..times {
            send(from, &row.frame)?;
        }
        let taken = cpu_time()?.saturating_sub(begin);
        let passes = row.accepted || self.enforcer == Enforcer::Nobody;
        let expected = if passes { times } else { 0 };
        let arrived = received(to, &row.frame)?;
        ensure!(
            arrived == expected,
            "{arrived} of {times} frames have arrived, not {expected}"
        );
        Ok(taken.as_secs_f64() * 1e9 / f64::from(times))
    }
}

/// The taps of a host.
struct Taps {
    vms: Vec<Vm>,
    outside: Tap,
}

impl Taps {
    /// Makes them, on a bridge that knows for good who is where.
    fn new(host: &NetNs, ports: usize) -> Result<Self> {
        let tap = |name: &str, end: End| -> Result<Tap> {
            let tap = Tap::new(host, name)?;
            host.attach(name, Lan::BRIDGE)?;
            host.bridge_entry(name, end.mac())?;
            Ok(tap)
        };
        let vms = (0..ports).map(|number| {
            let (port, end) = (format!("vm{number}"), End::Vm(number));
            Ok(Vm {
                end: Box::new(tap(&port, end)?),
                mac: end.mac(),
                inside: None,
                port,
            })
        });
        Ok(Self {
            vms: vms.collect::<Result<_>>()?,
            outside: tap("outside", End::Outside)?,
        })
    }
}

/// The address that a VM's binding says it has.
fn address(number: usize) -> String {
    Ipv4Addr::from(End::Vm(number).ip()).to_string()
}

/// Filters the VMs' ports by the library, in the namespace of the calling thread.
fn enforce(filter: Filter, vms: &[Vm]) -> Result<Datapath> {
    let prepared = vms.iter().enumerate().map(|(number, vm)| {
        let address = address(number);
        let parameters = [("IP", &*address)];
        match filter {
            Filter::CleanTraffic => Ok(prepared(&vm.port, vm.mac, filter.name(), &parameters)?),
            Filter::Server => prepared_given(&vm.port, vm.mac, SERVER, &parameters),
        }
    });
    let prepared = prepared.collect::<Result<Vec<_>>>()?;
    let mut datapath = Datapath::open(Options::default())?;
    let changes = prepared.iter().zip(vms);
    let changes: Vec<_> = changes
        .map(|(prepared, vm)| Change::Bind(prepared.bind(&vm.port)))
        .collect();
    datapath.apply(&changes)?;
    Ok(datapath)
}

/// The setting of a namespace, to be written from anywhere.
fn netfilter(host: &NetNs) -> Result<File> {
    const SETTING: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    host.run(|| OpenOptions::new().write(true).open(SETTING))
        .with_context(|| format!("open {SETTING}"))
}

fn files(vms: &[Vm]) -> Result<Vec<File>> {
    vms.iter().map(|vm| file(&*vm.end)).collect()
}

fn file(end: &dyn Endpoint) -> Result<File> {
    Ok(end.as_fd().try_clone_to_owned()?.into())
}

fn send(mut from: &File, frame: &[u8]) -> Result<()> {
    let sent = from.write(frame).context("send a frame")?;
    ensure!(sent == frame.len(), "sent {sent} bytes of {}", frame.len());
    Ok(())
}

/// How often a frame has arrived; whatever else has is dropped.
fn received(mut to: &File, frame: &[u8]) -> Result<u32> {
    let mut buffer = [0; 2048];
    let mut count = 0;
    loop {
        match to.read(&mut buffer) {
            Ok(length) => count += u32::from(&buffer[..length] == frame),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("receive a frame"),
        }
    }
}
