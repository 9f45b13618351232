//! The daemon's callers: filters and bindings come, change and go, devices too, while frames are sent.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Output,
    thread,
    time::Instant,
};

use nix::sys::signal::Signal;
use nwfilter_common::MacAddr;
use nwfilter_tests::{
    daemon::{Daemon, Site, binding_xml},
    frame::{Ethernet, Ipv4, Udp},
    need::{self, Need},
    net::{Direction, Lan, NetNs, PATIENCE, Vm, Wire},
    peer::{self, Peer},
    terminal::Terminal,
};
use serde_json::{Value, json};

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

#[test]
fn a_file_wins_against_the_built_in_filter_of_its_name() {
    if !need::met(&NEEDS) {
        return;
    }
    let mut host = Host::new();
    let dump = |host: &Host| {
        let document = host.json(&["dumpxml", "clean-traffic"]);
        document["xml"].as_str().unwrap().to_owned()
    };
    assert!(is_builtin(&host, "clean-traffic"));
    let builtin = dump(&host);
    let file = host.file(
        "mine",
        &builtin.replace("  <filterref filter='no-ip-spoofing'/>\n", ""),
    );
    host.json(&["define", &file]);
    assert!(!is_builtin(&host, "clean-traffic"));
    assert!(is_builtin(&host, "allow-arp"));
    assert_ne!(dump(&host), builtin);
    host.json(&["undefine", "clean-traffic"]);
    assert!(is_builtin(&host, "clean-traffic"));
    assert_eq!(dump(&host), builtin);

    // Those of another libvirt.
    assert!(!builtin.contains("qemu-announce-self-rarp"));
    drop(host.daemon.take());
    fs::write(host.site.configuration(), "builtins = '12.8'\n").unwrap();
    host.daemon = Some(host.site.start(&host.lan.host).unwrap());
    assert!(dump(&host).contains("qemu-announce-self-rarp"));
}

#[test]
fn filters_follow_the_rules_of_libvirt() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let list = host.json(&["list"]);
    assert_eq!(list["filters"].as_array().unwrap().len(), 24);

    let file = host.file("web", &web(UUID, 80));
    assert_eq!(host.json(&["define", &file])["filter"]["uuid"], UUID);
    assert!(host.site.filters().join("web.xml").exists());
    let dumped = host.json(&["dumpxml", UUID])["xml"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        dumped.starts_with("<filter name='web' chain='root'"),
        "{dumped}"
    );
    assert_eq!(host.json(&["dumpxml", "web"])["xml"], dumped);
    // The same again, as it is printed.
    let same = host.file("same", &dumped);
    host.json(&["define", &same]);

    let other = host.file("other", &web("11111111-2222-3333-4444-666666666666", 80));
    host.refused(&["define", &other], 2, UUID);
    let renamed = host.file("renamed", &web(UUID, 80).replace("'web'", "'web2'"));
    host.refused(&["define", &renamed], 2, "`web` has the UUID");
    let cycle =
        format!("<filter name='web'><uuid>{UUID}</uuid><filterref filter='second'/></filter>");
    let second = host.file(
        "second",
        "<filter name='second'><filterref filter='web'/></filter>",
    );
    host.json(&["define", &second]);
    let cycle = host.file("cycle", &cycle);
    host.refused(&["define", &cycle], 1, "`second`");
    let broken = host.file(
        "broken",
        "<filter name='x'>\n  <rule action='drup'/>\n</filter>",
    );
    host.refused(&["define", &broken], 1, "broken:2:");
    host.refused(&["undefine", "nothing"], 2, "no filter `nothing`");
    host.refused(&["undefine", "clean-traffic"], 1, "built in");

    host.bind("vm1", "second");
    host.refused(&["undefine", "web"], 2, "used by the binding of vm1");
    host.json(&["binding-delete", "vm1"]);
    host.json(&["undefine", "web"]);
    assert!(!host.site.filters().join("web.xml").exists());
    host.refused(&["dumpxml", "web"], 2, "no filter");
}

#[test]
fn a_filter_changes_for_all_its_ports_or_for_none() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let other = host.lan.vm("vm2", MAC).unwrap();
    let file = host.file("web", &web(UUID, 80));
    host.json(&["define", &file]);
    for port in ["vm1", "vm2"] {
        assert_eq!(host.bind(port, "web")["state"], "enforced");
    }
    let blocked = |port| [host.passes(OWN, port), passes(&host.lan, &other, OWN, port)];
    assert_eq!(blocked(80), [false, false]);
    assert_eq!(blocked(81), [true, true]);

    let file = host.file("web", &web(UUID, 81));
    host.json(&["define", &file]);
    assert_eq!(blocked(80), [true, true]);
    assert_eq!(blocked(81), [false, false]);

    // Only vm1 has what this one needs.
    let with_port = binding_xml("vm1", MAC, "web", "10.0.0.1").replace(
        "</filterref>",
        "<parameter name='PORT' value='82'/></filterref>",
    );
    let file = host.file("with-port", &with_port);
    host.refused(&["binding-create", &file], 2, "already");
    host.json(&["binding-create", &file, "--replace"]);
    let file = host.file("web", &web(UUID, 82).replace("'82'", "'$PORT'"));
    host.refused(&["define", &file], 1, "vm2");
    assert_eq!(blocked(81), [false, false]);
    assert_eq!(blocked(82), [true, true]);
    let text = fs::read_to_string(host.site.filters().join("web.xml")).unwrap();
    assert!(text.contains("'81'"), "{text}");

    // Nonsense on disk changes nothing that is enforced, but is not kept quiet.
    let saved = host.site.filters().join("web.xml");
    fs::write(&saved, "<filter name='web'>").unwrap();
    host.daemon
        .as_ref()
        .unwrap()
        .signal(Signal::SIGHUP)
        .unwrap();
    // Signals come before calls.
    assert_eq!(host.state("vm1"), "outdated");
    assert_eq!(host.run(&["status"]).status.code(), Some(1));
    assert_eq!(blocked(81), [false, false]);
    assert_eq!(blocked(80), [true, true]);
    let file = host.file("web", &web(UUID, 80));
    host.refused(&["define", &file], 2, "cannot be used");
    assert_eq!(fs::read_to_string(&saved).unwrap(), "<filter name='web'>");
    fs::write(&saved, web(UUID, 80)).unwrap();
    host.daemon
        .as_ref()
        .unwrap()
        .signal(Signal::SIGHUP)
        .unwrap();
    assert_eq!(host.state("vm1"), "enforced");
    assert_eq!(blocked(80), [false, false]);
}

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
fn ports_say_what_they_share() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let _other = host.lan.vm("vm2", MAC).unwrap();
    for (port, ports) in [("vm1", 1), ("vm2", 2)] {
        host.bind(port, "clean-traffic");
        let shown = host.json(&["show", port])["port"].take();
        assert_eq!(shown["image"]["ports"], ports, "{shown}");
        assert!(shown["image"]["words"].as_u64().unwrap() > 0, "{shown}");
        assert_eq!(shown["semantics"], "strict");
    }
    let text = String::from_utf8(host.run(&["show", "vm1"]).stdout).unwrap();
    assert!(text.contains("ports that have it: 2)"), "{text}");
}

#[test]
fn what_cannot_be_saved_is_not_done() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let file = host.file("web", &web(UUID, 80));
    host.json(&["define", &file]);
    host.bind("vm1", "web");
    let away = host.site.state().join("away");
    for directory in [host.site.filters(), host.site.state().join("bindings")] {
        fs::rename(&directory, &away).unwrap();
        let changed = host.file("web", &web(UUID, 81));
        let binding = host.file("b", &binding_xml("vm1", MAC, "clean-traffic", "10.0.0.1"));
        if directory == host.site.filters() {
            host.refused(&["define", &changed], 2, "web.xml");
        } else {
            host.refused(
                &["binding-create", "--replace", &binding],
                2,
                "binding of vm1",
            );
        }
        fs::rename(&away, &directory).unwrap();
        assert!(!host.passes(OWN, 80));
        assert!(host.passes(OWN, 81));
        assert!(host.passes(SPOOFED, 81));
        assert_eq!(host.state("vm1"), "enforced");
    }
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

#[test]
fn counters_go_on_with_rules_that_stay() {
    if !need::met(&NEEDS) {
        return;
    }
    let mut host = Host::new();
    let rules = |ports: &[u16]| {
        let rule = |port: &u16| {
            format!("<rule action='drop' direction='out'><udp dstportstart='{port}'/></rule>\n")
        };
        let rules: String = ports.iter().map(rule).collect();
        host_file(
            &host,
            &format!("<filter name='web'><uuid>{UUID}</uuid>\n{rules}</filter>"),
        )
    };
    let counted = |host: &Host, line: u32| -> u64 {
        let shown = host.json(&["show", "vm1"]);
        let rules = shown["port"]["rules"].as_array().unwrap().clone();
        let rule = rules
            .iter()
            .find(|rule| rule["line"] == line && rule["filter"] == "web");
        rule.unwrap()["packets"].as_u64().unwrap()
    };
    let file = rules(&[80, 81]);
    host.json(&["define", &file]);
    host.bind("vm1", "web");
    // The daemon writes filters in its own form: three lines for a rule, the first on line 3.
    assert!(!host.passes(OWN, 81) && !host.passes(OWN, 81));
    assert_eq!([counted(&host, 3), counted(&host, 6)], [0, 2]);
    let file = rules(&[81, 82, 80]);
    let (vm, lan) = (&host.vm, &host.lan);
    // Frames come while it changes, and none is lost or counted twice.
    let sent = thread::scope(|scope| {
        let define = scope.spawn(|| host.site.run(&lan.host, &["define", &file]).unwrap());
        let mut sent = 0;
        while !define.is_finished() || sent < 50 {
            assert!(!passes(lan, vm, OWN, 81));
            sent += 1;
        }
        assert!(define.join().unwrap().status.success());
        sent
    });
    assert!(!host.passes(OWN, 80));
    let now = [counted(&host, 3), counted(&host, 6), counted(&host, 9)];
    assert_eq!(now, [2 + sent, 0, 1]);
    // With the same rules also over a restart.
    host.daemon.take().unwrap().end(Signal::SIGKILL).unwrap();
    host.daemon = Some(host.site.start(&host.lan.host).unwrap());
    assert_eq!(counted(&host, 3), 2 + sent);
    // And from a filter to another one that refers to it.
    let outer = "<filter name='outer'><filterref filter='clean-traffic'/><filterref filter='web'/></filter>";
    let file = host.file("outer", outer);
    host.json(&["define", &file]);
    host.bind("vm1", "outer");
    assert_eq!(counted(&host, 3), 2 + sent);
}

fn host_file(host: &Host, text: &str) -> String {
    host.file("filter", text)
}

#[test]
fn an_editor_changes_a_filter() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let file = host.file("web", &web(UUID, 80));
    host.json(&["define", &file]);
    host.bind("vm1", "web");
    assert!(!host.passes(OWN, 80));
    let edit = |editor: &str| {
        let arguments = ["edit", "web"];
        let output = host
            .site
            .run_with(&host.lan.host, &arguments, &[("VISUAL", editor)]);
        let output = output.unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), message)
    };
    assert_eq!(edit("true").0, Some(0));
    assert!(!host.passes(OWN, 80));
    assert_eq!(edit("sed -i s/80/81/").0, Some(0));
    assert!(host.passes(OWN, 80));
    assert!(!host.passes(OWN, 81));
    // Nobody is there to be asked for another try.
    let (status, message) = edit("sed -i s/drop/drup/");
    assert_eq!(status, Some(1));
    assert!(message.contains(".xml:3:"), "{message}");
    let (status, message) = edit("false");
    assert_eq!(status, Some(2));
    assert!(message.contains("editor"), "{message}");
    assert!(!host.passes(OWN, 81));
}

/// An editor that makes another mistake each time, until there is none left.
const CLUMSY: &str = r#"#!/bin/sh
echo edit >> "$EDITED"
case $(wc -l < "$EDITED") in
1) sed -i "s/'drop'/'drup'/" "$1";;
2) grep -q drup "$1" && echo '</filter>' >> "$1";;
*) sed -i "s/drup/drop/; s/80/81/; \$ d" "$1";;
esac
"#;

const QUESTION: &str = "edit again? [Y/n] ";

#[test]
fn somebody_who_edits_nonsense_is_asked_for_another_try() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let file = host.file("web", &web(UUID, 80));
    host.json(&["define", &file]);
    host.bind("vm1", "web");
    let editor = format!("sh {}", host.file("editor", CLUMSY));
    let drafts = host.site.state().join("drafts");
    fs::create_dir(&drafts).unwrap();
    let edit = |terminal: &Terminal| {
        let edited = host.file("edited", "");
        let variables = [
            ("VISUAL", editor.as_str()),
            ("EDITED", &edited),
            ("TMPDIR", drafts.to_str().unwrap()),
        ];
        host.site
            .spawn_at(&host.lan.host, &["edit", "web"], &variables, terminal)
            .unwrap()
    };
    let no_drafts = || assert_eq!(fs::read_dir(&drafts).unwrap().count(), 0);

    // Who gives up has changed nothing. 4 is what ^D enters.
    for answer in ["n\n", "No\n", "\u{4}"] {
        let mut terminal = Terminal::open().unwrap();
        let mut editing = edit(&terminal);
        let said = terminal.expect(QUESTION).unwrap();
        assert!(said.contains(".xml:3:") && said.contains("drup"), "{said}");
        terminal.enter(answer).unwrap();
        assert_eq!(editing.wait().unwrap().code(), Some(1), "{answer:?}");
        no_drafts();
        assert!(!host.passes(OWN, 80) && host.passes(OWN, 81));
    }

    // Who does not finds the text as it was left.
    let mut terminal = Terminal::open().unwrap();
    let mut editing = edit(&terminal);
    terminal.expect(QUESTION).unwrap();
    assert!(!host.passes(OWN, 80) && host.passes(OWN, 81));
    terminal.enter("y\n").unwrap();
    let said = terminal.expect(QUESTION).unwrap();
    assert!(said.contains("error: "), "{said}");
    terminal.enter("\n").unwrap();
    terminal.expect("filter web changed").unwrap();
    assert_eq!(editing.wait().unwrap().code(), Some(0));
    no_drafts();
    assert!(host.passes(OWN, 80) && !host.passes(OWN, 81));
}

#[test]
fn monitors_see_drops_with_their_rules() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.bind("vm1", "clean-traffic");
    let mut stream = UnixStream::connect(host.site.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"{\"version\":1,\"call\":\"monitor\",\"ports\":[\"vm1\"]}\n")
        .unwrap();
    let mut lines = BufReader::new(stream).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first, json!({ "version": 1, "result": null }));
    assert!(!host.passes(SPOOFED, 80));
    let dropped: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(dropped["port"], "vm1");
    assert_eq!(dropped["direction"], "out");
    let rule = dropped["rule"].as_str().unwrap();
    assert!(rule.starts_with("no-ip-spoofing#"), "{rule}");
    assert!(
        dropped["frame"].as_str().unwrap().starts_with("0200"),
        "{dropped}"
    );
}

#[test]
fn the_doctor_finds_filters_of_libvirt_itself() {
    if !need::met(&peer::NEEDS) {
        return;
    }
    let peer = Peer::start().unwrap();
    let site = Site::new().unwrap();
    let found = || {
        let output = site.run(peer.namespace(), &["doctor", "--json"]).unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = document["checks"].as_array().unwrap().clone();
        let check = checks
            .into_iter()
            .find(|check| check["name"] == "libvirt's own filters");
        (output.status.code(), check.unwrap())
    };
    assert_eq!(found().1["good"], true);
    let bound = peer
        .bind("vm1", MAC, "clean-traffic", &[("IP", "10.0.0.1")])
        .unwrap();
    let (status, check) = found();
    assert_eq!((status, &check["good"]), (Some(1), &json!(false)));
    assert!(
        check["detail"].as_str().unwrap().contains("for vm1:"),
        "{check}"
    );
    peer.unbind(bound).unwrap();
    assert_eq!(found().1["good"], true);
}

/// Connects as another user: the kernel tells who connected.
fn connect_as_nobody(site: &Site) -> UnixStream {
    thread::scope(|scope| {
        let connect = scope.spawn(|| {
            // SAFETY: takes no pointers. The bare system call is for this thread alone.
            let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
            assert_eq!(result, 0);
            UnixStream::connect(site.socket()).unwrap()
        });
        connect.join().unwrap()
    })
}

#[test]
fn callers_who_misbehave_disturb_nobody() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let silent: Vec<_> = (0..40)
        .map(|_| UnixStream::connect(host.site.socket()).unwrap())
        .collect();
    let mut half = UnixStream::connect(host.site.socket()).unwrap();
    half.write_all(b"{\"version\":1,").unwrap();
    let ask = |stream: &mut UnixStream, line: &[u8]| -> Value {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(line).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    };
    let mut garbage = UnixStream::connect(host.site.socket()).unwrap();
    for line in [
        b"\xff\xfe\x00garbage\n".as_slice(),
        b"[]\n",
        b"{\"version\":9,\"call\":\"list\"}\n",
    ] {
        assert_eq!(ask(&mut garbage, line)["error"]["kind"], "protocol");
    }
    assert!(ask(&mut garbage, b"{\"version\":1,\"call\":\"status\"}\n")["result"].is_object());

    // Who is not root may look, and not send much.
    let mut nobody = connect_as_nobody(&host.site);
    let answer = ask(&mut nobody, b"{\"version\":1,\"call\":\"list\"}\n");
    assert_eq!(answer["result"].as_array().unwrap().len(), 24);
    let change = b"{\"version\":1,\"call\":\"binding-delete\",\"port\":\"vm1\"}\n";
    assert_eq!(ask(&mut nobody, change)["error"]["kind"], "denied");
    let mut flood = connect_as_nobody(&host.site);
    let answer = ask(&mut flood, &vec![b' '; (64 << 10) + 1]);
    assert_eq!(answer["error"]["kind"], "protocol");
    assert_eq!(flood.read(&mut [0; 8]).unwrap_or(0), 0, "it is hung up on");

    assert!(host.run(&["status"]).status.success());
    drop((silent, half));
}
