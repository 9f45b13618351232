//! Frames between a VM and those that it talks with.

use nwfilter_common::MacAddr;
use nwfilter_tests::{
    frame::{Arp, Ethernet, Icmp, Icmpv6, Ipv4, Ipv6, Tcp, Udp, tcp},
    judge::FrameDirection::Out,
};

use crate::Row;

/// Two who talk. Frames to the VM have the router's MAC address as source.
#[derive(Clone, Copy)]
pub(crate) struct Talk {
    pub(crate) vm: MacAddr,
    pub(crate) own: [u8; 4],
    pub(crate) peer: [u8; 4],
}

impl Talk {
    pub(crate) const ROUTER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 0xfe]);

    /// The VM of the example with this number.
    pub(crate) const fn of(number: u8) -> Self {
        Self {
            vm: MacAddr([0x52, 0x54, 0, 0, 0, number]),
            own: [192, 0, 2, number],
            peer: [198, 51, 100, 1],
        }
    }

    pub(crate) const fn with(self, peer: [u8; 4]) -> Self {
        Self { peer, ..self }
    }

    /// Ethernet from the VM.
    pub(crate) fn leaving(&self) -> Ethernet {
        Ethernet::new(self.vm, Self::ROUTER)
    }

    /// Ethernet to the VM.
    pub(crate) fn coming(&self) -> Ethernet {
        Ethernet::new(Self::ROUTER, self.vm)
    }

    pub(crate) fn tcp_out(&self, source: u16, destination: u16, flags: u8) -> Vec<u8> {
        let header = Ipv4::new(self.own, self.peer);
        self.leaving()
            .ipv4(&header, &segment(source, destination, flags))
    }

    pub(crate) fn tcp_in(&self, source: u16, destination: u16, flags: u8) -> Vec<u8> {
        let header = Ipv4::new(self.peer, self.own);
        self.coming()
            .ipv4(&header, &segment(source, destination, flags))
    }

    pub(crate) fn udp_out(&self, source: u16, destination: u16) -> Vec<u8> {
        let header = Ipv4::new(self.own, self.peer);
        self.leaving()
            .ipv4(&header, &Udp::new(source, destination, *b"?"))
    }

    pub(crate) fn udp_in(&self, source: u16, destination: u16) -> Vec<u8> {
        let header = Ipv4::new(self.peer, self.own);
        self.coming()
            .ipv4(&header, &Udp::new(source, destination, *b"!"))
    }

    pub(crate) fn icmp_out(&self, message: &Icmp) -> Vec<u8> {
        self.leaving()
            .ipv4(&Ipv4::new(self.own, self.peer), message)
    }

    pub(crate) fn icmp_in(&self, message: &Icmp) -> Vec<u8> {
        self.coming().ipv4(&Ipv4::new(self.peer, self.own), message)
    }

    /// What `clean-traffic`, which most examples refer to, is for.
    pub(crate) fn spoofed(&self) -> Vec<Row> {
        let other = Self {
            own: [192, 0, 2, 200],
            ..*self
        };
        let udp = Udp::new(1, 2, []);
        let own = Ipv4::new(self.own, self.peer);
        let solicitation = Icmpv6::neighbour_solicitation([0xfe; 16], self.vm);
        let ask = |mac, ip| Ethernet::broadcast(self.vm).arp(&Arp::request(mac, ip, self.peer));
        vec![
            (Out, "another's IP", other.tcp_out(1, 2, tcp::SYN), false),
            (
                Out,
                "another's MAC",
                Ethernet::new(Self::ROUTER, self.vm).ipv4(&own, &udp),
                false,
            ),
            (
                Out,
                "a VLAN tag",
                self.leaving().vlan(7).ipv4(&own, &udp),
                false,
            ),
            (
                Out,
                "IPv6",
                self.leaving()
                    .ipv6(&Ipv6::new([0xfe; 16], [0xff; 16]), &solicitation),
                false,
            ),
            (Out, "ARP", ask(self.vm, self.own), true),
            (Out, "ARP with another's IP", ask(self.vm, other.own), false),
            (
                Out,
                "ARP with another's MAC",
                ask(Self::ROUTER, self.own),
                false,
            ),
        ]
    }
}

pub(crate) fn segment(source: u16, destination: u16, flags: u8) -> Tcp {
    Tcp {
        flags,
        // Both sides begin with sequence number 1; SYN takes one.
        sequence: if flags & tcp::SYN == 0 { 2 } else { 1 },
        acknowledgment: if flags & tcp::ACK == 0 { 0 } else { 2 },
        ..Tcp::new(source, destination)
    }
}

pub(crate) const SYN_ACK: u8 = tcp::SYN | tcp::ACK;
