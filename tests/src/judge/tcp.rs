//! TCP as connection tracking sees it: what a segment, by its flags alone, makes of a connection. No
//! sequence numbers, no time.

/// How far a connection is, as Linux names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// One SYN.
    SynSent,
    /// A SYN from either side.
    SynBoth,
    /// SYN and ACK.
    SynReceived,
    /// Open.
    Established,
    /// A FIN.
    FinWait,
    /// An ACK since.
    CloseWait,
    /// Another FIN.
    LastAck,
    /// An ACK since.
    TimeWait,
    /// RST.
    Closed,
}

/// What a segment makes of its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// It is in this phase, and lives on from now.
    To(Phase),
    /// Nothing; it does not prolong its life either.
    Ignored,
    /// It is forgotten, and the segment opens another one.
    Reopens,
    /// The segment does not belong to it.
    Invalid,
}

/// What kind of segment it is.
#[derive(Clone, Copy)]
enum Segment {
    Syn,
    SynAck,
    Ack,
    Fin,
    Rst,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const URG: u8 = 32;

/// `None` for flags that do not go together; PSH goes with all.
fn segment(flags: u8) -> Option<Segment> {
    let has = |flag: u8| flags & flag != 0;
    let urgent = has(URG);
    match (has(SYN), has(RST), has(FIN), has(ACK)) {
        (true, false, false, false) => Some(Segment::Syn),
        (true, false, false, true) if !urgent => Some(Segment::SynAck),
        (false, true, false, _) if !urgent => Some(Segment::Rst),
        (false, false, true, true) => Some(Segment::Fin),
        (false, false, false, true) => Some(Segment::Ack),
        _ => None,
    }
}

/// Whether a segment is RST.
pub(super) fn resets(flags: u8) -> bool {
    matches!(segment(flags), Some(Segment::Rst))
}

/// The phase of a connection that begins with these flags; `None` if none does. A mere ACK is the
/// middle of one that was there before.
pub(super) fn begin(flags: u8) -> Option<Phase> {
    match segment(flags)? {
        Segment::Syn => Some(Phase::SynSent),
        Segment::Ack => Some(Phase::Established),
        _ => None,
    }
}

/// What a segment with these flags does to a connection in this phase.
pub(super) fn step(phase: Phase, flags: u8, is_reply: bool) -> Step {
    let Some(segment) = segment(flags) else {
        return Step::Invalid;
    };
    if let Segment::Rst = segment {
        return Step::To(Phase::Closed);
    }
    match phase {
        Phase::SynSent => match (segment, is_reply) {
            (Segment::Syn, false) => Step::To(Phase::SynSent),
            (Segment::Syn, true) => Step::To(Phase::SynBoth),
            (Segment::SynAck, true) => Step::To(Phase::SynReceived),
            (Segment::Ack, true) => Step::Ignored,
            _ => Step::Invalid,
        },
        Phase::SynBoth => match (segment, is_reply) {
            (Segment::Syn, _) => Step::To(Phase::SynBoth),
            (Segment::SynAck, _) => Step::To(Phase::SynReceived),
            (Segment::Ack, true) => Step::Ignored,
            _ => Step::Invalid,
        },
        Phase::SynReceived => match (segment, is_reply) {
            (Segment::SynAck, false) | (Segment::Ack, true) => Step::To(Phase::SynReceived),
            (Segment::Ack, false) => Step::To(Phase::Established),
            (Segment::Fin, _) => Step::To(Phase::FinWait),
            (segment, is_reply) => late(segment, is_reply),
        },
        Phase::Established => match segment {
            Segment::Ack => Step::To(Phase::Established),
            Segment::Fin => Step::To(Phase::FinWait),
            segment => late(segment, is_reply),
        },
        Phase::FinWait | Phase::CloseWait => match segment {
            Segment::Ack => Step::To(Phase::CloseWait),
            Segment::Fin => Step::To(Phase::LastAck),
            segment => late(segment, is_reply),
        },
        Phase::LastAck => match segment {
            Segment::Ack => Step::To(Phase::TimeWait),
            Segment::Fin => Step::To(Phase::LastAck),
            segment => late(segment, is_reply),
        },
        Phase::TimeWait => match segment {
            Segment::Syn => Step::Reopens,
            Segment::Ack | Segment::Fin => Step::To(Phase::TimeWait),
            segment => late(segment, is_reply),
        },
        Phase::Closed => match (segment, is_reply) {
            (Segment::Syn, false) => Step::Reopens,
            (Segment::Ack | Segment::Fin, _) => Step::To(Phase::Closed),
            (segment, is_reply) => late(segment, is_reply),
        },
    }
}

/// A SYN in a connection that is past it: from the side that opened it, it may be that the other side
/// knows better; so may an answer to it.
fn late(segment: Segment, is_reply: bool) -> Step {
    match (segment, is_reply) {
        (Segment::Syn, false) | (Segment::SynAck, true) => Step::Ignored,
        _ => Step::Invalid,
    }
}

/// Seconds that a connection lives in a phase (`Documentation/networking/nf_conntrack-sysctl.rst`).
/// One that was open when it was first seen lives for the shorter time until the first answer.
pub(super) fn seconds(phase: Phase, replied: bool) -> u64 {
    match phase {
        Phase::Established if replied => 432_000,
        Phase::Established => 300,
        Phase::SynSent | Phase::SynBoth | Phase::FinWait | Phase::TimeWait => 120,
        Phase::SynReceived | Phase::CloseWait => 60,
        Phase::LastAck => 30,
        Phase::Closed => 10,
    }
}
