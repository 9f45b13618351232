//! What can go wrong while filters change: the daemon dies, the disk is full, devices vanish, callers
//! misbehave. Under traffic: no spoofed frame passes, no good one is dropped, and what was
//! acknowledged is kept.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::{
        net::UnixStream,
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
};
use nwfilter_common::ABI_VERSION;
use nwfilter_ctl::daemon::api::Call;
use nwfilter_tests::{
    daemon::{Caller, Daemon, Site, binding_xml},
    frame::{Dhcp, Ethernet, Ipv4, Udp, dhcp},
    learning,
    need::{self, Need},
    net::{Direction, Lan, PATIENCE, Vm},
    traffic::{IP, MAC, OTHER, frame, is_filtered, spoofed, under_traffic},
};
use serde_json::{Value, json};

const NEEDS: [Need; 3] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::File("/sys/fs/bpf"),
];

/// How long the daemon gives a caller for a line.
const CALLER_TIMEOUT: Duration = Duration::from_secs(30);

/// A filter that lets good frames out, in versions.
fn shared(version: u16) -> String {
    format!(
        "<filter name='shared'><uuid>11111111-2222-3333-4444-555555555555</uuid>
  <filterref filter='clean-traffic'/>
  <rule action='drop' direction='out'><udp dstportstart='{version}'/></rule>
</filter>"
    )
}

/// Two VMs; good and spoofed frames are the first one's. Its filter is shared by both.
struct Host {
    lan: Lan,
    vm: Vm,
    other: Vm,
    site: Site,
}

impl Host {
    fn new() -> Self {
        let lan = Lan::new().unwrap();
        let vm = lan.vm("vm1", MAC).unwrap();
        let other = lan.vm("vm2", OTHER).unwrap();
        let site = Site::new().unwrap();
        fs::write(site.filters().join("shared.xml"), shared(1)).unwrap();
        fs::write(site.binding("vm1"), binding_xml("vm1", MAC, "shared", IP)).unwrap();
        // So that the first VM is filtered from the beginning.
        site.start(&lan.host).unwrap().end(Signal::SIGTERM).unwrap();
        Self {
            lan,
            vm,
            other,
            site,
        }
    }

    fn start(&self) -> Daemon {
        self.site.start(&self.lan.host).unwrap()
    }

    /// Starts a daemon that dies at that place of that work.
    fn start_to_die(&self, work: &str, place: usize) -> anyhow::Result<Daemon> {
        self.site.start_with(&self.lan.host, |command| {
            command.env("NWFILTER_DIE", format!("{work}:{place}"));
        })
    }

    fn call(&self, call: &Call) -> anyhow::Result<Value> {
        Caller::connect(&self.site)?.call(call)
    }

    fn under_traffic<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        under_traffic(&self.lan, &self.vm, action).unwrap().1
    }

    fn states(&self) -> Vec<(String, String)> {
        let status = self.call(&Call::Status).unwrap();
        let bindings = status["bindings"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        bindings
            .map(|binding| (text(&binding["port"]), text(&binding["state"])))
            .collect()
    }

    fn state(&self, port: &str) -> Option<String> {
        let mut states = self.states().into_iter();
        states
            .find(|(name, _)| name == port)
            .map(|(_, state)| state)
    }

    /// Whether the second VM may pretend to be somebody.
    fn other_may_spoof(&self) -> bool {
        let mut probe = self.lan.probe(&self.other, Direction::Out);
        probe.arrives(&frame(OTHER, [10, 0, 0, 77], 0)).unwrap()
    }
}

fn bind_other(filter: &str, address: &str) -> Call {
    Call::BindingCreate {
        xml: binding_xml("vm2", OTHER, filter, address),
        replace: true,
    }
}

fn unbind_other() -> Call {
    Call::BindingDelete { port: "vm2".into() }
}

/// Has the daemon die at every place of a call, the last time at none. After each death `check` gets
/// whether the call was acknowledged.
fn die_everywhere(
    host: &Host,
    prepare: impl Fn(usize) -> Option<Call> + Sync,
    call: impl Fn(usize) -> Call + Sync,
    check: impl Fn(usize, bool),
) -> usize {
    let name = call(1).name();
    for place in 1.. {
        let daemon = host.under_traffic(|| host.start_to_die(name, place).unwrap());
        if let Some(call) = prepare(place) {
            host.call(&call).unwrap();
        }
        let answer = host.under_traffic(|| host.call(&call(place)));
        let acknowledged = answer.is_ok();
        if acknowledged {
            // No place is left: it is alive.
            check(place, true);
            daemon.end(Signal::SIGTERM).unwrap();
            return place - 1;
        }
        let status = daemon.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{answer:?}");
        assert!(is_filtered(&host.lan, &host.vm).unwrap(), "{name} {place}");
        let again = host.under_traffic(|| host.start());
        check(place, acknowledged);
        again.end(Signal::SIGTERM).unwrap();
    }
    unreachable!()
}

#[test]
fn dying_anywhere_in_a_binding_leaves_it_whole_or_not_at_all() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let mut outcomes = BTreeSet::new();
    let bound = |state: Option<String>| match state.as_deref() {
        Some("enforced") => true,
        None => false,
        other => panic!("{other:?}"),
    };
    let places = RefCell::new(&mut outcomes);
    let create = die_everywhere(
        &host,
        |_| None,
        |_| bind_other("shared", "10.0.0.2"),
        |_, acknowledged| {
            let bound = bound(host.state("vm2"));
            assert!(bound || !acknowledged);
            assert_eq!(host.other_may_spoof(), !bound);
            places.borrow_mut().insert(bound);
            if bound {
                host.call(&unbind_other()).unwrap();
            }
        },
    );
    assert!(create >= 6, "{create} places");
    let delete = die_everywhere(
        &host,
        |_| Some(bind_other("shared", "10.0.0.2")),
        |_| unbind_other(),
        |_, acknowledged| {
            let bound = bound(host.state("vm2"));
            assert!(!bound || !acknowledged);
            assert_eq!(host.other_may_spoof(), !bound);
        },
    );
    assert!(delete >= 4, "{delete} places");
    assert_eq!(outcomes.len(), 2, "before and after");
}

#[test]
fn dying_anywhere_in_a_change_leaves_what_was_or_what_is_to_be() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let version = |place: usize| place as u16 + 1;
    let defined = |place: usize, acknowledged: bool| {
        let filter = "shared".into();
        let text = host.call(&Call::Dumpxml { filter }).unwrap();
        let has = |version: u16| text.as_str().unwrap().contains(&format!("'{version}'"));
        assert!(
            has(version(place)) || !acknowledged && has(version(place) - 1),
            "{text}"
        );
        assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
        if !has(version(place)) {
            host.call(&Call::Define {
                xml: shared(version(place)),
            })
            .unwrap();
        }
    };
    let places = die_everywhere(
        &host,
        |_| None,
        |place| Call::Define {
            xml: shared(version(place)),
        },
        defined,
    );
    assert!(places >= 6, "{places} places");
    // A binding that takes the place of another one.
    let daemon = host.start();
    host.call(&bind_other("shared", "10.0.0.2")).unwrap();
    daemon.end(Signal::SIGTERM).unwrap();
    let replaced = die_everywhere(
        &host,
        |_| None,
        |place| bind_other("shared", ["10.0.0.2", "10.0.0.3"][place % 2]),
        |_, _| assert!(!host.other_may_spoof()),
    );
    assert!(replaced >= 5, "{replaced} places");
}

#[test]
fn dying_anywhere_at_the_start_loses_nothing() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let other = binding_xml("vm2", OTHER, "shared", "10.0.0.2");
    fs::write(host.site.binding("vm2"), other).unwrap();
    host.start().end(Signal::SIGKILL).unwrap();
    for place in 1.. {
        // Every start has something to change: the filter, and the names of both devices.
        let filter = shared(place as u16 + 1);
        fs::write(host.site.filters().join("shared.xml"), filter).unwrap();
        let started = host.under_traffic(|| host.start_to_die("start", place));
        assert!(!host.other_may_spoof(), "{place}");
        if let Ok(daemon) = started {
            assert!(place > 4, "{place} places");
            assert!(host.states().iter().all(|(_, state)| state == "enforced"));
            daemon.end(Signal::SIGTERM).unwrap();
            break;
        }
        assert!(is_filtered(&host.lan, &host.vm).unwrap());
    }
}

/// What a server answers to the second VM: it may have an address for so many seconds.
fn lease(last: u8, seconds: u32) -> Vec<u8> {
    let server = [10, 0, 0, 254];
    let message = Dhcp {
        your_address: [10, 0, 0, last].into(),
        lease: Some(seconds),
        server: Some(server.into()),
        ..Dhcp::new(dhcp::ACK, OTHER)
    };
    Ethernet::new(Lan::OUTSIDE, OTHER).ipv4(
        &Ipv4::new(server, [255; 4]),
        &Udp::new(dhcp::SERVER, dhcp::CLIENT, message.bytes()),
    )
}

#[test]
fn dying_anywhere_while_learning_loses_no_lease_and_gives_none() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let (kept, changing) = ("10.0.0.20", "10.0.0.21");
    let outside = |frame: &[u8]| host.lan.outside().send(frame).unwrap();
    let known = |expected: &[&str]| {
        let binding = learning::wait(&host.site, &host.lan, "vm2", expected).unwrap();
        assert_eq!(binding["state"], "enforced");
    };
    let may_send = |last| {
        let mut probe = host.lan.probe(&host.other, Direction::Out);
        probe.arrives(&frame(OTHER, [10, 0, 0, last], 0)).unwrap()
    };
    let daemon = host.start();
    let dhcp = [("CTRL_IP_LEARNING", "dhcp")];
    learning::bind(&host.site, &host.lan, "vm2", OTHER, "shared", &dhcp).unwrap();
    outside(&lease(20, u32::MAX));
    known(&[kept]);
    daemon.end(Signal::SIGTERM).unwrap();
    let mut died = 0;
    for place in 1.. {
        let mut daemon = host.under_traffic(|| host.start_to_die("learn", place).unwrap());
        // Given and taken in turn.
        let (seconds, before, after) = if place % 2 == 1 {
            (3600, &[kept][..], &[kept, changing][..])
        } else {
            (0, &[kept, changing][..], &[kept][..])
        };
        known(before);
        host.under_traffic(|| {
            outside(&lease(21, seconds));
            let sent = Instant::now();
            let done = |daemon: &mut Daemon| {
                let shown = learning::show(&host.site, &host.lan, "vm2");
                daemon.has_ended().unwrap()
                    || shown.is_ok_and(|binding| learning::addresses(&binding) == after)
            };
            while !done(&mut daemon) {
                assert!(sent.elapsed() < PATIENCE, "place {place}");
            }
        });
        let alive = !daemon.has_ended().unwrap();
        // What is in force counts as acknowledged: the VM may have sent something since.
        let in_force = may_send(21);
        assert!(may_send(20) && !host.other_may_spoof(), "place {place}");
        assert!(is_filtered(&host.lan, &host.vm).unwrap());
        if alive {
            daemon.end(Signal::SIGKILL).unwrap();
        }
        let again = host.under_traffic(|| host.start());
        let expected = in_force == (seconds > 0);
        let shown = learning::show(&host.site, &host.lan, "vm2").unwrap();
        let shown = learning::addresses(&shown);
        assert!(
            shown == after || !expected && shown == before,
            "place {place}: {shown:?}"
        );
        assert_eq!(may_send(21), shown.contains(&changing), "place {place}");
        assert!(may_send(20) && !host.other_may_spoof(), "place {place}");
        if alive {
            assert_eq!(shown, after);
            break;
        }
        died += 1;
        // A server says it again, if it is asked again.
        outside(&lease(21, seconds));
        known(after);
        again.end(Signal::SIGTERM).unwrap();
    }
    assert!(died >= 6, "{died} places");
}

#[test]
fn dying_anywhere_in_an_import_changes_all_sets_or_none() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let import = |place: usize| Call::SetImport {
        sets: ["a", "b"]
            .map(|name| (name.to_owned(), vec![format!("10.1.0.{place}")]))
            .into(),
    };
    let daemon = host.start();
    host.call(&import(0)).unwrap();
    daemon.end(Signal::SIGTERM).unwrap();
    let outcomes = RefCell::new(BTreeSet::new());
    let places = die_everywhere(
        &host,
        |_| None,
        import,
        |place, acknowledged| {
            let elements = ["a", "b"].map(|name| {
                let name = name.into();
                host.call(&Call::SetShow { name }).unwrap()
            });
            let is =
                |place: usize| elements == [(); 2].map(|()| json!([format!("10.1.0.{place}")]));
            assert!(
                is(place) || !acknowledged && is(place - 1),
                "place {place}: {elements:?}"
            );
            outcomes.borrow_mut().insert(is(place));
            if !is(place) {
                host.call(&import(place)).unwrap();
            }
            let left = fs::read_dir(host.site.filters().join("sets")).unwrap();
            assert_eq!(left.count(), 2);
        },
    );
    assert!(places >= 10, "{places} places");
    assert_eq!(outcomes.into_inner().len(), 2, "before and after");
}

#[test]
fn names_that_devices_swap_take_their_filters_along() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let other = binding_xml("vm2", OTHER, "shared", "10.0.0.2");
    fs::write(host.site.binding("vm2"), other).unwrap();
    let swap = || {
        let ip = &host.lan.host;
        ip.ip("link set dev vm1 name x\nlink set dev vm2 name vm1\nlink set dev x name vm2")
            .unwrap();
    };
    // Neither may ever send these, whatever it is called.
    let nobody = |mac| frame(mac, [10, 0, 0, 99], 0);
    let closed = |action: &mut (dyn FnMut() + Send)| {
        std::thread::scope(|scope| {
            let action = scope.spawn(action);
            let mut rounds = 0;
            while !action.is_finished() || rounds < 20 {
                rounds += 1;
                for (vm, mac) in [(&host.vm, MAC), (&host.other, OTHER)] {
                    let mut probe = host.lan.probe(vm, Direction::Out);
                    assert!(!probe.arrives(&nobody(mac)).unwrap(), "{}", vm.port);
                }
            }
            action.join().unwrap();
        });
    };
    let may = |vm: &Vm, mac, last| {
        let mut probe = host.lan.probe(vm, Direction::Out);
        probe.arrives(&frame(mac, [10, 0, 0, last], 0)).unwrap()
    };
    let daemon = host.start();
    // What they are called in between.
    let xml = binding_xml("x", MAC, "shared", "10.0.0.3");
    let replace = false;
    host.call(&Call::BindingCreate { xml, replace }).unwrap();
    let as_desired = || {
        let states = host.states();
        let desired = states.iter().filter(|(_, state)| state == "enforced");
        assert_eq!(desired.count(), 2, "{states:?}");
    };
    closed(&mut || {
        swap();
        as_desired();
    });
    // The daemon may be told of the names one by one.
    let told = Instant::now();
    while !(may(&host.vm, OTHER, 2) && may(&host.other, MAC, 1)) {
        assert!(told.elapsed() < PATIENCE, "{:?}", host.states());
    }
    assert!(!may(&host.vm, MAC, 1) && !may(&host.other, OTHER, 2));
    daemon.end(Signal::SIGKILL).unwrap();
    // And while nobody looks.
    let mut daemon = None;
    closed(&mut || {
        swap();
        daemon = Some(host.start());
    });
    assert!(may(&host.vm, MAC, 1) && may(&host.other, OTHER, 2));
    as_desired();
    assert_eq!(
        fs::read_dir(host.site.pins.join("links")).unwrap().count(),
        4
    );
}

#[test]
fn a_port_that_cannot_be_taken_over_is_the_only_one_to_suffer() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let other = binding_xml("vm2", OTHER, "shared", "10.0.0.2");
    fs::write(host.site.binding("vm2"), other).unwrap();
    host.start().end(Signal::SIGKILL).unwrap();
    let link = host.site.pins.join("links/vm2-in");
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    let daemon = host.under_traffic(|| host.start());
    assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
    assert_eq!(host.state("vm2").as_deref(), Some("missing"));
    assert!(daemon.log().contains("vm2: "), "{}", daemon.log());
    // What can be in force is.
    assert!(!host.other_may_spoof());
    fs::remove_dir(&link).unwrap();
    host.call(&bind_other("shared", "10.0.0.2")).unwrap();
    assert_eq!(host.state("vm2").as_deref(), Some("enforced"));
}

#[test]
fn a_port_that_could_not_be_attached_is_under_its_next_name() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    for port in ["vm2", "vm3"] {
        let other = binding_xml(port, OTHER, "shared", "10.0.0.2");
        fs::write(host.site.binding(port), other).unwrap();
    }
    host.start().end(Signal::SIGKILL).unwrap();
    let link = host.site.pins.join("links/vm2-out");
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    let _daemon = host.start();
    assert_eq!(host.state("vm2").as_deref(), Some("missing"));
    host.lan.host.ip("link set dev vm2 name vm3").unwrap();
    assert_eq!(host.state("vm3").as_deref(), Some("enforced"));
    assert!(!host.other_may_spoof());
    fs::remove_dir(&link).unwrap();
}

#[test]
fn a_port_that_cannot_be_attached_hinders_no_change() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    for port in ["vm2", "vm3"] {
        let other = binding_xml(port, OTHER, "shared", "10.0.0.2");
        fs::write(host.site.binding(port), other).unwrap();
    }
    host.start().end(Signal::SIGKILL).unwrap();
    let links = host.site.pins.join("links");
    fs::remove_file(links.join("vm2-out")).unwrap();
    // One is known and not attached any more, the other never was.
    for hindrance in ["vm2-out", "vm3-out"] {
        fs::create_dir(links.join(hindrance)).unwrap();
    }
    let daemon = host.start();
    host.lan
        .host
        .ip("link add name vm3 type veth peer name far3")
        .unwrap();
    for port in ["vm2", "vm3"] {
        assert_eq!(host.state(port).as_deref(), Some("missing"), "{port}");
    }
    host.under_traffic(|| host.call(&Call::Define { xml: shared(9) }).unwrap());
    assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
    host.call(&Call::Define { xml: shared(4000) }).unwrap();
    assert!(
        is_filtered(&host.lan, &host.vm).is_err(),
        "{}",
        daemon.log()
    );
    assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
    for hindrance in ["vm2-out", "vm3-out"] {
        fs::remove_dir(links.join(hindrance)).unwrap();
    }
}

#[test]
fn another_version_is_relieved_without_a_gap() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let own = host.site.pins.join(format!("v{ABI_VERSION}"));
    let older = host.site.pins.join("v1");
    assert!(is_filtered(&host.lan, &host.vm).unwrap());
    // What is in force is in maps of which this version knows nothing.
    fs::rename(&own, &older).unwrap();
    let daemon = host.under_traffic(|| host.start());
    assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
    assert!(is_filtered(&host.lan, &host.vm).unwrap());
    assert!(own.exists() && !older.exists());
    // Its own rules count: the filter says other things now.
    host.call(&Call::Define { xml: shared(4000) }).unwrap();
    assert!(
        is_filtered(&host.lan, &host.vm).is_err(),
        "{}",
        daemon.log()
    );
}

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
fn ports_that_come_and_go_disturb_no_change() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let daemon = host.start();
    let ports = ["p1", "p2", "p3", "p4"];
    for (number, port) in ports.iter().enumerate() {
        let xml = binding_xml(port, OTHER, "shared", &format!("10.0.1.{number}"));
        host.call(&Call::BindingCreate {
            xml,
            replace: false,
        })
        .unwrap();
    }
    let churn = || {
        // A generator of pseudo-random numbers, the same every time.
        let mut state: u32 = 1;
        let mut present = [false; 4];
        for _ in 0..60 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = (state >> 24) as usize % ports.len();
            let port = ports[number];
            host.lan
                .host
                .ip(&if present[number] {
                    format!("link delete dev {port}")
                } else {
                    format!("link add name {port} type veth peer name far-{port}")
                })
                .unwrap();
            present[number] = !present[number];
        }
        present
    };
    let present = host.under_traffic(|| {
        std::thread::scope(|scope| {
            let churn = scope.spawn(churn);
            let mut version = 10;
            let mut caller = Caller::connect(&host.site).unwrap();
            while !churn.is_finished() {
                version += 1;
                // Ports may vanish on the way.
                let xml = shared(version);
                caller.call(&Call::Define { xml }).unwrap();
            }
            churn.join().unwrap()
        })
    });
    assert_eq!(
        host.state("vm1").as_deref(),
        Some("enforced"),
        "{}",
        daemon.log()
    );
    for (port, present) in ports.iter().zip(present) {
        let expected = if present { "enforced" } else { "waiting" };
        assert_eq!(
            host.state(port).as_deref(),
            Some(expected),
            "{port}: {}",
            daemon.log()
        );
    }
    let present = present.iter().filter(|present| **present).count();
    let links = fs::read_dir(host.site.pins.join("links")).unwrap().count();
    assert_eq!(links, 2 * (1 + present));
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
