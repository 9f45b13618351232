//! Who else asks: monitors, the doctor, and callers who misbehave.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    thread,
};

use nwfilter_tests::{
    daemon::Site,
    need,
    net::PATIENCE,
    peer::{self, Peer},
};
use serde_json::{Value, json};

use crate::{Host, MAC, NEEDS, SPOOFED};

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
