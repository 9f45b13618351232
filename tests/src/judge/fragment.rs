//! Fragments: what the first fragment of a datagram says of the later ones.

use std::{collections::HashMap, net::IpAddr};

use super::{
    FrameDirection,
    ip::{Fragment, Packet, Transport},
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
    expires: u64,
}

impl Fragments {
    /// Gives a later fragment the fields of its first one, if that was accepted less than 30 s ago.
    pub(super) fn complete(&self, direction: FrameDirection, packet: &mut Packet, now: u64) {
        let Some(datagram) = datagram(direction, packet, true) else {
            return;
        };
        if let Some(first) = self.0.get(&datagram).filter(|first| now < first.expires) {
            packet.protocol = first.protocol;
            packet.transport = first.transport.clone();
        }
    }

    /// Notes an accepted packet. One that was dropped changes nothing: the receiver never gets it.
    pub(super) fn accepted(&mut self, direction: FrameDirection, packet: &Packet, now: u64) {
        let Some(datagram) = datagram(direction, packet, false) else {
            return;
        };
        let first = First {
            protocol: packet.protocol,
            transport: packet.transport.clone(),
            expires: now.saturating_add(LIFE),
        };
        self.0.insert(datagram, first);
    }
}

/// The datagram that `packet` is the first or a later fragment of, if it is.
fn datagram(direction: FrameDirection, packet: &Packet, is_later: bool) -> Option<Datagram> {
    let Fragment {
        later,
        id,
        protocol,
    } = packet.fragment?;
    if later != is_later {
        return None;
    }
    Some(Datagram {
        direction,
        source: *packet.source.value()?,
        destination: *packet.destination.value()?,
        protocol,
        id,
    })
}
