//! ARP (RFC 826) and RARP (RFC 903), with addresses of any length.

use std::net::Ipv4Addr;

use nwfilter_common::MacAddr;

/// An ARP or RARP packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Arp {
    /// Address space of the hardware; 1 is Ethernet.
    pub hardware: u16,
    /// `EtherType` of the protocol; `0x800` is IPv4.
    pub protocol: u16,
    /// 1 request, 2 reply, 3 RARP request, 4 RARP reply, ...
    pub operation: u16,
    /// Hardware address of the sender.
    pub sender_hardware: Vec<u8>,
    /// Protocol address of the sender.
    pub sender_protocol: Vec<u8>,
    /// Hardware address of the target.
    pub target_hardware: Vec<u8>,
    /// Protocol address of the target.
    pub target_protocol: Vec<u8>,
    /// Instead of the length of [`Arp::sender_hardware`].
    pub hardware_length: Option<u8>,
    /// Instead of the length of [`Arp::sender_protocol`].
    pub protocol_length: Option<u8>,
}

impl Arp {
    /// An Ethernet and IPv4 packet.
    pub fn new(
        operation: u16,
        (sender_mac, sender_ip): (MacAddr, impl Into<Ipv4Addr>),
        (target_mac, target_ip): (MacAddr, impl Into<Ipv4Addr>),
    ) -> Self {
        Self {
            hardware: 1,
            protocol: 0x0800,
            operation,
            sender_hardware: sender_mac.0.to_vec(),
            sender_protocol: sender_ip.into().octets().to_vec(),
            target_hardware: target_mac.0.to_vec(),
            target_protocol: target_ip.into().octets().to_vec(),
            hardware_length: None,
            protocol_length: None,
        }
    }

    /// Who has `target`?
    pub fn request(mac: MacAddr, ip: impl Into<Ipv4Addr>, target: impl Into<Ipv4Addr>) -> Self {
        Self::new(1, (mac, ip), (MacAddr([0; 6]), target))
    }

    /// `sender` answers `target`.
    pub fn reply(
        sender: (MacAddr, impl Into<Ipv4Addr>),
        target: (MacAddr, impl Into<Ipv4Addr>),
    ) -> Self {
        Self::new(2, sender, target)
    }

    /// What a machine monitor sends for a VM that has just migrated: a RARP request of the VM about
    /// itself without addresses.
    pub fn announce_self(mac: MacAddr) -> Self {
        let unknown = Ipv4Addr::UNSPECIFIED;
        Self::new(3, (mac, unknown), (mac, unknown))
    }

    /// The packet.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.hardware.to_be_bytes());
        bytes.extend(self.protocol.to_be_bytes());
        bytes.push(
            self.hardware_length
                .unwrap_or(self.sender_hardware.len() as u8),
        );
        bytes.push(
            self.protocol_length
                .unwrap_or(self.sender_protocol.len() as u8),
        );
        bytes.extend(self.operation.to_be_bytes());
        bytes.extend(&self.sender_hardware);
        bytes.extend(&self.sender_protocol);
        bytes.extend(&self.target_hardware);
        bytes.extend(&self.target_protocol);
        bytes
    }
}
