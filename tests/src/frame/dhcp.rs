//! DHCP messages (RFC 2131, RFC 2132): the payload of a [`super::Udp`] between the ports [`CLIENT`]
//! and [`SERVER`].

use std::net::Ipv4Addr;

use nwfilter_common::MacAddr;

/// Port of the client.
pub const CLIENT: u16 = 68;
/// Port of the server.
pub const SERVER: u16 = 67;

/// Message type: looking for a server.
pub const DISCOVER: u8 = 1;
/// Message type: a server's proposal.
pub const OFFER: u8 = 2;
/// Message type: the client takes it, or wants to keep what it has.
pub const REQUEST: u8 = 3;
/// Message type: the address is in use already.
pub const DECLINE: u8 = 4;
/// Message type: the server agrees.
pub const ACK: u8 = 5;
/// Message type: the server does not.
pub const NAK: u8 = 6;
/// Message type: the client gives the address back.
pub const RELEASE: u8 = 7;

/// A DHCP message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dhcp {
    /// [`DISCOVER`] and so on.
    pub message: u8,
    /// Ties request and answer together.
    pub transaction: u32,
    /// The client's hardware address.
    pub client: MacAddr,
    /// `ciaddr`: what the client has already.
    pub client_address: Ipv4Addr,
    /// `yiaddr`: what the server gives it.
    pub your_address: Ipv4Addr,
    /// Option 50: what the client asks for.
    pub requested: Option<Ipv4Addr>,
    /// Option 51: for how long, in seconds.
    pub lease: Option<u32>,
    /// Option 54: which server.
    pub server: Option<Ipv4Addr>,
}

impl Dhcp {
    /// A message without options but its type.
    pub fn new(message: u8, client: MacAddr) -> Self {
        Self {
            message,
            transaction: 0x6e77_6631,
            client,
            client_address: Ipv4Addr::UNSPECIFIED,
            your_address: Ipv4Addr::UNSPECIFIED,
            requested: None,
            lease: None,
            server: None,
        }
    }

    /// The message.
    pub fn bytes(&self) -> Vec<u8> {
        let from_server = matches!(self.message, OFFER | ACK | NAK);
        let mut bytes = vec![if from_server { 2 } else { 1 }, 1, 6, 0];
        bytes.extend(self.transaction.to_be_bytes());
        bytes.extend([0; 4]); // seconds, flags
        bytes.extend(self.client_address.octets());
        bytes.extend(self.your_address.octets());
        bytes.extend([0; 8]); // next server, relay
        bytes.extend(self.client.0);
        bytes.resize(236, 0); // rest of the hardware address, server name, file
        bytes.extend([99, 130, 83, 99]); // magic cookie
        bytes.extend([53, 1, self.message]);
        for (option, address) in [(50, self.requested), (54, self.server)] {
            if let Some(address) = address {
                bytes.extend([option, 4]);
                bytes.extend(address.octets());
            }
        }
        if let Some(lease) = self.lease {
            bytes.extend([51, 4]);
            bytes.extend(lease.to_be_bytes());
        }
        bytes.push(255);
        bytes
    }
}
