//! The daemon comes and goes, in every way; the filters stay. Under traffic: a good frame and spoofed
//! ones in turn, each accounted for.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs, mem,
    os::{
        fd::AsRawFd,
        unix::{
            fs::MetadataExt,
            net::{UnixDatagram, UnixListener},
            process::CommandExt,
        },
    },
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use nwfilter_tests::{
    daemon::{Site, binding_xml},
    frame::{Ethernet, Ipv4, Udp},
    need::{self, Need},
    net::{Direction, Lan, PATIENCE, Vm, uninterrupted},
    traffic::{MAC, OTHER, frame, good, is_filtered, spoofed, under_traffic},
};

const NEEDS: [Need; 3] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::File("/sys/fs/bpf"),
];

fn network() -> (Lan, Vm, Site) {
    let lan = Lan::new().unwrap();
    let vm = lan.vm("vm1", MAC).unwrap();
    let site = Site::new().unwrap();
    fs::write(
        site.binding("vm1"),
        binding_xml("vm1", MAC, "clean-traffic", "10.0.0.1"),
    )
    .unwrap();
    (lan, vm, site)
}

fn links(site: &Site) -> usize {
    fs::read_dir(site.pins.join("links")).map_or(0, Iterator::count)
}

#[test]
fn filters_outlive_every_end_of_the_daemon_without_a_gap() {
    outlive("");
}

#[test]
fn filters_outlive_it_on_kernels_without_tcx_too() {
    outlive("attach = 'clsact'");
}

fn outlive(config: &str) {
    if !need::met(&NEEDS) {
        return;
    }
    let (lan, vm, site) = network();
    fs::write(site.configuration(), config).unwrap();
    let mut probe = lan.probe(&vm, Direction::Out);
    assert!(probe.arrives(&spoofed()[0]).unwrap(), "nothing filters yet");

    let mut daemon = site.start(&lan.host).unwrap();
    assert!(is_filtered(&lan, &vm).unwrap());
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
        let restart = || {
            let status = daemon.end(signal).unwrap();
            assert_eq!(status.success(), signal != Signal::SIGKILL, "{signal}");
        };
        under_traffic(&lan, &vm, restart).unwrap();
        assert!(is_filtered(&lan, &vm).unwrap(), "after {signal}");
        let mut again = None;
        let restart = || again = Some(site.start(&lan.host).unwrap());
        let (sent, ()) = under_traffic(&lan, &vm, restart).unwrap();
        assert!(sent > 10, "{sent} frames during the start");
        assert!(is_filtered(&lan, &vm).unwrap(), "started after {signal}");
        daemon = again.unwrap();
    }

    let refused = site
        .run(
            &lan.host,
            &["detach", "--all", "--pin-dir", text(&site.pins)],
        )
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop the daemon"));
    assert!(is_filtered(&lan, &vm).unwrap());

    daemon.end(Signal::SIGTERM).unwrap();
    let removed = site
        .run(
            &lan.host,
            &["detach", "--all", "--pin-dir", text(&site.pins)],
        )
        .unwrap();
    assert!(removed.status.success(), "{removed:?}");
    assert!(!site.pins.exists());
    assert!(probe.arrives(&spoofed()[0]).unwrap());
    assert!(probe.arrives(&spoofed()[1]).unwrap());
}

#[test]
fn the_way_of_attaching_changes_without_a_gap() {
    if !need::met(&NEEDS) {
        return;
    }
    let (lan, vm, site) = network();
    for (config, pins) in [("attach = 'clsact'", 0), ("attach = 'tcx'", 2), ("", 2)] {
        fs::write(site.configuration(), config).unwrap();
        let start = || site.start(&lan.host).unwrap();
        let daemon = if pins == 0 {
            start()
        } else {
            under_traffic(&lan, &vm, start).unwrap().1
        };
        assert!(is_filtered(&lan, &vm).unwrap(), "{config}");
        assert_eq!(links(&site), pins, "{config}");
        daemon.end(Signal::SIGKILL).unwrap();
    }
    let _daemon = site.start(&lan.host).unwrap();
    let removed = site.run(&lan.host, &["binding-delete", "vm1"]).unwrap();
    assert!(removed.status.success(), "{removed:?}");
    let mut probe = lan.probe(&vm, Direction::Out);
    assert!(
        probe.arrives(&spoofed()[0]).unwrap(),
        "nothing is left behind"
    );
}

#[test]
fn a_changed_filter_or_binding_leaves_no_gap() {
    if !need::met(&NEEDS) {
        return;
    }
    let (lan, vm, site) = network();
    let file = |name: &str, text: &str| {
        let path = site.state().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // Two ways to the same rules, and one filter in two versions.
    let other = |line: &str| {
        format!(
            "<filter name='other'><uuid>11111111-2222-3333-4444-555555555555</uuid>
  <filterref filter='clean-traffic'/>{line}
</filter>"
        )
    };
    let versions = [
        file("a", &other("")),
        file(
            "b",
            &other("<rule action='drop' direction='out'><udp dstportstart='9'/></rule>"),
        ),
    ];
    let bindings = ["clean-traffic", "other"].map(|filter| {
        file(
            &format!("binding-{filter}"),
            &binding_xml("vm1", MAC, filter, "10.0.0.1"),
        )
    });
    let _daemon = site.start(&lan.host).unwrap();
    let run = |arguments: &[&str]| {
        let output = site.run(&lan.host, arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    let change = || {
        run(&["define", &versions[0]]);
        for _ in 0..5 {
            run(&["binding-create", "--replace", &bindings[1]]);
            run(&["define", &versions[1]]);
            run(&["define", &versions[0]]);
            run(&["binding-create", "--replace", &bindings[0]]);
        }
    };
    under_traffic(&lan, &vm, change).unwrap();
    assert!(is_filtered(&lan, &vm).unwrap());
}

#[test]
fn a_daemon_killed_at_work_forgets_nothing_that_it_acknowledged() {
    if !need::met(&NEEDS) {
        return;
    }
    let (lan, vm, site) = network();
    let mut bindings = Vec::new();
    for filter in ["clean-traffic", "clean-traffic-gateway"] {
        let path = site.state().join(filter);
        // Both let the good frame out, and neither a spoofed one.
        let text = binding_xml("vm1", MAC, filter, "10.0.0.1").replace(
            "</filterref>",
            "<parameter name='GATEWAY_MAC' value='02:00:00:00:ff:01'/></filterref>",
        );
        fs::write(&path, text).unwrap();
        bindings.push((filter, path));
    }
    let mut daemon = Some(site.start(&lan.host).unwrap());
    let mut acknowledged = 0;
    let killing = || {
        const LAST: usize = 7;
        for round in 0..=LAST {
            let (filter, path) = &bindings[(round + 1) % 2];
            let call = ["binding-create", "--replace", text(path)];
            let running = daemon.take().unwrap();
            // Killed somewhere on its way, further on in each round, and at last when it is done.
            let done = thread::scope(|scope| {
                let call = scope.spawn(|| site.run(&lan.host, &call).unwrap());
                let mut further = if round == LAST { usize::MAX } else { round * 4 };
                while further > 0 && !call.is_finished() {
                    let _ = site.run(&lan.host, &["doctor"]).unwrap();
                    further -= 1;
                }
                running.end(Signal::SIGKILL).unwrap();
                call.join().unwrap().status.success()
            });
            daemon = Some(site.start(&lan.host).unwrap());
            let dumped = site.run(&lan.host, &["binding-dumpxml", "vm1"]).unwrap();
            let dumped = String::from_utf8(dumped.stdout).unwrap();
            assert!(dumped.contains("clean-traffic"), "{dumped}");
            if done {
                acknowledged += 1;
                assert!(dumped.contains(&format!("filter='{filter}'")), "{dumped}");
            }
        }
    };
    under_traffic(&lan, &vm, killing).unwrap();
    assert!(acknowledged > 0);
    assert!(is_filtered(&lan, &vm).unwrap());
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_second_daemon_is_refused() {
    if !need::met(&NEEDS) {
        return;
    }
    let (lan, vm, site) = network();
    let _daemon = site.start(&lan.host).unwrap();
    let second = site.run_daemon(&lan.host).unwrap();
    assert_eq!(second.status.code(), Some(2));
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains("another daemon uses"), "{message}");

    // The same pins, but files of its own.
    let mut other = Site::new().unwrap();
    let own = mem::replace(&mut other.pins, site.pins.clone());
    let second = other.run_daemon(&lan.host).unwrap();
    other.pins = own;
    assert_eq!(second.status.code(), Some(2));
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains("in use"), "{message}");
    assert!(is_filtered(&lan, &vm).unwrap());
}

#[test]
fn a_bad_binding_closes_its_port_and_no_other() {
    if !need::met(&NEEDS) {
        return;
    }
    let (lan, vm, site) = network();
    let other = lan.vm("vm2", OTHER).unwrap();
    let torn = lan.vm("vm3", OTHER).unwrap();
    let gone = binding_xml("absent", OTHER, "clean-traffic", "10.0.0.4");
    fs::write(site.binding("absent"), gone).unwrap();
    let bad = binding_xml("vm2", OTHER, "no-such-filter", "10.0.0.2");
    fs::write(site.binding("vm2"), bad).unwrap();
    fs::write(site.binding("vm3"), "<filterbinding><owner>").unwrap();
    let daemon = site.start(&lan.host).unwrap();
    let log = daemon.log();
    assert!(log.contains("vm2: filter `no-such-filter`"), "{log}");
    assert!(log.contains("vm3.xml:1:"), "{log}");
    assert!(is_filtered(&lan, &vm).unwrap());
    for vm in [&other, &torn] {
        let sent = frame(OTHER, [10, 0, 0, 2], 0);
        assert!(!lan.probe(vm, Direction::Out).arrives(&sent).unwrap());
        let received = Ethernet::new(Lan::OUTSIDE, OTHER).ipv4(
            &Ipv4::new([10, 0, 0, 200], [10, 0, 0, 2]),
            &Udp::new(4000, 4000, []),
        );
        assert!(!lan.probe(vm, Direction::In).arrives(&received).unwrap());
    }
    assert_eq!(links(&site), 6);

    // What is repaired on disk works after the next start; what is deleted is filtered no more.
    daemon.end(Signal::SIGKILL).unwrap();
    let repaired = binding_xml("vm2", OTHER, "clean-traffic", "10.0.0.2");
    fs::write(site.binding("vm2"), repaired).unwrap();
    fs::remove_file(site.binding("vm3")).unwrap();
    let _daemon = site.start(&lan.host).unwrap();
    let sent = frame(OTHER, [10, 0, 0, 2], 0);
    assert!(lan.probe(&other, Direction::Out).arrives(&sent).unwrap());
    assert!(!lan.probe(&other, Direction::Out).arrives(&good(0)).unwrap());
    assert!(lan.probe(&torn, Direction::Out).arrives(&good(0)).unwrap());
    assert!(is_filtered(&lan, &vm).unwrap());
}

/// What `systemd` does for a service with a socket and a watchdog.
#[test]
fn a_service_manager_is_served() {
    if !need::met(&NEEDS) {
        return;
    }
    let (lan, vm, site) = network();
    let listener = UnixListener::bind(site.socket()).unwrap();
    let watchdog = site.state().join("watchdog");
    let alive = UnixDatagram::bind(&watchdog).unwrap();
    // A start may take a while.
    let patience = PATIENCE * 5;
    alive.set_read_timeout(Some(patience)).unwrap();
    let hand_over = |command: &mut Command| {
        let (journal, fd) = (site.log(), listener.as_raw_fd());
        let own = fs::metadata(journal).unwrap();
        command.env("JOURNAL_STREAM", format!("{}:{}", own.dev(), own.ino()));
        command
            .env("LISTEN_FDS", "1")
            .env("WATCHDOG_USEC", "200000");
        command.env("NOTIFY_SOCKET", &watchdog);
        // The process is to know itself by its number, so the shell becomes the daemon.
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let program = command.get_program().to_owned();
        let variables: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""])
            .arg(program)
            .args(arguments)
            .envs(variables);
        // SAFETY: one system call between fork and exec, on a descriptor that is open.
        unsafe {
            shell.pre_exec(move || match libc::dup2(fd, 3) {
                3 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        shell
    };
    let daemon = site.spawn(&lan.host, hand_over).unwrap();
    let mut message = [0; 4096];
    let mut hear = |wanted: &str| {
        let start = Instant::now();
        loop {
            let length = uninterrupted(|| alive.recv(&mut message)).unwrap();
            if message[..length].starts_with(wanted.as_bytes()) {
                break;
            }
            assert!(start.elapsed() < patience, "never heard {wanted}");
        }
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    assert!(is_filtered(&lan, &vm).unwrap());
    // A manager that does not read is nothing to wait for. What the daemon has said meanwhile may have
    // filled its socket already.
    let also = UnixDatagram::unbound().unwrap();
    also.set_nonblocking(true).unwrap();
    while also.send_to(b"FULL=1", &watchdog).is_err() {
        hear("WATCHDOG=1");
    }
    while also.send_to(b"FULL=1", &watchdog).is_ok() {}
    for _ in 0..20 {
        let status = site.run(&lan.host, &["status"]).unwrap();
        assert!(status.status.success(), "{status:?}");
    }
    hear("FULL=1");
    hear("WATCHDOG=1");
    let log = daemon.log();
    assert!(
        log.lines().any(|line| line.starts_with("<6>ready")),
        "{log}"
    );
    // There must be room for what it says last: it does not wait.
    let stop = || {
        alive.set_nonblocking(true).unwrap();
        while alive.recv(&mut [0; 64]).is_ok() {}
        alive.set_nonblocking(false).unwrap();
        daemon.signal(Signal::SIGTERM).unwrap();
    };
    daemon.paused(stop).unwrap();
    hear("STOPPING=1");
    assert!(daemon.wait().unwrap().success());
    // The socket is not its own: who comes now waits for the next one.
    assert!(site.socket().exists());
}

#[test]
fn a_start_that_is_interrupted_again_and_again_goes_on() {
    if !need::met(&NEEDS) {
        return;
    }
    let (lan, vm, site) = network();
    let daemon = site.spawn(&lan.host, |command| mem::replace(command, Command::new("")));
    let daemon = daemon.unwrap();
    // In the end it has the time that it takes.
    let mut time = Duration::from_millis(1);
    while !daemon.log().contains("ready: ") {
        assert!(time < 2 * PATIENCE, "{}", daemon.log());
        daemon.paused(|| ()).unwrap();
        thread::sleep(time);
        time *= 2;
    }
    assert!(is_filtered(&lan, &vm).unwrap());
}

#[test]
fn what_the_daemon_lacks_is_named() {
    if !need::met(&NEEDS) {
        return;
    }
    let (lan, _vm, mut site) = network();
    let state = site.state();
    let pins = mem::replace(&mut site.pins, state.join("pins"));
    let output = site.run_daemon(&lan.host).unwrap();
    site.pins = pins;
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("mount -t bpf"), "{message}");
}
