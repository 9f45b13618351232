//! The network of a host with VMs: a bridge, a port per VM, and an outside that no filter touches.
//!
//! ```text
//!   VM namespace      namespace `host`               namespaces of the outside
//!   eth0 ═══ veth ═══ vm1 ──┐
//!   eth0 ═══ veth ═══ vm2 ──┼── br0 ──┬── lan ═══ veth ═══ eth0   frames come and go here
//!   this process ════ tap3 ─┘         └── mark ══ veth ═══ eth0   the other end of the markers' way
//! ```
//!
//! Which filter a port has, if any, is not decided here.

use std::fmt;

use anyhow::Result;
use nwfilter_common::MacAddr;

use super::{Endpoint, FarEnd, NetNs, Probe, Tap, Wire, marker};

/// A direction seen from the VM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Enters the VM.
    In,
    /// Leaves the VM.
    Out,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

/// Where markers go that come from [`Lan::OUTSIDE`], and the other way round.
const MARKS: MacAddr = MacAddr([0x02, 0, 0, 0, 0xff, 2]);

/// A bridged network in a namespace of its own.
#[derive(Debug)]
pub struct Lan {
    /// Where the ports are: filters are attached here.
    pub host: NetNs,
    outside: Wire,
    marks: Wire,
    /// Hold the far ends of the two unfiltered ports.
    _far: [NetNs; 2],
}

/// A VM, as far as the network is concerned.
pub struct Vm {
    /// The host-side device, in [`Lan::host`].
    pub port: String,
    /// The VM's address.
    pub mac: MacAddr,
    /// With a kernel in it: device `eth0`. `None` behind a tap.
    pub inside: Option<NetNs>,
    /// The VM's end of the wire.
    pub end: Box<dyn Endpoint>,
}

impl Lan {
    /// Somebody outside, who never answers.
    pub const OUTSIDE: MacAddr = MacAddr([0x02, 0, 0, 0, 0xff, 1]);

    /// Name of the bridge.
    pub const BRIDGE: &str = "br0";

    /// A bridge and the outside, no VM yet.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses namespaces or links.
    pub fn new() -> Result<Self> {
        let host = NetNs::new()?;
        host.bridge(Self::BRIDGE)?;
        let far = [NetNs::new()?, NetNs::new()?];
        let ends = [("lan", &far[0], Self::OUTSIDE), ("mark", &far[1], MARKS)];
        for (port, namespace, mac) in ends {
            let end = FarEnd {
                namespace,
                name: "eth0",
                mac,
            };
            host.veth(port, &end)?;
            host.attach(port, Self::BRIDGE)?;
            host.bridge_entry(port, mac)?;
        }
        // Markers only: a copy of every other frame would be a second packet to whoever keeps track
        // of connections.
        host.ip("link set dev mark type bridge_slave flood off mcast_flood off bcast_flood off")?;
        Ok(Self {
            outside: Wire::open(&far[0], "eth0")?,
            marks: Wire::open(&far[1], "eth0")?,
            host,
            _far: far,
        })
    }

    /// A VM with a kernel in a namespace of its own, behind a veth.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn vm(&self, port: &str, mac: MacAddr) -> Result<Vm> {
        let inside = NetNs::new()?;
        self.host.veth(
            port,
            &FarEnd {
                namespace: &inside,
                name: "eth0",
                mac,
            },
        )?;
        self.host.attach(port, Self::BRIDGE)?;
        Ok(Vm {
            port: port.to_owned(),
            mac,
            end: Box::new(Wire::open(&inside, "eth0")?),
            inside: Some(inside),
        })
    }

    /// A VM that is this process, behind a tap: nothing but what it is told to send.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn tap_vm(&self, port: &str, mac: MacAddr) -> Result<Vm> {
        let tap = Tap::new(&self.host, port)?;
        self.host.attach(port, Self::BRIDGE)?;
        Ok(Vm {
            port: port.to_owned(),
            mac,
            inside: None,
            end: Box::new(tap),
        })
    }

    /// The end of the wire outside.
    pub fn outside(&self) -> &dyn Endpoint {
        &self.outside
    }

    /// The way between a VM and the outside, with markers that no filter of the VM sees.
    pub fn probe<'a>(&'a self, vm: &'a Vm, direction: Direction) -> Probe<'a> {
        let (outside, marks) = (&self.outside, &self.marks);
        match direction {
            Direction::In => Probe::new(outside, &*vm.end)
                .marker_way(outside, marks)
                .marker(|sequence| marker(Self::OUTSIDE, MARKS, sequence)),
            Direction::Out => Probe::new(&*vm.end, outside)
                .marker_way(marks, outside)
                .marker(|sequence| marker(MARKS, Self::OUTSIDE, sequence)),
        }
    }

    /// Waits until what has been sent on this CPU has crossed as many wires (veth pairs), and so has
    /// what was sent in answer: `hops` in a row, all in all. Use it inside [`super::in_order`].
    ///
    /// # Errors
    ///
    /// If a marker gets lost.
    pub fn settle(&self, hops: u64) -> Result<()> {
        // Each marker crosses two wires.
        for sequence in 0..hops.div_ceil(2) {
            let marker = marker(Self::OUTSIDE, MARKS, u64::MAX - sequence);
            self.outside.send(&marker)?;
            self.marks.expect(&mut |frame| frame == marker)?;
        }
        Ok(())
    }
}
