//! What a frame says about the addresses of a VM. Only frames with the VM's own hardware address
//! say anything; checksums are not looked at, because they may not be there yet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nwfilter_common::{FrameDirection, MacAddr};

use super::{Message, Message6};

const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Ports of client and server.
const DHCP: (u16, u16) = (68, 67);
const DHCP6: (u16, u16) = (546, 547);

/// Something that a frame says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Observation {
    /// The VM has sent from this address, or asked about others in its name.
    Used(Ipv4Addr),
    /// The VM claims this address.
    Claimed(Ipv6Addr),
    /// The VM has sent a message to a DHCP server.
    Sent(Message),
    /// A server, or a relay, has answered the VM.
    Answered {
        /// Source address of the packet.
        server: Ipv4Addr,
        /// The answer.
        message: Message,
    },
    /// The VM has sent a message to a DHCPv6 server.
    Sent6(Message6),
    /// A server, or a relay, has answered the VM.
    Answered6 {
        /// Source address of the packet.
        server: Ipv6Addr,
        /// The answer.
        message: Message6,
    },
}

/// What a frame says that has passed the VM's port; `None` if nothing.
pub fn observe(frame: &[u8], direction: FrameDirection, vm: MacAddr) -> Option<Observation> {
    let (ethernet, rest) = frame.split_first_chunk::<14>()?;
    let [destination, source] = [0, 6].map(|at| MacAddr(std::array::from_fn(|i| ethernet[at + i])));
    let for_vm = match direction {
        FrameDirection::Out => source == vm,
        // Answers over IPv4 may be broadcast.
        FrameDirection::In => {
            source != vm && (destination == vm || destination == MacAddr::BROADCAST)
        }
    };
    if !for_vm {
        return None;
    }
    match [ethernet[12], ethernet[13]] {
        IPV4 => ipv4(rest, direction, vm),
        ARP if direction == FrameDirection::Out => arp(rest, vm),
        IPV6 if destination != MacAddr::BROADCAST => ipv6(rest, direction),
        _ => None,
    }
}

fn arp(packet: &[u8], vm: MacAddr) -> Option<Observation> {
    let packet = packet.first_chunk::<28>()?;
    // Ethernet and IPv4, with addresses of 6 and 4 bytes.
    let fits = packet[..6] == [0, 1, 8, 0, 6, 4] && packet[8..14] == vm.0;
    let sender = Ipv4Addr::new(packet[14], packet[15], packet[16], packet[17]);
    (fits && is_usable(sender.into())).then_some(Observation::Used(sender))
}

fn ipv4(packet: &[u8], direction: FrameDirection, vm: MacAddr) -> Option<Observation> {
    let header = packet.first_chunk::<20>()?;
    let length = usize::from(header[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || length < header.len() || total < length {
        return None;
    }
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    if header[9] == UDP
        && !fragment
        && let Some(payload) = packet
            .get(length..total)
            .and_then(|datagram| payload(datagram, direction, DHCP))
        && let Some(message) = Message::parse(payload)
    {
        if message.client != vm {
            return None;
        }
        return Some(match direction {
            FrameDirection::Out => Observation::Sent(message),
            FrameDirection::In => Observation::Answered {
                server: source,
                message,
            },
        });
    }
    let used = direction == FrameDirection::Out && is_usable(source.into());
    used.then_some(Observation::Used(source))
}

fn ipv6(packet: &[u8], direction: FrameDirection) -> Option<Observation> {
    let (header, rest) = packet.split_first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let rest = rest.get(..length)?;
    let source = address6(&header[8..24])?;
    match header[6] {
        UDP => {
            let payload = payload(rest, direction, DHCP6)?;
            let message = Message6::parse(payload)?;
            Some(match direction {
                FrameDirection::Out => Observation::Sent6(message),
                FrameDirection::In => Observation::Answered6 {
                    server: source,
                    message,
                },
            })
        }
        // What has come over a router has lost its 255.
        ICMPV6 if direction == FrameDirection::Out && header[7] == 255 => {
            let [kind, 0, ..] = rest else { return None };
            let target = address6(rest.get(8..24)?)?;
            let claimed = match *kind {
                NEIGHBOUR_SOLICITATION if source.is_unspecified() => target,
                NEIGHBOUR_SOLICITATION => source,
                NEIGHBOUR_ADVERTISEMENT => target,
                _ => return None,
            };
            is_usable(claimed.into()).then_some(Observation::Claimed(claimed))
        }
        _ => None,
    }
}

/// What a UDP datagram carries, if it goes from client to server on its way out, or from server to
/// client on its way in.
fn payload(
    datagram: &[u8],
    direction: FrameDirection,
    (client, server): (u16, u16),
) -> Option<&[u8]> {
    let header = datagram.first_chunk::<8>()?;
    let [source, destination, length] =
        [0, 2, 4].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
    let ports = match direction {
        FrameDirection::Out => (client, server),
        FrameDirection::In => (server, client),
    };
    if (source, destination) != ports {
        return None;
    }
    datagram.get(header.len()..usize::from(length))
}

fn address6(bytes: &[u8]) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?))
}

/// Whether a VM may have such an address.
pub(super) fn is_usable(address: IpAddr) -> bool {
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return false;
    }
    match address {
        // `0.0.0.0/8` is for senders without an address, `240.0.0.0/4` is reserved (RFC 6890).
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 240..),
        IpAddr::V6(_) => true,
    }
}
