//! Devices change their names, come and go, or cannot be attached to, and programs of other versions
//! are there.

use std::{fs, time::Instant};

use nix::sys::signal::Signal;
use nwfilter_common::ABI_VERSION;
use nwfilter_ctl::daemon::api::Call;
use nwfilter_tests::{
    daemon::{Caller, binding_xml},
    need,
    net::{Direction, PATIENCE, Vm},
    traffic::{MAC, OTHER, frame, is_filtered},
};

use crate::{Host, NEEDS, bind_other, shared};
#[test]
fn names_that_devices_swap_take_their_filters_along() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let other = binding_xml("vm2", OTHER, "shared", "10.0.0.2");
    fs::write(host.site.binding("vm2"), other).unwrap();
    let swap = || {
        let ip = &host.lan.host;
        ip.ip("link set dev vm1 name x\nlink set dev vm2 name vm1\nlink set dev x name vm2")
            .unwrap();
    };
    // Neither may ever send these, whatever it is called.
    let nobody = |mac| frame(mac, [10, 0, 0, 99], 0);
    let closed = |action: &mut (dyn FnMut() + Send)| {
        std::thread::scope(|scope| {
            let action = scope.spawn(action);
            let mut rounds = 0;
            while !action.is_finished() || rounds < 20 {
                rounds += 1;
                for (vm, mac) in [(&host.vm, MAC), (&host.other, OTHER)] {
                    let mut probe = host.lan.probe(vm, Direction::Out);
                    assert!(!probe.arrives(&nobody(mac)).unwrap(), "{}", vm.port);
                }
            }
            action.join().unwrap();
        });
    };
    let may = |vm: &Vm, mac, last| {
        let mut probe = host.lan.probe(vm, Direction::Out);
        probe.arrives(&frame(mac, [10, 0, 0, last], 0)).unwrap()
    };
    let daemon = host.start();
    // What they are called in between.
    let xml = binding_xml("x", MAC, "shared", "10.0.0.3");
    let replace = false;
    host.call(&Call::BindingCreate { xml, replace }).unwrap();
    let as_desired = || {
        let states = host.states();
        let desired = states.iter().filter(|(_, state)| state == "enforced");
        assert_eq!(desired.count(), 2, "{states:?}");
    };
    closed(&mut || {
        swap();
        as_desired();
    });
    // The daemon may be told of the names one by one.
    let told = Instant::now();
    while !(may(&host.vm, OTHER, 2) && may(&host.other, MAC, 1)) {
        assert!(told.elapsed() < PATIENCE, "{:?}", host.states());
    }
    assert!(!may(&host.vm, MAC, 1) && !may(&host.other, OTHER, 2));
    daemon.end(Signal::SIGKILL).unwrap();
    // And while nobody looks.
    let mut daemon = None;
    closed(&mut || {
        swap();
        daemon = Some(host.start());
    });
    assert!(may(&host.vm, MAC, 1) && may(&host.other, OTHER, 2));
    as_desired();
    assert_eq!(
        fs::read_dir(host.site.pins.join("links")).unwrap().count(),
        4
    );
}

#[test]
fn a_port_that_cannot_be_taken_over_is_the_only_one_to_suffer() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.leave_bound(&["vm2"]);
    let link = host.site.pins.join("links/vm2-in");
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    let daemon = host.under_traffic(|| host.start());
    assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
    assert_eq!(host.state("vm2").as_deref(), Some("missing"));
    assert!(daemon.log().contains("vm2: "), "{}", daemon.log());
    // What can be in force is.
    assert!(!host.other_may_spoof());
    fs::remove_dir(&link).unwrap();
    host.call(&bind_other("shared", "10.0.0.2")).unwrap();
    assert_eq!(host.state("vm2").as_deref(), Some("enforced"));
}

#[test]
fn a_port_that_could_not_be_attached_is_under_its_next_name() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.leave_bound(&["vm2", "vm3"]);
    let link = host.site.pins.join("links/vm2-out");
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    let _daemon = host.start();
    assert_eq!(host.state("vm2").as_deref(), Some("missing"));
    host.lan.host.ip("link set dev vm2 name vm3").unwrap();
    assert_eq!(host.state("vm3").as_deref(), Some("enforced"));
    assert!(!host.other_may_spoof());
    fs::remove_dir(&link).unwrap();
}

#[test]
fn a_port_that_cannot_be_attached_hinders_no_change() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.leave_bound(&["vm2", "vm3"]);
    let links = host.site.pins.join("links");
    fs::remove_file(links.join("vm2-out")).unwrap();
    // One is known and not attached any more, the other never was.
    for hindrance in ["vm2-out", "vm3-out"] {
        fs::create_dir(links.join(hindrance)).unwrap();
    }
    let daemon = host.start();
    host.lan
        .host
        .ip("link add name vm3 type veth peer name far3")
        .unwrap();
    for port in ["vm2", "vm3"] {
        assert_eq!(host.state(port).as_deref(), Some("missing"), "{port}");
    }
    host.under_traffic(|| host.call(&Call::Define { xml: shared(9) }).unwrap());
    assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
    host.call(&Call::Define { xml: shared(4000) }).unwrap();
    assert!(
        is_filtered(&host.lan, &host.vm).is_err(),
        "{}",
        daemon.log()
    );
    assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
    for hindrance in ["vm2-out", "vm3-out"] {
        fs::remove_dir(links.join(hindrance)).unwrap();
    }
}

#[test]
fn another_version_is_relieved_without_a_gap() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let own = host.site.pins.join(format!("v{ABI_VERSION}"));
    let older = host.site.pins.join("v1");
    assert!(is_filtered(&host.lan, &host.vm).unwrap());
    // What is in force is in maps of which this version knows nothing.
    fs::rename(&own, &older).unwrap();
    let daemon = host.under_traffic(|| host.start());
    assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
    assert!(is_filtered(&host.lan, &host.vm).unwrap());
    assert!(own.exists() && !older.exists());
    // Its own rules count: the filter says other things now.
    host.call(&Call::Define { xml: shared(4000) }).unwrap();
    assert!(
        is_filtered(&host.lan, &host.vm).is_err(),
        "{}",
        daemon.log()
    );
}

#[test]
fn ports_that_come_and_go_disturb_no_change() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let daemon = host.start();
    let ports = ["p1", "p2", "p3", "p4"];
    for (number, port) in ports.iter().enumerate() {
        let xml = binding_xml(port, OTHER, "shared", &format!("10.0.1.{number}"));
        host.call(&Call::BindingCreate {
            xml,
            replace: false,
        })
        .unwrap();
    }
    let churn = || {
        // A generator of pseudo-random numbers, the same every time.
        let mut state: u32 = 1;
        let mut present = [false; 4];
        for _ in 0..60 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = (state >> 24) as usize % ports.len();
            let port = ports[number];
            host.lan
                .host
                .ip(&if present[number] {
                    format!("link delete dev {port}")
                } else {
                    format!("link add name {port} type veth peer name far-{port}")
                })
                .unwrap();
            present[number] = !present[number];
        }
        present
    };
    let present = host.under_traffic(|| {
        std::thread::scope(|scope| {
            let churn = scope.spawn(churn);
            let mut version = 10;
            let mut caller = Caller::connect(&host.site).unwrap();
            while !churn.is_finished() {
                version += 1;
                // Ports may vanish on the way.
                let xml = shared(version);
                caller.call(&Call::Define { xml }).unwrap();
            }
            churn.join().unwrap()
        })
    });
    assert_eq!(
        host.state("vm1").as_deref(),
        Some("enforced"),
        "{}",
        daemon.log()
    );
    for (port, present) in ports.iter().zip(present) {
        let expected = if present { "enforced" } else { "waiting" };
        assert_eq!(
            host.state(port).as_deref(),
            Some(expected),
            "{port}: {}",
            daemon.log()
        );
    }
    let present = present.iter().filter(|present| **present).count();
    let links = fs::read_dir(host.site.pins.join("links")).unwrap().count();
    assert_eq!(links, 2 * (1 + present));
}
