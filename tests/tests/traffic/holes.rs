//! What somebody makes up to get past a filter.
//!
//! Datagrams in pieces: over each other, in any order and number, of two datagrams with one
//! identification, with lengths that lie, behind chains of headers. Kernels put together what passes; a
//! socket on a port that the filter closes must never hear anything. And frames of every kind from a
//! VM with `clean-traffic`: nothing arrives that is not under its own addresses.
//!
//! What is sent is the same every time; `NWFILTER_TEST_SEED=N` takes something else, and
//! `NWFILTER_TEST_LONG=1` a lot more.

use std::{
    fmt::Write as _,
    net::{IpAddr, UdpSocket},
    os::fd::AsRawFd as _,
};

use nix::errno::Errno;
use nwfilter_ctl::model::Semantics;
use nwfilter_tests::{
    frame::internet_checksum,
    generate::{self, Options},
    need::{self, Need},
    net::{Endpoint, Lan, in_order},
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    NEEDS,
    fragments::{PORTS, STATES},
    stacks::{Bound, MAC, PORT, SERVER_MAC, Stacks, Version, is_silent, udp},
};

fn seed() -> u64 {
    std::env::var("NWFILTER_TEST_SEED").map_or(1, |seed| seed.parse().unwrap())
}

fn long() -> bool {
    std::env::var_os("NWFILTER_TEST_LONG").is_some()
}

const OPEN: u16 = 5000;
const CLOSED: u16 = 5001;

/// Datagrams in one round: what was sent since the last one is printed when something gets through.
const ROUND: usize = 20;

/// `SplitMix64` (Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }

    /// Whether it happens, once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }
}

/// A part of a datagram as it is sent.
#[derive(Clone, Copy)]
struct Piece {
    /// Where it begins, in units of eight bytes.
    offset: usize,
    length: usize,
    more: bool,
    port: u16,
}

/// Bytes of a datagram to this port, with its header again in each unit of eight. Without a
/// checksum, so that receivers take it however it was put together.
fn bytes(piece: Piece) -> Vec<u8> {
    let [high, low] = piece.port.to_be_bytes();
    let header = [0x0f, 0xa0, high, low, 0, 12, 0, 0];
    header.into_iter().cycle().take(piece.length).collect()
}

/// The pieces that one identification is used for.
fn pieces(dice: &mut Dice) -> Vec<Piece> {
    let port = dice.pick(&[OPEN, OPEN, CLOSED]);
    let mut pieces = Vec::new();
    // What an honest sender would send,
    let total = dice.pick(&[16, 24, 32, 40]);
    let cut = dice.pick(&[1, 1, 2, total / 8]).min(total / 8);
    for (offset, length) in [(0, cut * 8), (cut, total - cut * 8)] {
        if length > 0 {
            let more = offset * 8 + length < total;
            pieces.push(Piece {
                offset,
                length,
                more,
                port,
            });
        }
    }
    // and what else comes to mind.
    for _ in 0..dice.pick(&[0, 0, 1, 1, 2, 3]) {
        let at = dice.next() as usize % (pieces.len() + 1);
        let piece = Piece {
            offset: dice.pick(&[0, 0, 0, 1, 1, 2, 3, 4]),
            length: dice.pick(&[8, 8, 16, 24, 32, 4, 2, 12, 0]),
            more: !dice.once_in(3),
            port: dice.pick(&[OPEN, CLOSED]),
        };
        pieces.insert(at, piece);
    }
    for _ in 0..dice.pick(&[0, 0, 0, 1, 2]) {
        let (a, b) = (dice.next() as usize, dice.next() as usize);
        let count = pieces.len();
        pieces.swap(a % count, b % count);
    }
    if dice.once_in(4) {
        let again = dice.pick(&pieces);
        pieces.push(again);
    }
    pieces
}

/// A fragment of version 4.
fn v4(dice: &mut Dice, piece: Piece, id: u16, ends: [[u8; 4]; 2]) -> Vec<u8> {
    let options: &[u8] = dice.pick(&[&[], &[], &[1; 4], &[1; 40]]);
    let payload = bytes(piece);
    let length = 20 + options.len() + payload.len();
    let told = match dice.next() % 20 {
        0 => length.saturating_sub(8),
        1 => length + 8,
        2 => length + 1000,
        3 => 20,
        _ => length,
    };
    let protocol = if dice.once_in(20) { 6 } else { 17 };
    let reserved = if dice.once_in(20) { 0xc000 } else { 0 };
    let whole = piece.offset == 0 && !piece.more;
    let bits = piece.offset as u16 | u16::from(piece.more) << 13 | if whole { 0 } else { reserved };
    let mut header = vec![0x45 + (options.len() / 4) as u8, 0];
    header.extend((told as u16).to_be_bytes());
    header.extend([id.to_be_bytes(), bits.to_be_bytes()].concat());
    header.extend([64, protocol, 0, 0]);
    header.extend(ends.concat());
    header.extend(options);
    let checksum = internet_checksum(&[&header]);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header.extend(payload);
    header
}

/// A fragment of version 6, with more headers around the fragment header.
fn v6(dice: &mut Dice, piece: Piece, id: u16, ends: [[u8; 16]; 2]) -> Vec<u8> {
    const OPTIONS: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
    const ROUTING: [u8; 8] = [0, 0, 253, 0, 0, 0, 0, 0];
    let fragment = |offset: usize, more: bool, id: u32| {
        let bits = (offset << 3) as u16 | u16::from(more);
        let [b0, b1] = bits.to_be_bytes();
        let [i0, i1, i2, i3] = id.to_be_bytes();
        [0, 0, b0, b1, i0, i1, i2, i3]
    };
    let mut headers: Vec<(u8, [u8; 8])> = Vec::new();
    if dice.once_in(6) {
        headers.push((0, OPTIONS));
    }
    for _ in 0..dice.pick(&[0, 0, 0, 1, 2]) {
        let header = dice.pick(&[(60, OPTIONS), (43, ROUTING), (44, fragment(0, false, 7))]);
        headers.push(header);
    }
    headers.push((44, fragment(piece.offset, piece.more, id.into())));
    if piece.offset == 0 && dice.once_in(6) {
        let nested = fragment(dice.pick(&[0, 0, 1]), dice.once_in(2), u32::from(id) + 1);
        let header = dice.pick(&[(60, OPTIONS), (43, ROUTING), (44, nested)]);
        headers.push(header);
    }
    let last = match dice.next() % 12 {
        0 if piece.offset > 0 => dice.pick(&[60, 44, 253, 6]),
        _ => 17,
    };
    let mut packet = Vec::new();
    for (position, (_, header)) in headers.iter().enumerate() {
        let mut header = *header;
        header[0] = headers.get(position + 1).map_or(last, |next| next.0);
        packet.extend(header);
    }
    packet.extend(bytes(piece));
    let told = match dice.next() % 20 {
        0 => packet.len().saturating_sub(8),
        1 => packet.len() + 8,
        _ => packet.len(),
    };
    let mut whole = vec![0x60, 0, 0, 0];
    whole.extend((told as u16).to_be_bytes());
    whole.extend([headers[0].0, 64]);
    whole.extend(ends.concat());
    whole.extend(packet);
    whole
}

/// Where datagrams go, and who listens there.
struct Way<'a> {
    name: String,
    end: &'a dyn Endpoint,
    ethernet: Vec<u8>,
    from: IpAddr,
    to: IpAddr,
    open: UdpSocket,
    closed: UdpSocket,
}

impl Way<'_> {
    fn frame(&self, dice: &mut Dice, piece: Piece, id: u16) -> Vec<u8> {
        let (kind, packet) = match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ([8, 0], v4(dice, piece, id, [from.octets(), to.octets()]))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => (
                [0x86, 0xdd],
                v6(dice, piece, id, [from.octets(), to.octets()]),
            ),
            _ => unreachable!("both ends are of one version"),
        };
        let mut frame = [&self.ethernet[..], &kind, &packet].concat();
        if dice.once_in(20) {
            frame.truncate(14 + packet.len() * 3 / 4);
        }
        if dice.once_in(10) {
            frame.resize(frame.len().max(60), 0);
        }
        frame
    }
}

/// The four ways: both directions and versions.
fn ways(stacks: &Stacks) -> Vec<Way<'_>> {
    let mut ways = Vec::new();
    for version in Version::BOTH {
        let (vm, server) = (version.vm(), version.server());
        let inwards = (stacks.inside(), &*stacks.server.end, vm, server, "in");
        let outwards = (stacks.outside(), &*stacks.vm.end, server, vm, "out");
        for (namespace, end, to, from, direction) in [inwards, outwards] {
            let socket = |port| {
                let socket = udp(namespace, to, port);
                if version == Version::V6 {
                    take_without_checksum(&socket);
                }
                socket
            };
            let macs = if direction == "in" {
                [MAC.0, SERVER_MAC.0]
            } else {
                [SERVER_MAC.0, MAC.0]
            };
            ways.push(Way {
                name: format!("{version:?} {direction}"),
                end,
                ethernet: macs.concat(),
                from,
                to,
                open: socket(OPEN),
                closed: socket(CLOSED),
            });
        }
    }
    ways
}

/// Has an IPv6 socket take datagrams without checksum, as those of IPv4 do (RFC 6935).
fn take_without_checksum(socket: &UdpSocket) {
    /// `linux/udp.h`
    const UDP_NO_CHECK6_RX: libc::c_int = 102;
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, and that is what it is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_UDP,
            UDP_NO_CHECK6_RX,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    Errno::result(result).unwrap();
}

/// How many datagrams have come.
fn heard(socket: &UdpSocket) -> usize {
    let mut heard = 0;
    while !is_silent(socket) {
        heard += 1;
    }
    heard
}

/// Sends datagrams in all ways; how many the open and the closed port heard in each. `sent` gets to
/// see each round whose closed port has heard something.
fn play(
    stacks: &Stacks,
    ways: &[Way<'_>],
    rounds: usize,
    mut leaked: impl FnMut(&Way<'_>, &[Vec<u8>]),
) -> Vec<(usize, usize)> {
    let mut dice = Dice(seed());
    let mut counts = vec![(0, 0); ways.len()];
    let mut id = 0_u16;
    for _ in 0..rounds {
        for (way, (open, closed)) in ways.iter().zip(&mut counts) {
            let mut frames = Vec::new();
            for _ in 0..ROUND {
                // Now and then one that has been used.
                id = id.wrapping_add(if dice.once_in(10) { 0 } else { 2 });
                for piece in pieces(&mut dice) {
                    frames.push(way.frame(&mut dice, piece, id));
                }
            }
            in_order(|| {
                frames.iter().try_for_each(|frame| way.end.send(frame))?;
                stacks.lan.settle(4)
            })
            .unwrap();
            *open += heard(&way.open);
            let leaks = heard(&way.closed);
            *closed += leaks;
            if leaks > 0 {
                leaked(way, &frames);
            }
        }
    }
    counts
}

#[test]
fn no_closed_port_hears_of_made_up_fragments() {
    if !need::met(&NEEDS) {
        return;
    }
    let rounds = if long() { 500 } else { 10 };
    for filter in [PORTS, STATES] {
        let mut stacks = Stacks::new(filter, &Version::BOTH);
        let counts = play(&stacks, &ways(&stacks), rounds, |way, frames| {
            let mut text = String::new();
            for frame in frames {
                for byte in frame {
                    write!(text, "{byte:02x}").unwrap();
                }
                text.push('\n');
            }
            panic!("{}: the closed port heard something of\n{text}", way.name);
        });
        for (open, _) in counts {
            assert!(open > rounds, "only {open} datagrams passed");
        }
        // Without the filter, all that would have reached it.
        let host = &stacks.lan.host;
        stacks.bound.unbind(host);
        for (_, closed) in play(&stacks, &ways(&stacks), 10, |_, _| {}) {
            assert!(
                closed > 20,
                "only {closed} datagrams could have got through"
            );
        }
    }
}

/// Whether a frame can only be the VM's own, read as its receivers read it.
fn is_own(frame: &[u8]) -> bool {
    const IP: [u8; 4] = [10, 0, 0, 1];
    let field = |at: usize, bytes: &[u8]| frame.get(at..at + bytes.len()) == Some(bytes);
    if !field(6, &MAC.0) {
        return false;
    }
    match frame.get(12..14) {
        Some([0x08, 0x00]) => {
            // DHCP asks from nowhere.
            let asks = field(26, &[0; 4]) && field(23, &[17]);
            let version = frame.get(14).is_some_and(|first| first >> 4 == 4);
            version && (field(26, &IP) || asks)
        }
        Some([0x08, 0x06]) => {
            frame.len() >= 42
                && field(14, &[0, 1, 8, 0, 6, 4])
                && field(22, &MAC.0)
                && field(28, &IP)
        }
        // What QEMU announces, which has no addresses but the VM's.
        Some([0x80, 0x35]) => {
            let macs = field(22, &MAC.0) && field(32, &MAC.0);
            field(0, &[0xff; 6]) && macs && field(28, &[0; 4]) && field(38, &[0; 4])
        }
        Some([0x08, 0x35]) => true,
        _ => false,
    }
}

#[test]
fn whatever_a_vm_sends_is_its_own() {
    if !need::met(&[&NEEDS[..], &[Need::File("/dev/net/tun")]].concat()) {
        return;
    }
    let lan = Lan::new().unwrap();
    let vm = lan.tap_vm(PORT, MAC).unwrap();
    let clean = "<filter name='clean'><filterref filter='clean-traffic'/></filter>";
    let mut bound = Bound::new(&lan.host, clean);
    let mut seeds = [0; 32];
    seeds[..8].copy_from_slice(&seed().to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seeds);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = generate::frames(Options {
        frames: 100,
        ..Options::new(Semantics::Strict)
    });
    let mut dice = Dice(seed());
    let mut arrivals = |bytes: &mut dyn FnMut(&mut Vec<u8>)| {
        let sent = strategy.new_tree(&mut runner).unwrap().current();
        let mut frames: Vec<_> = sent.into_iter().map(|sent| sent.bytes).collect();
        frames.iter_mut().for_each(bytes);
        // The tap takes no others.
        frames.retain(|frame| frame.len() >= 14);
        lan.outside().drain().unwrap();
        in_order(|| {
            frames.iter().try_for_each(|frame| vm.end.send(frame))?;
            lan.settle(2)
        })
        .unwrap();
        let mut arrived = lan.outside().drain().unwrap();
        arrived.retain(|frame| frames.contains(frame));
        arrived
    };
    let mut own = 0;
    for _ in 0..if long() { 1000 } else { 100 } {
        let arrived = arrivals(&mut |frame| {
            // Mostly from the VM, as whoever cheats would have it.
            if !dice.once_in(4) && frame.len() >= 12 {
                frame[6..12].copy_from_slice(&MAC.0);
            }
            if dice.once_in(3) && !frame.is_empty() {
                let at = dice.next() as usize % frame.len().min(60);
                frame[at] = dice.pick(&[0, 1, 4, 6, 8, 0x45, 0x46, 0xff, dice.0 as u8]);
            }
        });
        for frame in &arrived {
            assert!(is_own(frame), "{frame:02x?}");
        }
        own += arrived.len();
    }
    assert!(own > 100, "only {own} frames arrived");
    bound.unbind(&lan.host);
    let others = (0..10)
        .flat_map(|_| arrivals(&mut |_| {}))
        .filter(|frame| !is_own(frame));
    assert!(others.count() > 50);
}
