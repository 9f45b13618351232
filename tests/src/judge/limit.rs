//! Connection limits: how many connections of one source address a rule has looked at (4a.8).

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::{
    connection::{Connections, Tracking},
    flow::Flow,
    ip::Packet,
    truth::Field,
};

/// The connections that each rule has looked at, by the source address of the packet.
#[derive(Default)]
pub(super) struct Limits(HashMap<(usize, IpAddr), HashSet<Flow>>);

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
            let seen = self.0.entry((rule, *source)).or_default();
            seen.retain(|flow| connections.is_open(flow));
            match tracking.flow() {
                Some(flow) => {
                    let count = seen.len() + usize::from(!seen.contains(&flow));
                    seen.insert(flow);
                    count
                }
                None => seen.len() + 1,
            }
        })
    }
}
