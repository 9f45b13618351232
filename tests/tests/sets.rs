//! Address sets: made, changed and imported through the daemon; frames follow at once, also after a restart.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    os::unix::fs::OpenOptionsExt as _,
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use nwfilter_common::{MAX_SETS, MacAddr};
use nwfilter_tests::{
    daemon::{Daemon, Site, binding_xml},
    frame::{Ethernet, Ipv4, Udp},
    need::{self, Need},
    net::{Direction, Lan, Vm},
};

const NEEDS: [Need; 3] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::File("/sys/fs/bpf"),
];
const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

fn to(address: [u8; 4], port: u16) -> Vec<u8> {
    Ethernet::new(MAC, Lan::OUTSIDE)
        .ipv4(&Ipv4::new([10, 0, 0, 1], address), &Udp::new(9, port, []))
}

/// A host with a VM that may send to nobody in the set `blocked`.
struct Host {
    vm: Vm,
    site: Site,
    lan: Lan,
}

impl Host {
    fn new() -> Self {
        let lan = Lan::new().unwrap();
        let vm = lan.tap_vm("vnet0", MAC).unwrap();
        let site = Site::new().unwrap();
        fs::write(
            site.filters().join("blocked.xml"),
            "<filter name='blocked'><rule action='drop' direction='out'>\
             <all ipset='blocked' ipsetflags='dst,dst'/></rule></filter>",
        )
        .unwrap();
        let binding = binding_xml("vnet0", MAC, "blocked", "10.0.0.1");
        fs::write(site.binding("vnet0"), binding).unwrap();
        Self { vm, site, lan }
    }

    fn start(&self) -> Daemon {
        self.site.start(&self.lan.host).unwrap()
    }

    /// Runs `set`; returns its exit status and what it prints.
    fn set(&self, arguments: &[&str]) -> (i32, String) {
        let arguments = [&["set"], arguments].concat();
        let output = self.site.run(&self.lan.host, &arguments).unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(text).unwrap(),
        )
    }

    fn import(&self, text: &str) -> (i32, String) {
        let file = self.site.state().join("saved");
        fs::write(&file, text).unwrap();
        self.set(&["import", file.to_str().unwrap()])
    }

    fn status(&self) -> (i32, String) {
        let output = self.site.run(&self.lan.host, &["status"]).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text)
    }

    fn passes(&self, address: [u8; 4], port: u16) -> bool {
        let mut probe = self.lan.probe(&self.vm, Direction::Out);
        probe.arrives(&to(address, port)).unwrap()
    }
}

#[test]
fn frames_follow_sets() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let set = |arguments: &[&str]| host.set(arguments);
    let passes = |address, port| host.passes(address, port);
    let (a, b) = ([10, 1, 0, 1], [10, 1, 0, 2]);
    let daemon = host.start();
    assert!(passes(a, 80), "no set, no members");

    assert_eq!(set(&["create", "blocked", "10.1.0.0/16"]).0, 0);
    assert!(!passes(a, 80));
    assert_eq!(set(&["create", "blocked"]).0, 2, "there is one");
    assert_eq!(set(&["add", "blocked", "10.1.0.1 nomatch"]).0, 0);
    assert!(passes(a, 80));
    assert!(!passes(b, 80));
    assert_eq!(set(&["add", "blocked", "10.1.0.1,udp:80"]).0, 0);
    assert!(!passes(a, 80));
    assert!(passes(a, 81));
    assert_eq!(set(&["add", "blocked", "nonsense", "10.0.0.1"]).0, 1);
    assert_eq!(set(&["del", "blocked", "10.1.0.0/16", "10.1.0.1"]).0, 0);
    assert!(passes(b, 80));
    assert_eq!(set(&["show", "blocked"]), (0, "10.1.0.1,udp:80\n".into()));

    assert!(!passes(a, 80));
    assert_eq!(set(&["add", "blocked", "10.1.0.2"]).0, 0);

    drop(daemon);
    let _daemon = host.start();
    assert!(!passes(b, 80), "sets outlive the daemon");
    assert_eq!(set(&["destroy", "blocked"]).0, 0);
    assert!(passes(b, 80));
    assert_eq!(set(&["show", "blocked"]).0, 2);
}

/// A network: its address, its length, and whether it is an exception.
type Network = (u32, u32, bool);

/// Networks of all lengths from 8 to 32, some in others, some of them exceptions.
fn networks(count: usize) -> Vec<Network> {
    let mut state = 1_u64;
    let mut random = || {
        // As in `java.util.Random`: the upper bits are good enough.
        state = state.wrapping_mul(0x5_deec_e66d).wrapping_add(11) & ((1 << 48) - 1);
        (state >> 16) as u32
    };
    let mut networks = BTreeMap::new();
    while networks.len() < count {
        // Short ones are few, or everything would be in the set.
        let length = 32 - [0, 0, 4, 8, 8, 12, 16, random() % 25][(random() % 8) as usize];
        let host = if length == 32 { 0 } else { u32::MAX >> length };
        networks.insert((random() & !host, length), random() % 4 == 0);
    }
    let networks = networks.into_iter();
    networks
        .map(|((address, length), exception)| (address, length, exception))
        .collect()
}

/// Whether the longest network with that address is one, and no exception.
fn contains(networks: &[Network], address: u32) -> bool {
    let has = |(network, length, _): &&Network| {
        (network ^ address) >> (32 - length).min(31) == 0 && (*length < 32 || *network == address)
    };
    let longest = networks
        .iter()
        .filter(has)
        .max_by_key(|(_, length, _)| *length);
    longest.is_some_and(|(_, _, exception)| !exception)
}

#[test]
fn a_hundred_thousand_networks_are_imported_at_once() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let daemon = host.start();
    let networks = networks(100_000);
    let mut saved =
        "create blocked hash:net family inet hashsize 65536 maxelem 200000\n".to_owned();
    for (address, length, exception) in &networks {
        let suffix = if *exception { " nomatch" } else { "" };
        let address = Ipv4Addr::from(*address);
        writeln!(saved, "add blocked {address}/{length}{suffix}").unwrap();
    }
    assert_eq!(host.import(&saved).0, 0);
    let list = "Name     Elements\nblocked  100000\n";
    assert_eq!(host.set(&["list"]).1, list);
    let check = |step: usize| {
        let mut seen = [0; 2];
        // The first, the last, and the one behind the last.
        for (address, length, _) in networks.iter().step_by(step) {
            let host_part = u32::MAX.checked_shr(*length).unwrap_or(0);
            let last = address | host_part;
            for address in [*address, last, last.wrapping_add(1)] {
                // Frames to these are nobody's.
                if !(1..224).contains(&(address >> 24)) || address >> 24 == 127 {
                    continue;
                }
                let inside = contains(&networks, address);
                seen[usize::from(inside)] += 1;
                let text = Ipv4Addr::from(address);
                assert_eq!(host.passes(text.octets(), 80), !inside, "{text}");
            }
        }
        assert!(seen.iter().all(|seen| *seen > 10), "{seen:?}");
    };
    check(400);
    daemon.end(Signal::SIGKILL).unwrap();
    let _daemon = host.start();
    assert_eq!(host.set(&["list"]).1, list);
    check(4000);
}

#[test]
fn an_import_is_done_for_all_sets_or_for_none() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let _daemon = host.start();
    let (a, b) = ([10, 1, 0, 1], [10, 1, 0, 2]);
    let kernel = |name: &str, elements: &[&str]| {
        let lines = elements
            .iter()
            .map(|element| format!("add {name} {element}\n"));
        format!("create {name} hash:net family inet\n") + &lines.collect::<String>()
    };
    assert_eq!(
        host.import(&kernel("blocked", &["10.1.0.1", "10.2.0.0/16"]))
            .0,
        0
    );
    let unchanged = || {
        assert_eq!(host.set(&["show", "blocked"]).1, "10.1.0.1\n10.2.0.0/16\n");
        assert_eq!(host.set(&["list"]).1.lines().count(), 2);
        assert!(!host.passes(a, 80) && host.passes(b, 80));
        let sets = fs::read_dir(host.site.filters().join("sets")).unwrap();
        assert_eq!(sets.count(), 1);
    };
    unchanged();
    let good = kernel("another", &["10.9.0.0/16"]) + &kernel("blocked", &["10.1.0.2"]);
    for bad in [
        "add blocked nonsense\n",
        "add blocked 10.0.0.0/33\n",
        "create x hash:mac\n",
        "add",
    ] {
        let (status, message) = host.import(&(good.clone() + bad));
        assert_eq!(status, 2, "{message}");
        assert!(
            message.contains("saved") && message.contains("line 5"),
            "{message}"
        );
        unchanged();
    }
    // One more than there may be.
    let many: String = (0..MAX_SETS)
        .map(|i| kernel(&format!("s{i}"), &[]))
        .collect();
    let (status, message) = host.import(&(good.clone() + &many));
    assert_eq!(status, 2, "{message}");
    assert!(message.contains("the limit is 1024"), "{message}");
    unchanged();
    // A file that cannot be written.
    let hindrance = host.site.filters().join("sets/.import");
    fs::write(&hindrance, "").unwrap();
    let (status, message) = host.import(&good);
    assert_eq!(status, 2, "{message}");
    fs::remove_file(&hindrance).unwrap();
    unchanged();
    let batches = [
        ["add", "blocked", "10.1.0.2", "nonsense"],
        ["del", "blocked", "10.1.0.1", "10.7.7.7"],
    ];
    for batch in batches {
        assert_ne!(host.set(&batch).0, 0);
        unchanged();
    }

    assert_eq!(host.import(&good).0, 0);
    assert_eq!(host.set(&["list"]).1.lines().count(), 3);
    assert!(host.passes(a, 80) && !host.passes(b, 80));
}

#[test]
fn a_batch_is_seen_as_a_whole() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let _daemon = host.start();
    assert_eq!(host.set(&["create", "blocked"]).0, 0);
    let batch = AtomicU8::new(0);
    let add = || {
        for number in 0..15 {
            batch.store(number, Ordering::Relaxed);
            let file = host.site.state().join("batch");
            let elements: String = (0..4000)
                .map(|i| format!("10.{number}.{}.{}\n", i / 200, i % 200))
                .collect();
            fs::write(&file, elements).unwrap();
            let done = host.set(&["add", "blocked", "--file", file.to_str().unwrap()]);
            assert_eq!(done.0, 0, "{}", done.1);
        }
    };
    thread::scope(|scope| {
        let add = scope.spawn(add);
        while !add.is_finished() {
            let number = batch.load(Ordering::Relaxed);
            // Elements come in the order of their addresses, if they do not come together.
            if !host.passes([10, number, 0, 0], 80) {
                assert!(!host.passes([10, number, 19, 199], 80), "batch {number}");
            }
        }
        add.join().unwrap();
    });
    assert!(!host.passes([10, 14, 19, 199], 80));
}

#[test]
fn large_changes_hold_up_nobody() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let gate = host.site.state().join("gate");
    mkfifo(&gate, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let daemon = host.site.start_with(&host.lan.host, |command| {
        command.env("NWFILTER_GATE", &gate);
    });
    let _daemon = daemon.unwrap();
    // Possible only while a change is at work, which goes on when this is closed.
    let open = || {
        let mut options = fs::File::options();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        options.open(&gate).ok()
    };
    let during = |change: &(dyn Fn() -> (i32, String) + Sync), meanwhile: &dyn Fn(u32)| {
        thread::scope(|scope| {
            let change = scope.spawn(change);
            let mut times = 0;
            // It may have to begin anew, and then comes to the gate once more.
            while !change.is_finished() {
                if let Some(_opened) = open() {
                    meanwhile(times);
                    times += 1;
                }
                thread::yield_now();
            }
            let (status, message) = change.join().unwrap();
            assert_eq!(status, 0, "{message}");
            assert!(times > 0);
        });
    };
    let [a, b, c] = [1, 2, 3].map(|host| [10, 1, 0, host]);
    let passing = || [a, b, c].map(|address| host.passes(address, 80));

    during(&|| host.set(&["create", "blocked", "10.1.0.1"]), &|time| {
        if time == 0 {
            assert_eq!(host.set(&["list"]).1, "Name  Elements\n");
            assert_eq!(passing(), [true, true, true]);
        }
    });
    assert_eq!(passing(), [false, true, true]);
    // What is done meanwhile is not undone: the change is worked out again.
    during(
        &|| host.set(&["add", "blocked", "10.1.0.2", "10.1.1.0/24"]),
        &|time| {
            if time == 0 {
                assert_eq!(host.set(&["add", "blocked", "10.1.0.3"]).0, 0);
                assert_eq!(passing(), [false, true, false]);
            }
        },
    );
    assert_eq!(passing(), [false, false, false]);
    during(
        &|| host.set(&["del", "blocked", "10.1.0.1", "10.1.1.0/24"]),
        &|time| {
            if time == 0 {
                assert_eq!(host.set(&["del", "blocked", "10.1.0.2"]).0, 0);
                assert_eq!(passing(), [false, true, false]);
            }
        },
    );
    assert_eq!(host.set(&["show", "blocked"]).1, "10.1.0.3\n");
    assert_eq!(passing(), [true, true, false]);
    let saved = "create blocked hash:ip family inet\nadd blocked 10.1.0.1\n";
    during(&|| host.import(saved), &|time| {
        if time == 0 {
            assert_eq!(host.set(&["list"]).1, "Name     Elements\nblocked  1\n");
            assert_eq!(passing(), [true, true, false]);
        }
    });
    assert_eq!(passing(), [false, true, true]);
    // Who changes the set all the time holds up nobody either.
    let most = Cell::new(0);
    during(
        &|| host.set(&["add", "blocked", "10.1.0.2", "10.1.0.3"]),
        &|time| {
            most.set(time);
            if time < 20 {
                let element = format!("10.2.0.{time}");
                assert_eq!(host.set(&["add", "blocked", &element]).0, 0);
            }
        },
    );
    assert!(most.get() < 20, "begun anew for ever");
    assert_eq!(passing(), [false, false, false]);
}

#[test]
fn files_of_sets_are_read_again_when_asked_for() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let daemon = host.start();
    let (a, b) = ([10, 1, 0, 1], [10, 1, 0, 2]);
    assert_eq!(host.set(&["create", "blocked", "10.1.0.1"]).0, 0);
    assert_eq!(host.set(&["create", "other", "10.9.0.1"]).0, 0);
    let path = host.site.filters().join("sets/blocked.set");
    let reload = |text: &str| {
        fs::write(&path, text).unwrap();
        // Signals come before calls.
        daemon.signal(Signal::SIGHUP).unwrap();
        host.status()
    };
    assert_eq!(reload("# by hand\n10.1.0.2\n").0, 0);
    assert_eq!(host.set(&["show", "blocked"]).1, "10.1.0.2\n");
    assert!(host.passes(a, 80) && !host.passes(b, 80));
    let nonsense = "10.1.0.1\nnonsense\n";
    let in_force = || {
        assert!(host.passes(a, 80) && !host.passes(b, 80));
        assert_eq!(fs::read_to_string(&path).unwrap(), nonsense, "kept");
    };
    let (status, text) = reload(nonsense);
    assert_eq!(status, 1);
    assert!(
        text.contains("set blocked: ") && text.contains("`nonsense`"),
        "{text}"
    );
    in_force();
    for arguments in [
        &["create", "blocked", "10.1.0.1"][..],
        &["add", "blocked", "10.1.0.1"],
        &["del", "blocked", "10.1.0.2"],
        &["show", "blocked"],
    ] {
        let (status, message) = host.set(arguments);
        assert_ne!(status, 0);
        assert!(message.contains("cannot be used"), "{message}");
    }
    assert!(host.set(&["list"]).1.contains("`nonsense`"));
    // Others come and go beside it, and so does the daemon.
    assert_eq!(host.set(&["destroy", "other"]).0, 0);
    in_force();
    daemon.end(Signal::SIGKILL).unwrap();
    let daemon = host.start();
    assert_eq!(host.status().0, 1);
    in_force();
    // Only who asks for it gets rid of it.
    assert_eq!(host.set(&["destroy", "blocked"]).0, 0);
    assert!(!path.exists() && host.passes(b, 80));
    assert_eq!(host.status().0, 0);
    fs::write(&path, "10.1.0.2\n").unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    assert_eq!(host.status().0, 0);
    assert!(!host.passes(b, 80));
}
