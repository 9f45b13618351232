//! Capture files, written here octet by octet: both formats, both byte orders, and broken ones.

use serde_json::Value;

use crate::{
    CLEAN_TRAFFIC, Ran,
    frame::{IP, MAC, OTHER_IP, OTHER_MAC, arp},
    run,
};

/// Numbers in one byte order.
#[derive(Clone, Copy)]
struct Order(bool);

impl Order {
    const LITTLE: Self = Self(false);
    const BIG: Self = Self(true);

    fn u16(self, value: u16) -> [u8; 2] {
        if self.0 {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.0 {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }
}

/// A pcap file (draft-ietf-opsawg-pcap).
fn pcap_with(order: Order, magic: u32, link: u32, frames: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let mut file = order.u32(magic).to_vec();
    file.extend([order.u16(2), order.u16(4)].concat());
    file.extend([0, 0, 65535, link].map(|word| order.u32(word)).concat());
    for (nth, (frame, length)) in (0..).zip(frames) {
        let words = [1 + nth, nth, frame.len() as u32, *length as u32];
        file.extend(words.map(|word| order.u32(word)).concat());
        file.extend(frame);
    }
    file
}

pub(crate) fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let whole: Vec<_> = frames
        .iter()
        .map(|frame| (frame.clone(), frame.len()))
        .collect();
    pcap_with(Order::LITTLE, 0xa1b2_c3d4, 1, &whole)
}

/// A pcapng block (draft-ietf-opsawg-pcapng).
fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut padded = body.to_vec();
    padded.resize(body.len().next_multiple_of(4), 0);
    let length = order.u32(padded.len() as u32 + 12);
    [&order.u32(kind)[..], &length, &padded, &length].concat()
}

fn section(order: Order) -> Vec<u8> {
    let version = [order.u16(1), order.u16(0)].concat();
    block(
        order,
        0x0a0d_0d0a,
        &[&order.u32(0x1a2b_3c4d)[..], &version, &[0xff; 8]].concat(),
    )
}

fn interface(order: Order, link: u16) -> Vec<u8> {
    block(
        order,
        1,
        &[&order.u16(link)[..], &[0; 2], &order.u32(0)].concat(),
    )
}

/// An enhanced packet; `flags` is its `epb_flags`.
fn packet(order: Order, interface: u32, frame: &[u8], flags: Option<u32>) -> Vec<u8> {
    let length = frame.len() as u32;
    let mut body = [interface, 0, 0, length, length]
        .map(|word| order.u32(word))
        .concat();
    body.extend(frame);
    body.resize(body.len().next_multiple_of(4), 0);
    if let Some(flags) = flags {
        body.extend([order.u16(2), order.u16(4)].concat());
        body.extend(order.u32(flags));
        body.extend([0; 4]);
    }
    block(order, 6, &body)
}

fn simple_packet(order: Order, frame: &[u8]) -> Vec<u8> {
    block(
        order,
        3,
        &[&order.u32(frame.len() as u32)[..], frame].concat(),
    )
}

fn explain(file: &[u8], options: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("capture");
    std::fs::write(&path, file).unwrap();
    let args = [
        "--json",
        "explain",
        CLEAN_TRAFFIC,
        "--pcap",
        path.to_str().unwrap(),
    ];
    run(args.iter().chain(options))
}

/// Directions and verdicts of all frames.
fn verdicts(file: &[u8], options: &[&str]) -> Vec<(String, String)> {
    let ran = explain(file, options);
    let document = ran.json();
    let frames = document["frames"]
        .as_array()
        .unwrap_or_else(|| panic!("{ran:?}"));
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(frame["index"], index as u64);
    }
    let text = |frame: &Value, key: &str| frame[key].as_str().unwrap().to_owned();
    let pairs = frames
        .iter()
        .map(|frame| (text(frame, "direction"), text(frame, "verdict")));
    pairs.collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(direction, verdict): &(&str, &str)| ((*direction).into(), (*verdict).into());
    expected.iter().map(own).collect()
}

#[test]
fn pcap_of_either_byte_order_and_resolution() {
    let frames = [arp(MAC, IP), arp(OTHER_MAC, OTHER_IP), arp(MAC, OTHER_IP)];
    let whole = frames.map(|frame| (frame.clone(), frame.len()));
    let expected = pairs(&[("out", "accept"), ("in", "accept"), ("out", "drop")]);
    for order in [Order::LITTLE, Order::BIG] {
        for magic in [0xa1b2_c3d4, 0xa1b2_3c4d] {
            let file = pcap_with(order, magic, 1, &whole);
            assert_eq!(verdicts(&file, &[]), expected, "{magic:x} {}", order.0);
        }
    }
}

#[test]
fn pcapng_flags_tell_the_direction() {
    for order in [Order::LITTLE, Order::BIG] {
        let spoofed = arp(MAC, OTHER_IP);
        let mut file = [section(order), interface(order, 1)].concat();
        file.extend(packet(order, 0, &spoofed, Some(2)));
        file.extend(packet(order, 0, &spoofed, Some(1)));
        // Other bits, and no direction: the source MAC tells.
        file.extend(packet(order, 0, &spoofed, Some(0x1fc)));
        file.extend(packet(order, 0, &spoofed, None));
        file.extend(simple_packet(order, &spoofed));
        let expected = pairs(&[
            ("out", "drop"),
            ("in", "accept"),
            ("out", "drop"),
            ("out", "drop"),
            ("out", "drop"),
        ]);
        assert_eq!(verdicts(&file, &[]), expected);
        let given = verdicts(&file, &["--direction", "in"]);
        assert!(
            given.iter().all(|(direction, _)| direction == "in"),
            "{given:?}"
        );
    }
}

/// The titles of all frames as people see them.
fn titles(file: &[u8]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("capture");
    std::fs::write(&path, file).unwrap();
    let ran = run(["explain", CLEAN_TRAFFIC, "--pcap", path.to_str().unwrap()]);
    let titles = ran.stdout.lines().filter(|line| line.starts_with("frame "));
    titles.map(Into::into).collect()
}

#[test]
fn times_count_from_the_first_frame() {
    let frame = arp(MAC, IP);
    let whole = vec![(frame.clone(), frame.len()); 3];
    for (magic, second) in [(0xa1b2_c3d4, "1.000001"), (0xa1b2_3c4d, "1.000000")] {
        let titles = titles(&pcap_with(Order::BIG, magic, 1, &whole));
        assert_eq!(titles[0], "frame 0, at 0.000000 s, out, 42 bytes");
        assert_eq!(titles[1], format!("frame 1, at {second} s, out, 42 bytes"));
    }

    // Times in 1/1024 s, offset by 5 s.
    let order = Order::LITTLE;
    let mut body = [&order.u16(1)[..], &[0; 2], &order.u32(0)].concat();
    body.extend([&order.u16(9)[..], &order.u16(1), &[0x8a, 0, 0, 0]].concat());
    body.extend(
        [
            &order.u16(14)[..],
            &order.u16(8),
            &5u64.to_le_bytes(),
            &[0; 4],
        ]
        .concat(),
    );
    let mut file = [section(order), block(order, 1, &body)].concat();
    for time in [100, 100 + 512] {
        let mut body = [0, 0, time, 42, 42].map(|word| order.u32(word)).concat();
        body.extend(&frame);
        file.extend(block(order, 6, &body));
    }
    file.extend(simple_packet(order, &frame));
    let expected = [
        "frame 0, at 0.000000 s, out, 42 bytes",
        "frame 1, at 0.500000 s, out, 42 bytes",
        "frame 2, out, 42 bytes",
    ];
    assert_eq!(titles(&file), expected);
}

#[test]
fn sections_describe_their_own_interfaces() {
    let frame = arp(MAC, IP);
    let mut file = [section(Order::LITTLE), interface(Order::LITTLE, 1)].concat();
    file.extend(packet(Order::LITTLE, 0, &frame, None));
    file.extend(
        [
            section(Order::BIG),
            interface(Order::BIG, 113),
            interface(Order::BIG, 1),
        ]
        .concat(),
    );
    file.extend(packet(Order::BIG, 1, &frame, None));
    assert_eq!(verdicts(&file, &[]).len(), 2);
    file.extend(packet(Order::BIG, 0, &frame, None));
    let ran = explain(&file, &[]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr.contains("link type 113, expected 1 (Ethernet)"),
        "{}",
        ran.stderr
    );
    let unknown = [
        section(Order::LITTLE),
        packet(Order::LITTLE, 7, &frame, None),
    ]
    .concat();
    let ran = explain(&unknown, &[]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr.contains("byte 28: a packet of interface 7"),
        "{}",
        ran.stderr
    );
}

#[test]
fn files_without_frames_are_fine() {
    for file in [pcap(&[]), section(Order::LITTLE)] {
        let ran = explain(&file, &[]);
        assert_eq!(
            (ran.status, &ran.json()["frames"]),
            (0, &serde_json::json!([]))
        );
    }
}

#[test]
fn large_files_are_read_to_the_end() {
    let frames = vec![arp(MAC, IP); 20_000];
    assert_eq!(verdicts(&pcap(&frames), &[]).len(), frames.len());
    let mut file = [section(Order::LITTLE), interface(Order::LITTLE, 1)].concat();
    // Frames larger than the usual buffers.
    let mut large = arp(MAC, IP);
    large.resize(70_000, 0);
    for _ in 0..50 {
        file.extend(packet(Order::LITTLE, 0, &large, None));
    }
    assert_eq!(verdicts(&file, &[]).len(), 50);
}

#[test]
fn frames_that_were_cut_are_told() {
    let frame = arp(MAC, IP);
    let file = pcap_with(
        Order::LITTLE,
        0xa1b2_c3d4,
        1,
        &[(frame[..20].to_vec(), frame.len())],
    );
    let ran = explain(&file, &[]);
    assert!(
        ran.stderr.contains("frame 0: only 20 of 42 bytes"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.json()["frames"][0]["reason"], "missing_header");
    assert_eq!(ran.status, 1);
}

#[test]
fn broken_files_are_errors() {
    let good = pcap(&[arp(MAC, IP)]);
    let other_link = pcap_with(Order::LITTLE, 0xa1b2_c3d4, 101, &[]);
    let mut ng = [section(Order::LITTLE), interface(Order::LITTLE, 1)].concat();
    ng.extend(packet(Order::LITTLE, 0, &arp(MAC, IP), None));
    let mut wrong_end = ng.clone();
    let last = wrong_end.len() - 4;
    wrong_end[last] ^= 0xff;
    let cases: [(&[u8], &str); 8] = [
        (b"", "not a capture file, expected pcap or pcapng"),
        (b"<filter/>", "not a capture file"),
        (&good[..20], "not a capture file"),
        (&good[..good.len() - 1], "byte 24: the file ends within"),
        (&good[..30], "byte 24: the file ends within"),
        (&other_link, "link type 101, expected 1 (Ethernet)"),
        (&ng[..ng.len() - 1], "the file ends within"),
        (&wrong_end, "malformed"),
    ];
    for (file, expected) in cases {
        let ran = explain(file, &[]);
        assert_eq!(ran.status, 2, "{expected}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{expected}: {ran:?}");
        assert!(
            ran.json()["error"].as_str().unwrap().contains(expected),
            "{ran:?}"
        );
    }
}
