//! What can go wrong while filters change: the daemon dies, the disk is full, devices vanish, callers
//! misbehave. Under traffic: no spoofed frame passes, no good one is dropped, and what was
//! acknowledged is kept.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod around;
mod devices;
mod dying;

use std::{fs, time::Duration};

use nix::sys::signal::Signal;
use nwfilter_ctl::daemon::api::Call;
use nwfilter_tests::{
    daemon::{Caller, Daemon, Site, binding_xml},
    need::Need,
    net::{Direction, Lan, Vm},
    traffic::{IP, MAC, OTHER, frame, under_traffic},
};
use serde_json::Value;

const NEEDS: [Need; 3] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::File("/sys/fs/bpf"),
];

/// How long the daemon gives a caller for a line.
const CALLER_TIMEOUT: Duration = Duration::from_secs(30);

/// A filter that lets good frames out, in versions.
fn shared(version: u16) -> String {
    format!(
        "<filter name='shared'><uuid>11111111-2222-3333-4444-555555555555</uuid>
  <filterref filter='clean-traffic'/>
  <rule action='drop' direction='out'><udp dstportstart='{version}'/></rule>
</filter>"
    )
}

/// Two VMs; good and spoofed frames are the first one's. Its filter is shared by both.
struct Host {
    lan: Lan,
    vm: Vm,
    other: Vm,
    site: Site,
}

impl Host {
    fn new() -> Self {
        let lan = Lan::new().unwrap();
        let vm = lan.vm("vm1", MAC).unwrap();
        let other = lan.vm("vm2", OTHER).unwrap();
        let site = Site::new().unwrap();
        fs::write(site.filters().join("shared.xml"), shared(1)).unwrap();
        fs::write(site.binding("vm1"), binding_xml("vm1", MAC, "shared", IP)).unwrap();
        // So that the first VM is filtered from the beginning.
        site.start(&lan.host).unwrap().end(Signal::SIGTERM).unwrap();
        Self {
            lan,
            vm,
            other,
            site,
        }
    }

    /// Binds these ports to the second VM's addresses, by a daemon that is gone again.
    fn leave_bound(&self, ports: &[&str]) {
        for port in ports {
            let other = binding_xml(port, OTHER, "shared", "10.0.0.2");
            fs::write(self.site.binding(port), other).unwrap();
        }
        self.start().end(Signal::SIGKILL).unwrap();
    }

    fn start(&self) -> Daemon {
        self.site.start(&self.lan.host).unwrap()
    }

    /// Starts a daemon that dies at that place of that work.
    fn start_to_die(&self, work: &str, place: usize) -> anyhow::Result<Daemon> {
        self.site.start_with(&self.lan.host, |command| {
            command.env("NWFILTER_DIE", format!("{work}:{place}"));
        })
    }

    fn call(&self, call: &Call) -> anyhow::Result<Value> {
        Caller::connect(&self.site)?.call(call)
    }

    fn under_traffic<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        under_traffic(&self.lan, &self.vm, action).unwrap().1
    }

    fn states(&self) -> Vec<(String, String)> {
        let status = self.call(&Call::Status).unwrap();
        let bindings = status["bindings"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        bindings
            .map(|binding| (text(&binding["port"]), text(&binding["state"])))
            .collect()
    }

    fn state(&self, port: &str) -> Option<String> {
        let mut states = self.states().into_iter();
        states
            .find(|(name, _)| name == port)
            .map(|(_, state)| state)
    }

    /// Whether the second VM may pretend to be somebody.
    fn other_may_spoof(&self) -> bool {
        let mut probe = self.lan.probe(&self.other, Direction::Out);
        probe.arrives(&frame(OTHER, [10, 0, 0, 77], 0)).unwrap()
    }
}

fn bind_other(filter: &str, address: &str) -> Call {
    Call::BindingCreate {
        xml: binding_xml("vm2", OTHER, filter, address),
        replace: true,
    }
}

fn unbind_other() -> Call {
    Call::BindingDelete { port: "vm2".into() }
}
