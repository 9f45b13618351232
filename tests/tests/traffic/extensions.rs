//! IPv6 extension headers before a datagram: its ports decide as if they were not there. Sent by a
//! kernel as far as it has a way to say so, else by hand; taken by a kernel.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
};

use nix::errno::Errno;
use nwfilter_tests::{
    frame::{Ethernet, Extension, Ipv6, Udp},
    need,
    net::{in_order, uninterrupted},
};

use super::{
    NEEDS,
    stacks::{CLIENT, MAC, SERVER_MAC, Stacks, Version, is_silent, udp},
};

/// The VM is asked at port 5000 and nowhere else.
const SERVER: &str = "<filter name='server'>
  <rule action='accept' direction='inout' priority='400' statematch='false'><icmpv6/></rule>
  <rule action='accept' direction='in' priority='500'><udp-ipv6 dstportstart='5000'/></rule>
  <rule action='drop' direction='inout' priority='1000'><all-ipv6/></rule>
</filter>";

/// Options that everybody skips (`PadN`), with room for the two bytes before them.
const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];

/// Has the kernel put an extension header before all that a socket sends (RFC 3542).
fn extend(socket: &UdpSocket, option: libc::c_int, header: &[u8]) {
    // SAFETY: the option takes bytes, and those are as many as told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            option,
            header.as_ptr().cast(),
            header.len() as libc::socklen_t,
        )
    };
    Errno::result(result).unwrap();
}

/// Hop-by-hop and destination options, as a socket gets them; the next header is filled in.
fn options() -> [(libc::c_int, Vec<u8>); 2] {
    [libc::IPV6_HOPOPTS, libc::IPV6_DSTOPTS]
        .map(|option| (option, [&[0, 0], &PADDING[..]].concat()))
}

#[test]
fn options_of_a_socket_hide_no_ports() {
    if !need::met(&NEEDS) {
        return;
    }
    let (vm, server) = (Version::V6.vm(), Version::V6.server());
    let (asking, asked) = (
        Stacks::new(CLIENT, &[Version::V6]),
        Stacks::new(SERVER, &[Version::V6]),
    );
    for chosen in [&options()[..1], &options()[1..], &options()[..]] {
        let socket = |namespace, address, port| {
            let socket = udp(namespace, address, port);
            for (option, header) in chosen {
                extend(&socket, *option, header);
            }
            socket
        };
        // Whole and in fragments, which have a header of their own behind the options.
        for (length, frames) in [(100, 1), (8192, 6)] {
            let inner = socket(asking.inside(), vm, 4000);
            let outer = socket(asking.outside(), server, 5000);
            carry(&inner, &outer, (server, 5000).into(), length);
            carry(&outer, &inner, (vm, 4000).into(), length);
            assert_eq!(asking.bound.drops(), []);

            let open = udp(asked.inside(), vm, 5000);
            let closed = udp(asked.inside(), vm, 5001);
            let outer = socket(asked.outside(), server, 4000);
            let before = asked.bound.dropped();
            carry(&outer, &open, (vm, 5000).into(), length);
            assert_eq!(asked.bound.dropped(), before);
            in_order(|| {
                outer.send_to(&vec![7; length], (vm, 5001))?;
                asked.lan.settle(4)
            })
            .unwrap();
            assert_eq!(asked.bound.dropped() - before, frames);
            assert!(is_silent(&closed));
        }
    }
}

/// Sends a datagram, which arrives as it was sent.
fn carry(from: &UdpSocket, to: &UdpSocket, target: SocketAddr, length: usize) {
    let datagram = vec![7; length];
    let mut bytes = vec![0; length + 1];
    // A fragment must not overtake the first one.
    let (received, _) = in_order(|| {
        from.send_to(&datagram, target)?;
        Ok(uninterrupted(|| to.recv_from(&mut bytes))?)
    })
    .unwrap();
    assert_eq!(bytes[..received], datagram);
}

#[test]
fn chains_of_extension_headers_hide_no_ports() {
    if !need::met(&NEEDS) {
        return;
    }
    let stacks = Stacks::new(SERVER, &[Version::V6]);
    let (IpAddr::V6(vm), IpAddr::V6(server)) = (Version::V6.vm(), Version::V6.server()) else {
        unreachable!("addresses of version 6");
    };
    let open = udp(stacks.inside(), vm.into(), 5000);
    let closed = udp(stacks.inside(), vm.into(), 5001);
    let options = PADDING.to_vec();
    // Nothing left to visit: a kernel takes it, whatever its type.
    let routing = |count| Extension::Routing {
        kind: 253,
        segments_left: 0,
        addresses: vec![Ipv6Addr::LOCALHOST; count],
    };
    let chains = [
        vec![routing(0)],
        vec![routing(3)],
        vec![Extension::ATOMIC_FRAGMENT],
        vec![
            Extension::HopByHop(options.clone()),
            Extension::DestinationOptions(options.clone()),
            routing(2),
            Extension::ATOMIC_FRAGMENT,
            Extension::DestinationOptions(options.clone()),
        ],
        // Longer than what the program reads directly, with an option for experiments (RFC 4727).
        vec![
            Extension::HopByHop([0x1e, 252].into_iter().chain([0; 252]).collect()),
            Extension::DestinationOptions(options),
        ],
    ];
    for (number, extensions) in (0..).zip(chains) {
        let datagram = |port| {
            let header = Ipv6 {
                extensions: extensions.clone(),
                ..Ipv6::new(server, vm)
            };
            let udp = Udp::new(4000, port, [number]);
            Ethernet::new(SERVER_MAC, MAC).ipv6(&header, &udp)
        };
        in_order(|| {
            stacks.server.end.send(&datagram(5001))?;
            stacks.server.end.send(&datagram(5000))?;
            stacks.lan.settle(4)
        })
        .unwrap();
        let mut bytes = [0; 2];
        assert_eq!(uninterrupted(|| open.recv(&mut bytes)).unwrap(), 1);
        assert_eq!(bytes[0], number, "{extensions:?}");
        assert_eq!(
            stacks.bound.dropped(),
            u64::from(number) + 1,
            "{extensions:?}"
        );
    }
    assert!(is_silent(&closed));
}
