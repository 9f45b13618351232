//! Bindings and their devices, which come and go, change their names and their namespaces.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    thread,
    time::Instant,
};

use nix::sys::signal::Signal;
use nwfilter_tests::{
    daemon::binding_xml,
    need,
    net::{Lan, NetNs, PATIENCE, Vm, Wire},
};
use serde_json::{Value, json};

use crate::{Host, MAC, NEEDS, OWN, SPOOFED, UUID, passes, web};

#[test]
fn a_binding_lives_until_it_is_deleted() {
    if !need::met(&NEEDS) {
        return;
    }
    let mut host = Host::new();
    assert!(host.passes(SPOOFED, 80));
    assert_eq!(host.bind("vm1", "clean-traffic")["state"], "enforced");
    assert!(!host.passes(SPOOFED, 80));
    assert!(host.passes(OWN, 80));
    let text = fs::read_to_string(host.site.binding("vm1")).unwrap();
    assert!(text.starts_with("<filterbindingstatus>"), "{text}");

    // Something that cannot be built changes nothing.
    let bad = binding_xml("vm1", MAC, "no-such-filter", "10.0.0.1");
    let file = host.file("bad", &bad);
    host.refused(&["binding-create", &file, "--replace"], 1, "no-such-filter");
    let bad = host.file("bad", &bad.replace("'vm1'", "'vm9'"));
    host.refused(&["binding-create", &bad], 1, "no-such-filter");
    assert_eq!(host.state("vm9"), "");
    assert!(!host.site.binding("vm9").exists());
    assert!(!host.passes(SPOOFED, 80));

    // Acknowledged is kept, whatever happens next.
    host.daemon.take().unwrap().end(Signal::SIGKILL).unwrap();
    host.refused(&["status"], 2, "cannot reach the daemon");
    host.daemon = Some(host.site.start(&host.lan.host).unwrap());
    assert_eq!(host.state("vm1"), "enforced");
    assert!(!host.passes(SPOOFED, 80));
    let dumped = host.json(&["binding-dumpxml", "vm1"]);
    assert!(dumped["xml"].as_str().unwrap().contains("clean-traffic"));

    let shown = host.json(&["show", "vm1", "--raw"])["port"].take();
    assert_eq!(shown["raw"]["ready"], true);
    assert!(
        ["tcx", "clsact"].contains(&shown["attached"].as_str().unwrap()),
        "{shown}"
    );
    let tables = shown["raw"]["tables"].as_array().unwrap();
    assert!(
        tables[0].as_str().unwrap().starts_with("ABI version"),
        "{shown}"
    );
    assert!(
        tables
            .iter()
            .any(|line| line.as_str().unwrap().contains("SrcMac in slots"))
    );
    let dropped: u64 = shown["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["filter"] == "no-ip-spoofing")
        .map(|rule| rule["packets"].as_u64().unwrap())
        .sum();
    assert!(dropped > 0, "{shown}");

    host.json(&["binding-delete", "vm1"]);
    assert!(host.passes(SPOOFED, 80));
    assert!(!host.site.binding("vm1").exists());
    host.refused(&["binding-delete", "vm1"], 2, "no binding");
    assert_eq!(host.json(&["binding-list"])["bindings"], json!([]));
}

#[test]
fn devices_come_and_go_under_their_names() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    assert_eq!(host.bind("vm2", "clean-traffic")["state"], "waiting");
    assert!(host.run(&["status"]).status.success());
    let ns = &host.lan.host;
    for round in 0..3 {
        let vm = host.lan.vm("vm2", MAC).unwrap();
        assert_eq!(host.state("vm2"), "enforced", "round {round}");
        assert!(!passes(&host.lan, &vm, SPOOFED, 80));
        assert!(passes(&host.lan, &vm, OWN, 80));
        if round == 1 {
            // Another device, with its name and its index.
            let index = ns.index("vm2").unwrap();
            ns.ip(&format!(
                "link delete dev vm2\nlink add name vm2 index {index} type veth peer name far2"
            ))
            .unwrap();
            assert_eq!(host.state("vm2"), "enforced");
            let shown = host.json(&["show", "vm2", "--raw"]);
            assert_eq!(shown["port"]["raw"]["ifindex"], index);
        }
        ns.ip("link delete dev vm2").unwrap();
        assert_eq!(host.state("vm2"), "waiting", "round {round}");
        let links = host.site.pins.join("links");
        assert_eq!(fs::read_dir(links).unwrap().count(), 0);
    }

    // A name is given away, and with it the filter; nobody else is filtered.
    ns.ip("link set dev vm1 name vm2").unwrap();
    assert_eq!(host.state("vm2"), "enforced");
    assert!(!host.passes(SPOOFED, 80));
    ns.ip("link set dev vm2 name vm3").unwrap();
    assert_eq!(host.state("vm2"), "waiting");
    assert!(host.passes(SPOOFED, 80));
}

#[test]
fn devices_that_move_to_another_namespace_take_no_filter_along() {
    if !need::met(&NEEDS) {
        return;
    }
    let mut host = Host::new();
    host.bind("vm1", "clean-traffic");
    let ns = &host.lan.host;
    let away = NetNs::new().unwrap();
    let index = ns.index("vm1").unwrap();
    ns.ip(&format!("link set dev vm1 netns {}", away.path()))
        .unwrap();
    assert_eq!(host.state("vm1"), "waiting");
    assert_eq!(away.index("vm1").unwrap(), index);
    let links = host.site.pins.join("links");
    assert_eq!(fs::read_dir(&links).unwrap().count(), 0);

    // Back again: before it is up, it is filtered.
    let here = ns.path();
    away.ip(&format!("link set dev vm1 netns {here}")).unwrap();
    assert_eq!(host.state("vm1"), "enforced");
    ns.ip("link set dev vm1 up").unwrap();
    ns.attach("vm1", Lan::BRIDGE).unwrap();
    assert!(!host.passes(SPOOFED, 80) && host.passes(OWN, 80));

    // Away, and another one gets its name and its index.
    let replace = || {
        let inside = NetNs::new().unwrap();
        ns.ip(&format!(
            "link set dev vm1 netns {}\n\
             link add name vm1 index {index} type veth peer name eth0 address {MAC} netns {}\n\
             link set dev vm1 up",
            away.path(),
            inside.path()
        ))
        .unwrap();
        inside.ip("link set dev eth0 up").unwrap();
        ns.attach("vm1", Lan::BRIDGE).unwrap();
        Vm {
            port: "vm1".into(),
            mac: MAC,
            end: Box::new(Wire::open(&inside, "eth0").unwrap()),
            inside: Some(inside),
        }
    };
    let assert_filtered = |host: &Host, vm: &Vm| {
        assert_eq!(host.state("vm1"), "enforced");
        assert!(!passes(&host.lan, vm, SPOOFED, 80) && passes(&host.lan, vm, OWN, 80));
    };
    let daemon = host.daemon.take().unwrap();
    let vm = daemon.paused(replace).unwrap();
    assert_filtered(&host, &vm);
    // The same while there is no daemon.
    away.ip("link delete dev vm1").unwrap();
    daemon.end(Signal::SIGKILL).unwrap();
    let vm = replace();
    host.daemon = Some(host.site.start(ns).unwrap());
    assert_filtered(&host, &vm);
}

#[test]
fn a_device_that_is_renamed_during_a_call_has_the_filter_of_its_name() {
    if !need::met(&NEEDS) {
        return;
    }
    let mut host = Host::new();
    host.bind("vm1", "clean-traffic");
    let file = host.file("web", &web(UUID, 80));
    host.json(&["define", &file]);
    host.daemon.take().unwrap().end(Signal::SIGTERM).unwrap();
    let daemon = host.site.start_with(&host.lan.host, |command| {
        command.env("NWFILTER_STOP", "binding-create");
    });
    host.daemon = Some(daemon.unwrap());
    let daemon = host.daemon.as_ref().unwrap();
    let ns = &host.lan.host;
    // The daemon has heard all there was to hear, and not yet done what it is asked for.
    thread::scope(|scope| {
        let call = scope.spawn(|| host.bind("vm2", "web"));
        daemon.wait_until_stopped().unwrap();
        ns.ip("link set dev vm1 name vm2").unwrap();
        daemon.signal(Signal::SIGCONT).unwrap();
        assert_eq!(call.join().unwrap()["state"], "enforced");
    });
    assert_eq!(host.state("vm1"), "waiting");
    assert_eq!(host.state("vm2"), "enforced");
    assert!(!host.passes(OWN, 80) && host.passes(SPOOFED, 81));
    // Not only now.
    let file = host.file("web", &web(UUID, 81));
    host.json(&["define", &file]);
    assert!(host.passes(OWN, 80) && !host.passes(SPOOFED, 81));
    let links = host.site.pins.join("links");
    assert_eq!(fs::read_dir(&links).unwrap().count(), 2);
}

#[test]
fn a_device_renamed_while_nobody_looks_keeps_no_old_filter() {
    if !need::met(&NEEDS) {
        return;
    }
    let mut host = Host::new();
    host.bind("vm1", "clean-traffic");
    host.bind("vm2", "clean-traffic");
    host.daemon.take().unwrap().end(Signal::SIGKILL).unwrap();
    let ns = &host.lan.host;
    ns.ip("link set dev vm1 name vm2").unwrap();
    assert!(!host.passes(SPOOFED, 80), "nobody has removed it");
    host.daemon = Some(host.site.start(ns).unwrap());
    assert_eq!(host.state("vm1"), "waiting");
    assert_eq!(host.state("vm2"), "enforced");
    assert!(!host.passes(SPOOFED, 80));
    assert!(host.passes(OWN, 80));
    let links = host.site.pins.join("links");
    assert_eq!(fs::read_dir(&links).unwrap().count(), 2);
    // And now nobody has the name that it gets.
    host.daemon.take().unwrap().end(Signal::SIGTERM).unwrap();
    let ns = &host.lan.host;
    ns.ip("link set dev vm2 name vm3").unwrap();
    host.daemon = Some(host.site.start(ns).unwrap());
    assert!(host.passes(SPOOFED, 80));
    assert_eq!(fs::read_dir(&links).unwrap().count(), 0);
}

#[test]
fn binding_and_unbinding_leaves_nothing_behind() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let process = host.daemon.as_ref().unwrap().id();
    let mut stream = UnixStream::connect(host.site.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut ask = |call: &Value| {
        stream.write_all(format!("{call}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
    };
    let xml = binding_xml("vm1", MAC, "clean-traffic", "10.0.0.1");
    let mut cycle = || {
        ask(&json!({ "version": 1, "call": "binding-create", "xml": xml }));
        ask(&json!({ "version": 1, "call": "binding-delete", "port": "vm1" }));
    };
    let open = || fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    let memory = || {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
        // What the kernel has put aside is memory, too.
        let parts = ["Anonymous:", "Swap:"].map(|part| {
            let line = text.lines().find_map(|line| line.strip_prefix(part));
            let kilobytes = line.and_then(|line| line.split_whitespace().next());
            kilobytes.unwrap().parse::<u64>().unwrap()
        });
        parts.iter().sum::<u64>()
    };
    for _ in 0..100 {
        cycle();
    }
    // The daemon may be at work on what the kernel has announced, for which it opens something for a
    // moment.
    let before = ((0..20).map(|_| open()).min().unwrap(), memory());
    for _ in 0..900 {
        cycle();
    }
    let start = Instant::now();
    while open() > before.0 {
        assert!(start.elapsed() < PATIENCE, "{} open, {before:?}", open());
    }
    // A byte for each cycle would not show; a binding for each is hundreds of kilobytes.
    assert!(
        memory() < before.1 + 256,
        "{} kB after {} kB",
        memory(),
        before.1
    );
    let links = host.site.pins.join("links");
    assert_eq!(fs::read_dir(links).unwrap().count(), 0);
    assert!(host.passes(SPOOFED, 80));
}
