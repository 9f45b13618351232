//! The frames that are sent, and from where to where.

use std::fmt;

use nwfilter_common::MacAddr;
use nwfilter_tests::frame::{
    Ethernet, Ipv4, Tcp, Udp,
    tcp::{ACK, PSH, SYN},
};

/// A tap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The VM of that number's.
    Vm(usize),
    /// The one that nobody filters.
    Outside,
}

impl End {
    pub(super) fn mac(self) -> MacAddr {
        let [_, _, third, fourth] = self.ip();
        MacAddr([0x52, 0x54, 0, 1, third, fourth])
    }

    pub(super) fn ip(self) -> [u8; 4] {
        match self {
            Self::Outside => [10, 0, 0xff, 1],
            Self::Vm(number) => {
                let [high, low] = (number as u16 + 1).to_be_bytes();
                [10, 0, high, low]
            }
        }
    }
}

/// A frame on its way, and what comes before it.
pub(super) struct Row {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) frame: Vec<u8>,
    /// Whether the filters let it pass.
    pub(super) accepted: bool,
    /// First frames of its connection, with their senders.
    pub(super) before: Vec<(End, Vec<u8>)>,
    name: &'static str,
}

impl Row {
    /// All that are measured on a host with so many ports.
    pub(super) fn all(ports: usize) -> Vec<Self> {
        // The lists that libvirt makes are walked from the first port to the last.
        let (average, last) = (End::Vm((ports - 1) / 2), End::Vm(ports - 1));
        let mut rows = vec![
            Self::udp(average, End::Outside),
            Self::tcp(average, End::Outside),
            Self::udp(End::Outside, average),
            Self::stolen(average, End::Outside),
        ];
        if ports > 1 {
            rows.push(Self::udp(last, End::Outside));
            rows.push(Self::udp(average, last));
        }
        rows
    }

    fn new(name: &'static str, from: End, to: End, frame: Vec<u8>) -> Self {
        Self {
            from,
            to,
            frame,
            accepted: true,
            before: Vec::new(),
            name,
        }
    }

    fn udp(from: End, to: End) -> Self {
        Self::new("UDP", from, to, datagram(from, to, from.ip()))
    }

    /// With an address that is not the sender's.
    fn stolen(from: End, to: End) -> Self {
        let frame = datagram(from, to, [10, 0, 0xfe, 1]);
        Self {
            accepted: false,
            ..Self::new("another's address", from, to, frame)
        }
    }

    /// Of an established connection.
    fn tcp(from: End, to: End) -> Self {
        let data = segment(from, to, 2, PSH | ACK, &[0; 10]);
        let before = vec![
            (from, segment(from, to, 1, SYN, &[])),
            (to, segment(to, from, 1, SYN | ACK, &[])),
            (from, segment(from, to, 2, ACK, &[])),
        ];
        Self {
            before,
            ..Self::new("TCP, established", from, to, data)
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match (self.from, self.to) {
            (End::Vm(from), End::Vm(to)) => write!(f, ", between {} and {}", from + 1, to + 1)?,
            (End::Vm(from), End::Outside) => write!(f, ", out of {}", from + 1)?,
            (End::Outside, End::Vm(to)) => write!(f, ", in to {}", to + 1)?,
            (End::Outside, End::Outside) => {}
        }
        if self.accepted {
            Ok(())
        } else {
            f.write_str(", dropped")
        }
    }
}

/// To a port that all filters let pass.
fn datagram(from: End, to: End, source: [u8; 4]) -> Vec<u8> {
    let udp = Udp::new(40_000, 53, [0; 22]);
    Ethernet::new(from.mac(), to.mac()).ipv4(&Ipv4::new(source, to.ip()), &udp)
}

fn segment(from: End, to: End, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    const CLIENT: u16 = 40_000;
    const SERVER: u16 = 5000;
    let (source, destination) = match from {
        End::Vm(_) => (CLIENT, SERVER),
        End::Outside => (SERVER, CLIENT),
    };
    let tcp = Tcp {
        sequence,
        acknowledgment: if flags & ACK == 0 { 0 } else { 2 },
        flags,
        payload: payload.to_vec(),
        ..Tcp::new(source, destination)
    };
    Ethernet::new(from.mac(), to.mac()).ipv4(&Ipv4::new(from.ip(), to.ip()), &tcp)
}
