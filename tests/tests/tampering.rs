//! Other programs take our filters off the ports while the daemon runs: it notices, puts them back and says
//! so; what it cannot put back, `status` names.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use nwfilter_ctl::daemon::api::Call;
use nwfilter_tests::{
    daemon::{Caller, Daemon, Site, binding_xml},
    need::{self, Need},
    net::{Direction, Lan, PATIENCE, Vm},
    traffic::{IP, MAC, good, is_filtered, spoofed, under_traffic},
};
use serde_json::Value;

const NEEDS: [Need; 4] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::Program("tc"),
    Need::File("/sys/fs/bpf"),
];

/// A host with a bound VM.
struct Host {
    daemon: Daemon,
    vm: Vm,
    site: Site,
    lan: Lan,
}

impl Host {
    fn new(config: &str) -> Self {
        let lan = Lan::new().unwrap();
        let vm = lan.vm("vm1", MAC).unwrap();
        let site = Site::new().unwrap();
        fs::write(site.configuration(), config).unwrap();
        let binding = binding_xml("vm1", MAC, "clean-traffic", IP);
        fs::write(site.binding("vm1"), binding).unwrap();
        let daemon = site.start(&lan.host).unwrap();
        assert!(is_filtered(&lan, &vm).unwrap());
        Self {
            daemon,
            vm,
            site,
            lan,
        }
    }

    /// Tampers in several steps, none of which the daemon mends before the last.
    fn tamper<T>(&self, action: impl FnOnce() -> T) -> T {
        self.daemon.paused(action).unwrap()
    }

    fn tc(&self, command: &str) {
        self.lan.host.tc(command).unwrap();
    }

    fn passes(&self, frame: &[u8]) -> bool {
        let mut probe = self.lan.probe(&self.vm, Direction::Out);
        probe.arrives(frame).unwrap()
    }

    fn assert_filtered(&self) {
        under_traffic(&self.lan, &self.vm, || ()).unwrap();
        assert!(is_filtered(&self.lan, &self.vm).unwrap());
    }

    /// What `status` says of the port, and whether all is as desired. Announcements come before calls, so
    /// the daemon knows of everything that was done before.
    fn status(&self) -> (Value, bool) {
        let output = self.site.run(&self.lan.host, &["status", "--json"]);
        let output = output.unwrap();
        let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let binding = document["status"]["bindings"][0].take();
        (binding, output.status.success())
    }

    fn assert_enforced(&self) {
        let (binding, as_desired) = self.status();
        assert!(as_desired && binding["state"] == "enforced", "{binding}");
    }

    fn call(&self, call: &Call) {
        Caller::connect(&self.site).unwrap().call(call).unwrap();
    }

    /// Waits until the daemon says that it has put back the filter so often.
    fn wait_for_repairs(&self, expected: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.daemon.log();
            let lines = log.lines().filter(|line| line.contains("it is back"));
            let repairs = lines
                .inspect(|line| assert!(line.contains("WARN vm1:"), "{line}"))
                .count();
            assert!(repairs <= expected, "{log}");
            if repairs == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{log}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_filter_that_another_tool_removes_is_put_back() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new("attach = 'clsact'");
    let pins = host
        .site
        .pins
        .join(format!("v{}", nwfilter_common::ABI_VERSION));
    let other = pins.join("nwfilter_in");
    for (number, command) in [
        "qdisc del dev vm1 clsact".to_owned(),
        "filter del dev vm1 ingress".into(),
        "filter del dev vm1 ingress protocol all prio 1".into(),
        // Of ours only the name is left.
        format!(
            "filter replace dev vm1 ingress protocol all prio 1 handle 0x6e77 bpf direct-action \
             object-pinned {}",
            other.display()
        ),
        "qdisc del dev vm1 clsact".into(),
    ]
    .iter()
    .enumerate()
    {
        host.wait_for_repairs(number);
        host.tc(command);
        host.assert_enforced();
        host.assert_filtered();
        host.wait_for_repairs(number + 1);
    }
    // Also the other direction, and with it everything is as it was.
    host.tc("filter del dev vm1 egress");
    host.wait_for_repairs(6);
    assert!(
        host.daemon.log().contains("off (in); it is back"),
        "{}",
        host.daemon.log()
    );
    host.assert_enforced();
}

#[test]
fn a_link_that_another_tool_removes_is_put_back() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new("attach = 'tcx'");
    let links = host.site.pins.join("links");
    fs::remove_file(links.join("vm1-out")).unwrap();
    host.wait_for_repairs(1);
    host.assert_filtered();
    host.tamper(|| fs::remove_dir_all(&links)).unwrap();
    host.wait_for_repairs(2);
    host.assert_filtered();
    host.assert_enforced();
    assert_eq!(fs::read_dir(&links).unwrap().count(), 2);
}

#[test]
fn what_cannot_be_put_back_is_no_secret() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new("attach = 'clsact'");
    // Another discipline in its place, which knows only one direction.
    host.tamper(|| host.tc("qdisc del dev vm1 clsact\nqdisc add dev vm1 ingress"));
    let (binding, as_desired) = host.status();
    assert!(!as_desired && binding["state"] == "missing", "{binding}");
    let problem = binding["problem"].as_str().unwrap();
    assert!(problem.contains("cannot be put back"), "{problem}");
    let log = host.daemon.log();
    assert!(
        log.contains("ERROR") && log.contains("vm1: another"),
        "{log}"
    );
    // Better than nothing.
    assert!(!host.passes(&spoofed()[0]));
    host.tc("qdisc del dev vm1 ingress");
    host.assert_enforced();
    host.assert_filtered();
}

#[test]
fn what_we_take_off_ourselves_stays_off() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new("attach = 'clsact'");
    let port = "vm1".to_owned();
    for _ in 0..20 {
        host.call(&Call::BindingDelete { port: port.clone() });
        assert!(host.passes(&spoofed()[0]));
        host.call(&Call::BindingCreate {
            xml: binding_xml("vm1", MAC, "clean-traffic", IP),
            replace: false,
        });
        assert!(is_filtered(&host.lan, &host.vm).unwrap());
    }
    // A device that is deleted loses its filters, too.
    host.lan.host.ip("link delete dev vm1").unwrap();
    assert_eq!(host.status().0["state"], "waiting");
    let vm = host.lan.vm("vm1", MAC).unwrap();
    host.assert_enforced();
    assert!(is_filtered(&host.lan, &vm).unwrap());
    host.call(&Call::BindingDelete { port });
    let mut probe = host.lan.probe(&vm, Direction::Out);
    assert!(probe.arrives(&spoofed()[0]).unwrap() && probe.arrives(&good(0)).unwrap());
    let left = host.lan.host.tc("filter show dev vm1 ingress").unwrap();
    assert!(!left.contains("nwfilter"), "{left}");
    let log = host.daemon.log();
    assert!(!log.contains("another program"), "{log}");
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}
