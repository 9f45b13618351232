//! libvirt itself as a judge: its own daemon from the distribution enforces a filter on a port of a
//! [`Lan`], and real frames tell what it lets pass. The daemon runs in private namespaces and sees
//! nothing of the system but its programs; [`Peer::frames`] asks it, `virsh` commands it.

mod connections;
mod daemon;
mod enclave;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use anyhow::{Result, ensure};
use nwfilter_common::MacAddr;

use self::{daemon::Daemon, enclave::Enclave};
use crate::{
    need::Need,
    net::{Direction, Lan, Vm},
};

/// What a peer takes: Debian's packages libvirt-daemon, libvirt-clients,
/// libvirt-daemon-config-nwfilter, ebtables and iptables, and a kernel with netfilter on bridges.
pub const NEEDS: [Need; 8] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::Program("ebtables"),
    Need::Program("iptables"),
    Need::Program("libvirtd"),
    Need::Program("virsh"),
    Need::File("/etc/libvirt/nwfilter/clean-traffic.xml"),
    Need::File("/proc/sys/net/bridge/bridge-nf-call-iptables"),
];

/// A libvirt of its own with a network of its own.
pub struct Peer {
    lan: Lan,
    enclave: Enclave,
    _daemon: Daemon,
}

/// A port whose filter libvirt enforces.
pub struct Bound(Vm);

impl Peer {
    /// Starts libvirt's daemon with its nwfilter driver alone and the filters that come with it.
    ///
    /// # Errors
    ///
    /// What is missing of [`NEEDS`], or what the daemon says.
    pub fn start() -> Result<Self> {
        let lan = Lan::new()?;
        // Without these the inet layer sees nothing of what a bridge forwards. A host has them on.
        for family in ["arptables", "ip6tables", "iptables"] {
            lan.host
                .sysctl(&format!("bridge/bridge-nf-call-{family}"), "1")?;
        }
        let enclave = Enclave::new(&lan.host)?;
        let daemon = Daemon::start(&enclave)?;
        Ok(Self {
            lan,
            enclave,
            _daemon: daemon,
        })
    }

    /// Runs `virsh` on this libvirt and returns what it prints.
    ///
    /// # Errors
    ///
    /// What it says on failure.
    pub fn virsh(&self, arguments: &[&str]) -> Result<String> {
        let output = self.enclave.run(|| {
            enclave::command("virsh")
                .args(["-q", "-c", "nwfilter:///system"])
                .args(arguments)
                .output()
        })?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "virsh {}: {}",
            arguments.join(" "),
            errors.trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Defines or redefines a filter.
    ///
    /// # Errors
    ///
    /// What libvirt does not like about it.
    pub fn define(&self, xml: &str) -> Result<()> {
        let file = self.enclave.file(xml)?;
        self.virsh(&["nwfilter-define", &file])?;
        Ok(())
    }

    /// Makes a port with a VM of this address behind it, and has libvirt enforce a filter on it.
    ///
    /// # Errors
    ///
    /// If libvirt refuses: unknown filter, missing parameter, a rule that its tools do not take.
    pub fn bind(
        &self,
        port: &str,
        mac: MacAddr,
        filter: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Bound> {
        self.filter(self.port(port, mac)?, filter, parameters)
    }

    /// A port with a VM of this address behind it that nobody filters yet.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn port(&self, port: &str, mac: MacAddr) -> Result<Vm> {
        self.lan.vm(port, mac)
    }

    /// Has libvirt enforce a filter on a port.
    ///
    /// # Errors
    ///
    /// As for [`Peer::bind`].
    pub fn filter(&self, vm: Vm, filter: &str, parameters: &[(&str, &str)]) -> Result<Bound> {
        let Vm { port, mac, .. } = &vm;
        let mut xml = format!(
            "<filterbinding>\
             <owner><name>{port}</name><uuid>00000000-0000-4000-8000-{}</uuid></owner>\
             <portdev name='{port}'/><mac address='{mac}'/><filterref filter='{}'>",
            mac.to_string().replace(':', ""),
            escaped(filter),
        );
        for (name, value) in parameters {
            // Writing to a String does not fail.
            let _ = write!(
                xml,
                "<parameter name='{}' value='{}'/>",
                escaped(name),
                escaped(value)
            );
        }
        xml.push_str("</filterref></filterbinding>");
        let file = self.enclave.file(&xml)?;
        self.virsh(&["nwfilter-binding-create", &file])?;
        Ok(Bound(vm))
    }

    /// Removes filter and port again.
    ///
    /// # Errors
    ///
    /// What libvirt says.
    pub fn unbind(&self, bound: Bound) -> Result<()> {
        let Bound(vm) = bound;
        self.virsh(&["nwfilter-binding-delete", &vm.port])?;
        Ok(())
    }

    /// Sends frames one after the other, from the VM or to it, and tells for each whether it came
    /// out at the other side of the bridge, byte for byte. One that is held back, as a fragment is,
    /// has come out when it does so until the last is sent.
    ///
    /// # Errors
    ///
    /// If a frame cannot be sent at all.
    pub fn frames(
        &self,
        bound: &Bound,
        direction: Direction,
        frames: &[Vec<u8>],
    ) -> Result<Vec<bool>> {
        self.lan.probe(&bound.0, direction).arrivals(frames)
    }

    /// Makes the kernel forget every connection that it has seen, as if nothing had been sent yet.
    ///
    /// # Errors
    ///
    /// If the kernel cannot.
    pub fn forget_connections(&self) -> Result<()> {
        self.lan.host.run(connections::forget)
    }
}

/// Text as the value of an XML attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\'', "&apos;")
}
