//! The demonstration as a program: without a filter everything arrives, and nothing stays behind,
//! whatever ends it.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use nwfilter_tests::need::{self, Need};
use serde_json::Value;

const DEMO: &str = env!("CARGO_BIN_EXE_nwfilter-demo");
const NEEDS: [Need; 3] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::File("/dev/net/tun"),
];

fn run(arguments: &[&str]) -> Output {
    Command::new(DEMO)
        .args(arguments)
        .output()
        .expect("start the demonstration")
}

/// Links of the namespace that the tests run in that only the demonstration makes.
fn left_behind() -> Vec<String> {
    let links = fs::read_to_string("/proc/thread-self/net/dev").expect("procfs");
    links
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .filter(|name| ["vm1", "vm2", "intruder", "mark"].contains(&name.as_str()))
        .collect()
}

#[test]
fn without_a_filter_every_frame_arrives() {
    if !need::met(&NEEDS) {
        return;
    }
    let output = run(&["--no-filter", "--once", "--json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    let frames = document["frames"].as_array().unwrap();
    assert!(frames.len() > 15);
    for frame in frames {
        assert_eq!(frame["seen"], "accept", "{frame}");
    }
    assert!(left_behind().is_empty());
}

#[test]
fn clean_traffic_does_to_every_frame_what_it_should() {
    if !need::met(&NEEDS) {
        return;
    }
    let output = run(&["--once", "--json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    for frame in document["frames"].as_array().unwrap() {
        assert_eq!(frame["seen"], frame["expected"], "{frame}");
        // The rule that the engine names in userspace is the one that counted in the kernel.
        let counted = frame["counted"].as_array().unwrap();
        assert!(
            counted
                .iter()
                .any(|moved| moved["counter"]["rule"] == frame["rule"]),
            "{frame}"
        );
    }
    assert!(left_behind().is_empty());
}

#[test]
fn signals_end_it_and_take_the_network_along() {
    if !need::met(&NEEDS) {
        return;
    }
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGKILL,
    ] {
        let mut child = Command::new(DEMO)
            .args(["--no-filter", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The table, and the counters once.
        for expected in ["frames", "ports"] {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert!(line.get(expected).is_some(), "{line}");
        }
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            status.success(),
            signal != Signal::SIGKILL,
            "{signal}: {status}"
        );
        assert!(left_behind().is_empty());
    }
}

#[test]
fn what_cannot_be_done_is_an_error_and_not_a_verdict() {
    let output = run(&["--once", "--filter", "/nonexistent/filter.xml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(!output.stderr.is_empty());
    assert_eq!(
        run(&["--filter", "x", "--no-filter"]).status.code(),
        Some(2)
    );
}
