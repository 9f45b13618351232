//! Bytes written by hand from the RFCs, and round trips through etherparse, which shares no code
//! with this module.

use std::net::Ipv6Addr;

use etherparse::{
    LinkExtSlice, NetSlice, SlicedPacket, TransportSlice,
    checksum::{u32_16bit_word, u64_16bit_word},
};

use super::*;
use nwfilter_common::MacAddr;

const A: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
const IP_A: [u8; 4] = [192, 168, 77, 10];
const IP_B: [u8; 4] = [192, 168, 77, 11];

fn v6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

fn eth() -> Ethernet {
    Ethernet::new(A, B)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn arp_request_as_in_rfc_826() {
    let frame = Ethernet::broadcast(A).arp(&Arp::request(A, IP_A, IP_B));
    assert_eq!(
        frame,
        hex("ffffffffffff 525400000001 0806
             0001 0800 06 04 0001 525400000001 c0a84d0a 000000000000 c0a84d0b")
    );
}

#[test]
fn self_announcement_is_a_reverse_request_without_addresses() {
    let frame = Ethernet::broadcast(A).rarp(&Arp::announce_self(A));
    assert_eq!(
        frame,
        hex("ffffffffffff 525400000001 8035
             0001 0800 06 04 0003 525400000001 00000000 525400000001 00000000")
    );
}

#[test]
fn arp_lengths_follow_the_addresses_or_lie() {
    let arp = Arp {
        hardware: 32,
        sender_hardware: vec![1; 20],
        target_hardware: vec![2; 20],
        protocol_length: Some(16),
        ..Arp::request(A, IP_A, IP_B)
    };
    let bytes = arp.bytes();
    assert_eq!(bytes[..8], hex("0020 0800 14 10 0001")[..]);
    assert_eq!(bytes.len(), 8 + 2 * (20 + 4));
}

#[test]
fn config_bpdu_as_in_802_1d() {
    let frame = Ethernet::new(A, STP_GROUP).bpdu(&Bpdu {
        root_cost: 4,
        message_age: 0x100,
        ..Bpdu::new(B)
    });
    let expected = hex("0180c2000000 525400000001 0026 42 42 03
         0000 00 00 00 8000 525400000002 00000004 8000 525400000002 8001 0100 1400 0200 0f00");
    assert_eq!(frame, padded(expected));
}

#[test]
fn topology_change_and_rapid_bpdu() {
    let kind = |kind| {
        Bpdu {
            kind,
            ..Bpdu::new(A)
        }
        .bytes()
    };
    assert_eq!(kind(BpduKind::TopologyChange), hex("0000 00 80"));
    let rapid = kind(BpduKind::Rapid);
    assert_eq!(rapid[..4], hex("0000 02 02")[..]);
    assert_eq!(rapid.len(), 36);
}

#[test]
fn ipv4_header_with_the_checksum_of_the_textbook() {
    // The header that the article on the checksum works through, byte for byte.
    let ip = Ipv4 {
        dont_fragment: true,
        ..Ipv4::new([192, 168, 0, 1], [192, 168, 0, 199])
    };
    let packet = ip.packet(&Raw(17, vec![0; 95]));
    assert_eq!(
        packet[..20],
        hex("4500 0073 0000 4000 4011 b861 c0a80001 c0a800c7")[..]
    );
}

#[test]
fn crc32c_as_in_rfc_3720() {
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn tags_stand_in_their_order() {
    let frame = eth()
        .tag(0x88a8, 0x2064)
        .vlan(7)
        .frame(LOCAL_EXPERIMENTAL, &[1]);
    assert_eq!(
        frame,
        hex("525400000002 525400000001 88a8 2064 8100 0007 88b5 01")
    );
    let parsed = SlicedPacket::from_ethernet(&frame).unwrap();
    let ids: Vec<u16> = parsed
        .link_exts
        .iter()
        .filter_map(|ext| match ext {
            LinkExtSlice::Vlan(vlan) => Some(vlan.vlan_identifier().value()),
            LinkExtSlice::Macsec(_) => None,
        })
        .collect();
    assert_eq!(ids, [0x64, 7]);
}

/// What etherparse says about checksums: its own computation over header and payload.
fn transport_is_valid(frame: &[u8]) -> bool {
    let parsed = SlicedPacket::from_ethernet(frame).unwrap();
    let transport = parsed.transport.unwrap();
    match (parsed.net.unwrap(), transport) {
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            let header = tcp.to_header();
            let ip = ip.header().to_header();
            header.calc_checksum_ipv4(&ip, tcp.payload()).unwrap() == header.checksum
        }
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            let ip = ip.header().to_header();
            header.calc_checksum_ipv4(&ip, udp.payload()).unwrap() == header.checksum
        }
        (NetSlice::Ipv4(_), TransportSlice::Icmpv4(icmp)) => {
            let header = icmp.header();
            header.icmp_type.calc_checksum(icmp.payload()) == header.checksum
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            let header = tcp.to_header();
            let ip = ip.header().to_header();
            header.calc_checksum_ipv6(&ip, tcp.payload()).unwrap() == header.checksum
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            let ip = ip.header().to_header();
            header.calc_checksum_ipv6(&ip, udp.payload()).unwrap() == header.checksum
        }
        (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
            let ip = ip.header().to_header();
            icmp.is_checksum_valid(ip.source, ip.destination)
        }
        other => panic!("not expected: {other:?}"),
    }
}

#[test]
fn transport_checksums_are_right_in_both_families() {
    let segments: [Box<dyn Segment>; 4] = [
        Box::new(Tcp {
            flags: tcp::SYN | tcp::ACK,
            options: vec![2, 4, 5, 0xb4, 1],
            payload: b"odd".to_vec(),
            ..Tcp::new(40_000, 80)
        }),
        Box::new(Udp::new(68, 67, *b"payload")),
        Box::new(Udp::new(1, 2, [])),
        Box::new(Tcp::syn(1, 2)),
    ];
    for segment in &segments {
        let frame = eth().ipv4(&Ipv4::new(IP_A, IP_B), &**segment);
        assert!(transport_is_valid(&frame), "{}", describe(&frame));
        let frame = eth().vlan(3).ipv6(&Ipv6::new(v6(1), v6(2)), &**segment);
        assert!(transport_is_valid(&frame), "{}", describe(&frame));
    }
    let ping = Icmp {
        payload: vec![1, 2, 3],
        ..Icmp::echo_request(7, 8)
    };
    assert!(transport_is_valid(
        &eth().ipv4(&Ipv4::new(IP_A, IP_B), &ping)
    ));
    for message in [
        Icmpv6::echo_request(7, 8),
        Icmpv6::neighbour_solicitation(v6(2), A),
    ] {
        let frame = eth().ipv6(&Ipv6::new(v6(1), v6(2)), &message);
        assert!(transport_is_valid(&frame), "{}", describe(&frame));
    }
    // And a wrong one on request.
    let bad = Udp {
        checksum: Some(1),
        ..Udp::new(1, 2, [])
    };
    assert!(!transport_is_valid(
        &eth().ipv4(&Ipv4::new(IP_A, IP_B), &bad)
    ));
}

#[test]
fn udp_checksum_zero_is_sent_as_ones() {
    // Addresses 0, protocol 17, twice the length 10, ports 0: the payload completes the sum.
    let payload = (0xffff_u16 - 17 - 10 - 10).to_be_bytes();
    let udp = Udp::new(0, 0, payload).bytes(&Pseudo::V4([0; 4].into(), [0; 4].into()));
    assert_eq!(udp[6..8], [0xff, 0xff]);
}

#[test]
fn udp_lite_covers_what_it_says() {
    let pseudo = Pseudo::V4(IP_A.into(), IP_B.into());
    let lite = UdpLite {
        coverage: 8,
        ..UdpLite::new(1, 2, *b"first")
    };
    let other = UdpLite {
        payload: b"other".to_vec(),
        ..lite.clone()
    };
    assert_eq!(lite.bytes(&pseudo)[..8], other.bytes(&pseudo)[..8]);
    let full = UdpLite::new(1, 2, *b"first").bytes(&pseudo);
    let sum = u64_16bit_word::add_slice(0, &full);
    let sum = u64_16bit_word::add_slice(sum, &pseudo.bytes(136, full.len()));
    assert_eq!(u64_16bit_word::ones_complement(sum), 0);
}

#[test]
fn igmp_and_esp_bytes() {
    let pseudo = Pseudo::V4(IP_A.into(), [224, 0, 0, 251].into());
    let report = Igmp {
        kind: 0x16,
        max_response: 0,
        group: [224, 0, 0, 251].into(),
    };
    assert_eq!(report.bytes(&pseudo), hex("1600 0904 e00000fb"));
    let sum = u32_16bit_word::add_slice(0, &report.bytes(&pseudo));
    assert_eq!(u32_16bit_word::ones_complement(sum), 0);
    let esp = Esp {
        index: 5,
        sequence: 6,
        payload: vec![7],
    };
    assert_eq!(esp.bytes(&pseudo), hex("00000005 00000006 07"));
}

#[test]
fn sctp_checksum_is_least_significant_byte_first() {
    let mut bytes = Sctp::init(5000, 6000).bytes(&Pseudo::V4(IP_A.into(), IP_B.into()));
    assert_eq!(bytes[..8], hex("1388 1770 00000000")[..]);
    let sum = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
    bytes[8..12].fill(0);
    assert_eq!(sum, crc32c(&bytes));
}

#[test]
fn extension_headers_chain_up() {
    let ip = Ipv6::new(v6(1), v6(2))
        .with(Extension::HopByHop(vec![5, 2, 0, 0]))
        .with(Extension::Routing {
            kind: 0,
            segments_left: 1,
            addresses: vec![v6(3)],
        })
        .with(Extension::DestinationOptions(vec![]))
        .with(Extension::Authentication {
            index: 1,
            sequence: 2,
            check: vec![0; 12],
        })
        .with(Extension::ATOMIC_FRAGMENT);
    let packet = ip.packet(&Raw(59, vec![]));
    let expected = hex("60000000 0048 00 40
         20010db8000000000000000000000001 20010db8000000000000000000000002
         2b 00 0502 0000 0100
         3c 02 00 01 00000000 20010db8000000000000000000000003
         33 00 0104 00000000
         2c 04 0000 00000001 00000002 000000000000000000000000
         3b 00 0000 00000000");
    assert_eq!(packet.len(), expected.len());
    assert_eq!(packet, expected);
}

#[test]
fn routed_packets_are_checked_for_their_last_stop() {
    let routed = Ipv6::new(v6(1), v6(9)).with(Extension::Routing {
        kind: 0,
        segments_left: 1,
        addresses: vec![v6(2)],
    });
    let udp = Udp::new(1, 2, *b"x");
    let direct = Ipv6::new(v6(1), v6(2)).packet(&udp);
    let packet = routed.packet(&udp);
    assert_eq!(packet[packet.len() - 9..], direct[40..]);
}

#[test]
fn fragments_add_up_to_the_packet() {
    let udp = Udp::new(1, 2, vec![0xaa; 100]);
    let whole = Ipv4::new(IP_A, IP_B).packet(&udp);
    let parts = Ipv4::new(IP_A, IP_B).fragments(&udp, 48);
    let fields: Vec<[u8; 2]> = parts.iter().map(|part| [part[6], part[7]]).collect();
    assert_eq!(fields, [[0x20, 0], [0x20, 6], [0, 12]]);
    let body: Vec<u8> = parts.iter().flat_map(|part| part[20..].to_vec()).collect();
    assert_eq!(body, whole[20..]);

    let whole = Ipv6::new(v6(1), v6(2)).packet(&udp);
    let parts = Ipv6::new(v6(1), v6(2)).fragments(&udp, 7, 48);
    let fields: Vec<[u8; 2]> = parts.iter().map(|part| [part[42], part[43]]).collect();
    assert_eq!(fields, [[0, 1], [0, 0x31], [0, 0x60]]);
    let body: Vec<u8> = parts.iter().flat_map(|part| part[48..].to_vec()).collect();
    assert_eq!(body, whole[40..]);
}

#[test]
fn errors_quote_the_packet() {
    let ip = Ipv4 {
        options: vec![1; 4],
        ..Ipv4::new(IP_A, IP_B)
    };
    let packet = ip.packet(&Udp::new(1, 2, [0; 50]));
    let error = Icmp::unreachable(3, &packet);
    assert_eq!(error.payload, packet[..32]);
    let packet = Ipv6::new(v6(1), v6(2)).packet(&Udp::new(1, 2, [0; 2000]));
    assert_eq!(Icmpv6::error(1, 4, &packet).payload.len(), 1232);
}

#[test]
fn headers_can_be_wrong_on_purpose() {
    let ip = Ipv4 {
        version: 5,
        header_words: Some(4),
        total_length: Some(7),
        checksum: Some(0xdead),
        ..Ipv4::new(IP_A, IP_B)
    };
    let packet = ip.packet(&Raw(253, vec![]));
    assert_eq!(
        packet,
        hex("5400 0007 0000 0000 40fd dead c0a84d0a c0a84d0b")
    );
    let ip = Ipv6 {
        payload_length: Some(9),
        version: 4,
        ..Ipv6::new(v6(1), v6(2))
    };
    assert_eq!(
        ip.packet(&Raw(253, vec![]))[..7],
        hex("40000000 0009 fd")[..]
    );
}

#[test]
fn dhcp_discover_as_in_rfc_2131() {
    let discover = Dhcp::new(dhcp::DISCOVER, A).bytes();
    assert_eq!(discover[..8], hex("01 01 06 00 6e776631")[..]);
    assert_eq!(discover[28..34], A.0);
    assert_eq!(discover[236..], hex("63825363 350101 ff"));
    let ack = Dhcp {
        lease: Some(60),
        server: Some(IP_B.into()),
        your_address: IP_A.into(),
        ..Dhcp::new(dhcp::ACK, A)
    };
    let ack = ack.bytes();
    assert_eq!((ack[0], &ack[16..20]), (2, &IP_A[..]));
    assert_eq!(ack[240..], hex("350105 3604c0a84d0b 33040000003c ff"));
}

#[test]
fn describes_what_it_can_build() {
    let ip = || Ipv4::new(IP_A, IP_B);
    let ip6 = || Ipv6::new(v6(1), v6(2));
    let macs = "52:54:00:00:00:01 > 52:54:00:00:00:02";
    let large = Udp::new(1, 2, [0; 100]);
    for (frame, expected) in [
        (
            eth().vlan(5).ipv4(&ip(), &Udp::new(68, 67, *b"abc")),
            ", vlan 5, IPv4 192.168.77.10:68 > 192.168.77.11:67 UDP, 3 bytes",
        ),
        (
            padded(eth().ipv4(&ip(), &Tcp::syn(9, 22))),
            ", IPv4 192.168.77.10:9 > 192.168.77.11:22 TCP SYN, 0 bytes",
        ),
        (
            eth().ipv6(
                &ip6().with(Extension::HopByHop(vec![])),
                &Udp::new(5, 6, []),
            ),
            ", IPv6 [2001:db8::1]:5 > [2001:db8::2]:6 UDP, 0 bytes, hop-by-hop",
        ),
        (
            eth().ipv4(&ip(), &Icmp::echo_request(1, 2)),
            ", IPv4 192.168.77.10 > 192.168.77.11 ICMP echo request id 1 seq 2",
        ),
        (
            eth().ipv6(&ip6(), &Icmpv6::neighbour_solicitation(v6(2), A)),
            ", IPv6 2001:db8::1 > 2001:db8::2 ICMPv6 neighbour solicitation",
        ),
        (
            eth().frame(0x0800, &ip().fragments(&large, 48)[1]),
            ", IPv4 192.168.77.10 > 192.168.77.11 protocol 17, fragment at 48+",
        ),
        (
            eth().frame(0x86dd, &ip6().fragments(&large, 1, 48)[2]),
            ", IPv6 2001:db8::1 > 2001:db8::2 protocol 17, fragment at 96",
        ),
        (
            eth().arp(&Arp::request(A, IP_A, IP_B)),
            ", ARP request 192.168.77.10 is 52:54:00:00:00:01, target 192.168.77.11 is \
             00:00:00:00:00:00",
        ),
        (
            eth().ipv6(&ip6(), &Raw::NO_NEXT_HEADER),
            ", IPv6 2001:db8::1 > 2001:db8::2 nothing",
        ),
        (
            eth().frame(LOCAL_EXPERIMENTAL, &[0; 46]),
            ", type 0x88b5, 46 bytes",
        ),
        (
            eth().bpdu(&Bpdu {
                kind: BpduKind::TopologyChange,
                ..Bpdu::new(A)
            }),
            ", STP topology change",
        ),
        (
            eth().ipv4(&ip(), &Sctp::init(1, 2)),
            ", IPv4 192.168.77.10:1 > 192.168.77.11:2 SCTP, 20 bytes",
        ),
        (
            eth().ipv4(&ip(), &Ah::new(1, Udp::new(1, 2, []))),
            ", IPv4 192.168.77.10 > 192.168.77.11 AH, 32 bytes",
        ),
    ] {
        assert_eq!(describe(&frame), format!("{macs}{expected}"));
    }
}

#[test]
fn describes_every_prefix_of_a_frame() {
    let ip6 = Ipv6::new(v6(1), v6(2))
        .with(Extension::DestinationOptions(vec![]))
        .with(Extension::Authentication {
            index: 1,
            sequence: 2,
            check: vec![0; 12],
        });
    for frame in [
        eth().vlan(1).ipv6(&ip6, &Tcp::syn(1, 2)),
        eth().ipv4(
            &Ipv4 {
                options: vec![1; 8],
                ..Ipv4::new(IP_A, IP_B)
            },
            &Tcp::syn(1, 2),
        ),
        eth().arp(&Arp::request(A, IP_A, IP_B)),
        eth().llc(0x42, 0x42, 3, &Bpdu::new(A).bytes()[..27]),
    ] {
        for length in 0..frame.len() {
            let text = describe(&frame[..length]);
            assert!(text.ends_with("truncated"), "{length}: {text}");
        }
    }
}
