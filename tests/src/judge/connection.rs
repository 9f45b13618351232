//! Connection tracking of one port: which connection a packet belongs to, in which state and
//! direction. It looks at no rule.
//!
//! The decisions, where netfilter's own code is longer than its idea:
//!
//! * A connection is found by its addresses, protocol and ports (or ICMP type, code and id), whether
//!   the packet comes from the VM or goes to it. The *original* direction is that of the packet that
//!   opened it. A packet that is both (equal ends) is original.
//! * NEW: the packet opens a connection, or belongs to the original direction of one that has seen
//!   no reply. ESTABLISHED: the packet is a reply, or belongs to a connection that has seen one.
//! * TCP: see [`tcp`]. What does not fit is INVALID. An RST where no reply has been seen ends the
//!   connection at once. Sequence numbers, lengths and checksums are not looked at.
//! * ICMP: echo (8, 0), timestamp (13, 14), information (15, 16) and address mask (17, 18) requests
//!   open a connection; a reply without its request is INVALID. `ICMPv6`: echo (128, 129) and node
//!   information (139, 140) alike.
//! * ICMP errors (3, 4, 5, 11, 12; `ICMPv6` below 128) are RELATED when they quote, as far as its
//!   ports (or 8 bytes of ICMP), a packet of a connection and go to that packet's source; else
//!   INVALID. They advance nothing. An ICMP error about a later fragment quotes nothing.
//! * `ICMPv6` neighbour discovery (133 to 136) and multicast listener messages (130, 131, 132, 143)
//!   are untracked: in no state at all.
//! * Every other ICMP type is INVALID; so are ICMP in IPv6, `ICMPv6` in IPv4, IPv6 without upper-layer
//!   protocol, and a transport header that is cut off.
//! * UDP, UDP-Lite, SCTP and DCCP go by addresses and ports; every other protocol by addresses and
//!   protocol.
//! * A later fragment has the state of its first one; without that, nobody can say.
//! * The answer to a DHCP request (`Strict` only): a packet to the VM from UDP port 67 to port 68
//!   that belongs to no connection by its addresses is a reply if the VM has sent a request from port
//!   68 to 255.255.255.255 port 67, from 0.0.0.0 or from where the answer goes. It moves nothing; nor
//!   do requests that come to the VM.
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
    tcp::{self, Phase, Step},
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
    /// Answers this DHCP request.
    Answers(Flow),
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
            }
            | Self::Answers(_) => Some(CtStates::ESTABLISHED),
            Self::Related(_) => Some(CtStates::RELATED),
        }
    }

    /// The direction, of a packet of a connection.
    pub(super) fn direction(&self) -> Option<FlowDirection> {
        match self {
            Self::Opens(_) => Some(FlowDirection::Original),
            Self::Belongs { direction, .. } => Some(*direction),
            Self::Answers(_) => Some(FlowDirection::Reply),
            _ => None,
        }
    }

    /// The connection.
    pub(super) fn flow(&self) -> Option<Flow> {
        match self {
            Self::Opens(flow)
            | Self::Belongs { flow, .. }
            | Self::Related(flow)
            | Self::Answers(flow) => Some(*flow),
            _ => None,
        }
    }
}

/// The connection table of a port.
pub(super) struct Connections {
    semantics: Semantics,
    entries: HashMap<Flow, Entry>,
    /// How many have been opened.
    opened: u64,
}

/// Tells a connection from all others, also from later ones of the same name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Serial(u64);

#[derive(Clone, Copy, Debug)]
struct Entry {
    serial: Serial,
    /// When, in nanoseconds.
    opened: u64,
    replied: bool,
    /// Of TCP.
    phase: Option<Phase>,
    /// Nanoseconds.
    expires: u64,
}

impl Entry {
    fn is_closed(&self) -> bool {
        matches!(self.phase, Some(Phase::TimeWait | Phase::Closed))
    }
}

impl Connections {
    pub(super) fn new(semantics: Semantics) -> Self {
        Self {
            semantics,
            entries: HashMap::new(),
            opened: 0,
        }
    }

    /// Forgets what has timed out.
    pub(super) fn expire(&mut self, now: u64) {
        self.entries.retain(|_, entry| now < entry.expires);
    }

    /// Whether a connection counts for a limit: it is there and not closed.
    pub(super) fn is_open(&self, connection: Serial) -> bool {
        self.entries
            .values()
            .any(|entry| entry.serial == connection && !entry.is_closed())
    }

    /// The connection of this name, if it is there.
    pub(super) fn serial(&self, flow: &Flow) -> Option<Serial> {
        self.entries.get(flow).map(|entry| entry.serial)
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
        if packet.family == Family::V6 && *number == protocol::NO_NEXT_HEADER {
            return Tracking::Invalid;
        }
        if packet.is_later_fragment() {
            return Tracking::Unknown;
        }
        if *number == foreign_icmp(packet.family) {
            return Tracking::Invalid;
        }
        if packet.transport == Field::Unknown {
            return Tracking::Invalid;
        }
        let opens = |roles: Roles| roles.original.map_or(Tracking::Invalid, Tracking::Opens);
        if let Field::Is(flags) = packet.tcp_flags() {
            return self.tcp(packet, (*source, *destination), flags);
        }
        if let Field::Is(ports) = packet.ports() {
            let roles = with_ports(*source, *destination, *number, ports);
            return self
                .find(&roles)
                .or_else(|| self.dhcp_answer(packet, direction))
                .unwrap_or_else(|| opens(roles));
        }
        let Field::Is(Transport::Icmp {
            kind,
            code,
            id,
            body,
        }) = &packet.transport
        else {
            let roles = alone(*source, *destination, *number);
            return self.find(&roles).unwrap_or_else(|| opens(roles));
        };
        if packet.family == Family::V6 && matches!(kind, 130..=136 | 143) {
            Tracking::Untracked
        } else if is_error(packet.family, *kind) {
            self.quoted(packet.family, body, *destination)
                .map_or(Tracking::Invalid, Tracking::Related)
        } else {
            let roles = with_id(packet.family, *source, *destination, (*kind, *code), *id);
            self.find(&roles).unwrap_or_else(|| opens(roles))
        }
    }

    fn tcp(&self, packet: &Packet, ends: (IpAddr, IpAddr), flags: u8) -> Tracking {
        let Field::Is(ports) = packet.ports() else {
            return Tracking::Unknown;
        };
        let roles = with_ports(ends.0, ends.1, protocol::TCP, ports);
        let opens = match (roles.original, tcp::begin(flags)) {
            (Some(flow), Some(_)) => Tracking::Opens(flow),
            _ => Tracking::Invalid,
        };
        let Some(found) = self.find(&roles) else {
            return opens;
        };
        let (Some(flow), Some(direction)) = (found.flow(), found.direction()) else {
            return Tracking::Invalid;
        };
        let phase = self.entries.get(&flow).and_then(|entry| entry.phase);
        let is_reply = direction == FlowDirection::Reply;
        match phase.map(|phase| tcp::step(phase, flags, is_reply)) {
            Some(Step::Reopens) => opens,
            None | Some(Step::Invalid) => Tracking::Invalid,
            Some(Step::To(_) | Step::Ignored) => found,
        }
    }

    /// The connection of the table that a packet with these roles belongs to.
    fn find(&self, roles: &Roles) -> Option<Tracking> {
        let candidates = [
            (roles.original, FlowDirection::Original),
            (roles.reply, FlowDirection::Reply),
        ];
        candidates.into_iter().find_map(|(flow, direction)| {
            let flow = flow?;
            let entry = self.entries.get(&flow)?;
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
        [Ipv4Addr::UNSPECIFIED, *destination]
            .into_iter()
            .map(|source| Flow {
                source: source.into(),
                destination: Ipv4Addr::BROADCAST.into(),
                protocol: protocol::UDP,
                selector: DHCP_REQUEST,
            })
            .find(|request| self.entries.contains_key(request))
            .map(Tracking::Answers)
    }

    /// Whether `packet` is a DHCP request of somebody else, which must not open the way for an
    /// answer to the VM.
    fn is_foreign_request(&self, packet: &Packet, direction: FrameDirection) -> bool {
        self.semantics == Semantics::Strict
            && direction == FrameDirection::In
            && packet.protocol == Field::Is(protocol::UDP)
            && packet.destination == Field::Is(Ipv4Addr::BROADCAST.into())
            && packet.ports() == Field::Is((68, 67))
    }

    /// The connection that an ICMP error to `receiver` is about.
    fn quoted(&self, family: Family, bytes: &[u8], receiver: IpAddr) -> Option<Flow> {
        let header = match family {
            Family::V4 => ip::quoted_v4_header(bytes),
            Family::V6 => ip::quoted_v6_header(bytes),
        }?;
        let (number, payload) = (*header.protocol.value()?, *header.payload.value()?);
        if header.source != receiver {
            return None;
        }
        let roles = match number {
            protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP | protocol::DCCP => {
                let ports = (u16_at(payload, 0)?, u16_at(payload, 2)?);
                with_ports(header.source, header.destination, number, ports)
            }
            number if number == icmp_protocol(family) => {
                let transport = payload.get(..8)?;
                let id = u16_at(transport, 4)?;
                let message = (transport[0], transport[1]);
                with_id(family, header.source, header.destination, message, id)
            }
            number if number == foreign_icmp(family) => return None,
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
        if !accepted && self.semantics == Semantics::Strict
            || packet.is_later_fragment()
            || self.is_foreign_request(packet, direction)
        {
            return;
        }
        let flags = packet.tcp_flags().value().copied();
        match tracking {
            Tracking::Opens(flow) => {
                // What it reopens, from either side, is gone.
                for name in [Some(*flow), flow.reversed()].into_iter().flatten() {
                    self.entries.remove(&name);
                }
                if !accepted {
                    return;
                }
                self.opened += 1;
                let mut entry = Entry {
                    serial: Serial(self.opened),
                    opened: now,
                    replied: false,
                    phase: flags.and_then(tcp::begin),
                    expires: now,
                };
                let life = lifetime(packet.family, flow.protocol, &entry, now);
                entry.expires = now.saturating_add(life);
                self.entries.insert(*flow, entry);
            }
            Tracking::Belongs {
                flow, direction, ..
            } => self.advance(packet.family, *flow, *direction, flags, now),
            _ => {}
        }
    }

    /// A packet of this connection.
    fn advance(
        &mut self,
        family: Family,
        flow: Flow,
        direction: FlowDirection,
        flags: Option<u8>,
        now: u64,
    ) {
        let Some(entry) = self.entries.get_mut(&flow) else {
            return;
        };
        let is_reply = direction == FlowDirection::Reply;
        let step = match (entry.phase, flags) {
            (Some(phase), Some(flags)) => Some(tcp::step(phase, flags, is_reply)),
            _ => None,
        };
        if let Some(Step::To(phase)) = step {
            entry.phase = Some(phase);
        }
        let was_replied = entry.replied;
        entry.replied |= is_reply;
        if step != Some(Step::Ignored) {
            let life = lifetime(family, flow.protocol, entry, now);
            entry.expires = now.saturating_add(life);
        }
        if !was_replied && flags.is_some_and(tcp::resets) {
            self.entries.remove(&flow);
        }
    }
}

/// The ports of a DHCP request (RFC 2131 section 4.1).
const DHCP_REQUEST: Selector = Selector::Ports {
    source: 68,
    destination: 67,
};

/// The protocol number of the other family's ICMP.
fn foreign_icmp(family: Family) -> u8 {
    match family {
        Family::V4 => icmp_protocol(Family::V6),
        Family::V6 => icmp_protocol(Family::V4),
    }
}

fn is_error(family: Family, kind: u8) -> bool {
    match family {
        Family::V4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        Family::V6 => kind < 128,
    }
}

/// How long an entry lives after a packet, in nanoseconds. The kernel's defaults
/// (`Documentation/networking/nf_conntrack-sysctl.rst`); SCTP and DCCP have two phases only. UDP lives
/// longer once it has been answered and is more than two seconds old.
fn lifetime(family: Family, number: u8, entry: &Entry, now: u64) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    let is_stream = entry.replied && entry.opened + 2 * SECOND < now;
    let seconds = match (number, entry.phase) {
        (protocol::TCP, Some(phase)) => tcp::seconds(phase, entry.replied),
        (protocol::UDP | protocol::UDPLITE, _) if is_stream => 120,
        (protocol::SCTP, _) if entry.replied => 210,
        (protocol::UDP | protocol::UDPLITE | protocol::SCTP, _) => 30,
        (protocol::DCCP, _) if entry.replied => 43_200,
        (protocol::DCCP, _) => 240,
        (number, _) if number == icmp_protocol(family) => 30,
        _ => 600,
    };
    seconds * SECOND
}
