//! The answer to a rejected frame: an ICMP "port unreachable" from whom the frame was meant for (RFC 792, RFC 4443).
//! Makes the bytes; sending them is for the program.
//!
//! The kernel program turns the rejected frame into its answer, since it cannot make a frame.

use crate::{
    class::Class,
    ct::is_icmp_query,
    engine::Pages,
    field::{Field, Fields, word},
    packet::Packet,
    work::{Work, recall},
};

/// Answers per second of a port, unless set otherwise.
pub const DEFAULT_ANSWERS: u32 = 100;

/// Answers that a port can send at once: a second's.
const BURST: u64 = 1_000_000_000;

/// Words of 4 bytes of the rejected packet that an answer quotes at most: 128 bytes.
const QUOTED_WORDS: usize = 32;

/// Pairs of bytes of an Ethernet header.
const ETHERNET: usize = 7;

/// Pairs of bytes of an answer: a power of two that the longest does not reach.
const PAIRS: usize = 128;

/// The bytes of an answer, in pairs.
pub(crate) type AnswerBytes = [u16; PAIRS];

pub(crate) const NO_ANSWER: AnswerBytes = [0; PAIRS];

/// Writes a word of 4 bytes.
#[inline(always)]
fn put(bytes: &mut AnswerBytes, at: usize, word: u64) {
    bytes[at % PAIRS] = ((word >> 16) as u16).to_be();
    bytes[(at + 1) % PAIRS] = (word as u16).to_be();
}

/// Writes half an IPv6 address.
#[inline(always)]
fn put64(bytes: &mut AnswerBytes, at: usize, half: u64) {
    put(bytes, at, half >> 32);
    put(bytes, at + 2, half);
}

/// An answer whose bytes are in the working memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Bytes.
    pub len: u32,
    /// Offset of the rejected frame's transport header.
    pub transport: u32,
}

/// What a port has answered. Part of the ABI.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Answers {
    /// When the answers so far would all have been sent at an even pace, nanoseconds.
    pub due: u64,
    /// Answers sent.
    pub sent: u64,
    /// Frames that were not answered because there were too many.
    pub suppressed: u64,
}

impl Answers {
    /// Whether another answer may be sent now, at so many per second; `due` then. The generic cell rate
    /// algorithm (ITU-T I.371).
    #[inline(always)]
    pub const fn may_send(&self, now: u64, per_second: u32) -> Option<u64> {
        if per_second == 0 {
            return None;
        }
        let due = if self.due > now { self.due } else { now };
        let interval = 1_000_000_000 / per_second as u64;
        if due - now + interval > BURST {
            return None;
        }
        Some(due + interval)
    }
}

/// Makes the answer to the frame that was decided last, which the inet layer has rejected; `None` if it gets none: later fragments, what is
/// not from or not for a single host, errors (RFC 1122 section 3.2.2, RFC 4443 section 2.4), and what has no valid
/// transport header.
#[inline(always)]
pub fn answer<P: Packet + ?Sized, I: Pages + ?Sized>(
    packet: &P,
    image: &I,
    work: &mut Work,
) -> Option<Answer> {
    const OTHER: usize = Class::Ip4Other as usize - Class::Ip4Tcp as usize;
    const ICMP: usize = Class::Ip4Icmp as usize - Class::Ip4Tcp as usize;
    /// Bit of a MAC address: a group of hosts.
    const GROUP: u64 = 1 << 40;
    let Work {
        fields,
        answer: bytes,
        ..
    } = work;
    let class = recall(&fields[word::PARSED]) as usize;
    let v6 = class >= Class::Ip6Tcp as usize;
    let kind = class.wrapping_sub(if v6 {
        Class::Ip6Tcp as usize
    } else {
        Class::Ip4Tcp as usize
    });
    let macs = fields[Field::SrcMac.index()] | fields[Field::DstMac.index()];
    if kind > OTHER || macs & GROUP != 0 {
        return None;
    }
    if kind == ICMP && !is_icmp_query(v6, fields[Field::IcmpType.index()]) {
        return None;
    }
    let single = if v6 {
        is_single6(fields, Field::Ip6SrcHigh, Field::Ip6SrcLow)
            && is_single6(fields, Field::Ip6DstHigh, Field::Ip6DstLow)
    } else {
        is_single4(fields[Field::Ip4Src.index()]) && is_single4(fields[Field::Ip4Dst.index()])
    };
    if !single {
        return None;
    }

    let icmp = ETHERNET + if v6 { 20 } else { 10 };
    let available = recall(&fields[word::TRANSPORT]) + recall(&fields[word::TRANSPORT_LEN]);
    let mut words = 0;
    let mut quote = 0;
    image.repeat(QUOTED_WORDS as u32, || {
        let at = 14 + words * 4;
        if at as u64 + 4 > available {
            return false;
        }
        let Some(word) = packet.read_far::<4>(at) else {
            return false;
        };
        let word = u64::from(u32::from_be_bytes(word));
        put(bytes, icmp + 4 + words * 2, word);
        quote += word;
        words += 1;
        true
    });
    let quoted = words.min(QUOTED_WORDS) as u64 * 4;

    let (to, from) = (fields[Field::SrcMac.index()], fields[Field::DstMac.index()]);
    put(bytes, 0, to >> 16);
    put(bytes, 2, to << 16 | from >> 32);
    put(bytes, 4, from);
    bytes[6] = (fields[Field::EtherType.index()] as u16).to_be();

    let length = 8 + quoted;
    let pseudo = if v6 {
        let source = [Field::Ip6DstHigh, Field::Ip6DstLow].map(|half| fields[half.index()]);
        let destination = [Field::Ip6SrcHigh, Field::Ip6SrcLow].map(|half| fields[half.index()]);
        put(bytes, ETHERNET, 0x6000_0000);
        put(bytes, ETHERNET + 2, length << 16 | 58 << 8 | 64);
        put64(bytes, ETHERNET + 4, source[0]);
        put64(bytes, ETHERNET + 8, source[1]);
        put64(bytes, ETHERNET + 12, destination[0]);
        put64(bytes, ETHERNET + 16, destination[1]);
        sum64(source[0])
            + sum64(source[1])
            + sum64(destination[0])
            + sum64(destination[1])
            + length
            + 58
    } else {
        let source = fields[Field::Ip4Dst.index()] & 0xffff_ffff;
        let destination = fields[Field::Ip4Src.index()] & 0xffff_ffff;
        let start = 0x4500_0000 | (20 + length);
        let life = 64 << 24 | 1 << 16;
        let checksum = !fold(start + life + source + destination) & 0xffff;
        put(bytes, ETHERNET, start);
        put(bytes, ETHERNET + 2, 0);
        put(bytes, ETHERNET + 4, life | checksum);
        put(bytes, ETHERNET + 6, source);
        put(bytes, ETHERNET + 8, destination);
        0
    };
    let type_and_code: u64 = if v6 { 0x0104 } else { 0x0303 };
    let checksum = !fold(fold(pseudo) + type_and_code + fold(quote)) & 0xffff;
    put(bytes, icmp, type_and_code << 16 | checksum);
    put(bytes, icmp + 2, 0);
    Some(Answer {
        len: (icmp * 2) as u32 + length as u32,
        transport: recall(&fields[word::TRANSPORT]) as u32,
    })
}

/// Neither of nobody, nor of everybody, nor of a group, nor of this host to itself.
#[inline(always)]
const fn is_single4(address: u64) -> bool {
    let first = address >> 24 & 0xff;
    first != 0 && first != 127 && first < 224
}

#[inline(always)]
fn is_single6(fields: &Fields, high: Field, low: Field) -> bool {
    let (high, low) = (fields[high.index()], fields[low.index()]);
    high >> 56 != 0xff && (high != 0 || low > 1)
}

/// The sum of both words, for checksums.
#[inline(always)]
const fn sum64(half: u64) -> u64 {
    (half >> 32) + (half & 0xffff_ffff)
}

/// The one's complement sum of 16-bit words (RFC 1071).
#[inline(always)]
const fn fold(sum: u64) -> u64 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum >> 16) + (sum & 0xffff)
}

/// Whether a frame is what this program made of a rejected one: the mark, and an error with this type and code.
#[inline(always)]
pub fn is_answer<P: Packet + ?Sized>(packet: &P) -> bool {
    const ICMP: u8 = 1;
    const ICMPV6: u8 = 58;
    // In one piece each: of several reads the compiler makes something that the verifier refuses.
    let Some(v4) = packet.read::<36>(0) else {
        return false;
    };
    if v4[12] == 0x08 {
        return v4[13] == 0 && v4[14] == 0x45 && v4[23] == ICMP && v4[34] == 3 && v4[35] == 3;
    }
    let Some(v6) = packet.read::<56>(0) else {
        return false;
    };
    v6[12] == 0x86 && v6[13] == 0xdd && v6[20] == ICMPV6 && v6[54] == 1 && v6[55] == 4
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(C)`, only integers, no padding.
    unsafe impl aya::Pod for super::Answers {}
}

const _: () = assert!(size_of::<Answers>() == 24);

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;
    use crate::{
        image::{PAGE_WORDS, Page},
        parse::parse,
    };

    const VM: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];

    /// The bytes of the answer to a frame, if there is one.
    fn answered(frame: &[u8]) -> Option<Vec<u8>> {
        let mut work = Work::new();
        let headers = parse(frame, &mut work.fields)?;
        work.fields[word::PARSED] = headers.class as u64;
        work.fields[word::TRANSPORT] = u64::from(headers.transport);
        let no_pages: &[Page] = &[[0; PAGE_WORDS]];
        let answer = answer(frame, no_pages, &mut work)?;
        assert_eq!(answer.transport, headers.transport);
        let bytes = work.answer.iter().flat_map(|pair| pair.to_ne_bytes());
        Some(bytes.take(answer.len as usize).collect())
    }

    fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![];
        frame.extend(PEER);
        frame.extend(VM);
        frame.extend(ether_type.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn ipv4(protocol: u8, destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let total = 20 + payload.len() as u16;
        let mut packet = vec![0x45, 0];
        packet.extend(total.to_be_bytes());
        packet.extend([1, 2, 0, 0, 7, protocol, 0xab, 0xcd, 10, 0, 0, 1]);
        packet.extend(destination);
        packet.extend(payload);
        ethernet(0x0800, &packet)
    }

    fn ipv6(protocol: u8, destination: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, protocol, 7];
        packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        packet.extend([destination, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        packet.extend(payload);
        ethernet(0x86dd, &packet)
    }

    /// The Internet checksum over these parts.
    fn checksum(parts: &[&[u8]]) -> u16 {
        let mut sum = 0_u32;
        for pair in parts.concat().chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !sum as u16
    }

    const UDP: [u8; 10] = [0, 5, 0, 80, 0, 10, 0, 0, 1, 2];

    #[test]
    fn the_answer_comes_from_whom_the_frame_was_for_and_quotes_it() {
        let frame = ipv4(17, [10, 0, 0, 2], &UDP);
        let answer = answered(&frame).unwrap();
        assert_eq!(answer[..14], [&VM[..], &PEER, &[8, 0]].concat());
        let (header, icmp) = answer[14..].split_at(20);
        assert_eq!(header[..4], [0x45, 0, 0, 20 + 8 + 28]);
        assert_eq!(header[8..10], [64, 1]);
        assert_eq!(header[12..], [10, 0, 0, 2, 10, 0, 0, 1]);
        assert_eq!(checksum(&[header]), 0);
        assert_eq!(icmp[..2], [3, 3]);
        assert_eq!(icmp[4..8], [0; 4]);
        assert_eq!(checksum(&[icmp]), 0);
        assert_eq!(icmp[8..], frame[14..14 + 28], "whole words of it");
        assert!(is_answer(&answer[..]));
        assert!(!is_answer(&frame[..]));

        let frame = ipv6(17, 0xfe, &UDP);
        let answer = answered(&frame).unwrap();
        assert_eq!(answer[..14], [&VM[..], &PEER, &[0x86, 0xdd]].concat());
        let (header, icmp) = answer[14..].split_at(40);
        assert_eq!(header[..8], [0x60, 0, 0, 0, 0, 8 + 48, 58, 64]);
        assert_eq!(header[8..24], frame[14 + 24..14 + 40]);
        assert_eq!(header[24..], frame[14 + 8..14 + 24]);
        assert_eq!(icmp[..2], [1, 4]);
        assert_eq!(checksum(&[&header[8..], &[0, 56, 0, 58], icmp]), 0);
        assert_eq!(icmp[8..], frame[14..14 + 48]);
        assert!(is_answer(&answer[..]));
    }

    #[test]
    fn a_long_packet_is_quoted_in_part_and_padding_not_at_all() {
        let long = answered(&ipv4(17, [10, 0, 0, 2], &[7; 1000])).unwrap();
        assert_eq!(long.len(), 14 + 20 + 8 + 128);
        let mut padded = ipv4(17, [10, 0, 0, 2], &UDP);
        padded.resize(60, 0);
        assert_eq!(answered(&padded).unwrap().len(), 14 + 20 + 8 + 28);
    }

    #[test]
    fn what_must_not_be_answered_is_not() {
        let echo = [8, 0, 0, 0, 0, 1, 0, 1];
        assert!(answered(&ipv4(1, [10, 0, 0, 2], &echo)).is_some());
        assert!(answered(&ipv4(47, [10, 0, 0, 2], &UDP)).is_some());
        for error in [3, 4, 5, 11, 12, 99] {
            let error = [error, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(answered(&ipv4(1, [10, 0, 0, 2], &error)), None);
        }
        assert_eq!(answered(&ipv6(58, 0xfe, &[1, 4, 0, 0, 0, 0, 0, 0])), None);
        for first in [0, 127, 224, 255] {
            assert_eq!(answered(&ipv4(17, [first, 0, 0, 1], &UDP)), None, "{first}");
        }
        assert_eq!(answered(&ipv6(17, 0xff, &UDP)), None, "multicast");
        let mut group = ipv4(17, [10, 0, 0, 2], &UDP);
        group[0] |= 1;
        assert_eq!(answered(&group), None, "to a group of hosts");
        let mut later = ipv4(17, [10, 0, 0, 2], &UDP);
        later[14 + 7] = 1;
        assert_eq!(answered(&later), None, "a later fragment");
        assert_eq!(
            answered(&ipv4(17, [10, 0, 0, 2], &UDP[..4])),
            None,
            "cut off"
        );
    }

    #[test]
    fn answers_come_in_bursts_and_at_a_rate() {
        let mut answers = Answers::default();
        let mut send = |now| match answers.may_send(now, 10) {
            Some(due) => {
                answers.due = due;
                true
            }
            None => false,
        };
        let start = 5_000_000_000;
        assert_eq!((0..100).filter(|_| send(start)).count(), 10);
        assert!(!send(start + 99_000_000));
        assert!(send(start + 100_000_000));
        assert!(!send(start + 100_000_000));
        assert_eq!(
            (0..100).filter(|_| send(start + 60_000_000_000)).count(),
            10
        );
        assert_eq!(Answers::default().may_send(start, 0), None);
    }
}
