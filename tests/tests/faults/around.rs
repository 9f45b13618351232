//! What is around the daemon: disks, files and callers, and events that nobody reads.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::{net::UnixStream, process::CommandExt},
    path::Path,
    process::Command,
    time::Instant,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
};
use nwfilter_ctl::daemon::api::Call;
use nwfilter_tests::{
    daemon::{Caller, Daemon, binding_xml},
    need,
    net::PATIENCE,
    traffic::{IP, MAC, is_filtered, spoofed},
};

use crate::{CALLER_TIMEOUT, Host, NEEDS, bind_other, shared};
/// Gives the daemon a small file system of its own over a directory.
fn with_tmpfs(command: &mut Command, directory: &Path) {
    let directory = directory.to_owned();
    let own = move || {
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let flags = MsFlags::empty();
        mount(
            Some("tmpfs"),
            &directory,
            Some("tmpfs"),
            flags,
            Some("size=64k"),
        )?;
        Ok(())
    };
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(own) };
}

/// Everything below the root of a process's file system.
fn seen_by(daemon: &Daemon, path: &Path) -> std::path::PathBuf {
    let path = path.strip_prefix("/").unwrap();
    Path::new(&format!("/proc/{}/root", daemon.id())).join(path)
}

fn fill(path: &Path) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    let error = loop {
        if let Err(error) = file.write_all(&[0; 512]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}

#[test]
fn without_room_or_right_to_write_nothing_changes() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    for (directory, is_filters) in [
        (host.site.filters(), true),
        (host.site.state().join("bindings"), false),
    ] {
        let daemon = host.site.start_with(&host.lan.host, |command| {
            with_tmpfs(command, &directory);
        });
        let daemon = daemon.unwrap();
        let inside = seen_by(&daemon, &directory);
        let filter = Call::Define { xml: shared(7) };
        host.call(&filter).unwrap();
        host.call(&Call::BindingCreate {
            xml: binding_xml("vm1", MAC, "shared", IP),
            replace: true,
        })
        .unwrap();
        let change = if is_filters {
            Call::Define { xml: shared(8) }
        } else {
            bind_other("shared", "10.0.0.2")
        };
        let refused = |with: &str| {
            let error = host.under_traffic(|| host.call(&change)).unwrap_err();
            assert!(error.to_string().contains(with), "{error}");
            assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
            assert_eq!(host.state("vm2"), None);
            assert!(host.other_may_spoof());
            let text = host
                .call(&Call::Dumpxml {
                    filter: "shared".into(),
                })
                .unwrap();
            assert!(text.as_str().unwrap().contains("'7'"), "{text}");
        };
        fill(&inside.join("fill"));
        refused("No space left");
        // What is no good must not be in the way of the next attempt.
        fs::remove_file(inside.join("fill")).unwrap();
        let remount = |options: &str| {
            let process = daemon.id().to_string();
            let status = Command::new("nsenter")
                .args(["--target", &process, "--mount", "mount", "-o", options])
                .arg(&directory)
                .status();
            assert!(status.unwrap().success());
        };
        remount("remount,ro");
        refused("Read-only");
        if !is_filters {
            let port = "vm1".into();
            let call = Call::BindingDelete { port };
            let error = host.under_traffic(|| host.call(&call)).unwrap_err();
            assert!(error.to_string().contains("Read-only"), "{error}");
        }
        remount("remount,rw");
        host.under_traffic(|| host.call(&change)).unwrap();
        daemon.end(Signal::SIGTERM).unwrap();
    }
}

#[test]
fn a_filter_file_that_makes_no_sense_changes_nothing() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let daemon = host.start();
    let path = host.site.filters().join("shared.xml");
    for nonsense in [
        "",
        "<filter name='shared'><rule",
        "\u{0}\u{1}",
        "<filter name='other'/>",
    ] {
        fs::write(&path, nonsense).unwrap();
        host.under_traffic(|| {
            daemon.signal(Signal::SIGHUP).unwrap();
            assert_eq!(
                host.state("vm1").as_deref(),
                Some("outdated"),
                "{nonsense:?}"
            );
        });
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            nonsense,
            "it is not touched"
        );
        assert!(host.call(&bind_other("shared", "10.0.0.2")).is_err());
        assert!(host.call(&Call::Define { xml: shared(9) }).is_err());
    }
    fs::write(&path, shared(4000)).unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
    // It drops what was good.
    assert!(is_filtered(&host.lan, &host.vm).is_err());
}

#[test]
fn callers_who_misbehave_cost_no_frame() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let _daemon = host.start();
    let connect = || {
        let stream = UnixStream::connect(host.site.socket()).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let silent: Vec<_> = (0..10).map(|_| connect()).collect();
    let mut half = connect();
    half.write_all(b"{\"version\":1,\"call\":\"bind").unwrap();
    host.under_traffic(|| {
        // 100 MB in one line: it is hung up on before the end.
        let mut flood = connect();
        let chunk = vec![b' '; 1 << 20];
        let start = Instant::now();
        let sent = (0..100)
            .take_while(|_| flood.write_all(&chunk).is_ok())
            .count();
        assert!(sent < 100, "all was taken");
        // On a line that takes too long it is hung up, too.
        let is_slow = start.elapsed() >= CALLER_TIMEOUT;
        assert!(sent >= 40 || is_slow, "{sent} MB were taken");
        let mut garbage = connect();
        for byte in 0..=255_u8 {
            if garbage.write_all(&[byte, 0, b'{', b'\n']).is_err() {
                break;
            }
        }
        host.call(&bind_other("shared", "10.0.0.2")).unwrap();
    });
    assert_eq!(host.state("vm2").as_deref(), Some("enforced"));
    drop((silent, half));
}

#[test]
fn events_that_nobody_reads_are_counted_as_lost() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let daemon = host.start();
    let mut monitor = Caller::connect(&host.site).unwrap();
    monitor.call(&Call::Monitor { ports: vec![] }).unwrap();
    let flood = || {
        // The ring has a megabyte, and an event more than a hundred bytes.
        for _ in 0..120 {
            for _ in 0..100 {
                host.vm.end.send(&spoofed()[0]).unwrap();
            }
            // The kernel drops by itself what it gets no time for, and this waits for it.
            assert!(is_filtered(&host.lan, &host.vm).unwrap());
        }
    };
    daemon.paused(flood).unwrap();
    let status = host.call(&Call::Status).unwrap();
    assert!(status["lost_events"].as_u64().unwrap() > 0, "{status}");
    host.under_traffic(|| host.call(&bind_other("shared", "10.0.0.2")).unwrap());
}
