//! The TCP state machine: what a segment does to a connection, judged by its flags alone.

/// State of a TCP connection, as Linux names them. The discriminant is part of the ABI, and the
/// index of its timeout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum TcpState {
    /// No segment yet.
    None = 0,
    /// The original side has sent SYN.
    SynSent = 1,
    /// That was answered with SYN and ACK.
    SynReceived = 2,
    /// Open, or found open.
    Established = 3,
    /// One side has sent FIN.
    FinWait = 4,
    /// That was acknowledged.
    CloseWait = 5,
    /// Both sides have sent FIN.
    LastAck = 6,
    /// Both are acknowledged.
    TimeWait = 7,
    /// Reset.
    Close = 8,
    /// Both sides have sent SYN.
    SynSent2 = 9,
}

impl TcpState {
    const ALL: [Self; 10] = [
        Self::None,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
    ];

    pub(super) const fn from_index(index: usize) -> Self {
        if index < Self::ALL.len() {
            Self::ALL[index]
        } else {
            Self::None
        }
    }
}

/// Flag bits as in [`crate::Field::TcpFlags`].
const FIN: u8 = 1;
const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;

/// What a segment is to the state machine.
#[derive(Clone, Copy)]
enum Segment {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
    /// A combination of flags that no stack sends.
    Invalid,
}

impl Segment {
    const fn of(flags: u8) -> Self {
        const SYN_ACK: u8 = SYN | ACK;
        const RST_ACK: u8 = RST | ACK;
        const FIN_ACK: u8 = FIN | ACK;
        // FIN needs ACK, RST goes with ACK at the most, URG not with RST nor SYN and ACK.
        match (flags & !(PSH | URG), flags & URG != 0) {
            (SYN, _) => Self::Syn,
            (SYN_ACK, false) => Self::SynAck,
            (FIN_ACK, _) => Self::Fin,
            (ACK, _) => Self::Ack,
            (RST | RST_ACK, false) => Self::Rst,
            _ => Self::Invalid,
        }
    }
}

/// What a segment does to a connection; the value is a state, or one of these.
pub(super) mod step {
    /// Belongs to the connection, but changes nothing.
    pub(in super::super) const IGNORE: u64 = 13;
    /// Begins another connection with the same ends.
    pub(in super::super) const REOPEN: u64 = 14;
    /// Does not belong to the connection.
    pub(in super::super) const INVALID: u64 = 15;
}

/// What `segment` does in `state`.
#[expect(clippy::match_same_arms, reason = "by segment, then by state")]
const fn transition(state: TcpState, reply: bool, segment: Segment) -> u64 {
    use TcpState as S;
    let next = match (segment, state) {
        // The only ways into the table: a beginning, or traffic that was there before us.
        (Segment::Syn, S::None) if !reply => S::SynSent,
        (Segment::Ack, S::None) if !reply => S::Established,
        (_, S::None) | (Segment::Invalid, _) => return step::INVALID,

        (Segment::Rst, _) => S::Close,

        (Segment::Syn, S::TimeWait) => return step::REOPEN,
        (Segment::Syn, S::Close) if !reply => return step::REOPEN,
        (Segment::Syn, S::SynSent) if !reply => S::SynSent,
        (Segment::Syn, S::SynSent | S::SynSent2) => S::SynSent2,
        (Segment::Syn, _) if reply => return step::INVALID,
        (Segment::Syn, _) => return step::IGNORE,

        (Segment::SynAck, S::SynSent) if !reply => return step::INVALID,
        (Segment::SynAck, S::SynSent | S::SynSent2) => S::SynReceived,
        (Segment::SynAck, _) if reply => return step::IGNORE,
        (Segment::SynAck, S::SynReceived) => S::SynReceived,
        (Segment::SynAck, _) => return step::INVALID,

        (Segment::Fin, S::SynSent | S::SynSent2) => return step::INVALID,
        (Segment::Fin, S::SynReceived | S::Established) => S::FinWait,
        (Segment::Fin, S::FinWait | S::CloseWait | S::LastAck) => S::LastAck,

        (Segment::Ack, S::SynSent | S::SynSent2) if reply => return step::IGNORE,
        (Segment::Ack, S::SynSent | S::SynSent2) => return step::INVALID,
        (Segment::Ack, S::SynReceived) if reply => S::SynReceived,
        (Segment::Ack, S::SynReceived | S::Established) => S::Established,
        (Segment::Ack, S::FinWait | S::CloseWait) => S::CloseWait,
        (Segment::Ack, S::LastAck) => S::TimeWait,
        (Segment::Fin | Segment::Ack, S::TimeWait) => S::TimeWait,
        (Segment::Fin | Segment::Ack, S::Close) => S::Close,
    };
    next as u64
}

/// [`transition`] of all states in one word, four bits each, by `reply << 6 | flags`.
static STEPS: [u64; 128] = {
    let mut steps = [0; 128];
    let mut at = 0;
    while at < 128 {
        let mut state = 0;
        while state < TcpState::ALL.len() {
            let segment = Segment::of(at as u8 & 0x3f);
            let step = transition(TcpState::ALL[state], at >= 64, segment);
            steps[at] |= step << (4 * state);
            state += 1;
        }
        at += 1;
    }
    steps
};

/// What a segment does: a state or one of [`step`].
#[inline(always)]
pub(super) fn next(state: u32, reply: usize, flags: u64) -> u64 {
    let row = STEPS[(reply & 1) << 6 | flags as usize & 0x3f];
    row >> (4 * (state & 0xf)) & 0xf
}
