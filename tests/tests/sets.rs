//! Address sets: made, changed and imported through the daemon; frames follow at once, also after a restart.

use std::{fmt::Write as _, fs};

use nwfilter_common::MacAddr;
use nwfilter_tests::{
    daemon::{Site, binding_xml},
    frame::{Ethernet, Ipv4, Udp},
    need::{self, Need},
    net::{Direction, Lan},
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

#[test]
fn frames_follow_sets() {
    if !need::met(&NEEDS) {
        return;
    }
    let lan = Lan::new().unwrap();
    let vm = lan.tap_vm("vnet0", MAC).unwrap();
    let site = Site::new().unwrap();
    fs::write(
        site.filters().join("blocked.xml"),
        "<filter name='blocked'><rule action='drop' direction='out'>\
         <all ipset='blocked' ipsetflags='dst,dst'/></rule></filter>",
    )
    .unwrap();
    let set = |arguments: &[&str]| {
        let output = site
            .run(&lan.host, &[&["set"], arguments].concat())
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text)
    };
    let passes = |address, port| {
        lan.probe(&vm, Direction::Out)
            .arrives(&to(address, port))
            .unwrap()
    };
    let (a, b) = ([10, 1, 0, 1], [10, 1, 0, 2]);
    let binding = binding_xml("vnet0", MAC, "blocked", "10.0.0.1");
    fs::write(site.binding("vnet0"), binding).unwrap();
    let daemon = site.start(&lan.host).unwrap();
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

    // Many, from the kernel's format.
    let mut saved = "create blocked hash:net family inet\n".to_owned();
    for i in 0..20_000_u32 {
        let [_, _, high, low] = i.to_be_bytes();
        writeln!(saved, "add blocked 172.{high}.{low}.0/24").unwrap();
    }
    writeln!(saved, "add blocked 10.1.0.2").unwrap();
    let file = site.filters().join("saved");
    fs::write(&file, saved).unwrap();
    assert_eq!(set(&["import", file.to_str().unwrap()]).0, 0);
    assert_eq!(set(&["list"]).1, "Name     Elements\nblocked  20001\n");
    assert!(!passes(b, 80));
    assert!(passes(a, 80), "what was there is replaced");

    drop(daemon);
    let _daemon = site.start(&lan.host).unwrap();
    assert!(!passes(b, 80), "sets outlive the daemon");
    assert_eq!(set(&["destroy", "blocked"]).0, 0);
    assert!(passes(b, 80));
    assert_eq!(set(&["show", "blocked"]).0, 2);
}
