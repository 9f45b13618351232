//! What frames say: every condition that a frame must meet, each broken once.

use std::net::{Ipv4Addr, Ipv6Addr};

use nwfilter_common::{FrameDirection, MacAddr};

use super::{
    super::{Kind, Kind6, Message, Message6, Observation, Offered, observe},
    SERVER, VM,
};

const OTHER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 9]);
const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);

pub(super) fn ethernet(
    destination: MacAddr,
    source: MacAddr,
    kind: u16,
    payload: &[u8],
) -> Vec<u8> {
    let header = [&destination.0[..], &source.0, &kind.to_be_bytes()].concat();
    [&header, payload].concat()
}

pub(super) fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let header = [ports.0, ports.1, length, 0].map(u16::to_be_bytes).concat();
    [&header, payload].concat()
}

pub(super) fn ipv4(source: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len() as u16).to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    header.extend(source.octets());
    header.extend([255; 4]);
    [&header, payload].concat()
}

pub(super) fn ipv6(source: Ipv6Addr, next: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, length[0], length[1], next, hops];
    header.extend(source.octets());
    header.extend(Ipv6Addr::LOCALHOST.octets());
    [&header, payload].concat()
}

/// A DHCP message with these options behind its cookie.
fn dhcp(op: u8, options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![op, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0, 0];
    bytes.extend([10, 0, 0, 7]); // ciaddr
    bytes.extend(A.octets());
    bytes.extend([0; 8]);
    bytes.extend(VM.0);
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99]);
    [&bytes, options].concat()
}

const ACK: &[u8] = &[53, 1, 5, 51, 4, 0, 0, 0, 60, 54, 4, 10, 0, 0, 254, 255];

fn ack() -> Vec<u8> {
    answer(&dhcp(2, ACK))
}

fn answer(message: &[u8]) -> Vec<u8> {
    ethernet(
        VM,
        OTHER,
        0x0800,
        &ipv4(SERVER, 17, &udp((67, 68), message)),
    )
}

fn message() -> Message {
    Message {
        kind: Kind::Ack,
        transaction: 0x0102_0304,
        client: VM,
        client_address: Ipv4Addr::new(10, 0, 0, 7),
        your_address: A,
        requested: None,
        lease_time: Some(60),
        server: Some(SERVER),
    }
}

fn incoming(frame: &[u8]) -> Option<Observation> {
    observe(frame, FrameDirection::In, VM)
}

fn outgoing(frame: &[u8]) -> Option<Observation> {
    observe(frame, FrameDirection::Out, VM)
}

#[test]
fn an_answer_to_the_vm_is_read() {
    let expected = Some(Observation::Answered {
        server: SERVER,
        message: message(),
    });
    assert_eq!(incoming(&ack()), expected);
    let mut broadcast = ack();
    broadcast[..6].fill(0xff);
    assert_eq!(incoming(&broadcast), expected);
    // What Ethernet adds to short frames is not the message's.
    assert_eq!(incoming(&[ack(), vec![1; 20]].concat()), expected);
    // A header with options.
    let mut long = ack();
    long.splice(34..34, [1; 4]);
    long[14] = 0x46;
    let total = (long.len() as u16 - 14).to_be_bytes();
    long[16..18].copy_from_slice(&total);
    assert_eq!(incoming(&long), expected);
}

#[test]
fn a_vm_cannot_answer_itself() {
    assert_ne!(incoming(&ack()), None);
    let mut own = ack();
    own[6..12].copy_from_slice(&VM.0);
    assert_eq!(incoming(&own), None);
    // On its way out it is just a packet.
    assert_eq!(outgoing(&own), Some(Observation::Used(SERVER)));
}

#[test]
fn an_answer_that_is_broken_anywhere_is_none() {
    let changes: [(&str, usize, u8); 14] = [
        ("to somebody else", 5, 9),
        ("not IPv4", 13, 1),
        ("another version", 14, 0x65),
        ("a header too short", 14, 0x44),
        ("a fragment", 20, 0x20),
        ("a later fragment", 21, 1),
        ("not UDP", 23, 6),
        ("from another port", 35, 66),
        ("to another port", 37, 69),
        ("longer than there is", 38, 2),
        ("not Ethernet", 43, 2),
        ("addresses of another length", 44, 8),
        ("of another client", 75, 9),
        ("without cookie", 278, 98),
    ];
    for (what, at, value) in changes {
        let mut frame = ack();
        assert_ne!(frame[at], value, "{what}");
        frame[at] = value;
        assert_eq!(incoming(&frame), None, "{what}");
    }
    for length in 0..ack().len() {
        assert_eq!(incoming(&ack()[..length]), None, "cut off after {length}");
    }
}

#[test]
fn options_that_can_be_read_in_two_ways_are_not_read() {
    let cases: [(&str, &[u8]); 7] = [
        ("no type", &[51, 4, 0, 0, 0, 60, 255]),
        ("two types", &[53, 1, 5, 53, 1, 6, 255]),
        (
            "two times",
            &[53, 1, 5, 51, 4, 0, 0, 0, 60, 51, 4, 0, 0, 0, 9],
        ),
        ("a short time", &[53, 1, 5, 51, 2, 0, 60, 255]),
        ("a long type", &[53, 2, 5, 0, 255]),
        ("cut off", &[53, 1, 5, 51, 4, 0, 0]),
        ("without length", &[53, 1, 5, 51]),
    ];
    for (what, options) in cases {
        assert_eq!(Message::parse(&dhcp(2, options)), None, "{what}");
    }
    let padded = [&[0, 0, 12, 2, b'v', b'm'], ACK, &[1, 2, 3]].concat();
    assert_eq!(Message::parse(&dhcp(2, &padded)), Some(message()));
    assert_eq!(
        Message::parse(&dhcp(2, &ACK[..ACK.len() - 1])),
        Some(message())
    );
}

#[test]
fn options_continue_where_the_overload_option_says() {
    for (overload, places) in [(1, &[108][..]), (2, &[44]), (3, &[108, 44])] {
        let mut bytes = dhcp(2, &[52, 1, overload, 53, 1, 5, 255]);
        let parts: [&[u8]; 2] = if places.len() == 2 {
            [&ACK[3..9], &ACK[9..]]
        } else {
            [&ACK[3..], &[]]
        };
        for (at, part) in places.iter().zip(parts) {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        assert_eq!(Message::parse(&bytes), Some(message()), "{overload}");
    }
    // Without the option they are names.
    let mut bytes = dhcp(2, ACK);
    bytes[44..47].copy_from_slice(&[53, 1, 6]);
    assert_eq!(Message::parse(&bytes), Some(message()));
}

#[test]
fn kinds_of_messages_belong_to_one_side() {
    use Kind::{Ack, Decline, Nak, Other, Release, Request};

    let kinds = |op: u8| {
        (1..=8).map(move |kind| Message::parse(&dhcp(op, &[53, 1, kind])).map(|found| found.kind))
    };
    let client = [Other, Other, Request, Decline, Other, Other, Release, Other];
    let server = [Other, Other, Other, Other, Ack, Nak, Other, Other];
    assert!(kinds(1).eq(client.map(Some)));
    assert!(kinds(2).eq(server.map(Some)));
    assert!(kinds(3).eq([None; 8]));
}

#[test]
fn what_the_vm_sends_says_what_it_uses() {
    let sent = |payload: &[u8]| ethernet(OTHER, VM, 0x0800, payload);
    let packet = ipv4(A, 6, &[0; 20]);
    assert_eq!(outgoing(&sent(&packet)), Some(Observation::Used(A)));
    assert_eq!(outgoing(&ethernet(OTHER, OTHER, 0x0800, &packet)), None);
    assert_eq!(incoming(&ethernet(VM, OTHER, 0x0800, &packet)), None);
    for source in [
        [0; 4],
        [0, 0, 0, 1],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [240, 0, 0, 1],
    ] {
        let packet = ipv4(source.into(), 6, &[0; 20]);
        assert_eq!(outgoing(&sent(&packet)), None, "{source:?}");
    }
    let request = udp((68, 67), &dhcp(1, &[53, 1, 3, 50, 4, 10, 0, 0, 8]));
    let Some(Observation::Sent(request)) = outgoing(&sent(&ipv4(A, 17, &request))) else {
        panic!("not a message");
    };
    assert_eq!(request.kind, Kind::Request);
    assert_eq!(request.requested, Some(Ipv4Addr::new(10, 0, 0, 8)));
}

#[test]
fn the_sender_of_an_arp_packet_is_used() {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.extend(VM.0);
    packet.extend(A.octets());
    packet.extend([0; 10]);
    let frame = |packet: &[u8]| ethernet(MacAddr::BROADCAST, VM, 0x0806, packet);
    assert_eq!(outgoing(&frame(&packet)), Some(Observation::Used(A)));
    assert_eq!(incoming(&frame(&packet)), None);
    for (at, value) in [(1, 2), (3, 1), (4, 5), (5, 6), (13, 9), (14, 0), (14, 240)] {
        let mut broken = packet.clone();
        broken[at] = value;
        assert_eq!(outgoing(&frame(&broken)), None, "byte {at}");
    }
    assert_eq!(outgoing(&frame(&packet[..27])), None);
}

/// A reply with one address in one association.
fn reply(valid: u32, status: &[u8]) -> Vec<u8> {
    let mut address = vec![0, 5, 0, 24 + status.len() as u8];
    address.extend(A6.octets());
    address.extend([0; 4]);
    address.extend(valid.to_be_bytes());
    address.extend(status);
    let mut bytes = vec![7, 1, 2, 3, 0, 1, 0, 2, 9, 9]; // and a client's name
    bytes.extend([0, 3, 0, 12 + address.len() as u8]);
    bytes.extend([0; 12]);
    bytes.extend(address);
    bytes
}

#[test]
fn a_dhcpv6_reply_gives_addresses() {
    let frame = |bytes: &[u8]| {
        let packet = ipv6(LINK, 17, 64, &udp((547, 546), bytes));
        ethernet(VM, OTHER, 0x86dd, &packet)
    };
    let expected = |addresses| {
        Some(Observation::Answered6 {
            server: LINK,
            message: Message6 {
                kind: Kind6::Reply,
                addresses,
            },
        })
    };
    let offered = Offered {
        address: A6,
        valid: 60,
    };
    assert_eq!(incoming(&frame(&reply(60, &[]))), expected(vec![offered]));
    let fine: &[u8] = &[0, 13, 0, 3, 0, 0, b'!'];
    let failed: &[u8] = &[0, 13, 0, 2, 0, 2];
    assert_eq!(incoming(&frame(&reply(60, fine))), expected(vec![offered]));
    assert_eq!(incoming(&frame(&reply(60, failed))), expected(vec![]));
    let all_failed = [reply(60, &[]), failed.to_vec()].concat();
    assert_eq!(incoming(&frame(&all_failed)), expected(vec![]));
    for length in 1..reply(60, fine).len() {
        let parsed = Message6::parse(&reply(60, fine)[..length]);
        // Only where an option ends.
        assert!(
            parsed.is_none_or(|parsed| parsed.addresses.is_empty()),
            "{length}"
        );
    }
    let mut broadcast = frame(&reply(60, &[]));
    broadcast[..6].fill(0xff);
    assert_eq!(incoming(&broadcast), None);
}

#[test]
fn neighbour_discovery_says_what_the_vm_claims() {
    let message =
        |kind: u8, target: Ipv6Addr| [&[kind, 0, 0, 0, 0, 0, 0, 0], &target.octets()[..]].concat();
    let frame = |source, hops, message: &[u8]| {
        ethernet(OTHER, VM, 0x86dd, &ipv6(source, 58, hops, message))
    };
    let none = Ipv6Addr::UNSPECIFIED;
    let claimed = |address| Some(Observation::Claimed(address));
    assert_eq!(outgoing(&frame(none, 255, &message(135, A6))), claimed(A6));
    assert_eq!(
        outgoing(&frame(LINK, 255, &message(135, A6))),
        claimed(LINK)
    );
    assert_eq!(outgoing(&frame(LINK, 255, &message(136, A6))), claimed(A6));
    assert_eq!(outgoing(&frame(none, 64, &message(135, A6))), None);
    assert_eq!(outgoing(&frame(LINK, 255, &message(134, A6))), None);
    assert_eq!(outgoing(&frame(none, 255, &message(135, none))), None);
    assert_eq!(outgoing(&frame(none, 255, &message(135, A6)[..20])), None);
    assert_eq!(incoming(&frame(LINK, 255, &message(136, A6))), None);
}
