//! What `explain` says of a rule's conditions leads to the verdict of the tables: `explain` itself
//! compares and complains, so that thousands of odd frames need only be run.

use std::fs;

use crate::{
    CLEAN_TRAFFIC, Documents, binding,
    capture::pcap,
    frame::{IP, MAC, OTHER_IP, OTHER_MAC, arp, ethernet, udp},
    kernel::in_kernel,
    root, run,
};

/// A small generator of numbers (Knuth's MMIX constants), the same ones every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Frames of all kinds, whole.
fn whole() -> Vec<Vec<u8>> {
    let ip6 = |next: u8, payload: &[u8]| {
        let length = (payload.len() as u16).to_be_bytes();
        let addresses = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]].concat();
        let header = [
            &[0x60, 0, 0, 0][..],
            &length,
            &[next, 64],
            &addresses,
            &addresses,
        ];
        ethernet(
            MAC,
            OTHER_MAC,
            0x86dd,
            &[&header.concat()[..], payload].concat(),
        )
    };
    let mut tcp = udp((MAC, IP), (OTHER_MAC, OTHER_IP), 80);
    tcp[23] = 6;
    tcp[17] = 40;
    tcp.extend([0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    let mut icmp = udp((OTHER_MAC, OTHER_IP), (MAC, IP), 0);
    icmp[23] = 1;
    icmp[34] = 8;
    let mut bpdu = ethernet(
        MAC,
        [1, 0x80, 0xc2, 0, 0, 0],
        38,
        &[0x42, 0x42, 3, 0, 0, 0, 0],
    );
    bpdu.resize(60, 1);
    let mut tagged = ethernet(MAC, OTHER_MAC, 0x8100, &[0, 5, 8, 0]);
    tagged.resize(60, 0);
    let hop_by_hop = [17, 0, 0, 0, 0, 0, 0, 0, 0, 53, 0, 53, 0, 8, 0, 0];
    let mut fragment = udp((MAC, IP), (OTHER_MAC, OTHER_IP), 53);
    fragment[21] = 2;
    vec![
        fragment,
        ip6(44, &[51, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0]),
        ip6(44, &[17, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0]),
        arp(MAC, IP),
        arp(OTHER_MAC, OTHER_IP),
        udp((MAC, IP), (OTHER_MAC, OTHER_IP), 53),
        udp((OTHER_MAC, OTHER_IP), (MAC, IP), 40000),
        tcp,
        icmp,
        bpdu,
        tagged,
        ip6(17, &hop_by_hop[8..]),
        ip6(0, &hop_by_hop),
        ip6(58, &[128, 0, 0, 0, 0, 0, 0, 0]),
    ]
}

/// The frames with octets changed and ends cut off.
fn odd(count: usize) -> Vec<Vec<u8>> {
    let whole = whole();
    let mut numbers = Numbers(1);
    let odd = |_| {
        let mut frame = whole[numbers.below(whole.len())].clone();
        for _ in 0..numbers.below(4) {
            let at = numbers.below(frame.len());
            frame[at] = [0, 1, 2, 3, 6, 17, 53, 80, 0x45, 0xff][numbers.below(10)];
        }
        if numbers.below(4) == 0 {
            frame.truncate(numbers.below(frame.len() + 1));
        }
        frame
    };
    (0..count).map(odd).collect()
}

/// Rules of every kind of frame.
const MIXED: &str = "<filter name='mixed'>
  <rule action='drop' direction='inout'><vlan vlanid='5'/></rule>
  <rule action='drop' direction='inout'><stp type='1'/></rule>
  <rule action='accept' direction='out'><stp root-cost='0x01010101'/></rule>
  <rule action='drop' direction='inout'><ipv6 protocol='udp' dstportstart='53'/></rule>
  <rule action='drop' direction='out'><ip match='no' srcipaddr='$IP'/></rule>
  <rule action='drop' direction='out'><mac match='no' srcmacaddr='$MAC'/></rule>
  <rule action='accept' direction='inout'><tcp dstportstart='80'/></rule>
  <rule action='reject' direction='out' statematch='false'><tcp flags='SYN/SYN'/></rule>
  <rule action='accept' direction='in'><icmp type='8'/></rule>
  <rule action='drop' direction='inout'><all srcipaddr='10.0.0.0' srcipmask='24'/></rule>
  <rule action='drop' direction='in'><udp-ipv6 srcportstart='53'/></rule>
  <rule action='accept' direction='out'><icmpv6 type='128'/></rule>
  <rule action='drop' direction='out'><ah-ipv6/></rule>
</filter>";

#[test]
fn the_kernel_agrees_on_odd_frames() {
    let documents = Documents::new(&[
        ("mixed.xml", MIXED),
        (
            "binding.xml",
            &binding("mixed", "<parameter name='IP' value='10.0.0.1'/>"),
        ),
    ]);
    let frames = odd(600);
    let capture = documents.path("odd.pcap");
    fs::write(&capture, pcap(&frames)).unwrap();
    for binding in [CLEAN_TRAFFIC, &documents.path("binding.xml")] {
        for semantics in ["strict", "libvirt"] {
            let args = [
                "--json",
                "explain",
                binding,
                "--pcap",
                &capture,
                "--semantics",
                semantics,
            ];
            let args = args
                .into_iter()
                .chain(["--filter-dir", documents.directory()]);
            let Some(kernel) = in_kernel(args.clone()) else {
                return;
            };
            // It cannot be given all of them, but most.
            assert!(!kernel.stderr.contains("do not agree"), "{}", kernel.stderr);
            let decided = kernel.json()["frames"].take();
            let decided = decided.as_array().unwrap();
            assert!(decided.len() > frames.len() / 2, "{} frames", decided.len());
            let user = run(args).json();
            for frame in decided {
                let index = frame["index"].as_u64().unwrap() as usize;
                assert_eq!(*frame, user["frames"][index], "{binding} {semantics}");
            }
        }
    }
}

#[test]
fn rules_and_tables_agree_on_odd_frames() {
    let documents = Documents::new(&[
        ("mixed.xml", MIXED),
        (
            "binding.xml",
            &binding("mixed", "<parameter name='IP' value='10.0.0.1'/>"),
        ),
    ]);
    let capture = documents.path("odd.pcap");
    fs::write(&capture, pcap(&odd(3000))).unwrap();
    for entry in fs::read_dir(root().join("examples/filters")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(
            &path,
            documents.path(path.file_name().unwrap().to_str().unwrap()),
        )
        .unwrap();
    }
    let mut bindings = vec![CLEAN_TRAFFIC.to_owned(), documents.path("binding.xml")];
    for entry in fs::read_dir(root().join("examples/bindings")).unwrap() {
        bindings.push(entry.unwrap().path().to_str().unwrap().to_owned());
    }
    for binding in bindings {
        for semantics in ["strict", "libvirt"] {
            let args = ["--json", "explain", &binding, "--pcap", &capture];
            let more = [
                "--filter-dir",
                documents.directory(),
                "--semantics",
                semantics,
            ];
            let ran = run(args.into_iter().chain(more));
            assert_eq!(ran.status, 1, "{binding} {semantics} {}", ran.stderr);
            assert!(!ran.stderr.contains("do not agree"), "{}", ran.stderr);
            let document = ran.json();
            let frames = document["frames"].as_array().unwrap();
            assert_eq!(frames.len(), 3000);
            let accepted = frames.iter().filter(|frame| frame["verdict"] == "accept");
            assert!(accepted.count() > 0, "{binding}");
        }
    }
}
