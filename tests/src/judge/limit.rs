//! Connection limits: how many connections of one source address a rule has looked at (4a.8).
//!
//! A connection is there once its first packet has passed: a rule that has looked at a packet which
//! was then dropped has looked at no connection, even if another packet opens one with the same name
//! later. A later fragment counts as its first one.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::{
    connection::{Connections, Serial, Tracking},
    ip::Packet,
    truth::Field,
};

/// A rule and the source address of packets it has looked at.
type Source = (usize, IpAddr);

/// The connections that each rule has looked at, by the source address of the packet.
#[derive(Default)]
pub(super) struct Limits {
    seen: HashMap<Source, HashSet<Serial>>,
    /// Who has looked at the packet that is being decided.
    looking: Vec<Source>,
}

impl Limits {
    /// Has the rule look at a packet: the number of its source's open connections that the rule has
    /// looked at, with this one. A packet without a connection counts for the moment only.
    pub(super) fn look(
        &mut self,
        rule: usize,
        packet: &Packet,
        tracking: &Tracking,
        connections: &Connections,
    ) -> Field<usize> {
        if *tracking == Tracking::Unknown {
            return Field::Unknown;
        }
        packet.source.map(|source| {
            let seen = self.seen.entry((rule, *source)).or_default();
            seen.retain(|connection| connections.is_open(*connection));
            let known = match tracking {
                Tracking::Opens(_) => None,
                _ => tracking.flow().and_then(|flow| connections.serial(&flow)),
            };
            let of_first = packet.is_later_fragment() && tracking.flow().is_some();
            let counted = of_first || known.is_some_and(|known| seen.contains(&known));
            self.looking.push((rule, *source));
            seen.len() + usize::from(!counted)
        })
    }

    /// Notes what has been looked at, after the verdict has had its effect on the connections.
    pub(super) fn note(&mut self, packet: &Packet, tracking: &Tracking, connections: &Connections) {
        let looking = std::mem::take(&mut self.looking);
        let connection = tracking.flow().and_then(|flow| connections.serial(&flow));
        let Some(connection) = connection.filter(|_| !packet.is_later_fragment()) else {
            return;
        };
        for source in looking {
            self.seen.entry(source).or_default().insert(connection);
        }
    }
}
