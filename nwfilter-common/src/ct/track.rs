//! Finds a frame's connection before the inet layer, and changes it after the verdict.

use super::{
    Added, Recent, Tables,
    entry::{Entry, TrackingCounter},
    icmp::{message, role},
    key::{Ends, Key},
    quote::quoted,
    recent::{self, Sight},
    tcp::{self, TcpState, step},
    timeout::Timeout,
};
use crate::{
    class::{Class, ip_protocol},
    engine::{Hook, Pages},
    field::{CtState, Field, Fields, word},
    image::FrameDirection,
    limit::{self, flow},
    packet::Packet,
    work::{Work, forget, recall},
};

/// What a frame does to its connection if it passes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub(crate) struct Pending {
    /// One of [`action`].
    action: u64,
    /// What the connection becomes.
    entry: Entry,
}

impl Pending {
    pub(crate) const fn new() -> Self {
        Self {
            action: action::NOTHING,
            entry: Entry {
                expires: 0,
                created: 0,
                renewed: 0,
                state: 0,
                reserved: 0,
            },
        }
    }
}

impl Pending {
    /// Whether there is something to do.
    #[inline(always)]
    pub(crate) fn is_pending(&self) -> bool {
        recall(&self.action) != action::NOTHING
    }

    /// Whether a connection is to be stored that is not there.
    #[inline(always)]
    pub(crate) fn begins(&self) -> bool {
        let todo = recall(&self.action);
        todo == action::BEGIN || todo == action::REPLACE
    }
}

mod action {
    /// Leave all as it is.
    pub(super) const NOTHING: u64 = 0;
    /// Store a connection.
    pub(super) const BEGIN: u64 = 1;
    /// Store a connection in place of a dead one.
    pub(super) const REPLACE: u64 = 2;
    /// Change a connection.
    pub(super) const ADVANCE: u64 = 3;
}

/// UDP with answers lives longer from this age on: two seconds, as in Linux.
const UDP_STREAM_AGE: u64 = 2_000_000_000;

/// Ports of a DHCP request (RFC 2131 section 4.1).
const DHCP_REQUEST: [u16; 2] = [68, 67];

/// Where DHCP requests go: to everybody.
const BROADCAST: [u64; 2] = [0, 0xffff_ffff];

/// The frame, as far as its bytes do not say.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Discriminant of the frame's [`Class`].
    pub(crate) class: usize,
    pub(crate) port: u32,
    pub(crate) direction: FrameDirection,
    /// [`PortRecord::since`].
    pub(crate) since: u64,
    /// Whether a DHCP request opens the way for its answer.
    pub(crate) dhcp: bool,
}

/// Does what [`track`] does for the usual frame of a connection: TCP or UDP, after the other side has
/// answered, changing nothing. `false` if it is not such a frame, or not sure.
#[inline(always)]
pub fn track_usual<T: Tables + ?Sized>(tables: &T, hook: &Hook<'_>, work: &mut Work) -> bool {
    let class = recall(&work.fields[word::INET_CLASS]) as usize;
    if class == Class::Ip4Tcp as usize || class == Class::Ip4Udp as usize {
        track_known::<T, false>(tables, hook, work)
    } else if class == Class::Ip6Tcp as usize || class == Class::Ip6Udp as usize {
        track_known::<T, true>(tables, hook, work)
    } else {
        false
    }
}

/// [`track_usual`] for a frame of TCP or UDP.
#[inline(always)]
fn track_known<T: Tables + ?Sized, const V6: bool>(
    tables: &T,
    hook: &Hook<'_>,
    work: &mut Work,
) -> bool {
    const FLAGS: u64 = (tcp::SYN | tcp::FIN | tcp::RST | tcp::ACK) as u64;
    let fields = &mut work.fields;
    let tcp = fields[Field::IpProtocol.index()] == u64::from(ip_protocol::TCP);
    if tcp && fields[Field::TcpFlags.index()] & FLAGS != u64::from(tcp::ACK) {
        return false;
    }
    let sight = Sight::<V6>::new(hook.port as u16);
    let place = sight.place(fields);
    let Some(recent) = tables.recent(recent::index(place, hook.direction)) else {
        return false;
    };
    // Before the connection is read: what changes afterwards has changed since.
    let (changes, tick) = (tables.changes(place), tables.tick());
    let since = hook.record.since;
    let state = match Recent::state(&recent, sight, fields, [changes, tick, since]) {
        Some(state) => state,
        None => {
            let (key, side) = usual_key::<V6>(fields, hook.port as u16);
            work.key.overwrite(key.words());
            let Some(stored) = tables.connection(&work.key) else {
                return false;
            };
            let stored = stored.get();
            let open = !tcp || stored.state & 0xff == TcpState::Established as u32;
            let usual = open && stored.is_replied() && stored.created >= since;
            if !usual || !stored.is_fresh(tick) {
                return false;
            }
            let state = if side == stored.original() {
                CtState::EstablishedOriginal
            } else {
                CtState::EstablishedReply
            };
            recent.set(Recent::new(sight, fields, &stored, state, changes));
            state as u64
        }
    };
    fields[Field::CtState.index()] = state;
    fields[word::TRACKED] = 1;
    fields[word::FLOW] = flow::REMEMBERED;
    true
}

/// The key of a frame with ports, IPv6 or not, and which of its ends the frame comes from.
#[inline(always)]
fn usual_key<const V6: bool>(fields: &Fields, port: u16) -> (Key, usize) {
    let protocol = fields[Field::IpProtocol.index()] as u8;
    if V6 {
        let mut key = Key {
            port,
            protocol,
            family: 6,
            ..Key::new()
        };
        let side = key.set_ends(&ends(fields, true, TCP));
        (key, side)
    } else {
        let addresses = [Field::Ip4Src, Field::Ip4Dst].map(|field| fields[field.index()] as u32);
        let ports = [Field::SrcPort, Field::DstPort].map(|field| fields[field.index()] as u16);
        Key::of_ipv4(addresses, ports, port, protocol)
    }
}

/// Writes what [`track`] leaves behind of a connection that is only remembered, which most frames do
/// without: its key, and that there is nothing to do.
#[inline(always)]
pub(crate) fn write_key(hook: &Hook<'_>, work: &mut Work) {
    let port = hook.port as u16;
    let v6 = recall(&work.fields[word::INET_CLASS]) >= Class::Ip6Tcp as u64;
    let (key, _) = if v6 {
        usual_key::<true>(&work.fields, port)
    } else {
        usual_key::<false>(&work.fields, port)
    };
    work.key.overwrite(key.words());
    work.pending.action = action::NOTHING;
}

/// Writes [`Field::CtState`], and what [`commit`] is to do.
#[inline(always)]
pub(crate) fn track<P: Packet + ?Sized, I: Pages + ?Sized, T: Tables + ?Sized>(
    packet: &P,
    image: &I,
    tables: &T,
    place: Place,
    work: &mut Work,
) {
    work.pending.action = action::NOTHING;
    let state = classify(packet, image, tables, place, work);
    if matches!(state, CtState::Invalid) {
        tables.count(place.port, TrackingCounter::Invalid);
    }
    work.fields[Field::CtState.index()] = state as u64;
    work.fields[word::TRACKED] = 1;
    work.fields[word::FLOW] = match state {
        CtState::Invalid | CtState::Untracked => flow::NONE,
        _ => flow::KNOWN,
    };
}

/// Kinds of frames, as distances from the first class of an IP version.
const TCP: usize = 0;
const UDP: usize = Class::Ip4Udp as usize - Class::Ip4Tcp as usize;
const ICMP: usize = Class::Ip4Icmp as usize - Class::Ip4Tcp as usize;
const PORTS: usize = Class::Ip4Ports as usize - Class::Ip4Tcp as usize;
const OTHER: usize = Class::Ip4Other as usize - Class::Ip4Tcp as usize;

#[inline(always)]
fn classify<P: Packet + ?Sized, I: Pages + ?Sized, T: Tables + ?Sized>(
    packet: &P,
    image: &I,
    tables: &T,
    place: Place,
    work: &mut Work,
) -> CtState {
    let Work {
        fields,
        key,
        pending,
        ..
    } = work;
    let v6 = place.class >= Class::Ip6Tcp as usize;
    let first = if v6 { Class::Ip6Tcp } else { Class::Ip4Tcp };
    let kind = place.class.wrapping_sub(first as usize);
    if kind > OTHER {
        // Cut off, or without an upper-layer protocol.
        return CtState::Invalid;
    }
    let incoming = matches!(place.direction, FrameDirection::In);
    let ends = ends(fields, v6, kind);
    key.port = place.port as u16;
    key.family = if v6 { 6 } else { 4 };
    key.protocol = fields[Field::IpProtocol.index()] as u8;
    if kind == OTHER && matches!(key.protocol, ip_protocol::ICMP | ip_protocol::ICMPV6) {
        // That of the other IP version.
        return CtState::Invalid;
    }

    let mut error = false;
    let side = if kind == ICMP {
        let (role, request) = message(v6, fields[Field::IcmpType.index()]);
        match role {
            role::ERROR => {
                error = true;
                let at = recall(&fields[word::TRANSPORT]) as usize + 8;
                let quote = at..recall(&fields[word::ICMP_END]) as usize;
                match quoted(packet, image, quote, v6, ends.addresses[1], key) {
                    Some(side) => side,
                    None => return CtState::Invalid,
                }
            }
            role::REQUEST | role::REPLY => {
                let side = key.place(&ends, usize::from(role == role::REPLY));
                let code = fields[Field::IcmpCode.index()] as u16;
                key.ports = [fields[word::ICMP_ID] as u16, request << 8 | code];
                side
            }
            role::UNTRACKED => return CtState::Untracked,
            _ => return CtState::Invalid,
        }
    } else {
        key.set_ends(&ends)
    };
    let dhcp = || place.dhcp && incoming && kind == UDP && !v6;

    let (now, tick) = (tables.now(), tables.tick());
    let fresh = Entry {
        expires: now,
        created: now,
        renewed: tick,
        state: (side as u32 * Entry::SECOND) | (u32::from(!incoming) * Entry::OUT),
        reserved: 0,
    };
    let (old, todo) = match tables.connection(key) {
        Some(stored) => {
            let stored = stored.get();
            if stored.is_alive(now, place.since) {
                (stored, action::ADVANCE)
            } else {
                (fresh, action::REPLACE)
            }
        }
        None => (fresh, action::BEGIN),
    };
    if todo != action::ADVANCE {
        if error || kind == ICMP && side == 1 {
            // About no connection, or an answer without a request.
            return CtState::Invalid;
        }
        if dhcp() {
            let ends = self::ends(fields, v6, kind);
            let [from, to] = ends.ports;
            if [to, from] == DHCP_REQUEST {
                let mut asked = |source| {
                    key.set_ends(&Ends {
                        addresses: [source, BROADCAST],
                        ports: DHCP_REQUEST,
                    });
                    tables
                        .connection(key)
                        .is_some_and(|request| request.get().is_alive(now, place.since))
                };
                // From nobody yet, or from the address that is to be kept.
                if asked([0, 0]) || asked(ends.addresses[1]) {
                    return CtState::EstablishedReply;
                }
                key.set_ends(&ends);
            }
        }
    } else if error {
        return if side == old.original() {
            CtState::RelatedReply
        } else {
            CtState::RelatedOriginal
        };
    }

    let flags = if kind == TCP {
        Some(fields[Field::TcpFlags.index()])
    } else {
        None
    };
    // The verifier of Linux 6.1 does not know that this is 0 or 1, so it has to see the mask.
    let reply = forget(fields, (side ^ old.original()) as u64) as usize & 1;
    let Some(change) = change(old, fresh, reply, flags) else {
        return CtState::Invalid;
    };
    let mut entry = change.entry;
    let stored = todo == action::ADVANCE && !change.reopens;
    let same = stored && entry.state == old.state;
    let due = change.refreshes && !old.is_fresh(tick);
    // Somebody else's request, which must not open the way for an answer to this VM.
    let foreign = || {
        let Ends { addresses, ports } = self::ends(fields, v6, kind);
        dhcp() && addresses[1] == BROADCAST && ports == DHCP_REQUEST
    };
    if (!same || due) && !foreign() {
        let timeout = if kind == TCP {
            change.timeout
        } else {
            let stream = entry.created + UDP_STREAM_AGE < now;
            lifetime(key.protocol, entry.is_replied(), stream)
        };
        if change.refreshes {
            entry.expires = now + tables.timeout(forget(fields, timeout as u64) as usize);
            // Only together: see `Entry::is_fresh`.
            entry.renewed = tick;
        }
        pending.entry = entry;
        pending.action = if change.reopens {
            action::REPLACE
        } else {
            todo
        };
    }
    if reply != 0 && !change.reopens {
        CtState::EstablishedReply
    } else if entry.is_replied() {
        CtState::EstablishedOriginal
    } else {
        CtState::New
    }
}

/// What a frame makes of a connection.
struct Change {
    entry: Entry,
    /// Whether its end moves.
    refreshes: bool,
    /// Index of the new state's timeout, in TCP.
    timeout: usize,
    /// Whether it is another connection with the same ends.
    reopens: bool,
}

/// `None` if the frame does not belong to the connection. `fresh` is one that begins with the frame,
/// `flags` are those of TCP.
#[inline(always)]
fn change(old: Entry, fresh: Entry, reply: usize, flags: Option<u64>) -> Option<Change> {
    let mut change = Change {
        entry: old,
        refreshes: true,
        timeout: 0,
        reopens: false,
    };
    if let Some(flags) = flags {
        match tcp::next(old.state, reply, flags) {
            step::INVALID => return None,
            step::IGNORE => change.refreshes = false,
            step::REOPEN => {
                change.entry = fresh;
                change.entry.state |= TcpState::SynSent as u32;
                change.timeout = Timeout::TcpSynSent as usize;
                change.reopens = true;
                return Some(change);
            }
            next => {
                change.entry.state = change.entry.state & !0xff | next as u32;
                change.timeout = next as usize;
                if !old.is_replied() && flags & u64::from(tcp::RST) != 0 {
                    // Refused: over at once.
                    change.refreshes = false;
                    change.entry.expires = fresh.created;
                }
                if !old.is_replied() && reply == 0 && next == TcpState::Established as u64 {
                    change.timeout = Timeout::TcpUnacknowledged as usize;
                }
            }
        }
    }
    change.entry.state |= reply as u32 * Entry::REPLIED;
    Some(change)
}

#[inline(always)]
fn ends(fields: &Fields, v6: bool, kind: usize) -> Ends {
    let addresses = if v6 {
        [
            [
                fields[Field::Ip6SrcHigh.index()],
                fields[Field::Ip6SrcLow.index()],
            ],
            [
                fields[Field::Ip6DstHigh.index()],
                fields[Field::Ip6DstLow.index()],
            ],
        ]
    } else {
        [
            [0, fields[Field::Ip4Src.index()]],
            [0, fields[Field::Ip4Dst.index()]],
        ]
    };
    let ports = if kind <= PORTS && kind != ICMP {
        [
            fields[Field::SrcPort.index()] as u16,
            fields[Field::DstPort.index()] as u16,
        ]
    } else {
        [0; 2]
    };
    Ends { addresses, ports }
}

/// Index of the timeout of all but TCP.
#[inline(always)]
const fn lifetime(protocol: u8, replied: bool, stream: bool) -> usize {
    let timeout = match protocol {
        ip_protocol::UDP | ip_protocol::UDPLITE if replied && stream => Timeout::UdpStream,
        ip_protocol::UDP | ip_protocol::UDPLITE => Timeout::Udp,
        ip_protocol::ICMP => Timeout::Icmp,
        ip_protocol::ICMPV6 => Timeout::Icmpv6,
        ip_protocol::SCTP if replied => Timeout::SctpEstablished,
        ip_protocol::SCTP => Timeout::Sctp,
        ip_protocol::DCCP if replied => Timeout::DccpOpen,
        ip_protocol::DCCP => Timeout::Dccp,
        _ => Timeout::Generic,
    };
    timeout as usize
}

/// What becomes of a frame's connection after the verdict.
#[derive(Clone, Copy)]
pub(crate) struct Effect {
    /// A connection that is not there is made.
    pub(crate) begin: bool,
    /// One that is there is changed. Without `begin` for a dropped frame that may change a connection,
    /// but not make one.
    pub(crate) advance: bool,
    /// Number of connection limits of the image.
    pub(crate) limits: u32,
}

/// Does what [`track`] has found out.
#[inline(always)]
pub(crate) fn commit<T: Tables + ?Sized, I: Pages + ?Sized>(
    tables: &T,
    image: &I,
    hook: &Hook<'_>,
    work: &mut Work,
    effect: Effect,
) {
    let Hook { port, record, .. } = *hook;
    let Effect {
        begin,
        advance,
        limits,
    } = effect;
    let todo = recall(&work.pending.action);
    let happens = match todo {
        action::NOTHING => false,
        action::BEGIN => begin,
        action::REPLACE => begin || advance,
        _ => advance,
    };
    if !happens {
        return;
    }
    if limits > 0 && todo != action::BEGIN {
        let stored = tables.connection(&work.key);
        let ends = todo == action::REPLACE
            || limit::is_closed(&work.pending.entry)
            || work.pending.entry.expires <= tables.now();
        if ends && stored.is_some_and(|old| old.get().state & Entry::LIMITED != 0) {
            limit::leave(tables, image, hook, work, limits);
            work.pending.entry.state &= !Entry::LIMITED;
        }
    }
    let Work { key, pending, .. } = work;
    if todo == action::ADVANCE {
        if let Some(stored) = tables.connection(key) {
            // Two frames of a connection may do this at the same time on two CPUs: the later one
            // wins, and the next frame corrects what was lost.
            stored.set(pending.entry);
        }
        // Of all others nothing is remembered.
        tables.changed(recent::place(key.words()));
        return;
    }
    if todo == action::REPLACE && !begin && advance {
        // What a dropped frame would reopen is over, as in Linux.
        if let Some(stored) = tables.connection(key) {
            stored.set(Entry {
                expires: 0,
                ..pending.entry
            });
        }
        return;
    }
    if todo == action::REPLACE && tables.replace_connection(key, &pending.entry) {
        tables.count(port, TrackingCounter::Created);
        return;
    }
    if tables.counter(port, TrackingCounter::Entries) >= u64::from(record.quota()) {
        tables.count(port, TrackingCounter::OverQuota);
        return;
    }
    match tables.add_connection(key, &pending.entry) {
        Added::Stored => {
            tables.count(port, TrackingCounter::Entries);
            tables.count(port, TrackingCounter::Created);
        }
        Added::Exists => {}
        Added::Full => tables.count(port, TrackingCounter::TableFull),
    }
}
