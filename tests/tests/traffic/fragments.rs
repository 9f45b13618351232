//! Fragments that no honest stack sends: before the first one, over the first one, without it. They
//! are dropped, in both directions, whatever else of their packet passes.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
};

use nwfilter_tests::{
    frame::{Ethernet, Extension, Ipv4, Ipv6, Pseudo, Raw, Segment as _, Udp},
    need::{self, Need},
    net::{Direction, Lan},
};

use super::{
    NEEDS,
    stacks::{Bound, MAC, PORT, Version},
};

/// Ports decide, states do not.
pub(crate) const PORTS: &str = "<filter name='ports'>
  <rule action='drop' direction='out' priority='500'><udp dstportstart='5001'/></rule>
  <rule action='drop' direction='in' priority='500'><udp dstportstart='5001'/></rule>
  <rule action='drop' direction='out' priority='500'><udp-ipv6 dstportstart='5001'/></rule>
  <rule action='drop' direction='in' priority='500'><udp-ipv6 dstportstart='5001'/></rule>
</filter>";

/// The VM and somebody else ask each other, from everywhere to port 5000.
pub(crate) const STATES: &str = "<filter name='states'>
  <rule action='accept' direction='out' priority='500'><udp dstportstart='5000'/></rule>
  <rule action='accept' direction='in' priority='500'><udp dstportstart='5000'/></rule>
  <rule action='accept' direction='out' priority='500'><udp-ipv6 dstportstart='5000'/></rule>
  <rule action='accept' direction='in' priority='500'><udp-ipv6 dstportstart='5000'/></rule>
  <rule action='drop' direction='inout' priority='1000'><all/></rule>
  <rule action='drop' direction='inout' priority='1000'><all-ipv6/></rule>
</filter>";

/// Bytes of the datagrams.
const LENGTH: usize = 2000;
/// A datagram in three parts.
const FIRST: Range<usize> = 0..800;
const SECOND: Range<usize> = 800..1600;
const LAST: Range<usize> = 1600..LENGTH;

/// A datagram that is sent in pieces.
#[derive(Clone, Copy)]
struct Packet {
    version: Version,
    direction: Direction,
    id: u16,
    port: u16,
}

impl Packet {
    /// The frame that carries these bytes of it.
    fn piece(self, range: Range<usize>) -> Vec<u8> {
        let (vm, other) = (self.version.vm(), self.version.server());
        let (source, destination, ethernet) = match self.direction {
            Direction::Out => (vm, other, Ethernet::new(MAC, Lan::OUTSIDE)),
            Direction::In => (other, vm, Ethernet::new(Lan::OUTSIDE, MAC)),
        };
        let nowhere = Ipv4Addr::UNSPECIFIED;
        // Nobody reads the checksum.
        let datagram = Udp::new(4000, self.port, vec![0; LENGTH - 8]);
        let datagram = datagram.bytes(&Pseudo::V4(nowhere, nowhere));
        let more = range.end < LENGTH;
        let offset = (range.start / 8) as u16;
        let part = Raw(17, datagram[range].to_vec());
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = Ipv4 {
                    identification: self.id,
                    more_fragments: more,
                    fragment_offset: offset,
                    ..Ipv4::new(source, destination)
                };
                ethernet.ipv4(&header, &part)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let fragment = Extension::Fragment {
                    offset,
                    more,
                    identification: self.id.into(),
                };
                ethernet.ipv6(&Ipv6::new(source, destination).with(fragment), &part)
            }
            _ => unreachable!("both ends are of one version"),
        }
    }
}

#[test]
fn fragments_that_come_before_the_first_or_over_it_are_dropped() {
    if !need::met(&[&NEEDS[..], &[Need::File("/dev/net/tun")]].concat()) {
        return;
    }
    // Bytes in the order of arrival, and whether they pass where the datagram does.
    let orders: [&[(Range<usize>, bool)]; 6] = [
        &[(FIRST, true), (SECOND, true), (LAST, true)],
        &[(FIRST, true), (LAST, true), (SECOND, true)],
        &[(SECOND, false), (FIRST, true), (LAST, true)],
        &[(LAST, false), (SECOND, false), (FIRST, true)],
        // From the middle of the ports, of the header, of the first fragment; then what is right.
        &[
            (FIRST, true),
            (8..808, false),
            (792..1600, false),
            (SECOND, true),
        ],
        // A second first fragment takes the place of the one before.
        &[
            (0..8, true),
            (8..800, true),
            (0..800, true),
            (8..800, false),
        ],
    ];
    let lan = Lan::new().unwrap();
    let vm = lan.tap_vm(PORT, MAC).unwrap();
    let mut id = 0;
    for filter in [PORTS, STATES] {
        let _bound = Bound::new(&lan.host, filter);
        for version in Version::BOTH {
            for direction in [Direction::Out, Direction::In] {
                let mut probe = lan.probe(&vm, direction);
                for (order, pieces) in orders.iter().enumerate() {
                    for port in [5000, 5001] {
                        id += 1;
                        let packet = Packet {
                            version,
                            direction,
                            id,
                            port,
                        };
                        let frames: Vec<Vec<u8>> = pieces
                            .iter()
                            .map(|(range, _)| packet.piece(range.clone()))
                            .collect();
                        let expected: Vec<bool> = pieces
                            .iter()
                            .map(|(_, passes)| *passes && port == 5000)
                            .collect();
                        let arrived = probe.arrivals(&frames).unwrap();
                        assert_eq!(arrived, expected, "{version:?} {direction} {order} {port}");
                    }
                }
            }
        }
    }
}
