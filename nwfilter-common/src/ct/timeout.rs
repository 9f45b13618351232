//! How long connections live without traffic.

use super::tcp::TcpState;

/// A timeout, by its index in [`Timeouts`]. The first ten are those of the [`TcpState`]s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Timeout {
    /// [`TcpState::SynSent`].
    TcpSynSent = TcpState::SynSent as u32,
    /// [`TcpState::SynReceived`].
    TcpSynReceived = TcpState::SynReceived as u32,
    /// [`TcpState::Established`].
    TcpEstablished = TcpState::Established as u32,
    /// [`TcpState::FinWait`].
    TcpFinWait = TcpState::FinWait as u32,
    /// [`TcpState::CloseWait`].
    TcpCloseWait = TcpState::CloseWait as u32,
    /// [`TcpState::LastAck`].
    TcpLastAck = TcpState::LastAck as u32,
    /// [`TcpState::TimeWait`].
    TcpTimeWait = TcpState::TimeWait as u32,
    /// [`TcpState::Close`].
    TcpClose = TcpState::Close as u32,
    /// [`TcpState::SynSent2`].
    TcpSynSent2 = TcpState::SynSent2 as u32,
    /// TCP that was found open and has not been answered.
    TcpUnacknowledged = 10,
    /// UDP and UDP-Lite until two seconds after the first answer.
    Udp = 11,
    /// UDP and UDP-Lite from then on.
    UdpStream = 12,
    /// ICMP queries.
    Icmp = 13,
    /// `ICMPv6` queries.
    Icmpv6 = 14,
    /// SCTP without an answer.
    Sctp = 15,
    /// SCTP with an answer.
    SctpEstablished = 16,
    /// DCCP without an answer.
    Dccp = 17,
    /// DCCP with an answer.
    DccpOpen = 18,
    /// All other protocols.
    Generic = 19,
    /// Between the first fragment of a packet and its others.
    Fragment = 20,
}

/// Words of [`Timeouts`]; a power of two.
pub const TIMEOUTS: usize = 32;

/// Timeouts in seconds by [`Timeout`]; 0 for the one in [`DEFAULT_TIMEOUTS`].
pub type Timeouts = [u32; TIMEOUTS];

/// The defaults of Linux (`Documentation/networking/nf_conntrack-sysctl.rst`), seconds. SCTP and
/// DCCP have only two states here: their longest timeout, and that of a heartbeat or request.
pub static DEFAULT_TIMEOUTS: Timeouts = {
    let mut seconds = [0; TIMEOUTS];
    seconds[Timeout::TcpSynSent as usize] = 120;
    seconds[Timeout::TcpSynReceived as usize] = 60;
    seconds[Timeout::TcpEstablished as usize] = 432_000;
    seconds[Timeout::TcpFinWait as usize] = 120;
    seconds[Timeout::TcpCloseWait as usize] = 60;
    seconds[Timeout::TcpLastAck as usize] = 30;
    seconds[Timeout::TcpTimeWait as usize] = 120;
    seconds[Timeout::TcpClose as usize] = 10;
    seconds[Timeout::TcpSynSent2 as usize] = 120;
    seconds[Timeout::TcpUnacknowledged as usize] = 300;
    seconds[Timeout::Udp as usize] = 30;
    seconds[Timeout::UdpStream as usize] = 120;
    seconds[Timeout::Icmp as usize] = 30;
    seconds[Timeout::Icmpv6 as usize] = 30;
    seconds[Timeout::Sctp as usize] = 30;
    seconds[Timeout::SctpEstablished as usize] = 210;
    seconds[Timeout::Dccp as usize] = 240;
    seconds[Timeout::DccpOpen as usize] = 43_200;
    seconds[Timeout::Generic as usize] = 600;
    seconds[Timeout::Fragment as usize] = 30;
    seconds
};

/// The timeout in nanoseconds, where `seconds` is what userspace has set.
#[inline(always)]
pub fn nanoseconds(seconds: u32, which: usize) -> u64 {
    let seconds = if seconds == 0 {
        DEFAULT_TIMEOUTS[which % TIMEOUTS]
    } else {
        seconds
    };
    u64::from(seconds) * 1_000_000_000
}
