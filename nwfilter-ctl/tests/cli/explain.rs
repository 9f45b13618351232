//! `explain` with packets in hexadecimal: verdicts, reasons, what is said about them.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::{
    CLEAN_TRAFFIC, Documents, binding,
    capture::pcap,
    command,
    frame::{IP, MAC, OTHER_IP, OTHER_MAC, arp, hex, udp},
    run,
};

/// The only frame of an explanation, with the exit status.
fn explain(binding: &str, options: &[&str], packet: &[u8]) -> (i32, Value) {
    let packet = hex(packet);
    let args = ["--json", "explain", binding, "--packet", &packet];
    let ran = run(args.iter().chain(options));
    let mut document = ran.json();
    assert_eq!(
        document["frames"].as_array().unwrap().len(),
        1,
        "{document}"
    );
    (ran.status, document["frames"][0].take())
}

#[test]
fn an_accepted_frame_names_its_rule() {
    let (status, frame) = explain(CLEAN_TRAFFIC, &["--direction", "out"], &arp(MAC, IP));
    assert_eq!(status, 0);
    let expected = json!({
        "index": 0,
        "direction": "out",
        "verdict": "accept",
        "layer": "ethernet",
        "filter": "clean-traffic",
        "rule": 1,
        "line": 11,
        "reason": "rule",
    });
    assert_eq!(frame, expected);
}

#[test]
fn a_dropped_frame_is_a_finding() {
    let (status, frame) = explain(CLEAN_TRAFFIC, &["--direction", "out"], &arp(MAC, OTHER_IP));
    assert_eq!(status, 1);
    let expected = json!({
        "index": 0,
        "direction": "out",
        "verdict": "drop",
        "layer": "ethernet",
        "filter": "no-arp-ip-spoofing",
        "rule": 1,
        "line": 6,
        "reason": "rule",
    });
    assert_eq!(frame, expected);
}

#[test]
fn defaults_have_reasons_and_no_rule() {
    let nobody = |reason: &str, layer: Value, verdict: &str, (status, frame): (i32, Value)| {
        assert_eq!(status, i32::from(verdict != "accept"), "{frame}");
        assert_eq!(frame["reason"], reason, "{frame}");
        assert_eq!(frame["layer"], layer, "{frame}");
        assert_eq!(frame["verdict"], verdict, "{frame}");
        for key in ["filter", "rule", "line"] {
            assert_eq!(frame[key], Value::Null, "{frame}");
        }
    };
    nobody(
        "short_frame",
        Value::Null,
        "drop",
        explain(CLEAN_TRAFFIC, &[], &[0; 13]),
    );
    let datagram = udp((MAC, IP), (OTHER_MAC, OTHER_IP), 53);
    let documents = Documents::new(&[
        (
            "ports.xml",
            "<filter name='ports'><rule action='accept' direction='out' statematch='0'>\
             <udp dstportstart='53'/></rule></filter>",
        ),
        ("binding.xml", &binding("ports", "")),
    ]);
    let path = documents.path("binding.xml");
    let options = ["--filter-dir", documents.directory()];
    nobody(
        "missing_header",
        json!("inet"),
        "drop",
        explain(&path, &options, &datagram[..datagram.len() - 1]),
    );
    let other = udp((MAC, IP), (OTHER_MAC, OTHER_IP), 54);
    nobody(
        "end_of_layer",
        json!("inet"),
        "accept",
        explain(&path, &options, &other),
    );
    nobody(
        "end_of_layer",
        json!("ethernet"),
        "accept",
        explain(&path, &options, &arp(MAC, IP)),
    );
    let chain = Documents::new(&[
        (
            "chain.xml",
            "<filter name='chain' chain='ipv4-x'><rule action='drop' direction='out'>\
             <ip dstportstart='54' protocol='udp'/></rule></filter>",
        ),
        ("binding.xml", &binding("chain", "")),
    ]);
    nobody(
        "end_of_chain",
        json!("ethernet"),
        "accept",
        explain(
            &chain.path("binding.xml"),
            &["--filter-dir", chain.directory()],
            &datagram,
        ),
    );
    let (_, frame) = explain(&path, &options, &datagram);
    assert_eq!(
        (&frame["reason"], &frame["layer"]),
        (&json!("rule"), &json!("inet"))
    );
}

#[test]
fn reject_is_a_verdict_of_its_own() {
    let documents = Documents::new(&[
        (
            "no.xml",
            "<filter name='no'><rule action='reject' direction='out'><udp/></rule></filter>",
        ),
        ("binding.xml", &binding("no", "")),
    ]);
    let options = ["--filter-dir", documents.directory()];
    let datagram = udp((MAC, IP), (OTHER_MAC, OTHER_IP), 53);
    let (status, frame) = explain(&documents.path("binding.xml"), &options, &datagram);
    assert_eq!((status, &frame["verdict"]), (1, &json!("reject")));
}

#[test]
fn the_source_mac_tells_the_direction() {
    let (_, frame) = explain(CLEAN_TRAFFIC, &[], &arp(MAC, IP));
    assert_eq!(frame["direction"], "out");
    let (_, frame) = explain(CLEAN_TRAFFIC, &[], &arp(OTHER_MAC, OTHER_IP));
    assert_eq!(frame["direction"], "in");
    let (_, frame) = explain(CLEAN_TRAFFIC, &["--direction", "in"], &arp(MAC, IP));
    assert_eq!(frame["direction"], "in");
}

#[test]
fn people_see_every_rule_and_what_failed() {
    let packet = hex(&arp(MAC, OTHER_IP));
    let ran = run(["explain", CLEAN_TRAFFIC, "--packet", &packet]);
    assert_eq!((ran.status, ran.stderr.as_str()), (1, ""));
    let steps = [
        "built-in/no-mac-spoofing.xml:4: returns from the chain",
        "      yes  source MAC = 52:54:00:00:00:01 (slot 0)",
        "built-in/no-ip-spoofing.xml:4: does not match",
        "      no   EtherType = 0x0800; it is 0x0806",
        "built-in/no-arp-ip-spoofing.xml:3: does not match",
        "      no   ARP sender IP = 10.0.0.1 (slot 1); it is 10.0.0.2",
        "built-in/no-arp-ip-spoofing.xml:6: drop",
        "=> drop: built-in/no-arp-ip-spoofing.xml:6 (Ethernet layer)",
        "0 accepted, 1 dropped",
    ];
    let mut rest = ran.stdout.as_str();
    for step in steps {
        let at = rest
            .find(step)
            .unwrap_or_else(|| panic!("{step}\n{}", ran.stdout));
        rest = &rest[at + step.len()..];
    }
    assert!(
        !ran.stdout.contains("no-other-l2-traffic"),
        "{}",
        ran.stdout
    );
}

#[test]
fn packets_are_numbered_in_order() {
    let (good, bad) = (hex(&arp(MAC, IP)), hex(&arp(MAC, OTHER_IP)));
    let args = [
        "--json",
        "explain",
        CLEAN_TRAFFIC,
        "--packet",
        &good,
        "--packet",
        &bad,
    ];
    let ran = run(args);
    assert_eq!(ran.status, 1);
    let document = ran.json();
    let verdicts: Vec<_> = document["frames"]
        .as_array()
        .unwrap()
        .iter()
        .map(|frame| {
            (
                frame["index"].as_u64().unwrap(),
                frame["verdict"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(verdicts, [(0, "accept"), (1, "drop")]);
}

#[test]
fn nobody_reading_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("many.pcap");
    // More than a pipe holds, and all dropped.
    std::fs::write(&path, pcap(&vec![arp(MAC, OTHER_IP); 500])).unwrap();
    let mut child = command()
        .args(["explain", CLEAN_TRAFFIC, "--pcap"])
        .arg(path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn address_sets_beside_the_filters_count() {
    let filter = "<filter name='blocked'><rule action='drop' direction='out'>\
                  <all ipset='own' ipsetflags='src'/></rule></filter>";
    let documents = Documents::new(&[
        ("binding.xml", &binding("blocked", "")),
        ("blocked.xml", filter),
    ]);
    let verdict = || {
        let options = ["--direction", "out", "--filter-dir", documents.directory()];
        let frame = explain(
            &documents.path("binding.xml"),
            &options,
            &udp((MAC, IP), (OTHER_MAC, OTHER_IP), 53),
        );
        frame.1["verdict"].clone()
    };
    assert_eq!(verdict(), "accept", "there is no such set");
    std::fs::create_dir(documents.path("sets")).unwrap();
    std::fs::write(documents.path("sets/own.set"), "0.0.0.0/0\n").unwrap();
    assert_eq!(verdict(), "drop");
}

/// Verdicts on packets a second apart that leave a VM which may have one UDP connection at a time.
fn with_one_connection(frames: &[Vec<u8>]) -> Vec<String> {
    let documents = Documents::new(&[
        (
            "limited.xml",
            "<filter name='limited'><rule action='drop' direction='out'>\
             <udp connlimit-above='1'/></rule></filter>",
        ),
        ("binding.xml", &binding("limited", "")),
    ]);
    let capture = documents.path("frames.pcap");
    std::fs::write(&capture, pcap(frames)).unwrap();
    let ran = run([
        "explain",
        &documents.path("binding.xml"),
        "--filter-dir",
        documents.directory(),
        "--pcap",
        &capture,
        "--json",
    ]);
    let frames = ran.json()["frames"].take();
    let verdict = |frame: &Value| frame["verdict"].as_str().unwrap().to_owned();
    frames.as_array().unwrap().iter().map(verdict).collect()
}

#[test]
fn connections_of_a_long_capture_end() {
    let documents = Documents::new(&[
        (
            "asks.xml",
            "<filter name='asks'><rule action='accept' direction='out'><udp/></rule>\
             <rule action='drop' direction='inout'><all/></rule></filter>",
        ),
        ("binding.xml", &binding("asks", "")),
    ]);
    // A second apart, and more than a port may have at once; the last one is answered.
    let peer = |i: u16| (OTHER_MAC, [10, 1, (i >> 8) as u8, i as u8]);
    let mut frames: Vec<_> = (0..17_000)
        .map(|i| udp((MAC, IP), peer(i), 40_000))
        .collect();
    frames.push(udp(peer(16_999), (MAC, IP), 40_000));
    let capture = documents.path("frames.pcap");
    std::fs::write(&capture, pcap(&frames)).unwrap();
    let ran = run([
        "explain",
        &documents.path("binding.xml"),
        "--filter-dir",
        documents.directory(),
        "--pcap",
        &capture,
    ]);
    assert!(
        ran.stdout.ends_with("17001 accepted, 0 dropped\n"),
        "{}",
        &ran.stdout[ran.stdout.len() - 1000..]
    );
}

#[test]
fn limits_remember_connections_from_packet_to_packet() {
    let frames = [53, 54].map(|port| udp((MAC, IP), (OTHER_MAC, OTHER_IP), port));
    assert_eq!(with_one_connection(&frames), ["accept", "drop"]);
}

#[test]
fn a_connection_that_begins_anew_counts_for_the_same_source() {
    let [first, second] = [53, 54].map(|port| udp((MAC, IP), (OTHER_MAC, OTHER_IP), port));
    let mut frames = vec![first.clone()];
    // Until it has timed out.
    frames.resize(60, arp(MAC, IP));
    frames.extend([first, second]);
    let verdicts = with_one_connection(&frames);
    assert_eq!(verdicts[60..], ["accept", "drop"]);
}
