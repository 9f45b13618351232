//! TCP options (RFC 9293 section 3.1): which kinds a segment has. Only looked for when an image asks.

use crate::{
    class::Class,
    engine::Pages,
    field::{Field, Fields, word},
    packet::Packet,
    work::recall,
};

/// Bytes of a TCP header without options.
const FIXED: usize = 20;

/// Options of one byte in the longest list, and a look behind its end.
const ROUNDS: u32 = 40 + 1;

/// Nothing is known of the options.
#[inline(always)]
pub(crate) fn unknown(fields: &mut Fields) {
    fields[Field::TcpOptionsBroken.index()] = 1;
    fields[Field::TcpOptions0.index()] = 0;
    fields[Field::TcpOptions1.index()] = 0;
    fields[Field::TcpOptions2.index()] = 0;
    fields[Field::TcpOptions3.index()] = 0;
}

/// Writes which kinds of options a TCP segment has.
#[inline(always)]
pub(crate) fn tcp_options<P: Packet + ?Sized, I: Pages + ?Sized>(
    packet: &P,
    image: &I,
    fields: &mut Fields,
) {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    let class = recall(&fields[word::PARSED]) as usize;
    if class != Class::Ip4Tcp as usize && class != Class::Ip6Tcp as usize {
        return;
    }
    unknown(fields);
    let header = recall(&fields[word::TRANSPORT]) as usize;
    let Some([offset]) = packet.read_far::<1>(header + 12) else {
        return;
    };
    let end = usize::from(offset >> 4) * 4;
    if end < FIXED || end > recall(&fields[word::TRANSPORT_LEN]) as usize {
        return;
    }
    if end > FIXED && packet.read_far::<1>(header + end - 1).is_none() {
        return;
    }
    let mut at = FIXED;
    image.repeat(ROUNDS, || {
        if at >= end {
            fields[Field::TcpOptionsBroken.index()] = 0;
            return false;
        }
        let Some([kind]) = packet.read_far::<1>(header + at) else {
            return false;
        };
        fields[Field::TcpOptions0.index() + usize::from(kind >> 6)] |= 1 << (kind & 63);
        match kind {
            END => {
                fields[Field::TcpOptionsBroken.index()] = 0;
                return false;
            }
            NO_OPERATION => at += 1,
            _ => {
                let Some([len]) = packet.read_far::<1>(header + at + 1) else {
                    return false;
                };
                let len = usize::from(len);
                // Also when the length itself is behind the end.
                if len < 2 || at + len > end {
                    return false;
                }
                at += len;
            }
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;
    use crate::{
        image::{PAGE_WORDS, Page},
        parse::parse,
    };

    /// The kinds in these bytes of options, and whether there may be more. `offset`: words of the
    /// header.
    fn kinds(options: &[u8], offset: u8) -> (Vec<usize>, bool) {
        let total = (40 + options.len()) as u8;
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, total, 0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend([0; 8]);
        frame.extend([0; 12]);
        frame.extend([offset << 4, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(options);
        let mut fields = [u64::MAX; crate::FIELD_WORDS];
        let headers = parse(&frame[..], &mut fields).unwrap();
        fields[word::PARSED] = headers.class as u64;
        fields[word::TRANSPORT] = u64::from(headers.transport);
        let no_pages: &[Page] = &[[0; PAGE_WORDS]];
        tcp_options(&frame[..], no_pages, &mut fields);
        let has = |kind: &usize| fields[Field::TcpOptions0.index() + kind / 64] >> (kind % 64) & 1;
        let found = (0..256).filter(|kind| has(kind) == 1).collect();
        (found, fields[Field::TcpOptionsBroken.index()] == 1)
    }

    #[test]
    fn lists_end_with_the_header_or_kind_0() {
        assert_eq!(kinds(&[], 5), (vec![], false));
        assert_eq!(kinds(&[1; 40], 15), (vec![1], false));
        assert_eq!(
            kinds(&[2, 4, 5, 180, 1, 1, 4, 2], 7),
            (vec![1, 2, 4], false)
        );
        assert_eq!(kinds(&[254, 4, 9, 9, 0, 3, 3, 7], 7), (vec![0, 254], false));
        assert_eq!(kinds(&[64, 2, 128, 2], 6), (vec![64, 128], false));
        assert_eq!(
            kinds(&[1, 1, 1, 1, 3, 3, 7, 0], 6),
            (vec![1], false),
            "payload"
        );
    }

    #[test]
    fn what_is_broken_hides_what_follows() {
        for length in [0, 1, 5, 255] {
            assert_eq!(
                kinds(&[1, 1, 8, length, 3, 3], 6).0,
                [1, 8],
                "length {length}"
            );
            assert!(kinds(&[1, 1, 8, length, 3, 3], 6).1, "length {length}");
        }
        assert_eq!(kinds(&[1, 1, 1, 8], 6), (vec![1, 8], true), "no length");
        assert_eq!(
            kinds(&[2, 4, 5, 180], 4),
            (vec![], true),
            "inside the fixed header"
        );
        assert_eq!(
            kinds(&[2, 4, 5, 180], 7),
            (vec![], true),
            "behind the packet"
        );
    }
}
