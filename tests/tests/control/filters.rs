//! Filters come, change and go, with their counters.

use std::{fs, thread};

use nix::sys::signal::Signal;
use nwfilter_tests::{daemon::binding_xml, need};

use crate::{Host, MAC, NEEDS, OWN, SPOOFED, UUID, is_builtin, passes, web};

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
    host.bind_web();
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
        host.file(
            "filter",
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
