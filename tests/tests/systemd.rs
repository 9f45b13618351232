//! The units of `dist` under the real systemd: what an operator types, with all the hardening in force.

use std::{
    fs, mem,
    os::unix::net::UnixDatagram,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nwfilter_tests::{
    daemon::{Site, binding_xml},
    machine::Machine,
    need::{self, Need, in_repository},
    net::{Direction, Lan, PATIENCE, uninterrupted},
    traffic::{IP, MAC, is_filtered, spoofed, under_traffic},
};

const NEEDS: [Need; 5] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::Program("systemctl"),
    Need::File("/lib/systemd/systemd"),
    Need::Cgroups,
];

const SERVICE: &str = "nwfilter.service";

#[test]
fn the_service_starts_restarts_and_stops_without_a_gap() {
    if !need::met(&NEEDS) {
        return;
    }
    let lan = Lan::new().unwrap();
    let vm = lan.vm("vm1", MAC).unwrap();
    let site = Site::new().unwrap();
    let scratch = site.state().join("machine");
    fs::create_dir(&scratch).unwrap();
    let machine = Machine::boot(&lan.host, &scratch).unwrap();
    let is = |property, expected: &str| {
        let value = machine.property(SERVICE, property).unwrap();
        assert_eq!(value, expected, "{property}: {}", machine.read("/run/log"));
    };
    let verified = machine.run(&["systemd-analyze", "verify", "/run/units/nwfilter.service"]);
    let verified = verified.unwrap();
    assert!(
        verified.status.success() && verified.stderr.is_empty(),
        "{verified:?}"
    );

    // Who calls starts it, and is answered when it is ready.
    is("ActiveState", "inactive");
    let mut probe = lan.probe(&vm, Direction::Out);
    assert!(probe.arrives(&spoofed()[0]).unwrap());
    let binding = binding_xml("vm1", MAC, "clean-traffic", IP);
    fs::write(machine.path("/run/vm1.xml"), binding).unwrap();
    machine
        .done(&["nwfilter-ctl", "binding-create", "/run/vm1.xml"])
        .unwrap();
    assert!(is_filtered(&lan, &vm).unwrap());
    is("ActiveState", "active");
    is("SubState", "running");
    is("StatusText", "0 bindings, 0 ports filtered, 0 problems");

    // `Type=notify`: it has started when all is in force.
    let systemctl = |verb: &str| machine.done(&["systemctl", verb, SERVICE]).unwrap();
    let status = || machine.done(&["nwfilter-ctl", "status"]).unwrap();
    under_traffic(&lan, &vm, || systemctl("restart")).unwrap();
    is("StatusText", "1 bindings, 1 ports filtered, 0 problems");
    assert!(status().contains("enforced"));

    // Files that were changed are read again.
    let filters = machine.path("/etc/nwfilter/filters");
    fs::write(filters.join("mine.xml"), "<filter name='mine'/>").unwrap();
    systemctl("reload");
    let list = machine.done(&["nwfilter-ctl", "list"]).unwrap();
    assert!(list.contains("mine"), "{list}");

    // Whatever ends it: it comes back.
    let killed = || {
        let process = machine.property(SERVICE, "MainPID").unwrap();
        // As the machine counts processes, and as it is killed there.
        machine.done(&["kill", "-KILL", &process]).unwrap();
        machine.wait(SERVICE, "NRestarts", "1").unwrap();
        machine.wait(SERVICE, "SubState", "running").unwrap();
    };
    under_traffic(&lan, &vm, killed).unwrap();
    assert!(status().contains("enforced"));

    let stop = || {
        let units = ["nwfilter.socket", SERVICE];
        machine.done(&[&["systemctl", "stop"], &units[..]].concat())
    };
    under_traffic(&lan, &vm, stop).unwrap().1.unwrap();
    is("ActiveState", "inactive");
    is("Result", "success");
    assert!(is_filtered(&lan, &vm).unwrap());
    let log = machine.read("/run/log");
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    machine.done(&["nwfilter-ctl", "detach", "--all"]).unwrap();
    assert!(probe.arrives(&spoofed()[0]).unwrap());
}

#[test]
fn a_manager_that_is_busy_hears_that_it_is_ready() {
    if !need::met(&[Need::NetworkNamespace, Need::File("/sys/fs/bpf")]) {
        return;
    }
    let lan = Lan::new().unwrap();
    let site = Site::new().unwrap();
    let path = site.state().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let others = UnixDatagram::unbound().unwrap();
    others.set_nonblocking(true).unwrap();
    while others.send_to(b"STATUS=full", &path).is_ok() {}
    let daemon = site.spawn(&lan.host, |command| {
        command.env("NOTIFY_SOCKET", &path);
        mem::replace(command, Command::new(""))
    });
    let daemon = daemon.unwrap();
    let started = Instant::now();
    while !daemon.log().contains("ready: ") {
        assert!(started.elapsed() < 6 * PATIENCE, "{}", daemon.log());
        thread::sleep(Duration::from_millis(20));
    }
    let mut message = [0; 4096];
    loop {
        let length = uninterrupted(|| manager.recv(&mut message)).unwrap();
        if message[..length].starts_with(b"READY=1\n") {
            break;
        }
    }
}

#[test]
fn the_service_has_few_rights() {
    if !need::met(&[Need::Program("systemd-analyze")]) {
        return;
    }
    // The sum of what it may, times ten; 100 is everything.
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=30"])
        .arg(in_repository("dist/nwfilter.service"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
