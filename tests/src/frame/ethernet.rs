//! Ethernet II and 802.3 framing, with 802.1Q and 802.1ad tags.

use nwfilter_common::MacAddr;

use super::{Arp, Bpdu, Ipv4, Ipv6, Segment};

/// The `EtherType` that IEEE 802 reserves for local experiments: no protocol, no filter and no kernel
/// gives it a meaning.
pub const LOCAL_EXPERIMENTAL: u16 = 0x88b5;

/// An Ethernet header: addresses and, between them and the `EtherType`, tags.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ethernet {
    /// Sender.
    pub source: MacAddr,
    /// Receiver.
    pub destination: MacAddr,
    /// Outermost first: tag protocol identifier (`0x8100`, `0x88a8`) and tag control information
    /// (priority 3 bits, drop eligible 1 bit, VLAN id 12 bits).
    pub tags: Vec<(u16, u16)>,
}

impl Ethernet {
    /// An untagged header.
    pub fn new(source: MacAddr, destination: MacAddr) -> Self {
        Self {
            source,
            destination,
            tags: Vec::new(),
        }
    }

    /// An untagged header of a frame to everyone.
    pub fn broadcast(source: MacAddr) -> Self {
        Self::new(source, MacAddr::BROADCAST)
    }

    /// With one more, innermost tag.
    pub fn tag(mut self, protocol: u16, control: u16) -> Self {
        self.tags.push((protocol, control));
        self
    }

    /// With one more, innermost 802.1Q tag with this VLAN id.
    pub fn vlan(self, id: u16) -> Self {
        self.tag(0x8100, id)
    }

    /// A frame of this `EtherType` (below `0x600`: 802.3 length) and body, not padded.
    pub fn frame(&self, ethertype: u16, body: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(14 + 4 * self.tags.len() + body.len());
        frame.extend(self.destination.0);
        frame.extend(self.source.0);
        for (protocol, control) in &self.tags {
            frame.extend(protocol.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(body);
        frame
    }

    /// An 802.3 frame with an LLC header (IEEE 802.2): service access points and control octet.
    pub fn llc(&self, destination: u8, source: u8, control: u8, body: &[u8]) -> Vec<u8> {
        let mut llc = vec![destination, source, control];
        llc.extend(body);
        self.frame(llc.len() as u16, &llc)
    }

    /// A spanning tree BPDU, padded to the shortest frame. Real ones go to [`super::STP_GROUP`].
    pub fn bpdu(&self, bpdu: &Bpdu) -> Vec<u8> {
        padded(self.llc(0x42, 0x42, 3, &bpdu.bytes()))
    }

    /// ARP.
    pub fn arp(&self, arp: &Arp) -> Vec<u8> {
        self.frame(0x0806, &arp.bytes())
    }

    /// RARP: the format of ARP, another `EtherType`.
    pub fn rarp(&self, arp: &Arp) -> Vec<u8> {
        self.frame(0x8035, &arp.bytes())
    }

    /// IPv4.
    pub fn ipv4(&self, header: &Ipv4, segment: &dyn Segment) -> Vec<u8> {
        self.frame(0x0800, &header.packet(segment))
    }

    /// IPv6.
    pub fn ipv6(&self, header: &Ipv6, segment: &dyn Segment) -> Vec<u8> {
        self.frame(0x86dd, &header.packet(segment))
    }
}

/// The frame with zeros up to 60 bytes: the shortest frame of a real wire, without its check
/// sequence.
pub fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    if frame.len() < 60 {
        frame.resize(60, 0);
    }
    frame
}
