//! Datagrams that do not fit into a frame, between two kernels: their fragments go where the whole
//! datagram would. Nobody puts them together on the way: the namespaces of the tests keep
//! `br_netfilter` away from bridges.

use std::net::{SocketAddr, UdpSocket};

use nwfilter_tests::{
    need,
    net::{in_order, uninterrupted},
};

use super::{
    NEEDS,
    stacks::{CLIENT, Stacks, Version, is_silent, udp},
};

/// Bytes of a datagram.
const LENGTH: usize = 8192;
/// Frames that carry it.
const FRAMES: u64 = 6;

/// Whoever wants asks the VM at port 5000, and nowhere else.
const SERVER: &str = "<filter name='server'>
  <rule action='accept' direction='inout' priority='400' statematch='false'><icmpv6/></rule>
  <rule action='accept' direction='in' priority='500'><udp dstportstart='5000'/></rule>
  <rule action='accept' direction='in' priority='500'><udp-ipv6 dstportstart='5000'/></rule>
  <rule action='drop' direction='inout' priority='1000'><all/></rule>
  <rule action='drop' direction='inout' priority='1000'><all-ipv6/></rule>
</filter>";

/// The same without states, and with other means.
const PORTS: &str = "<filter name='ports'>
  <rule action='drop' direction='in' priority='500'><udp dstportstart='5001'/></rule>
  <rule action='drop' direction='in' priority='500'><udp-ipv6 dstportstart='5001'/></rule>
</filter>";

/// A datagram that no other is like.
fn datagram(number: u8) -> Vec<u8> {
    (0..LENGTH).map(|i| (i / 8) as u8 ^ number).collect()
}

/// Sends a datagram, and the other side answers; both arrive as they were sent.
fn question_and_answer(client: &UdpSocket, server: &UdpSocket, target: SocketAddr) {
    let mut bytes = vec![0; LENGTH + 1];
    // A fragment must not overtake the first one.
    in_order(|| {
        client.send_to(&datagram(1), target)?;
        let (length, source) = uninterrupted(|| server.recv_from(&mut bytes))?;
        assert_eq!(bytes[..length], datagram(1));
        server.send_to(&datagram(2), source)?;
        let (length, source) = uninterrupted(|| client.recv_from(&mut bytes))?;
        assert_eq!(bytes[..length], datagram(2));
        assert_eq!(source, target);
        Ok(())
    })
    .unwrap();
}

#[test]
fn fragments_follow_the_rules_on_ports() {
    if !need::met(&NEEDS) {
        return;
    }
    for filter in [SERVER, PORTS] {
        let stacks = Stacks::new(filter, &Version::BOTH);
        for version in Version::BOTH {
            let open = udp(stacks.inside(), version.vm(), 5000);
            let closed = udp(stacks.inside(), version.vm(), 5001);
            let client = udp(stacks.outside(), version.server(), 4000);
            let before = stacks.bound.dropped();
            question_and_answer(&client, &open, (version.vm(), 5000).into());
            assert_eq!(stacks.bound.dropped(), before, "{version:?}: none");

            in_order(|| {
                client.send_to(&datagram(3), (version.vm(), 5001))?;
                stacks.lan.settle(4)
            })
            .unwrap();
            let after = stacks.bound.dropped();
            assert_eq!(after - before, FRAMES, "{version:?}: all");
            assert!(is_silent(&closed), "{version:?}");
            question_and_answer(&client, &open, (version.vm(), 5000).into());
            assert_eq!(stacks.bound.dropped(), after, "{version:?}: no others");
        }
    }
}

#[test]
fn fragments_are_answered_where_the_vm_has_asked() {
    if !need::met(&NEEDS) {
        return;
    }
    let stacks = Stacks::new(CLIENT, &Version::BOTH);
    for version in Version::BOTH {
        let vm = udp(stacks.inside(), version.vm(), 4000);
        let server = udp(stacks.outside(), version.server(), 5000);
        let stranger = udp(stacks.outside(), version.server(), 5001);
        let before = stacks.bound.dropped();
        question_and_answer(&vm, &server, (version.server(), 5000).into());
        assert_eq!(stacks.bound.dropped(), before, "{version:?}: none");

        in_order(|| {
            stranger.send_to(&datagram(3), (version.vm(), 4000))?;
            stacks.lan.settle(4)
        })
        .unwrap();
        assert_eq!(stacks.bound.dropped() - before, FRAMES, "{version:?}: all");
        assert!(is_silent(&vm), "{version:?}");
    }
}
