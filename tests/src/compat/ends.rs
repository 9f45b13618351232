//! Who talks with whom in a row: addresses that no other row of the batch has, and frames between
//! them.

use std::net::{Ipv4Addr, Ipv6Addr};

use nwfilter_common::MacAddr;

use crate::{
    generate::Sent,
    judge::FrameDirection,
    wire::{self, Ipv4, Ipv6},
};

/// The VM's own address, that of the binding.
pub(super) const OWN: MacAddr = MacAddr([0x52, 0x54, 0, 0xff, 0, 1]);

/// One end of the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Vm,
    Peer,
}

impl Side {
    /// Where frames of a direction come from.
    pub(super) fn source(direction: FrameDirection) -> Self {
        match direction {
            FrameDirection::Out => Self::Vm,
            FrameDirection::In => Self::Peer,
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Vm => Self::Peer,
            Self::Peer => Self::Vm,
        }
    }
}

/// The addresses of a row: on each side a network of either family, and as many MAC addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends(pub(super) u16);

impl Ends {
    pub(super) fn mac(self, side: Side, host: u8) -> MacAddr {
        let [high, low] = self.0.to_be_bytes();
        MacAddr([0x52, 0x54, side as u8, high, low, host])
    }

    /// In a network of 24 bits.
    pub(super) fn v4(self, side: Side, host: u8) -> Ipv4Addr {
        let [high, low] = self.0.to_be_bytes();
        Ipv4Addr::new(10, high + 100 * side as u8, low, host)
    }

    /// In a network of 64 bits.
    pub(super) fn v6(self, side: Side, host: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00 + side as u16, self.0, 0, 0, 0, 0, 0, host.into())
    }

    /// A frame between the first MAC addresses of the sides.
    pub(super) fn frame(self, direction: FrameDirection, ethertype: u16, payload: &[u8]) -> Sent {
        let source = Side::source(direction);
        let bytes = wire::ethernet(
            self.mac(source.other(), 1),
            self.mac(source, 1),
            ethertype,
            payload,
        );
        sent(direction, bytes)
    }

    /// An IPv4 header between the first addresses of the sides.
    pub(super) fn header_v4(self, direction: FrameDirection, protocol: u8) -> Ipv4 {
        let source = Side::source(direction);
        Ipv4 {
            source: self.v4(source, 1),
            destination: self.v4(source.other(), 1),
            protocol,
            ..Ipv4::default()
        }
    }

    /// The same of IPv6.
    pub(super) fn header_v6(self, direction: FrameDirection, protocol: u8) -> Ipv6 {
        let source = Side::source(direction);
        Ipv6 {
            source: self.v6(source, 1),
            destination: self.v6(source.other(), 1),
            protocol,
            ..Ipv6::default()
        }
    }

    pub(super) fn packet_v4(self, direction: FrameDirection, protocol: u8, payload: &[u8]) -> Sent {
        let packet = self.header_v4(direction, protocol).packet(payload);
        self.frame(direction, 0x0800, &packet)
    }

    pub(super) fn packet_v6(self, direction: FrameDirection, protocol: u8, payload: &[u8]) -> Sent {
        let packet = self.header_v6(direction, protocol).packet(payload);
        self.frame(direction, 0x86dd, &packet)
    }

    /// Fills in a template for rules written from `source`'s point of view. `{smac1}` is the first
    /// MAC address of the source, `{dip3}` the third IPv4 address of the destination, `{sip6-0}` the
    /// IPv6 network of the source.
    pub(super) fn fill(self, template: &str, source: Side) -> String {
        let mut text = template.to_owned();
        for (letter, side) in [('s', source), ('d', source.other())] {
            for host in [0, 1, 2, 3, 4, 9] {
                for (kind, value) in [
                    ("mac", self.mac(side, host).to_string()),
                    ("ip", self.v4(side, host).to_string()),
                    ("ip6-", self.v6(side, host).to_string()),
                ] {
                    text = text.replace(&format!("{{{letter}{kind}{host}}}"), &value);
                }
            }
        }
        text
    }
}

pub(super) fn sent(direction: FrameDirection, bytes: Vec<u8>) -> Sent {
    Sent {
        direction,
        bytes,
        now: 0,
    }
}
