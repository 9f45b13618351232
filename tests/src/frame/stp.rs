//! Spanning tree BPDUs (IEEE 802.1D-2004 clause 9.3).

use nwfilter_common::MacAddr;

/// Where BPDUs are sent to.
pub const STP_GROUP: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);

/// The formats of a BPDU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BpduKind {
    /// Configuration: version 0, type 0.
    Config,
    /// Topology change notification: version 0, type `0x80`, nothing after it.
    TopologyChange,
    /// Rapid spanning tree: version 2, type 2, one more octet.
    Rapid,
}

/// A BPDU. Times are in units of 1/256 s.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bpdu {
    /// Format.
    pub kind: BpduKind,
    /// Topology change, acknowledgment and RSTP's port roles.
    pub flags: u8,
    /// First half of the root's identifier.
    pub root_priority: u16,
    /// Second half.
    pub root_address: MacAddr,
    /// Cost of the path to the root.
    pub root_cost: u32,
    /// First half of the sending bridge's identifier.
    pub sender_priority: u16,
    /// Second half.
    pub sender_address: MacAddr,
    /// Identifier of the sending port.
    pub port: u16,
    /// Age of the information.
    pub message_age: u16,
    /// Age at which it is dropped.
    pub max_age: u16,
    /// Time between BPDUs of the root.
    pub hello_time: u16,
    /// Time spent listening and learning.
    pub forward_delay: u16,
}

impl Bpdu {
    /// A configuration BPDU of a bridge that takes itself for the root, with the standard's times.
    pub fn new(bridge: MacAddr) -> Self {
        Self {
            kind: BpduKind::Config,
            flags: 0,
            root_priority: 0x8000,
            root_address: bridge,
            root_cost: 0,
            sender_priority: 0x8000,
            sender_address: bridge,
            port: 0x8001,
            message_age: 0,
            max_age: 20 << 8,
            hello_time: 2 << 8,
            forward_delay: 15 << 8,
        }
    }

    /// From the protocol identifier on, after the LLC header.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = match self.kind {
            BpduKind::Config => vec![0, 0, 0, 0],
            BpduKind::TopologyChange => return vec![0, 0, 0, 0x80],
            BpduKind::Rapid => vec![0, 0, 2, 2],
        };
        bytes.push(self.flags);
        bytes.extend(self.root_priority.to_be_bytes());
        bytes.extend(self.root_address.0);
        bytes.extend(self.root_cost.to_be_bytes());
        bytes.extend(self.sender_priority.to_be_bytes());
        bytes.extend(self.sender_address.0);
        for field in [
            self.port,
            self.message_age,
            self.max_age,
            self.hello_time,
            self.forward_delay,
        ] {
            bytes.extend(field.to_be_bytes());
        }
        if self.kind == BpduKind::Rapid {
            bytes.push(0);
        }
        bytes
    }
}
