//! Sequences of frames in which some answer, repeat or complain about earlier ones.

use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::{
    Options, Theme,
    frame::{frame, tcp_flags},
    pool,
};
use crate::{
    judge::FrameDirection,
    wire::{self, Ipv4, Ipv6},
};

/// A frame at the port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Where it goes.
    pub direction: FrameDirection,
    /// From the Ethernet header on, without checksum.
    pub bytes: Vec<u8>,
    /// When, in nanoseconds; never before the frame that precedes it.
    pub now: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Fresh(FrameDirection, Vec<u8>),
    /// An earlier frame once more.
    Repeat(Index),
    /// The answer to an earlier frame.
    Answer(Index),
    /// An ICMP error about an earlier frame.
    Complain(Index),
    /// An earlier frame once more or its answer; of TCP, with these flags.
    Segment(Index, bool, u8),
}

/// A sequence.
pub(super) fn sequence(options: Options, theme: Theme) -> BoxedStrategy<Vec<Sent>> {
    let index = any::<Index>;
    let step = prop_oneof![
        6 => frame(theme).prop_map(|(direction, bytes)| Step::Fresh(direction, bytes)),
        1 => index().prop_map(Step::Repeat),
        3 => index().prop_map(Step::Answer),
        1 => index().prop_map(Step::Complain),
        3 => (index(), any::<bool>(), tcp_flags())
            .prop_map(|(index, back, flags)| Step::Segment(index, back, flags)),
    ];
    // Long enough to outlive this or that entry, and off its exact end. Ends need not move for what
    // comes within a second.
    let pauses = prop::sample::select(vec![3_u64, 11, 25, 31, 65, 125, 215, 305, 605, 432_005]);
    let pause = if options.time {
        option::weighted(0.08, pauses).boxed()
    } else {
        Just(None).boxed()
    };
    vec((step, pause), 1..=options.frames)
        .prop_map(play)
        .boxed()
}

fn play(steps: Vec<(Step, Option<u64>)>) -> Vec<Sent> {
    let mut sent: Vec<Sent> = Vec::new();
    let mut now = 1_000_000_000_000;
    for (step, pause) in steps {
        if !sent.is_empty() {
            now += pause.unwrap_or(0) * 1_000_000_000;
        }
        let earlier = |index: &Index| (!sent.is_empty()).then(|| index.get(&sent));
        let frame = match &step {
            Step::Fresh(direction, bytes) => Some((*direction, bytes.clone())),
            Step::Repeat(index) => earlier(index).map(|sent| (sent.direction, sent.bytes.clone())),
            Step::Answer(index) => {
                earlier(index).map(|sent| (opposite(sent.direction), answer(&sent.bytes)))
            }
            Step::Complain(index) => earlier(index)
                .and_then(|sent| Some((opposite(sent.direction), complaint(&sent.bytes)?))),
            Step::Segment(index, back, flags) => earlier(index).map(|sent| {
                let (direction, mut bytes) = if *back {
                    (opposite(sent.direction), answer(&sent.bytes))
                } else {
                    (sent.direction, sent.bytes.clone())
                };
                set_tcp_flags(&mut bytes, *flags);
                (direction, bytes)
            }),
        };
        if let Some((direction, bytes)) = frame {
            sent.push(Sent {
                direction,
                bytes,
                now,
            });
        }
    }
    sent
}

fn opposite(direction: FrameDirection) -> FrameDirection {
    match direction {
        FrameDirection::In => FrameDirection::Out,
        FrameDirection::Out => FrameDirection::In,
    }
}

/// The frame with both ends exchanged, as far as it has them; a TCP SYN becomes a SYN with ACK, an
/// ICMP request its reply.
fn answer(frame: &[u8]) -> Vec<u8> {
    let mut answer = frame.to_vec();
    exchange(&mut answer, 0, 6, 6);
    let Some((protocol, at)) = transport(frame) else {
        return answer;
    };
    if frame[12] == 0x08 {
        exchange(&mut answer, 26, 30, 4);
    } else {
        exchange(&mut answer, 22, 38, 16);
    }
    if matches!(protocol, 6 | 17 | 33 | 132 | 136) {
        exchange(&mut answer, at, at + 2, 2);
    }
    let is_syn = || frame.len() >= at + 20 && frame[at + 13] == 0x02;
    let is_icmp = || frame.len() >= at + 8;
    match protocol {
        6 if is_syn() => turn(&mut answer, at + 12, at + 16, 0x0010),
        1 if is_icmp() && frame[at] == 8 => turn(&mut answer, at, at + 2, 0x0800),
        1 if is_icmp() && frame[at] == 13 => turn(&mut answer, at, at + 2, 0x0300),
        1 if is_icmp() && frame[at] == 15 => turn(&mut answer, at, at + 2, 0x1f00),
        1 if is_icmp() && frame[at] == 17 => turn(&mut answer, at, at + 2, 0x0300),
        58 if is_icmp() && frame[at] == 128 => turn(&mut answer, at, at + 2, 0x0100),
        58 if is_icmp() && frame[at] == 139 => turn(&mut answer, at, at + 2, 0x0700),
        _ => {}
    }
    answer
}

/// Protocol and offset of what follows a plain IP header.
fn transport(frame: &[u8]) -> Option<(u8, usize)> {
    match frame.get(12..14)? {
        [0x08, 0x00] if frame.len() >= 34 && frame[14] == 0x45 => Some((frame[23], 34)),
        [0x86, 0xdd] if frame.len() >= 54 => Some((frame[20], 54)),
        _ => None,
    }
}

fn set_tcp_flags(frame: &mut [u8], flags: u8) {
    if let Some((6, at)) = transport(frame)
        && frame.len() >= at + 20
    {
        let bits = u16::from(frame[at + 13] ^ flags);
        turn(frame, at + 12, at + 16, bits);
    }
}

fn exchange(frame: &mut [u8], a: usize, b: usize, length: usize) {
    if frame.len() >= b + length {
        for i in 0..length {
            frame.swap(a + i, b + i);
        }
    }
}

/// Turns bits of the 16-bit word at `at` and keeps the checksum at `checksum` right (RFC 1624).
fn turn(frame: &mut [u8], at: usize, checksum: usize, bits: u16) {
    let word = |frame: &[u8], at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let old = word(frame, at);
    let new = old ^ bits;
    let mut sum = u32::from(!word(frame, checksum)) + u32::from(!old) + u32::from(new);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[at..at + 2].copy_from_slice(&new.to_be_bytes());
    frame[checksum..checksum + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// "Port unreachable" about an IP frame, from somebody to its sender.
fn complaint(frame: &[u8]) -> Option<Vec<u8>> {
    let quoted = frame.get(14..)?;
    let (ethertype, packet) = match frame.get(12..14)? {
        [0x08, 0x00] => {
            let source: [u8; 4] = quoted.get(12..16)?.try_into().ok()?;
            let quoted = &quoted[..quoted.len().min(28)];
            let ip = Ipv4 {
                source: pool::IPV4[2],
                destination: source.into(),
                protocol: 1,
                ..Ipv4::default()
            };
            (0x0800, ip.packet(&wire::icmp(3, 3, [0; 4], quoted)))
        }
        [0x86, 0xdd] => {
            let source: [u8; 16] = quoted.get(8..24)?.try_into().ok()?;
            let ip = Ipv6 {
                source: pool::IPV6[2],
                destination: source.into(),
                protocol: 58,
                ..Ipv6::default()
            };
            (0x86dd, ip.packet(&wire::icmp(1, 4, [0; 4], quoted)))
        }
        _ => return None,
    };
    let mac = |at: usize| nwfilter_common::MacAddr(std::array::from_fn(|i| frame[at + i]));
    Some(wire::ethernet(mac(6), mac(0), ethertype, &packet))
}
