//! Fragments: what the first fragment of a datagram says of the later ones.

use std::{collections::HashMap, net::IpAddr};

use nwfilter_ctl::model::Family;

use super::{
    FrameDirection,
    connection::Tracking,
    ip::{Packet, Transport, protocol},
    truth::Field,
};

/// How long a first fragment speaks for the later ones, in nanoseconds: 30 s.
const LIFE: u64 = 30_000_000_000;

/// The first fragments that were accepted.
#[derive(Default)]
pub(super) struct Fragments(HashMap<Datagram, First>);

/// A datagram of one port, as its fragments name it.
#[derive(Eq, Hash, PartialEq)]
struct Datagram {
    direction: FrameDirection,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
}

struct First {
    protocol: Field<u8>,
    transport: Field<Transport>,
    tracking: Tracking,
    /// Bytes that it carries.
    length: usize,
    expires: u64,
}

impl Fragments {
    /// Gives a later fragment the fields of its first one, if that was accepted less than 30 s ago and
    /// holds none of its bytes; says what the first one was to its connection.
    pub(super) fn complete(
        &self,
        direction: FrameDirection,
        packet: &mut Packet,
        now: u64,
    ) -> Option<Tracking> {
        let datagram = datagram(direction, packet, true)?;
        let offset = packet.fragment?.offset;
        let first = self.0.get(&datagram)?;
        if now >= first.expires || offset < first.length {
            return None;
        }
        packet.protocol = first.protocol;
        packet.transport = first.transport.clone();
        Some(first.tracking.clone())
    }

    /// Notes an accepted packet. One that was dropped changes nothing: the receiver never gets it. One
    /// whose transport header is not there has nothing to say.
    pub(super) fn accepted(
        &mut self,
        direction: FrameDirection,
        packet: &Packet,
        tracking: &Tracking,
        now: u64,
    ) {
        let (Some(datagram), Some(fragment)) =
            (datagram(direction, packet, false), packet.fragment)
        else {
            return;
        };
        let none =
            packet.family == Family::V6 && packet.protocol == Field::Is(protocol::NO_NEXT_HEADER);
        if none || packet.transport == Field::Unknown {
            return;
        }
        let first = First {
            protocol: packet.protocol,
            transport: packet.transport.clone(),
            tracking: tracking.clone(),
            length: fragment.length,
            expires: now.saturating_add(LIFE),
        };
        self.0.insert(datagram, first);
    }
}

/// The datagram that `packet` is the first or a later fragment of, if it is.
fn datagram(direction: FrameDirection, packet: &Packet, is_later: bool) -> Option<Datagram> {
    let fragment = packet.fragment?;
    if fragment.is_later() != is_later {
        return None;
    }
    Some(Datagram {
        direction,
        source: *packet.source.value()?,
        destination: *packet.destination.value()?,
        protocol: fragment.protocol,
        id: fragment.id,
    })
}
