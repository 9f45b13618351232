//! `compile`: the lists, the tables' size, and that both are always the same.

use crate::{CLEAN_TRAFFIC, Documents, binding, run};

#[test]
fn lists_name_conditions_and_places() {
    let ran = run(["compile", CLEAN_TRAFFIC]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    for line in [
        "port vnet1, MAC 52:54:00:00:00:01, filter clean-traffic, semantics strict",
        "    4  skip to 7   EtherType = 0x0800, source IPv4 = 10.0.0.1 (slot 1)  [15]",
        "   15  built-in/no-ip-spoofing.xml:7",
        "    1  10.0.0.1  ARP sender IP, source IPv4",
    ] {
        assert!(
            ran.stdout.lines().any(|found| found == line),
            "{line}\n{}",
            ran.stdout
        );
    }
}

#[test]
fn the_same_input_gives_the_same_output() {
    let args = [
        "compile",
        "examples/bindings/clients-times-ports.xml",
        "--filter-dir",
        "examples/filters",
    ];
    let first = run(args);
    assert_eq!(first.status, 0, "{}", first.stderr);
    assert_eq!(first.stdout, run(args).stdout);
}

#[test]
fn json_has_lists_entries_slots_and_image() {
    let document = run(["compile", CLEAN_TRAFFIC, "--json"]).json();
    let lists = document["lists"].as_array().unwrap();
    let titles: Vec<_> = lists
        .iter()
        .map(|list| {
            (
                list["direction"].as_str().unwrap(),
                list["layer"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        titles,
        [
            ("in", "ethernet"),
            ("in", "inet"),
            ("out", "ethernet"),
            ("out", "inet")
        ]
    );
    let out = lists[2]["rules"].as_array().unwrap();
    assert_eq!(out[0]["action"], "skip");
    assert_eq!(out[0]["target"], 3);
    assert_eq!(
        out[0]["conditions"][0],
        "source MAC = 52:54:00:00:00:01 (slot 0)"
    );
    let entries = document["entries"].as_array().unwrap();
    assert_eq!(entries[0]["reason"], "end_of_layer");
    let rule = &entries[out[1]["entry"].as_u64().unwrap() as usize];
    assert_eq!(rule["filter"], "no-mac-spoofing");
    assert_eq!(rule["rule"], 1);
    assert_eq!(rule["line"], 7);
    assert_eq!(document["slots"][1]["value"], "0xa000001");
    let image = &document["image"];
    assert_eq!(
        image["bytes"].as_u64().unwrap(),
        image["words"].as_u64().unwrap() * 4
    );
    assert_eq!(image["pages"], 1);
    let longest = image["longest_way"].as_u64().unwrap();
    assert!((5..=64).contains(&longest), "{longest}");
}

#[test]
fn filters_of_a_directory_have_paths() {
    let documents = Documents::new(&[
        (
            "one.xml",
            "<filter name='one'>\n<rule action='drop' direction='out'><ip/></rule></filter>",
        ),
        ("binding.xml", &binding("one", "")),
    ]);
    let ran = run([
        "compile",
        &documents.path("binding.xml"),
        "--filter-dir",
        documents.directory(),
    ]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains(&format!("{}:2\n", documents.path("one.xml"))),
        "{}",
        ran.stdout
    );
}

#[test]
fn semantics_are_those_asked_for() {
    // A destination port that is negated is a source port to libvirt.
    let documents = Documents::new(&[
        (
            "one.xml",
            "<filter name='one'><rule action='drop' direction='out'>\
             <ip protocol='udp' match='no' dstportstart='53'/></rule></filter>",
        ),
        ("binding.xml", &binding("one", "")),
    ]);
    let args = [
        "compile",
        &documents.path("binding.xml"),
        "--filter-dir",
        documents.directory(),
    ];
    let strict = run(args);
    let libvirt = run(args.into_iter().chain(["--semantics", "libvirt"]));
    assert_eq!(
        (strict.status, libvirt.status),
        (0, 0),
        "{}{}",
        strict.stderr,
        libvirt.stderr
    );
    assert!(strict.stdout.contains("semantics strict"));
    assert!(libvirt.stdout.contains("semantics libvirt"));
}

#[test]
fn warnings_of_a_binding_are_shown_and_do_no_harm() {
    let documents = Documents::new(&[
        (
            "one.xml",
            "<filter name='one'>\n<rule action='drop' direction='out'>\
             <ip match='no' srcipaddr='$A'/></rule></filter>",
        ),
        (
            "binding.xml",
            &binding(
                "one",
                "<parameter name='A' value='10.0.0.1'/><parameter name='A' value='10.0.0.2'/>",
            ),
        ),
    ]);
    let ran = run([
        "compile",
        &documents.path("binding.xml"),
        "--filter-dir",
        documents.directory(),
    ]);
    assert_eq!(ran.status, 0);
    assert!(ran.stderr.contains("warning[NWF0063]"), "{}", ran.stderr);
    assert!(ran.stderr.contains("one.xml:2:"), "{}", ran.stderr);
}

#[test]
fn the_longest_way_is_that_of_the_worst_frame() {
    let longest = |rule: &str| {
        let filter =
            format!("<filter name='a'><rule action='drop' direction='out'>{rule}</rule></filter>");
        let documents = Documents::new(&[("a.xml", &filter), ("binding.xml", &binding("a", ""))]);
        let path = documents.path("binding.xml");
        let ran = run([
            "--json",
            "compile",
            &path,
            "--filter-dir",
            documents.directory(),
        ]);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.json()["image"]["longest_way"].as_u64().unwrap()
    };
    // That a frame is IPv4 costs nothing.
    assert_eq!(longest("<mac/>"), 0);
    assert_eq!(longest("<mac srcmacaddr='$MAC'/>"), 1);
    assert_eq!(longest("<ip srcipaddr='10.0.0.9'/>"), 1);
    assert_eq!(
        longest("<ip srcipaddr='10.0.0.9' dstipaddr='10.0.0.8'/>"),
        2
    );
    assert_eq!(
        longest("<mac srcmacaddr='$MAC' dstmacaddr='52:54:00:00:00:07'/>"),
        2
    );
}
