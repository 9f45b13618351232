//! Connection tracking of one port: which connection a packet belongs to, in which state and
//! direction. It looks at no rule.
//!
//! The decisions, where netfilter's own code is longer than its idea:
//!
//! * A connection is found by its addresses, protocol and ports (or ICMP id), whether the packet
//!   comes from the VM or goes to it. The *original* direction is that of the packet that opened
//!   it. A packet that is both (equal ends) is original.
//! * NEW: the packet opens a connection, or belongs to the original direction of one that has seen
//!   no reply. ESTABLISHED: the packet is a reply, or belongs to a connection that has seen one.
//! * TCP opens with a SYN without ACK, or in mid-stream with an ACK without SYN, FIN or RST; any
//!   other packet without a connection is INVALID. Sequence numbers and windows are not looked at,
//!   and no packet of an existing connection is INVALID.
//! * A TCP connection is closed by RST, or by FIN in both directions. A SYN without ACK then opens
//!   a new one in its place, from whichever side; until then, or until it times out, its packets
//!   stay ESTABLISHED.
//! * ICMP: echo (8, 0), timestamp (13, 14), information (15, 16) and address mask (17, 18) requests
//!   open a connection of their addresses, kind and id; a reply without its request is INVALID.
//!   `ICMPv6`: echo (128, 129) alike. The code is not looked at.
//! * ICMP errors (3, 4, 5, 11, 12; `ICMPv6` below 128) are RELATED when they quote, with at least
//!   eight bytes of its transport header, a packet of a connection and go to that packet's source;
//!   else INVALID. They advance nothing. An ICMP error about a later fragment quotes nothing.
//! * `ICMPv6` neighbour discovery (133 to 137) and multicast listener messages (130, 131, 132, 143)
//!   are untracked: in no state at all.
//! * Every other ICMP type is INVALID.
//! * UDP and SCTP go by addresses and ports; every other protocol by addresses and protocol.
//! * A later fragment belongs to the connection of its first one.
//! * The answer to a DHCP request (`Strict` only): a packet to the VM from UDP port 67 to port 68
//!   that belongs to no connection by its addresses is a reply of the connection that a request
//!   from the VM, port 68 to 255.255.255.255 port 67, has opened, if the request came from 0.0.0.0
//!   or the answer goes to the request's source or to 255.255.255.255.
//! * Time: an entry lives from its last packet for the time that fits its phase, see [`lifetime`];
//!   at that instant it is gone.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use nwfilter_ctl::model::{CtStates, Family, Semantics};

use super::{
    FrameDirection,
    flow::{Flow, Roles, Selector, alone, with_id, with_ports},
    frame::u16_at,
    ip::{self, Packet, Transport, icmp_protocol, protocol},
    truth::Field,
};

/// Direction of a packet in its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FlowDirection {
    Original,
    Reply,
}

/// What a packet is to the connection table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Tracking {
    /// The headers that would tell are missing.
    Unknown,
    Untracked,
    Invalid,
    /// Would open this connection.
    Opens(Flow),
    /// Belongs to this one.
    Belongs {
        flow: Flow,
        direction: FlowDirection,
        established: bool,
    },
    /// Is an error about this one.
    Related(Flow),
}

impl Tracking {
    /// The state; empty for an untracked packet, `None` if nobody can say.
    pub(super) fn state(&self) -> Option<CtStates> {
        match self {
            Self::Unknown => None,
            Self::Untracked => Some(CtStates::empty()),
            Self::Invalid => Some(CtStates::INVALID),
            Self::Opens(_)
            | Self::Belongs {
                established: false, ..
            } => Some(CtStates::NEW),
            Self::Belongs {
                established: true, ..
            } => Some(CtStates::ESTABLISHED),
            Self::Related(_) => Some(CtStates::RELATED),
        }
    }

    /// The direction, of a packet of a connection.
    pub(super) fn direction(&self) -> Option<FlowDirection> {
        match self {
            Self::Opens(_) => Some(FlowDirection::Original),
            Self::Belongs { direction, .. } => Some(*direction),
            _ => None,
        }
    }

    /// The connection.
    pub(super) fn flow(&self) -> Option<Flow> {
        match self {
            Self::Opens(flow) | Self::Belongs { flow, .. } | Self::Related(flow) => Some(*flow),
            _ => None,
        }
    }
}

/// The connection table of a port.
pub(super) struct Connections {
    semantics: Semantics,
    entries: HashMap<Flow, Entry>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Opened by a packet from the VM.
    from_vm: bool,
    /// When, in nanoseconds.
    opened: u64,
    replied: bool,
    /// TCP: FIN seen in the original and in the reply direction.
    finished: [bool; 2],
    /// TCP: RST seen.
    reset: bool,
    /// Nanoseconds.
    expires: u64,
}

impl Entry {
    fn is_closed(&self) -> bool {
        self.reset || self.finished == [true, true]
    }
}

impl Connections {
    pub(super) fn new(semantics: Semantics) -> Self {
        Self {
            semantics,
            entries: HashMap::new(),
        }
    }

    /// Forgets what has timed out.
    pub(super) fn expire(&mut self, now: u64) {
        self.entries.retain(|_, entry| now < entry.expires);
    }

    /// Whether a connection counts for a limit: it is there and not closed.
    pub(super) fn is_open(&self, flow: &Flow) -> bool {
        self.entries
            .get(flow)
            .is_some_and(|entry| !entry.is_closed())
    }

    /// What `packet` is.
    pub(super) fn classify(&self, packet: &Packet, direction: FrameDirection) -> Tracking {
        let (Some(source), Some(destination), Some(number)) = (
            packet.source.value(),
            packet.destination.value(),
            packet.protocol.value(),
        ) else {
            return Tracking::Unknown;
        };
        match *number {
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                let Field::Is(ports) = packet.ports() else {
                    return Tracking::Unknown;
                };
                let roles = with_ports(*source, *destination, *number, ports);
                self.find(&roles, starts_tcp(packet))
                    .or_else(|| self.dhcp_answer(packet, direction))
                    .unwrap_or(if opens(packet) {
                        roles.original.map_or(Tracking::Invalid, Tracking::Opens)
                    } else {
                        Tracking::Invalid
                    })
            }
            number if number == icmp_protocol(packet.family) => {
                let Field::Is(Transport::Icmp { kind, id, body, .. }) = &packet.transport else {
                    return Tracking::Unknown;
                };
                let v6 = packet.family == Family::V6;
                if v6 && matches!(kind, 130..=137 | 143) {
                    Tracking::Untracked
                } else if is_error(packet.family, *kind) {
                    self.quoted(packet.family, body, *destination)
                        .map_or(Tracking::Invalid, Tracking::Related)
                } else {
                    let roles = with_id(packet.family, *source, *destination, *kind, *id);
                    self.find(&roles, false)
                        .or(roles.original.map(Tracking::Opens))
                        .unwrap_or(Tracking::Invalid)
                }
            }
            number => {
                let roles = alone(*source, *destination, number);
                self.find(&roles, false)
                    .or(roles.original.map(Tracking::Opens))
                    .unwrap_or(Tracking::Invalid)
            }
        }
    }

    /// The connection of the table that a packet with these roles belongs to. One that is closed
    /// does not hold a packet that starts a new one.
    fn find(&self, roles: &Roles, starts: bool) -> Option<Tracking> {
        let candidates = [
            (roles.original, FlowDirection::Original),
            (roles.reply, FlowDirection::Reply),
        ];
        candidates.into_iter().find_map(|(flow, direction)| {
            let flow = flow?;
            let entry = self.entries.get(&flow)?;
            if entry.is_closed() && starts {
                return None;
            }
            let established = entry.replied || direction == FlowDirection::Reply;
            Some(Tracking::Belongs {
                flow,
                direction,
                established,
            })
        })
    }

    /// The request that `packet` answers, if it is an answer of a DHCP server.
    fn dhcp_answer(&self, packet: &Packet, direction: FrameDirection) -> Option<Tracking> {
        let is_answer = self.semantics == Semantics::Strict
            && direction == FrameDirection::In
            && packet.protocol == Field::Is(protocol::UDP)
            && packet.ports() == Field::Is((67, 68));
        let Some(IpAddr::V4(destination)) = packet.destination.value().filter(|_| is_answer) else {
            return None;
        };
        // The latest request that the answer may be for.
        let request = Selector::Ports {
            source: 68,
            destination: 67,
        };
        let (flow, _) = self
            .entries
            .iter()
            .filter(|(flow, entry)| {
                entry.from_vm
                    && flow.protocol == protocol::UDP
                    && flow.selector == request
                    && flow.destination == Ipv4Addr::BROADCAST
                    && (flow.source == Ipv4Addr::UNSPECIFIED
                        || flow.source == *destination
                        || *destination == Ipv4Addr::BROADCAST)
            })
            .max_by_key(|(flow, entry)| (entry.opened, flow.source))?;
        Some(Tracking::Belongs {
            flow: *flow,
            direction: FlowDirection::Reply,
            established: true,
        })
    }

    /// The connection that an ICMP error to `receiver` is about.
    fn quoted(&self, family: Family, bytes: &[u8], receiver: IpAddr) -> Option<Flow> {
        let header = match family {
            Family::V4 => ip::v4_header(bytes),
            Family::V6 => ip::v6_header(bytes),
        }?;
        let (number, payload) = (*header.protocol.value()?, *header.payload.value()?);
        if header.source != receiver {
            return None;
        }
        let roles = match number {
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                let transport = payload.get(..8)?;
                let ports = (u16_at(transport, 0)?, u16_at(transport, 2)?);
                with_ports(header.source, header.destination, number, ports)
            }
            number if number == icmp_protocol(family) => {
                let transport = payload.get(..8)?;
                let id = u16_at(transport, 4)?;
                with_id(family, header.source, header.destination, transport[0], id)
            }
            number => alone(header.source, header.destination, number),
        };
        [roles.original, roles.reply]
            .into_iter()
            .flatten()
            .find(|flow| self.entries.contains_key(flow))
    }

    /// Notes the packet after its verdict. Only an accepted packet opens a connection. A dropped
    /// one advances an existing connection in [`Semantics::Libvirt`] (4a.1) and not in
    /// [`Semantics::Strict`].
    pub(super) fn note(
        &mut self,
        packet: &Packet,
        tracking: &Tracking,
        direction: FrameDirection,
        accepted: bool,
        now: u64,
    ) {
        if !accepted && self.semantics == Semantics::Strict {
            return;
        }
        let (flow, in_flow) = match tracking {
            Tracking::Opens(flow) if accepted => {
                // What it replaces, from either side, is closed.
                let reversed = Flow {
                    source: flow.destination,
                    destination: flow.source,
                    selector: flow.selector.reversed(),
                    ..*flow
                };
                self.entries.remove(&reversed);
                let from_vm = direction == FrameDirection::Out;
                self.entries.insert(
                    *flow,
                    Entry {
                        from_vm,
                        opened: now,
                        ..Entry::default()
                    },
                );
                (*flow, FlowDirection::Original)
            }
            Tracking::Belongs {
                flow, direction, ..
            } => (*flow, *direction),
            _ => return,
        };
        let Some(entry) = self.entries.get_mut(&flow) else {
            return;
        };
        let side = match in_flow {
            FlowDirection::Original => 0,
            FlowDirection::Reply => 1,
        };
        entry.replied |= side == 1;
        if let Field::Is(flags) = packet.tcp_flags() {
            entry.finished[side] |= flags & FIN != 0;
            entry.reset |= flags & RST != 0;
        }
        entry.expires = now.saturating_add(lifetime(packet.family, flow.protocol, entry));
    }
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Whether a packet without a connection may open one.
fn opens(packet: &Packet) -> bool {
    match packet.tcp_flags() {
        Field::Is(flags) => matches!(flags & (SYN | ACK | FIN | RST), SYN | ACK),
        _ => true,
    }
}

/// Whether a packet is a TCP SYN without ACK, FIN and RST.
fn starts_tcp(packet: &Packet) -> bool {
    matches!(packet.tcp_flags(), Field::Is(flags) if flags & (SYN | ACK | FIN | RST) == SYN)
}

fn is_error(family: Family, kind: u8) -> bool {
    match family {
        Family::V4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        Family::V6 => kind < 128,
    }
}

/// How long an entry lives after a packet, in nanoseconds. The kernel's defaults
/// (`Documentation/networking/nf_conntrack-sysctl.rst`), with its many phases folded into: no reply
/// yet, replied, one side finished, both sides finished, reset.
fn lifetime(family: Family, number: u8, entry: &Entry) -> u64 {
    let seconds = match number {
        protocol::TCP => match entry {
            Entry { reset: true, .. } => 10,
            Entry {
                finished: [false, false],
                replied: true,
                ..
            } => 432_000,
            _ => 120,
        },
        protocol::UDP if entry.replied => 120,
        protocol::UDP => 30,
        protocol::SCTP => 210,
        number if number == icmp_protocol(family) => 30,
        _ => 600,
    };
    seconds * 1_000_000_000
}
