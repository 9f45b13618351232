//! Connections of real ports: made by frames, seen and forgotten by the daemon's callers, and as many
//! as the configuration allows.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{fs, process::Output};

use nwfilter_common::MacAddr;
use nwfilter_tests::{
    daemon::{Daemon, Site, binding_xml},
    frame::{Ethernet, Ipv4, Udp},
    need::{self, Need},
    net::{Direction, Lan, Vm},
};
use serde_json::Value;

const NEEDS: [Need; 3] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::File("/sys/fs/bpf"),
];

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const VM: [u8; 4] = [10, 0, 0, 1];
const PEER: [u8; 4] = [10, 0, 0, 200];

/// The VM may ask anybody; nobody may ask the VM.
const CLIENT: &str = "<filter name='client'>
  <rule action='accept' direction='out' priority='500'><udp/></rule>
  <rule action='drop' direction='inout' priority='1000'><all/></rule>
</filter>";

/// A host with a daemon and one VM that is bound to [`CLIENT`].
struct Host {
    _daemon: Daemon,
    vm: Vm,
    site: Site,
    lan: Lan,
}

impl Host {
    fn new(configuration: &str) -> Self {
        Self::with(CLIENT, configuration)
    }

    fn with(filter: &str, configuration: &str) -> Self {
        let lan = Lan::new().unwrap();
        let vm = lan.vm("vm1", MAC).unwrap();
        let site = Site::new().unwrap();
        fs::write(site.filters().join("client.xml"), filter).unwrap();
        fs::write(site.configuration(), configuration).unwrap();
        let daemon = site.start(&lan.host).unwrap();
        let binding = site.state().join("binding");
        fs::write(&binding, binding_xml("vm1", MAC, "client", "10.0.0.1")).unwrap();
        let host = Self {
            _daemon: daemon,
            vm,
            site,
            lan,
        };
        host.json(&["binding-create", binding.to_str().unwrap()]);
        host
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        let output: Output = self.site.run(&self.lan.host, &arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn connections(&self) -> Value {
        self.json(&["show", "vm1", "--connections"])["connections"].take()
    }

    /// Whether a question from this port of the VM to port 53 gets out.
    fn asks(&self, port: u16) -> bool {
        let header = Ipv4::new(VM, PEER);
        let frame = Ethernet::new(MAC, Lan::OUTSIDE).ipv4(&header, &Udp::new(port, 53, []));
        self.arrives(Direction::Out, &frame)
    }

    /// Whether the answer to it gets in.
    fn is_answered(&self, port: u16) -> bool {
        let header = Ipv4::new(PEER, VM);
        let frame = Ethernet::new(Lan::OUTSIDE, MAC).ipv4(&header, &Udp::new(53, port, []));
        self.arrives(Direction::In, &frame)
    }

    fn arrives(&self, direction: Direction, frame: &[u8]) -> bool {
        let mut probe = self.lan.probe(&self.vm, direction);
        probe.arrives(frame).unwrap()
    }
}

#[test]
fn only_what_was_asked_for_is_answered_until_it_is_forgotten() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new("");
    assert!(!host.is_answered(4000));
    assert!(host.asks(4000) && host.is_answered(4000));
    assert!(!host.is_answered(4001));

    let shown = host.connections();
    let [connection] = &shown["connections"].as_array().unwrap()[..] else {
        panic!("{shown}");
    };
    assert_eq!(connection["protocol"], "udp");
    assert_eq!(connection["direction"], "out");
    assert_eq!(connection["state"], "answered");
    assert_eq!(connection["source"]["address"], "10.0.0.1");
    assert_eq!(connection["source"]["port"], 4000);
    assert_eq!(connection["destination"]["address"], "10.0.0.200");
    assert_eq!(connection["destination"]["port"], 53);
    assert!((1..=30).contains(&connection["expires"].as_u64().unwrap()));
    assert_eq!(shown["tracking"]["created"], 1);

    host.json(&["flush", "vm1"]);
    let shown = host.connections();
    assert_eq!(shown["connections"].as_array().unwrap().len(), 0);
    // It is gone from memory, too.
    assert_eq!(shown["tracking"]["entries"], 0);
    assert!(!host.is_answered(4000));
    assert!(host.asks(4000) && host.is_answered(4000));
}

#[test]
fn a_vm_has_no_more_connections_than_its_share() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new("[connections]\nper-port = 3\nudp = 60\n");
    for port in 4000..4003 {
        assert!(host.asks(port) && host.is_answered(port));
    }
    // It gets out, but nobody will know of it.
    assert!(host.asks(4003) && !host.is_answered(4003));
    let tracking = host.connections()["tracking"].take();
    assert_eq!(tracking["quota"], 3);
    assert_eq!(tracking["entries"], 3);
    assert_eq!(tracking["over_quota"], 1);
    let expires = host.connections()["connections"][0]["expires"].as_u64();
    assert!(expires.unwrap() > 30);
    host.json(&["flush", "vm1"]);
    assert!(host.asks(4003) && host.is_answered(4003));
}

#[test]
fn answers_to_rejected_frames_are_counted() {
    if !need::met(&NEEDS) {
        return;
    }
    let filter = CLIENT.replace("action='drop'", "action='reject'");
    let host = Host::with(&filter, "answers-per-second = 1\n");
    for _ in 0..20 {
        assert!(!host.is_answered(4000));
    }
    let tracking = host.connections()["tracking"].take();
    let [sent, suppressed] =
        ["answers", "answers_suppressed"].map(|key| tracking[key].as_u64().unwrap());
    assert!(sent >= 1 && suppressed >= 1, "{tracking}");
    assert_eq!(sent + suppressed, 20);
}
