//! Why libvirt and we differ where we do. A reason is more than a remark on a kind of frame: as far
//! as it can, it says what libvirt must have answered, and explains nothing else.

use nwfilter_ctl::{
    model::{Attr, Protocol},
    resolve::Instance,
};

use super::{
    Row,
    report::{Answer, Said},
    run::LIBVIRT,
};
use crate::{
    frame::{Pseudo, STP_GROUP},
    judge::{Cause, Judge, Verdict},
};

/// A difference that is understood.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// The kernel puts datagrams together before the inet layer.
    Reassembly,
    /// A header that a rule needs is cut off.
    FailClosed,
    /// `ipv6` of libvirt looks behind an authentication header.
    Authentication,
    /// The kernel reads only as far as a rule asks.
    TruncatedArp,
    /// The kernel reads BPDUs at the wrong place.
    Bpdu,
    /// iptables turns two negations into one.
    NegatedPorts,
    /// The kernel counts connections that never came to be.
    Limit,
    /// The kernel checks checksums.
    Checksum,
    /// The kernel checks sequence numbers.
    TcpWindow,
    /// The kernel follows associations.
    Sctp,
    /// The kernel takes no UDP-Lite.
    UdpLite,
}

/// A frame on which libvirt and the judge differ.
pub(super) struct Difference<'a> {
    /// All rules of the port.
    pub(super) instances: &'a [Instance],
    /// Those of the row.
    pub(super) rules: &'a [&'a Instance],
    pub(super) row: &'a Row,
    /// Whether connections are tracked at all.
    pub(super) tracked: bool,
    /// The answers of the row until this one, which is the last.
    pub(super) answers: &'a [Answer],
}

impl Reason {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 11] = [
        Self::Reassembly,
        Self::FailClosed,
        Self::Authentication,
        Self::TruncatedArp,
        Self::Bpdu,
        Self::NegatedPorts,
        Self::Limit,
        Self::Checksum,
        Self::TcpWindow,
        Self::Sctp,
        Self::UdpLite,
    ];

    /// Whose doing it is, and what it is.
    pub fn title(self) -> &'static str {
        match self {
            Self::FailClosed => "Ours: a missing header never passes",
            Self::Reassembly => "Ours: fragments are not put together",
            Self::Authentication => "Ours: the authentication header of IPv6 is a protocol",
            Self::TruncatedArp => {
                "libvirt: a truncated ARP packet still has the addresses that it has"
            }
            Self::Bpdu => "The kernel: BPDU fields are read one byte early",
            Self::NegatedPorts => "iptables: two negated ports are one negation",
            Self::Limit => "The kernel: limits count connections that were dropped",
            Self::Checksum => "Ours: checksums are not verified",
            Self::TcpWindow => "Ours: TCP windows are not followed",
            Self::Sctp => "Ours: SCTP associations are not followed",
            Self::UdpLite => "The kernel: UDP-Lite is invalid",
        }
    }

    /// The explanation.
    pub fn why(self) -> &'static str {
        match self {
            Self::FailClosed => {
                "A rule tests a header that should be there and is cut off. libvirt's kernel says \
                 that such a rule does not match, and goes on; we drop the frame (decision 0010)."
            }
            Self::Reassembly => {
                "As soon as one rule of the host looks at connections, the kernel holds fragments \
                 back until a datagram is whole, and drops those that never are. We decide each \
                 fragment when it comes: later ones like the first, so that the first fragments of a \
                 datagram pass even if the rest never comes, and a later one that comes before the \
                 first is dropped if anything depends on it."
            }
            Self::Authentication => {
                "Rules of `ipv6` look behind an authentication header in libvirt, so that `protocol='51'` \
                 never matches. For us it is a protocol (decision 0011), as it is for `ah-ipv6` in both. \
                 Every difference is one that vanishes when the header is taken out."
            }
            Self::TruncatedArp => {
                "The semantics reference (4a.10) says that a truncated ARP packet fails every address \
                 test. The kernel's matcher stops only at what it is asked for: tests of MAC addresses \
                 that are there hold, tests of IP addresses need both of them. We go by the reference. \
                 Every difference is one that vanishes when the packet is filled up."
            }
            Self::Bpdu => {
                "The kernel compares each field with the byte before its place (4a.2): `type` with \
                 the version, `flags` with the type. The semantics reference calls it an oddity of \
                 the kernel that need not be copied. Every difference is one that vanishes when the \
                 BPDU is moved by one byte."
            }
            Self::NegatedPorts => {
                "iptables 1.8.9 writes a negated source port and a negated destination port as one \
                 comparison of both: \"not (this source and this destination)\" instead of \"neither \
                 this source nor this destination\". Only tcp and udp, and only single ports."
            }
            Self::Limit => {
                "A connection whose first packet was dropped does not exist, but the kernel's counter \
                 keeps it until a packet of a connection that it does not count yet makes it clean up. \
                 Packets of a connection below the limit are above it meanwhile."
            }
            Self::Checksum => {
                "The kernel calls packets with a wrong transport checksum INVALID. We do not look at \
                 checksums: the receiver does, and frames between VMs often carry none."
            }
            Self::TcpWindow => {
                "The kernel calls segments that lie outside the window INVALID, unless \
                 `nf_conntrack_tcp_be_liberal` is set. We do as if it were."
            }
            Self::Sctp => {
                "The kernel verifies SCTP's checksum and follows its chunks: only INIT opens an \
                 association, and what does not fit into its state is INVALID. We go by addresses and \
                 ports."
            }
            Self::UdpLite => {
                "The kernel calls every UDP-Lite packet INVALID (4a.6), which the semantics reference \
                 calls an oddity. We go by addresses and ports, as for UDP."
            }
        }
    }

    /// The reason for a difference.
    pub(super) fn of(difference: &Difference<'_>) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.explains(difference))
    }

    fn explains(self, difference: &Difference<'_>) -> bool {
        let Some(Answer { sent, said, .. }) = difference.answers.last() else {
            return false;
        };
        let Said { libvirt, judge, .. } = said;
        let accepts = judge.verdict == Verdict::Accept;
        let tracked = difference.tracked;
        // What the judge would have said of another frame; without a header, libvirt goes on.
        let predicted = |bytes: Vec<u8>| {
            let mut judge = Judge::new(difference.instances, LIBVIRT);
            let decision = judge.decide(sent.direction, &bytes, sent.now);
            let passes = decision.verdict == Verdict::Accept || decision.cause == Cause::Missing;
            passes == *libvirt
        };
        let of_row = |tells: &dyn Fn(&[u8]) -> bool| {
            difference
                .answers
                .iter()
                .any(|answer| tells(&answer.sent.bytes))
        };
        match self {
            Self::FailClosed => *libvirt && judge.cause == Cause::Missing,
            Self::Reassembly => {
                tracked
                    && Fragment::of(&sent.bytes).is_some_and(|piece| {
                        let frames = difference.row.frames.iter();
                        let others = frames.filter(|other| other.direction == sent.direction);
                        let pieces = others
                            .filter_map(|other| Fragment::of(&other.bytes))
                            .filter(|other| other.id == piece.id);
                        // Passed, so whole; or dropped, and something is not there.
                        *libvirt || !Fragment::are_whole(pieces.collect())
                    })
            }
            Self::Authentication => without_authentication(&sent.bytes).is_some_and(&predicted),
            Self::TruncatedArp => {
                is_arp(&sent.bytes) && {
                    let mut whole = sent.bytes.clone();
                    whole.resize(14 + 8 + 2 * (255 + 255), 0);
                    predicted(whole)
                }
            }
            Self::Bpdu => {
                let at = sent
                    .bytes
                    .windows(5)
                    .position(|llc| llc == [0x42, 0x42, 3, 0, 0]);
                sent.bytes.starts_with(&STP_GROUP.0)
                    && at.is_some_and(|at| {
                        let mut moved = sent.bytes.clone();
                        moved.insert(at + 5, 0);
                        predicted(moved)
                    })
            }
            Self::NegatedPorts => {
                !libvirt && accepts && difference.rules.iter().any(|rule| negates_both_ports(rule))
            }
            Self::Limit => {
                let limited = |rule: &&Instance| has(rule, Attr::ConnlimitAbove);
                let dropped = |answer: &Answer| answer.said.judge.verdict != Verdict::Accept;
                !libvirt
                    && accepts
                    && difference.rules.iter().any(limited)
                    && difference.answers.iter().any(dropped)
            }
            Self::Checksum => {
                let concerns = |other: &[u8]| concerns(&sent.bytes, other);
                tracked && of_row(&|other| has_wrong_checksum(other) && concerns(other))
            }
            Self::TcpWindow => tracked && of_row(&|frame| is_far(frame)),
            Self::Sctp => tracked && protocol(&sent.bytes) == Some(132),
            Self::UdpLite => tracked && protocol(&sent.bytes) == Some(136),
        }
    }
}

fn has(rule: &Instance, attr: Attr) -> bool {
    rule.tests.iter().any(|test| test.attr == attr)
}

fn negates_both_ports(rule: &Instance) -> bool {
    let negated = |attr| {
        rule.tests
            .iter()
            .any(|test| test.attr == attr && test.negated)
    };
    let ends = has(rule, Attr::SrcPortEnd) || has(rule, Attr::DstPortEnd);
    matches!(
        rule.protocol,
        Protocol::Tcp | Protocol::TcpIpv6 | Protocol::Udp | Protocol::UdpIpv6
    ) && negated(Attr::SrcPortStart)
        && negated(Attr::DstPortStart)
        && !ends
}

/// An IPv6 frame without the authentication header that it begins with.
fn without_authentication(frame: &[u8]) -> Option<Vec<u8>> {
    if frame.get(12..14)? != [0x86, 0xdd] || *frame.get(20)? != 51 {
        return None;
    }
    let length = (usize::from(*frame.get(55)?) + 2) * 4;
    let rest = frame.get(54 + length..)?;
    let mut other = frame[..54].to_vec();
    other[18..20].copy_from_slice(&(rest.len() as u16).to_be_bytes());
    other[20] = frame[54];
    other.extend(rest);
    Some(other)
}

fn is_arp(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x08, 0x06] | [0x80, 0x35]))
}

/// What a fragment says of its place.
struct Fragment {
    id: u32,
    /// Bytes before it, and its own.
    offset: usize,
    length: usize,
    more: bool,
}

impl Fragment {
    fn of(frame: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
        match frame.get(12..14)? {
            [0x08, 0x00] => {
                let bits = word(20)?;
                let header = usize::from(frame[14] & 15) * 4;
                (bits & 0x3fff != 0).then_some(Self {
                    id: word(18)?.into(),
                    offset: usize::from(bits & 0x1fff) * 8,
                    length: usize::from(word(16)?).saturating_sub(header),
                    more: bits & 0x2000 != 0,
                })
            }
            [0x86, 0xdd] if frame.get(20) == Some(&44) => Some(Self {
                id: u32::from(word(58)?) << 16 | u32::from(word(60)?),
                offset: usize::from(word(56)? & !7),
                length: usize::from(word(18)?).saturating_sub(8),
                more: word(56)? & 1 != 0,
            }),
            _ => None,
        }
    }

    /// Whether pieces make a datagram, without a gap from the first byte to the last.
    fn are_whole(mut pieces: Vec<Self>) -> bool {
        pieces.sort_by_key(|piece| piece.offset);
        let mut end = 0;
        for piece in pieces {
            if piece.offset > end {
                return false;
            }
            end = end.max(piece.offset + piece.length);
            if !piece.more {
                return true;
            }
        }
        false
    }
}

/// The transport protocol of an untagged frame without extension headers.
fn protocol(frame: &[u8]) -> Option<u8> {
    match frame.get(12..14)? {
        [0x08, 0x00] => frame.get(23).copied(),
        [0x86, 0xdd] => frame.get(20).copied(),
        _ => None,
    }
}

fn payload(frame: &[u8]) -> Option<&[u8]> {
    match frame.get(12..14)? {
        [0x08, 0x00] => frame.get(34..),
        [0x86, 0xdd] => frame.get(54..),
        _ => None,
    }
}

/// Whether a frame may belong to the connection of another one, or be an error about it.
fn concerns(frame: &[u8], other: &[u8]) -> bool {
    let ends = match other.get(12..14) {
        Some([0x08, 0x00]) => [other.get(26..30), other.get(30..34)],
        _ => [other.get(22..38), other.get(38..54)],
    };
    let contains = |end: &[u8]| frame.windows(end.len()).any(|bytes| bytes == end);
    let of_kind = protocol(frame) == protocol(other) || matches!(protocol(frame), Some(1 | 58));
    of_kind && ends.into_iter().all(|end| end.is_some_and(contains))
}

/// TCP or UDP with a checksum that is wrong.
fn has_wrong_checksum(frame: &[u8]) -> bool {
    let (Some(number @ (6 | 17)), Some(payload)) = (protocol(frame), payload(frame)) else {
        return false;
    };
    let pseudo = if frame[12] == 0x08 {
        let address = |at: usize| std::array::from_fn::<u8, 4, _>(|i| frame[at + i]);
        Pseudo::V4(address(26).into(), address(30).into())
    } else {
        let address = |at: usize| std::array::from_fn::<u8, 16, _>(|i| frame[at + i]);
        Pseudo::V6(address(22).into(), address(38).into())
    };
    pseudo.checksum(number, payload, payload.len()) != 0
}

/// A TCP segment whose sequence number is that of no other here.
fn is_far(frame: &[u8]) -> bool {
    let sequence = payload(frame).and_then(|segment| segment.get(4..8));
    protocol(frame) == Some(6)
        && sequence.is_some_and(|s| u32::from_be_bytes([s[0], s[1], s[2], s[3]]) > 1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: usize, length: usize, more: bool) -> Fragment {
        Fragment {
            id: 1,
            offset,
            length,
            more,
        }
    }

    #[test]
    fn pieces_with_a_gap_are_not_whole() {
        assert!(Fragment::are_whole(vec![
            piece(16, 8, false),
            piece(0, 16, true)
        ]));
        assert!(!Fragment::are_whole(vec![
            piece(0, 16, true),
            piece(24, 8, false)
        ]));
        assert!(!Fragment::are_whole(vec![piece(0, 16, true)]));
        assert!(!Fragment::are_whole(vec![piece(16, 8, false)]));
    }
}
