//! Who is on the demo network: two VMs that talk to each other, and an intruder that lies.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result};
use nwfilter_common::MacAddr;
use nwfilter_tests::net::{Lan, NetNs, Vm};

/// The network.
pub(crate) struct Network {
    pub(crate) lan: Lan,
    ports: [Port; 3],
}

/// A VM's port, with the address that its VM may use.
pub(crate) struct Port {
    pub(crate) vm: Vm,
    pub(crate) address: Ipv4Addr,
    /// Takes what is sent to [`HELLO`], so that the VM's kernel does not answer that nobody does.
    ears: Option<UdpSocket>,
}

/// Port of the datagrams that are sent to and fro.
pub(crate) const HELLO: u16 = 4000;

impl Network {
    /// Builds it: no filter on it yet.
    pub(crate) fn new() -> Result<Self> {
        let lan = Lan::new()?;
        let mac = |last| MacAddr([0x52, 0x54, 0, 0, 0, last]);
        let port = |vm, last| Port {
            vm,
            address: Ipv4Addr::new(192, 168, 77, last),
            ears: None,
        };
        let ports = [
            port(lan.vm("vm1", mac(1))?, 11),
            port(lan.vm("vm2", mac(2))?, 12),
            port(lan.tap_vm("intruder", mac(3))?, 13),
        ];
        let mut network = Self { lan, ports };
        let [one, two, _] = &mut network.ports;
        one.set_up(two)?;
        two.set_up(one)?;
        Ok(network)
    }

    pub(crate) fn vm1(&self) -> &Port {
        &self.ports[0]
    }

    pub(crate) fn vm2(&self) -> &Port {
        &self.ports[1]
    }

    pub(crate) fn intruder(&self) -> &Port {
        &self.ports[2]
    }

    /// All of them; each gets the filter.
    pub(crate) fn ports(&self) -> &[Port] {
        &self.ports
    }
}

impl Port {
    fn set_up(&mut self, peer: &Self) -> Result<()> {
        let inside = self.inside()?;
        inside.address("eth0", &format!("{}/24", self.address))?;
        // A ping shall depend on pings alone; ARP has rows of its own.
        inside.neighbour("eth0", &peer.address.to_string(), peer.vm.mac)?;
        self.ears = Some(inside.run(|| UdpSocket::bind((self.address, HELLO)))?);
        Ok(())
    }

    /// The VM's own namespace.
    pub(crate) fn inside(&self) -> Result<&NetNs> {
        self.vm
            .inside
            .as_ref()
            .with_context(|| format!("{} has no kernel", self.vm.port))
    }
}
