//! The judge: a naive interpreter of network filters, written from the semantics alone, against
//! which engine and compiler are compared. It walks the resolved rules one by one and shares
//! nothing with what it judges. It is slow, keeps everything it has seen of a port in ordinary
//! maps, and does no resolving.
//!
//! Numbers such as 4.6 and 4a.1 in its comments are sections of the semantics reference.

mod connection;
mod ethernet;
mod flow;
mod fragment;
mod frame;
mod inet;
mod ip;
mod limit;
mod matrix;
mod order;
mod tcp;
#[cfg(test)]
mod tests;
mod truth;
mod values;

use std::net::IpAddr;

use nwfilter_ctl::{
    model::{Family, Layer, Semantics, SetDirection},
    resolve::{Instance, Origin},
};

use self::{
    connection::{Connections, Tracking},
    fragment::Fragments,
    frame::Frame,
    inet::{Lists, Walk},
    limit::Limits,
    order::Program,
};

/// Direction of a frame, seen from the VM.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FrameDirection {
    /// Enters the VM.
    In,
    /// Leaves the VM.
    Out,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It is discarded silently; so does the Ethernet layer with `reject`.
    Drop,
    /// It is discarded and answered.
    Reject,
}

/// Why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cause {
    /// This rule; for an accept, also one that returns from the layer.
    Rule(Origin),
    /// The end of this sub-chain, which accepts.
    EndOfChain(String),
    /// No rule of the layer decided, which accepts.
    EndOfLayer,
    /// A header that a rule needs is missing, which drops.
    Missing,
}

/// The verdict on a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// What becomes of the frame.
    pub verdict: Verdict,
    /// The layer that dropped it; of an accepted frame, the last layer that it passed.
    pub layer: Layer,
    /// What decided in that layer.
    pub cause: Cause,
}

/// A question to an address set.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// Name of the set.
    pub set: &'a str,
    /// The side of the packet that each dimension of the set is compared with.
    pub directions: &'a [SetDirection],
    /// Address.
    pub source: IpAddr,
    /// Address.
    pub destination: IpAddr,
    /// Source and destination port of a protocol that has them; of ICMP type and code, in both.
    pub ports: Option<(u16, u16)>,
    /// IP protocol.
    pub protocol: Option<u8>,
}

/// The address sets of the host.
pub trait Sets {
    /// Whether the packet is in the set. A set that does not exist contains nothing.
    fn contains(&self, lookup: &Lookup<'_>) -> bool;
}

/// A host without address sets.
struct NoSets;

impl Sets for NoSets {
    fn contains(&self, _: &Lookup<'_>) -> bool {
        false
    }
}

/// What one layer says.
struct Outcome {
    verdict: Verdict,
    cause: Cause,
}

impl Outcome {
    fn new(verdict: Verdict, cause: Cause) -> Self {
        Self { verdict, cause }
    }

    fn in_layer(self, layer: Layer) -> Decision {
        Decision {
            verdict: self.verdict,
            layer,
            cause: self.cause,
        }
    }
}

/// The judge of one port.
pub struct Judge {
    semantics: Semantics,
    ethernet_in: Program,
    ethernet_out: Program,
    v4: Option<Lists>,
    v6: Option<Lists>,
    connections: Connections,
    fragments: Fragments,
    limits: Limits,
    sets: Box<dyn Sets>,
}

impl Judge {
    /// A judge that has seen no frame yet. `instances` are the resolved rules of the port, in the
    /// order of the tree. All address sets are empty.
    pub fn new(instances: &[Instance], semantics: Semantics) -> Self {
        Self::with_sets(instances, semantics, Box::new(NoSets))
    }

    /// The same with address sets.
    pub fn with_sets(instances: &[Instance], semantics: Semantics, sets: Box<dyn Sets>) -> Self {
        let sorted = order::sorted(instances);
        let mut next_id = 0;
        Self {
            semantics,
            ethernet_in: Program::new(&sorted, FrameDirection::In),
            ethernet_out: Program::new(&sorted, FrameDirection::Out),
            v4: Lists::new(&sorted, Family::V4, semantics, &mut next_id),
            v6: Lists::new(&sorted, Family::V6, semantics, &mut next_id),
            connections: Connections::new(semantics),
            fragments: Fragments::default(),
            limits: Limits::default(),
            sets,
        }
    }

    /// Decides one frame and remembers what later frames depend on. `frame` is as on the wire, with
    /// VLAN tags in it and without the checksum; `now` is in nanoseconds and never goes back.
    pub fn decide(&mut self, direction: FrameDirection, frame: &[u8], now: u64) -> Decision {
        let Some(mut frame) = Frame::parse(frame) else {
            return Outcome::new(Verdict::Drop, Cause::Missing).in_layer(Layer::Ethernet);
        };
        self.connections.expire(now);
        let tracking = match &mut frame.packet {
            Some(packet) => match self.fragments.complete(direction, packet, now) {
                Some(tracking) => tracking,
                None => self.connections.classify(packet, direction),
            },
            None => Tracking::Unknown,
        };

        let decision = self.layers(&frame, direction, &tracking);

        let accepted = decision.verdict == Verdict::Accept;
        if let Some(packet) = &frame.packet {
            if accepted {
                self.fragments.accepted(direction, packet, &tracking, now);
            }
            // 4a.1: on the way out, what the Ethernet layer drops never gets to the connections.
            let dropped_before =
                direction == FrameDirection::Out && !accepted && decision.layer == Layer::Ethernet;
            if !dropped_before {
                self.connections
                    .note(packet, &tracking, direction, accepted, now);
            }
            self.limits.note(packet, &tracking, &self.connections);
        }
        decision
    }

    /// First the Ethernet layer, then, for untagged IP of a family with rules, the inet layer.
    fn layers(
        &mut self,
        frame: &Frame<'_>,
        direction: FrameDirection,
        tracking: &Tracking,
    ) -> Decision {
        let program = match direction {
            FrameDirection::In => &self.ethernet_in,
            FrameDirection::Out => &self.ethernet_out,
        };
        let outcome = ethernet::decide(program, frame, direction, self.semantics);
        if outcome.verdict != Verdict::Accept {
            return outcome.in_layer(Layer::Ethernet);
        }
        let lists = frame.packet.as_ref().and_then(|packet| {
            let lists = match packet.family {
                Family::V4 => &self.v4,
                Family::V6 => &self.v6,
            };
            lists.as_ref().map(|lists| (packet, lists))
        });
        let Some((packet, lists)) = lists else {
            return outcome.in_layer(Layer::Ethernet);
        };
        let walk = Walk {
            semantics: self.semantics,
            source_mac: frame.source,
            destination_mac: frame.destination,
            packet,
            tracking,
            connections: &self.connections,
            sets: &*self.sets,
        };
        walk.decide(lists.list(direction), &mut self.limits)
            .in_layer(Layer::Inet)
    }
}
