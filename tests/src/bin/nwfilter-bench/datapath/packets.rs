//! The frames that are measured. All of TCP belong to one connection over each version of IP.

use std::net::Ipv6Addr;

use nwfilter_common::{FrameDirection, MacAddr};
use nwfilter_tests::frame::{
    Arp, Ethernet, Ipv4, Ipv6, Tcp, Udp,
    tcp::{ACK, SYN},
};

use crate::filters::{IP, IPV6, MAC};

const PEER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
const PEER_IP: [u8; 4] = [10, 0, 0, 2];
const PEER_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const PORTS: (u16, u16) = (40_000, 5000);

fn ethernet(direction: FrameDirection) -> Ethernet {
    match direction {
        FrameDirection::Out => Ethernet::new(MAC, PEER),
        FrameDirection::In => Ethernet::new(PEER, MAC),
    }
}

/// The sender's before the receiver's.
fn ordered<T>(direction: FrameDirection, vm: T, peer: T) -> (T, T) {
    match direction {
        FrameDirection::Out => (vm, peer),
        FrameDirection::In => (peer, vm),
    }
}

fn segment(direction: FrameDirection, flags: u8) -> Tcp {
    let (source, destination) = ordered(direction, PORTS.0, PORTS.1);
    Tcp {
        flags,
        ..Tcp::new(source, destination)
    }
}

fn ipv4(direction: FrameDirection) -> Ipv4 {
    let (source, destination) = ordered(direction, IP, PEER_IP);
    Ipv4::new(source, destination)
}

fn ipv6(direction: FrameDirection) -> Ipv6 {
    let (source, destination) = ordered(direction, IPV6, PEER_IPV6);
    Ipv6::new(source, destination)
}

fn datagram(direction: FrameDirection) -> Udp {
    let (source, destination) = ordered(direction, PORTS.0, PORTS.1);
    Udp::new(source, destination, [])
}

/// As the shortest that a test on a wire would send.
fn sized(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(64), 0);
    frame
}

/// The first frames of the connections.
pub(super) fn handshake() -> Vec<(FrameDirection, Vec<u8>)> {
    use FrameDirection::{In, Out};
    let steps = [(Out, SYN), (In, SYN | ACK), (Out, ACK)];
    let both = |(direction, flags)| {
        let segment = segment(direction, flags);
        let (header4, header6) = (ipv4(direction), ipv6(direction));
        [
            ethernet(direction).ipv4(&header4, &segment),
            ethernet(direction).ipv6(&header6, &segment),
        ]
        .map(|frame| (direction, sized(frame)))
    };
    steps.into_iter().flat_map(both).collect()
}

pub(super) fn tcp(direction: FrameDirection) -> Vec<u8> {
    sized(ethernet(direction).ipv4(&ipv4(direction), &segment(direction, ACK)))
}

pub(super) fn tcp6(direction: FrameDirection) -> Vec<u8> {
    sized(ethernet(direction).ipv6(&ipv6(direction), &segment(direction, ACK)))
}

pub(super) fn tagged(direction: FrameDirection) -> Vec<u8> {
    let ethernet = ethernet(direction).vlan(5);
    sized(ethernet.ipv4(&ipv4(direction), &segment(direction, ACK)))
}

pub(super) fn udp(direction: FrameDirection) -> Vec<u8> {
    sized(ethernet(direction).ipv4(&ipv4(direction), &datagram(direction)))
}

/// From an address that is not the VM's.
pub(super) fn stolen() -> Vec<u8> {
    let header = Ipv4::new([10, 0, 0, 9], PEER_IP);
    sized(Ethernet::new(MAC, PEER).ipv4(&header, &segment(FrameDirection::Out, ACK)))
}

pub(super) fn arp(direction: FrameDirection) -> Vec<u8> {
    sized(match direction {
        FrameDirection::Out => Ethernet::broadcast(MAC).arp(&Arp::request(MAC, IP, PEER_IP)),
        FrameDirection::In => {
            let reply = Arp::reply((PEER, PEER_IP), (MAC, IP));
            ethernet(direction).arp(&reply)
        }
    })
}
