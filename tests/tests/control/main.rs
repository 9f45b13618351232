//! The daemon's callers: filters and bindings come, change and go, devices too, while frames are sent.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod callers;
mod devices;
mod editor;
mod filters;

use std::{fs, path::PathBuf, process::Output};

use nwfilter_common::MacAddr;
use nwfilter_tests::{
    daemon::{Daemon, Site, binding_xml},
    frame::{Ethernet, Ipv4, Udp},
    need::Need,
    net::{Direction, Lan, Vm},
};
use serde_json::Value;

const NEEDS: [Need; 3] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::File("/sys/fs/bpf"),
];

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

/// A host with one VM and a daemon.
struct Host {
    daemon: Option<Daemon>,
    vm: Vm,
    site: Site,
    lan: Lan,
}

impl Host {
    fn new() -> Self {
        let lan = Lan::new().unwrap();
        let vm = lan.vm("vm1", MAC).unwrap();
        let site = Site::new().unwrap();
        let daemon = Some(site.start(&lan.host).unwrap());
        Self {
            daemon,
            vm,
            site,
            lan,
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.site.run(&self.lan.host, arguments).unwrap()
    }

    /// Runs a command that must succeed; returns its JSON document.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["schema"], 1);
        document
    }

    /// Runs a command that must fail like this.
    fn refused(&self, arguments: &[&str], status: i32, part: &str) {
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {message}"
        );
        assert!(message.contains(part), "{arguments:?}: {message}");
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.site.state().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Defines [`web`] for port 80 and binds the VM to it.
    fn bind_web(&self) {
        let file = self.file("web", &web(UUID, 80));
        self.json(&["define", &file]);
        self.bind("vm1", "web");
    }

    fn bind(&self, port: &str, filter: &str) -> Value {
        let file = self.file("new-binding", &binding_xml(port, MAC, filter, "10.0.0.1"));
        self.json(&["binding-create", &file, "--replace"])["binding"].take()
    }

    fn state(&self, port: &str) -> String {
        let output = self.run(&["status", "--json"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let bindings = document["status"]["bindings"].as_array().unwrap().clone();
        let found = bindings.iter().find(|binding| binding["port"] == port);
        found.map_or_else(String::new, |binding| {
            binding["state"].as_str().unwrap().to_owned()
        })
    }

    /// Whether a UDP datagram from that address to that port gets out.
    fn passes(&self, address: [u8; 4], port: u16) -> bool {
        passes(&self.lan, &self.vm, address, port)
    }
}

fn passes(lan: &Lan, vm: &Vm, address: [u8; 4], port: u16) -> bool {
    let header = Ipv4::new(address, [10, 0, 0, 200]);
    let frame = Ethernet::new(MAC, Lan::OUTSIDE).ipv4(&header, &Udp::new(4000, port, []));
    lan.probe(vm, Direction::Out).arrives(&frame).unwrap()
}

const OWN: [u8; 4] = [10, 0, 0, 1];
const SPOOFED: [u8; 4] = [10, 0, 0, 9];
const UUID: &str = "11111111-2222-3333-4444-555555555555";

/// A filter that drops datagrams to one port.
fn web(uuid: &str, port: u16) -> String {
    format!(
        "<filter name='web'><uuid>{uuid}</uuid>
  <rule action='drop' direction='out'><udp dstportstart='{port}'/></rule>
</filter>"
    )
}

/// Whether `list` says that a filter is built in.
fn is_builtin(host: &Host, name: &str) -> bool {
    let list = host.json(&["list"]);
    let filters = list["filters"].as_array().unwrap().clone();
    let found = filters.iter().find(|filter| filter["name"] == name);
    found.unwrap()["builtin"].as_bool().unwrap()
}
