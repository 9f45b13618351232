//! The program in the kernel, on real ports with real frames.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use nwfilter_common::{FAULT_COUNTERS, Fault, MacAddr};
use nwfilter_ctl::{
    compile::Entry,
    kernel::{AttachMode, Change, Datapath, KernelError, Options},
    prepare::Prepared,
};
use nwfilter_tests::{
    bind::prepared,
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
const GATEWAY: [u8; 4] = [10, 0, 0, 254];

/// A frame that the VM sends with this source address.
fn from(ip: [u8; 4]) -> Vec<u8> {
    Ethernet::new(MAC, Lan::OUTSIDE).ipv4(&Ipv4::new(ip, GATEWAY), &Udp::new(1000, 1000, *b"hello"))
}

const OWN: [u8; 4] = [10, 0, 0, 1];
const OTHER: [u8; 4] = [10, 0, 0, 9];

fn clean_traffic(port: &str, ip: [u8; 4]) -> Prepared {
    let ip = std::net::Ipv4Addr::from(ip).to_string();
    prepared(port, MAC, "clean-traffic", &[("IP", &ip)]).unwrap()
}

/// A network with a VM, and a datapath that sees its host.
struct Bench {
    lan: Lan,
    vm: Vm,
}

impl Bench {
    fn new() -> Self {
        let lan = Lan::new().unwrap();
        let vm = lan.tap_vm("vnet0", MAC).unwrap();
        Self { lan, vm }
    }

    fn open(&self, options: Options) -> Datapath {
        self.lan.host.run(|| Datapath::open(options)).unwrap()
    }

    fn apply(&self, datapath: &mut Datapath, changes: &[Change<'_>]) -> Result<(), KernelError> {
        self.lan.host.run(|| datapath.apply(changes))
    }

    fn bind(&self, datapath: &mut Datapath, prepared: &Prepared) {
        self.apply(datapath, &[Change::Bind(prepared.bind("vnet0"))])
            .unwrap();
    }

    fn leaves(&self, frame: &[u8]) -> bool {
        self.lan
            .probe(&self.vm, Direction::Out)
            .arrives(frame)
            .unwrap()
    }

    fn enters(&self, frame: &[u8]) -> bool {
        self.lan
            .probe(&self.vm, Direction::In)
            .arrives(frame)
            .unwrap()
    }
}

/// A pin directory of a test's own, removed at its end.
struct Pins(PathBuf);

impl Pins {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Path::new("/sys/fs/bpf").join(format!("nwfilter-test-{}-{number}", process::id())))
    }

    fn options(&self) -> Options {
        Options {
            pins: Some(self.0.clone()),
            ..Options::default()
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_spoofed_frame_is_dropped_in_both_ways_of_attaching() {
    if !need::met(&NEEDS) {
        return;
    }
    for attach in [AttachMode::Auto, AttachMode::Clsact] {
        let bench = Bench::new();
        assert!(
            bench.leaves(&from(OTHER)),
            "without a filter everything passes"
        );
        let mut datapath = bench.open(Options {
            attach,
            ..Options::default()
        });
        bench.bind(&mut datapath, &clean_traffic("vnet0", OWN));
        assert!(bench.leaves(&from(OWN)), "{attach:?}");
        assert!(!bench.leaves(&from(OTHER)), "{attach:?}");
        let tagged = Ethernet::new(Lan::OUTSIDE, MAC)
            .vlan(7)
            .ipv4(&Ipv4::new(GATEWAY, OWN), &Udp::new(1, 1, *b""));
        assert!(!bench.enters(&tagged), "{attach:?}");

        bench
            .apply(&mut datapath, &[Change::Unbind("vnet0")])
            .unwrap();
        assert!(bench.leaves(&from(OTHER)), "{attach:?}: unbound");
        assert!(bench.enters(&tagged), "{attach:?}: unbound");
    }
}

#[test]
fn counters_and_events_name_the_rule() {
    if !need::met(&NEEDS) {
        return;
    }
    let bench = Bench::new();
    let mut datapath = bench.open(Options::default());
    let prepared = clean_traffic("vnet0", OWN);
    bench.bind(&mut datapath, &prepared);
    let mut events = datapath.events().unwrap();
    let before = datapath.counters("vnet0").unwrap();
    let frame = from(OTHER);
    assert!(!bench.leaves(&frame));

    let after = datapath.counters("vnet0").unwrap();
    let moved: Vec<usize> = (0..after.len())
        .filter(|&i| after[i].packets != before[i].packets)
        .collect();
    let [moved] = moved[..] else {
        panic!("counters moved: {moved:?}")
    };
    assert_eq!(after[moved].packets - before[moved].packets, 1);
    assert_eq!(after[moved].bytes - before[moved].bytes, frame.len() as u64);
    let entry = &prepared.compiled.entries[moved - FAULT_COUNTERS as usize];
    let Entry::Rule(origin) = entry else {
        panic!("{entry}")
    };
    assert_eq!((&*origin.filter, origin.rule), ("no-ip-spoofing", 2));

    let event = events.next().expect("an event");
    assert_eq!(event.entry as usize, moved - FAULT_COUNTERS as usize);
    assert_eq!(event.length as usize, frame.len());
    let captured = usize::from(event.captured);
    assert_eq!(event.snapshot[..captured], frame[..captured]);
    assert!(events.next().is_none());
}

#[test]
fn a_change_takes_the_place_of_what_was_there() {
    if !need::met(&NEEDS) {
        return;
    }
    let bench = Bench::new();
    let mut datapath = bench.open(Options::default());
    for ip in [OWN, OTHER, OWN, OTHER] {
        bench.bind(&mut datapath, &clean_traffic("vnet0", ip));
        assert_eq!(bench.leaves(&from(OWN)), ip == OWN);
        assert_eq!(bench.leaves(&from(OTHER)), ip == OTHER);
    }
    // Another filter altogether, and back.
    let open = prepared("vnet0", MAC, "allow-ipv4", &[]).unwrap();
    bench.bind(&mut datapath, &open);
    assert!(bench.leaves(&from(OWN)));
    assert!(bench.leaves(&from(OTHER)));
    bench.bind(&mut datapath, &clean_traffic("vnet0", OWN));
    assert!(!bench.leaves(&from(OTHER)));
}

#[test]
fn ports_with_the_same_filter_share_its_tables() {
    if !need::met(&NEEDS) {
        return;
    }
    let bench = Bench::new();
    let other = bench
        .lan
        .tap_vm("vnet1", MacAddr([0x52, 0x54, 0, 0, 0, 2]))
        .unwrap();
    let mut datapath = bench.open(Options::default());
    let prepared_other =
        prepared("vnet1", other.mac, "clean-traffic", &[("IP", "10.0.0.9")]).unwrap();
    let own = clean_traffic("vnet0", OWN);
    let changes = [
        Change::Bind(own.bind("vnet0")),
        Change::Bind(prepared_other.bind("vnet1")),
    ];
    bench.apply(&mut datapath, &changes).unwrap();
    let ports = datapath.ports();
    assert_eq!(ports["vnet0"].record.image, ports["vnet1"].record.image);
    assert_ne!(ports["vnet0"].record.slots, ports["vnet1"].record.slots);
    assert!(bench.leaves(&from(OWN)));
    assert!(!bench.leaves(&from(OTHER)));
}

#[test]
fn a_port_without_tables_passes_nothing() {
    if !need::met(&NEEDS) {
        return;
    }
    let bench = Bench::new();
    let mut datapath = bench.open(Options::default());
    let own = clean_traffic("vnet0", OWN);
    let nothing = nwfilter_ctl::kernel::Bind {
        image: None,
        entries: 0,
        learn: nwfilter_ctl::kernel::Learn::default(),
        identities: None,
        ..own.bind("vnet0")
    };
    bench
        .apply(&mut datapath, &[Change::Bind(nothing)])
        .unwrap();
    assert!(!bench.leaves(&from(OWN)));
    let counters = datapath.counters("vnet0").unwrap();
    assert_eq!(counters[Fault::NoImage as usize].packets, 1);
}

#[test]
fn a_device_that_does_not_exist_is_an_error_and_nothing_changes() {
    if !need::met(&NEEDS) {
        return;
    }
    let bench = Bench::new();
    let mut datapath = bench.open(Options::default());
    let (own, absent) = (clean_traffic("vnet0", OWN), clean_traffic("vnet9", OWN));
    let changes = [
        Change::Bind(own.bind("vnet0")),
        Change::Bind(absent.bind("vnet9")),
    ];
    let error = bench.apply(&mut datapath, &changes).unwrap_err();
    assert_eq!(error.to_string(), "there is no network device vnet9");
    assert!(datapath.ports().is_empty());
    assert!(bench.leaves(&from(OTHER)));
}

#[test]
fn filters_outlive_the_process_and_are_taken_over() {
    if !need::met(&NEEDS) {
        return;
    }
    for attach in [AttachMode::Auto, AttachMode::Clsact] {
        let bench = Bench::new();
        let pins = Pins::new();
        let options = Options {
            attach,
            ..pins.options()
        };
        let mut datapath = bench.open(options.clone());
        bench.bind(&mut datapath, &clean_traffic("vnet0", OWN));
        // That a killed daemon leaves them, too, is shown in `daemon.rs`.
        drop(datapath);
        assert!(!bench.leaves(&from(OTHER)), "{attach:?}: abandoned");
        assert!(bench.leaves(&from(OWN)), "{attach:?}: abandoned");

        let mut datapath = bench.open(options.clone());
        assert!(!bench.leaves(&from(OTHER)), "{attach:?}: taken over");
        assert!(bench.leaves(&from(OWN)), "{attach:?}: taken over");
        assert!(datapath.ports().contains_key("vnet0"));
        bench.bind(&mut datapath, &clean_traffic("vnet0", OTHER));
        assert!(
            bench.leaves(&from(OTHER)),
            "{attach:?}: changed after taking over"
        );
        assert!(
            !bench.leaves(&from(OWN)),
            "{attach:?}: changed after taking over"
        );
        drop(datapath);
        assert!(!bench.leaves(&from(OWN)), "{attach:?}: stopped");

        let datapath = bench.open(options);
        bench.lan.host.run(|| datapath.detach_all()).unwrap();
        assert!(bench.leaves(&from(OWN)), "{attach:?}: detached");
        assert!(!pins.0.exists(), "{attach:?}: pins are left");
    }
}

#[test]
fn pins_need_a_bpf_file_system() {
    if !need::met(&NEEDS) {
        return;
    }
    let pins = Some(PathBuf::from("/tmp/nwfilter-test-pins"));
    let Err(error) = Datapath::open(Options {
        pins,
        ..Options::default()
    }) else {
        panic!("pinned on a directory in /tmp");
    };
    assert_eq!(
        error.to_string(),
        "/tmp/nwfilter-test-pins is not on a BPF file system: mount -t bpf bpf /sys/fs/bpf"
    );
}

#[test]
fn a_new_device_of_the_same_name_is_bound_anew() {
    if !need::met(&NEEDS) {
        return;
    }
    let mut bench = Bench::new();
    let pins = Pins::new();
    let mut datapath = bench.open(pins.options());
    bench.bind(&mut datapath, &clean_traffic("vnet0", OWN));
    let first = datapath.ports()["vnet0"].ifindex;
    // Closing the tap removes the device.
    bench.vm = bench.lan.tap_vm("vnet1", MAC).unwrap();
    bench.vm = bench.lan.tap_vm("vnet0", MAC).unwrap();
    assert!(bench.leaves(&from(OTHER)), "a new device has no filter");
    bench.bind(&mut datapath, &clean_traffic("vnet0", OWN));
    assert_ne!(datapath.ports()["vnet0"].ifindex, first);
    assert!(bench.leaves(&from(OWN)));
    assert!(!bench.leaves(&from(OTHER)));
}

#[test]
fn headers_outside_the_linear_part_are_found() {
    if !need::met(&NEEDS) {
        return;
    }
    // A jumbo frame whose headers the sender declares to be 14 bytes long arrives with those 14
    // linear: the rest is in page fragments.
    let lan = Lan::new().unwrap();
    let tap = nwfilter_tests::net::Tap::with_gso(&lan.host, "vnet0").unwrap();
    let mut datapath = lan.host.run(|| Datapath::open(Options::default())).unwrap();
    let own = clean_traffic("vnet0", OWN);
    lan.host
        .run(|| datapath.apply(&[Change::Bind(own.bind("vnet0"))]))
        .unwrap();
    let large = |ip| {
        Ethernet::new(MAC, Lan::OUTSIDE).ipv4(
            &Ipv4::new(ip, GATEWAY),
            &Udp::new(1000, 1000, vec![0; 8900]),
        )
    };
    let count = |rule: (&str, u32)| {
        let counters = datapath.counters("vnet0").unwrap();
        let entries = own
            .compiled
            .entries
            .iter()
            .zip(&counters[FAULT_COUNTERS as usize..]);
        entries
            .filter(|(entry, _)| {
                matches!(entry, Entry::Rule(origin) if (&*origin.filter, origin.rule) == rule)
            })
            .map(|(_, counter)| counter.packets)
            .sum::<u64>()
    };
    tap.send_split(&large(OTHER), 14).unwrap();
    assert_eq!(
        count(("no-ip-spoofing", 2)),
        1,
        "a spoofed one is seen as such"
    );
    tap.send_split(&large(OWN), 14).unwrap();
    assert_eq!(count(("clean-traffic", 0)), 1, "an honest one passes");
}
