//! Connections between two kernels, with segmentation left to whoever comes last, as it is on hosts.

use std::{
    io::{BufRead as _, BufReader, ErrorKind},
    net::{IpAddr, SocketAddr},
    process::{Child, Command, Stdio},
    time::Instant,
};

use nwfilter_common::Counter;
use nwfilter_tests::{
    need::{self, Need},
    net::{Endpoint, NetNs},
};
use serde_json::Value;

use super::{
    NEEDS,
    stacks::{CLIENT, Stacks, Version, connects, listen, syns},
};

/// How much each transfer carries.
const LENGTH: u64 = 32 << 20;
/// The longest frame of a wire with the usual MTU.
const LONGEST: u64 = 1514;

fn needs() -> Vec<Need> {
    [&NEEDS[..], &[Need::Program("iperf3")]].concat()
}

/// One iperf3 that waits for one test.
struct Server(Child);

impl Server {
    fn start(namespace: &NetNs, address: IpAddr) -> Self {
        let mut command = Command::new("iperf3");
        command
            .args(["--server", "--one-off", "--forceflush", "--bind"])
            .arg(address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut server = Self(namespace.run(|| command.spawn()).unwrap());
        let mut output = BufReader::new(server.0.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("Server listening") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "no server");
        }
        // It goes on to write.
        server.0.stdout = Some(output.into_inner());
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends [`LENGTH`] bytes from `client` to `address` in `server`, or the other way if `reverse`.
fn transfer(client: &NetNs, server: &NetNs, address: IpAddr, reverse: bool) {
    let server = Server::start(server, address);
    let mut command = Command::new("iperf3");
    command
        .args(["--json", "--bytes", &LENGTH.to_string()])
        .args(["--client", &address.to_string()])
        .args(reverse.then_some("--reverse"));
    let output = client.run(|| command.output()).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let received = report["end"]["sum_received"]["bytes"].as_u64();
    // A receiver does not count what arrives after the sender said that it was done.
    assert!(
        output.status.success() && received.is_some_and(|received| received > LENGTH / 2),
        "{report:#}"
    );
    drop(server);
}

/// Whether frames arrived that stand for many, as far as they were kept.
fn has_large_frames(end: &dyn Endpoint) -> bool {
    let frames = end.drain().unwrap();
    frames.iter().any(|frame| frame.len() as u64 > LONGEST)
}

/// Frames and bytes of all counters.
fn sum(counters: &[Counter]) -> (u64, u64) {
    counters.iter().fold((0, 0), |(packets, bytes), counter| {
        (packets + counter.packets, bytes + counter.bytes)
    })
}

/// Both directions of transfer between a client and a server through the VM's port.
fn transfers(stacks: &Stacks, client: &NetNs, server: &NetNs, address: IpAddr) {
    for reverse in [false, true] {
        let (packets, bytes) = sum(&stacks.bound.counters());
        transfer(client, server, address, reverse);
        let after = sum(&stacks.bound.counters());
        let (packets, bytes) = (after.0 - packets, after.1 - bytes);
        assert!(bytes > LENGTH / 2, "{bytes} bytes");
        assert!(
            bytes <= packets * LONGEST,
            "{bytes} bytes in {packets} frames: large frames count as one"
        );
    }
    assert!(has_large_frames(&*stacks.vm.end), "{address}: into the VM");
    assert!(
        has_large_frames(&*stacks.server.end),
        "{address}: out of it"
    );
    assert_eq!(stacks.bound.drops(), []);
}

#[test]
fn clean_traffic_passes_connections_both_ways() {
    if !need::met(&needs()) {
        return;
    }
    let clean = "<filter name='clean'><filterref filter='clean-traffic'/></filter>";
    let stacks = Stacks::new(clean, &[Version::V4]);
    let (vm, server) = (stacks.inside(), stacks.outside());
    transfers(&stacks, vm, server, Version::V4.server());
    transfers(&stacks, server, vm, Version::V4.vm());
    let _listener = listen(vm, Version::V4.vm(), 80);
    assert!(connects(&stacks.lan, server, (Version::V4.vm(), 80).into()));
}

#[test]
fn a_stateful_filter_passes_what_the_vm_began() {
    if !need::met(&needs()) {
        return;
    }
    for version in Version::BOTH {
        let stacks = Stacks::new(CLIENT, &[version]);
        transfers(&stacks, stacks.inside(), stacks.outside(), version.server());
        let (dropped, start) = (stacks.bound.dropped(), Instant::now());
        refused(&stacks, version);
        let dropped = stacks.bound.dropped() - dropped;
        assert!(syns(start).contains(&dropped), "{version:?}: {dropped}");
    }
}

/// Somebody outside tries to connect to a port of the VM on which it listens.
fn refused(stacks: &Stacks, version: Version) {
    let listener = listen(stacks.inside(), version.vm(), 80);
    listener.set_nonblocking(true).unwrap();
    let target = SocketAddr::new(version.vm(), 80);
    assert!(!connects(&stacks.lan, stacks.outside(), target));
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}
