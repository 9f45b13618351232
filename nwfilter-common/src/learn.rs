//! Which frames userspace gets to see so that it can learn the addresses of a VM, and how many. No
//! verdict depends on anything here, and nothing is learned here.

use crate::{
    abi::PortRecord,
    class::{ethertype, ip_protocol},
    image::FrameDirection,
    mac::MacAddr,
    packet::Packet,
};

/// Bytes of a frame that userspace gets: more than Ethernet carries as a rule, and so a whole message.
pub const LEARN_FRAME: usize = 1536;
/// Bytes of the ring buffer of [`LearnEvent`]s.
pub const LEARNING_BYTES: usize = 1 << 20;

/// Frames of a port and direction that userspace gets to see in one go.
pub const LEARN_BURST: u64 = 50;
/// And then one in so many nanoseconds.
pub const LEARN_INTERVAL: u64 = 100_000_000;

/// A frame that has passed and from which something may be learned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub struct LearnEvent {
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub time: u64,
    /// Interface index of the port.
    pub ifindex: u32,
    /// Port number.
    pub port: u32,
    /// [`FrameDirection`].
    pub direction: u32,
    /// Bytes of `frame` in use; what is behind them means nothing.
    pub captured: u32,
    /// The frame.
    pub frame: [u8; LEARN_FRAME],
}

impl LearnEvent {
    /// The direction, if valid.
    pub const fn direction(&self) -> Option<FrameDirection> {
        match self.direction {
            0 => Some(FrameDirection::In),
            1 => Some(FrameDirection::Out),
            _ => None,
        }
    }

    /// What is there of the frame.
    pub fn frame(&self) -> &[u8] {
        let captured = (self.captured as usize).min(LEARN_FRAME);
        self.frame.get(..captured).unwrap_or_default()
    }
}

/// Whether something may be learned from a frame of a port. Lets through too much rather than too
/// little, for userspace looks closely; but of what is said to all, only what is said to this VM.
#[inline(always)]
pub fn is_wanted<P: Packet + ?Sized>(
    packet: &P,
    direction: FrameDirection,
    record: &PortRecord,
) -> bool {
    let (flags, out) = (record.flags, matches!(direction, FrameDirection::Out));
    if packet.tag().is_some() {
        return false;
    }
    let Some(kind) = packet.read::<2>(12) else {
        return false;
    };
    match u16::from_be_bytes(kind) {
        ethertype::ARP => {
            out && flags & PortRecord::LEARN_USED != 0 && is_mac(packet.read(6), record)
        }
        ethertype::IPV4 if out && flags & PortRecord::LEARN_USED != 0 => {
            is_mac(packet.read(6), record)
        }
        ethertype::IPV4 => {
            flags & PortRecord::LEARN_DHCP != 0 && is_dhcp(packet, direction, record)
        }
        ethertype::IPV6 => {
            let mine = is_mac(packet.read(if out { 6 } else { 0 }), record);
            mine && match packet.read::<1>(20) {
                Some([ip_protocol::UDP]) => {
                    flags & PortRecord::LEARN_DHCP6 != 0
                        && has_ports(packet, 54, direction, 546, 547)
                }
                Some([ip_protocol::ICMPV6]) => {
                    // Neighbour solicitations and advertisements.
                    let kind = packet.read::<1>(54);
                    out && flags & PortRecord::LEARN_CLAIMED != 0
                        && matches!(kind, Some([135 | 136]))
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// A message of the VM's, going either way.
#[inline(always)]
fn is_dhcp<P: Packet + ?Sized>(packet: &P, direction: FrameDirection, record: &PortRecord) -> bool {
    /// Of the client's hardware address, behind the UDP header's.
    const CLIENT: usize = 8 + 28;
    if packet.read::<1>(23) != Some([ip_protocol::UDP]) {
        return false;
    }
    let Some([head]) = packet.read::<1>(14) else {
        return false;
    };
    let udp = 14 + usize::from(head & 15) * 4;
    has_ports(packet, udp, direction, 68, 67) && is_mac(packet.read_far(udp + CLIENT), record)
}

#[inline(always)]
fn is_mac(bytes: Option<[u8; 6]>, record: &PortRecord) -> bool {
    match bytes {
        Some(bytes) => MacAddr(bytes).to_u64() == record.mac,
        None => false,
    }
}

#[inline(always)]
fn has_ports<P: Packet + ?Sized>(
    packet: &P,
    at: usize,
    direction: FrameDirection,
    client: u16,
    server: u16,
) -> bool {
    let Some([a, b, c, d]) = packet.read_far::<4>(at) else {
        return false;
    };
    let ports = match direction {
        FrameDirection::Out => (client, server),
        FrameDirection::In => (server, client),
    };
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])) == ports
}

/// Whether one more frame is within the limits at `now`; `next` is what this needs to remember, at
/// first 0.
#[inline(always)]
pub fn admit(next: &mut u64, now: u64) -> bool {
    // The time at which all admitted frames would have come one after the other.
    let due = if *next > now { *next } else { now };
    if due - now > (LEARN_BURST - 1) * LEARN_INTERVAL {
        return false;
    }
    *next = due + LEARN_INTERVAL;
    true
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, only integers, and no padding: the size asserted below is the sum of the sizes
// of the fields.
unsafe impl aya::Pod for LearnEvent {}

const _: () = assert!(size_of::<LearnEvent>() == 24 + LEARN_FRAME);

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    use FrameDirection::{In, Out};

    const VM: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

    /// From the VM or to it.
    fn frame(kind: u16, rest: &[u8]) -> Vec<u8> {
        let mut frame = Vec::from([VM, VM].as_flattened());
        frame.extend(kind.to_be_bytes());
        frame.extend(rest);
        frame
    }

    fn ipv4(words: u8, protocol: u8, ports: [u16; 2]) -> Vec<u8> {
        let mut packet = Vec::from([0; 60]);
        packet.truncate(usize::from(words) * 4);
        packet[0] = 0x40 | words;
        packet[9] = protocol;
        packet.extend(ports.map(u16::to_be_bytes).as_flattened());
        packet.extend([0; 4 + 28]);
        packet.extend(VM);
        frame(ethertype::IPV4, &packet)
    }

    fn ipv6(protocol: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = Vec::from([0; 40]);
        packet[0] = 0x60;
        packet[6] = protocol;
        packet.extend(rest);
        frame(ethertype::IPV6, &packet)
    }

    fn wanted(frame: &[u8], flags: u32) -> [bool; 2] {
        let record = PortRecord {
            flags,
            mac: MacAddr(VM).to_u64(),
            ..PortRecord::default()
        };
        [In, Out].map(|direction| is_wanted(frame, direction, &record))
    }

    #[test]
    fn each_flag_wants_its_own_frames() {
        use ip_protocol::{ICMPV6, TCP, UDP};
        const DHCP: u32 = PortRecord::LEARN_DHCP;
        const USED: u32 = PortRecord::LEARN_USED;
        const DHCP6: u32 = PortRecord::LEARN_DHCP6;
        const CLAIMED: u32 = PortRecord::LEARN_CLAIMED;
        let icmp6 = |kind| ipv6(ICMPV6, &[kind, 0, 0, 0]);
        let udp6 = |ports: [u16; 2]| ipv6(UDP, ports.map(u16::to_be_bytes).as_flattened());
        let udp = |ports| ipv4(5, UDP, ports);
        let cases: [(Vec<u8>, u32, [bool; 2]); 14] = [
            (udp([67, 68]), DHCP, [true, false]),
            (udp([68, 67]), DHCP, [false, true]),
            (ipv4(15, UDP, [67, 68]), DHCP, [true, false]),
            (udp([67, 67]), DHCP, [false, false]),
            (ipv4(5, TCP, [68, 67]), DHCP, [false, false]),
            (ipv4(5, TCP, [1, 2]), USED, [false, true]),
            (frame(ethertype::ARP, &[]), USED, [false, true]),
            (udp6([547, 546]), DHCP6, [true, false]),
            (udp6([546, 547]), DHCP6, [false, true]),
            (udp6([67, 68]), DHCP6, [false, false]),
            (icmp6(135), CLAIMED, [false, true]),
            (icmp6(136), CLAIMED, [false, true]),
            (icmp6(134), CLAIMED, [false, false]),
            (
                frame(ethertype::VLAN, &[0; 40]),
                PortRecord::LEARN,
                [false, false],
            ),
        ];
        for (number, (frame, flag, expected)) in cases.iter().enumerate() {
            assert_eq!(wanted(frame, *flag), *expected, "case {number}");
            assert_eq!(wanted(frame, !PortRecord::LEARN), [false; 2]);
        }
    }

    #[test]
    fn only_what_is_the_vms_is_wanted() {
        // Every byte of an address that must be the VM's, and the flag and direction for which.
        let answer = ipv4(5, ip_protocol::UDP, [67, 68]);
        let client = 14 + 20 + 8 + 28;
        let arp = frame(ethertype::ARP, &[]);
        let claim = ipv6(ip_protocol::ICMPV6, &[135]);
        let reply = ipv6(ip_protocol::UDP, &[2, 35, 2, 34]);
        for (frame, at, flag) in [
            (answer, client, PortRecord::LEARN_DHCP),
            (ipv4(5, 6, [1, 2]), 6, PortRecord::LEARN_USED),
            (arp, 6, PortRecord::LEARN_USED),
            (claim, 6, PortRecord::LEARN_CLAIMED),
            (reply, 0, PortRecord::LEARN_DHCP6),
        ] {
            assert!(wanted(&frame, flag).contains(&true));
            for at in at..at + 6 {
                let mut other = frame.clone();
                other[at] ^= 1;
                assert_eq!(wanted(&other, flag), [false; 2], "{flag:#x}, byte {at}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_not_wanted() {
        let whole = ipv4(5, ip_protocol::UDP, [68, 67]);
        for length in 0..whole.len() {
            assert_eq!(wanted(&whole[..length], PortRecord::LEARN_DHCP), [false; 2]);
        }
    }

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let mut next = 0;
        let now = 1_000_000_000_000;
        let burst = (0..1000).filter(|_| admit(&mut next, now)).count();
        assert_eq!(burst as u64, LEARN_BURST);
        assert!(!admit(&mut next, now + LEARN_INTERVAL - 1));
        assert!(admit(&mut next, now + LEARN_INTERVAL));
        assert!(!admit(&mut next, now + LEARN_INTERVAL));
        // After a pause, another burst and no more.
        let now = now + 3600 * LEARN_INTERVAL;
        let burst = (0..1000).filter(|_| admit(&mut next, now)).count();
        assert_eq!(burst as u64, LEARN_BURST);
    }
}
