//! What each example lets through and what not.

use nwfilter_common::MacAddr;
use nwfilter_tests::{
    frame::{Arp, Ethernet, Icmp, Ipv4, Ipv6, Tcp, Udp, tcp},
    judge::FrameDirection::{In, Out},
};

use crate::{
    Row,
    talk::{SYN_ACK, Talk, segment},
};

/// Binding and frames of each example.
pub(crate) fn examples() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("clean-traffic.xml", clean_traffic()),
        ("bindings/clients-times-ports.xml", clients_times_ports()),
        (
            "bindings/no-arp-spoofing-both-ways.xml",
            no_arp_spoofing_both_ways(),
        ),
        ("bindings/no-spamming.xml", no_spamming()),
        ("bindings/trusted-addresses.xml", trusted_addresses()),
        ("bindings/vdsm-no-mac-spoofing.xml", vdsm_no_mac_spoofing()),
        ("bindings/web-server-echo.xml", web_server_echo()),
        ("bindings/web-server.xml", web_server()),
    ]
}

/// What both web servers let through and what not, but for ICMP.
fn web(talk: Talk) -> Vec<Row> {
    let mut rows = vec![
        (In, "SSH", talk.tcp_in(40_000, 22, tcp::SYN), true),
        (
            Out,
            "SSH, answered",
            talk.tcp_out(22, 40_000, SYN_ACK),
            true,
        ),
        (
            In,
            "SSH, established",
            talk.tcp_in(40_000, 22, tcp::ACK),
            true,
        ),
        (In, "HTTP", talk.tcp_in(40_001, 80, tcp::SYN), true),
        (
            Out,
            "HTTP, answered",
            talk.tcp_out(80, 40_001, SYN_ACK),
            true,
        ),
        (In, "HTTPS", talk.tcp_in(40_002, 443, tcp::SYN), false),
        (
            Out,
            "an answer nobody asked for",
            talk.tcp_out(80, 40_003, SYN_ACK),
            false,
        ),
        (
            Out,
            "HTTP to others",
            talk.tcp_out(5_000, 80, tcp::SYN),
            false,
        ),
        (Out, "DNS", talk.udp_out(5_001, 53), true),
        (In, "DNS, answered", talk.udp_in(53, 5_001), true),
        (
            In,
            "DNS, answered to another port",
            talk.udp_in(53, 5_002),
            false,
        ),
        (Out, "DNS over TCP", talk.tcp_out(5_003, 53, tcp::SYN), true),
        (
            In,
            "DNS over TCP, answered",
            talk.tcp_in(53, 5_003, SYN_ACK),
            true,
        ),
        (Out, "NTP", talk.udp_out(5_004, 123), false),
        (In, "DNS to the VM", talk.udp_in(5_005, 53), false),
    ];
    rows.extend(talk.spoofed());
    rows
}

fn web_server() -> Vec<Row> {
    let talk = Talk::of(1);
    let mut rows = web(talk);
    rows.extend([
        (Out, "ping", talk.icmp_out(&Icmp::echo_request(7, 1)), true),
        (
            In,
            "ping, answered",
            talk.icmp_in(&Icmp::echo_reply(7, 1)),
            true,
        ),
        (In, "pinged", talk.icmp_in(&Icmp::echo_request(8, 1)), false),
        (
            In,
            "an answer to no ping",
            talk.icmp_in(&Icmp::echo_reply(9, 1)),
            false,
        ),
        (
            Out,
            "any other ICMP request",
            talk.icmp_out(&timestamp(10)),
            true,
        ),
    ]);
    rows
}

fn web_server_echo() -> Vec<Row> {
    let talk = Talk::of(2);
    let mut rows = web(talk);
    rows.extend([
        (Out, "ping", talk.icmp_out(&Icmp::echo_request(7, 1)), true),
        (
            In,
            "ping, answered",
            talk.icmp_in(&Icmp::echo_reply(7, 1)),
            true,
        ),
        (In, "pinged", talk.icmp_in(&Icmp::echo_request(8, 1)), false),
        (
            In,
            "an answer to no ping",
            talk.icmp_in(&Icmp::echo_reply(9, 1)),
            false,
        ),
        (
            Out,
            "any other ICMP request",
            talk.icmp_out(&timestamp(10)),
            false,
        ),
    ]);
    rows
}

/// An ICMP timestamp request.
fn timestamp(identifier: u16) -> Icmp {
    Icmp {
        payload: vec![0; 12],
        ..Icmp {
            rest: Icmp::echo_request(identifier, 1).rest,
            ..Icmp::new(13, 0)
        }
    }
}

fn no_spamming() -> Vec<Row> {
    let talk = Talk::of(3);
    let v6 = |port| {
        let header = Ipv6::new([0x20; 16], [0x30; 16]);
        talk.leaving().ipv6(&header, &Tcp::syn(5_000, port))
    };
    let v6_from = |port| {
        let header = Ipv6::new([0x30; 16], [0x20; 16]);
        talk.coming().ipv6(&header, &segment(port, 5_000, SYN_ACK))
    };
    vec![
        (Out, "SMTP", talk.tcp_out(5_000, 25, tcp::SYN), false),
        (Out, "SMTP, IPv6", v6(25), false),
        (
            In,
            "from an SMTP server",
            talk.tcp_in(25, 5_000, SYN_ACK),
            false,
        ),
        (In, "from an SMTP server, IPv6", v6_from(25), false),
        (Out, "submission", talk.tcp_out(5_001, 587, tcp::SYN), true),
        (Out, "submission over TLS, IPv6", v6(465), true),
        (In, "SMTP to the VM", talk.tcp_in(5_002, 25, tcp::SYN), true),
        (Out, "UDP", talk.udp_out(5_003, 25), true),
        (Out, "ping", talk.icmp_out(&Icmp::echo_request(7, 1)), true),
    ]
}

fn vdsm_no_mac_spoofing() -> Vec<Row> {
    let talk = Talk::of(4);
    let other = MacAddr([2, 0, 0, 0, 0, 9]);
    let any = Ipv4::new([203, 0, 113, 77], talk.peer);
    let udp = Udp::new(1, 2, []);
    let ask =
        |from: MacAddr, mac| Ethernet::broadcast(from).arp(&Arp::request(mac, talk.own, talk.peer));
    let answer = Arp::reply((other, talk.peer), (talk.vm, talk.own));
    vec![
        (
            Out,
            "own MAC, any IP",
            talk.leaving().ipv4(&any, &udp),
            true,
        ),
        (
            Out,
            "another's MAC",
            Ethernet::new(other, Talk::ROUTER).ipv4(&any, &udp),
            false,
        ),
        (Out, "ARP", ask(talk.vm, talk.vm), true),
        (Out, "ARP about another's MAC", ask(talk.vm, other), false),
        (Out, "ARP from another's MAC", ask(other, talk.vm), false),
        (In, "ARP about any MAC", talk.coming().arp(&answer), true),
        (In, "anything", talk.udp_in(1, 2), true),
    ]
}

fn no_arp_spoofing_both_ways() -> Vec<Row> {
    let talk = Talk::of(5);
    let (other_mac, other_ip) = (MacAddr([2, 0, 0, 0, 0, 9]), [192, 0, 2, 9]);
    let all = Ethernet::broadcast(talk.vm);
    let ask = |mac, ip| all.arp(&Arp::request(mac, ip, talk.peer));
    let asked =
        |ip| Ethernet::broadcast(Talk::ROUTER).arp(&Arp::request(Talk::ROUTER, talk.peer, ip));
    let answered = |mac, ip| {
        talk.coming()
            .arp(&Arp::reply((Talk::ROUTER, talk.peer), (mac, ip)))
    };
    let inverse = Arp::new(8, (talk.vm, talk.own), (Talk::ROUTER, talk.peer));
    vec![
        (Out, "a question", ask(talk.vm, talk.own), true),
        (
            Out,
            "a question as another IP",
            ask(talk.vm, other_ip),
            false,
        ),
        (
            Out,
            "a question as another MAC",
            ask(other_mac, talk.own),
            false,
        ),
        (
            Out,
            "a question from another MAC",
            Ethernet::broadcast(other_mac).arp(&Arp::request(talk.vm, talk.own, talk.peer)),
            false,
        ),
        (Out, "neither question nor answer", all.arp(&inverse), false),
        (In, "a question about the VM", asked(talk.own), true),
        (In, "a question about another", asked(other_ip), false),
        (In, "an answer", answered(talk.vm, talk.own), true),
        (
            In,
            "an answer for another MAC",
            answered(other_mac, talk.own),
            false,
        ),
        (
            In,
            "an answer for another IP",
            answered(talk.vm, other_ip),
            false,
        ),
        (
            Out,
            "IPv4 as another",
            Talk {
                own: other_ip,
                ..talk
            }
            .udp_out(1, 2),
            true,
        ),
    ]
}

fn trusted_addresses() -> Vec<Row> {
    let talk = Talk::of(6);
    let (second, stranger) = (talk.with([198, 51, 100, 2]), talk.with([198, 51, 100, 3]));
    let also = Talk {
        own: [192, 0, 2, 66],
        ..talk
    };
    let mut rows = vec![
        (
            In,
            "SSH, the first of the list",
            talk.tcp_in(40_000, 22, tcp::SYN),
            true,
        ),
        (Out, "its answer", talk.tcp_out(22, 40_000, SYN_ACK), true),
        (
            In,
            "SSH, the second",
            second.tcp_in(40_000, 22, tcp::SYN),
            true,
        ),
        (
            In,
            "SSH to the VM's other address",
            also.tcp_in(40_001, 22, tcp::SYN),
            true,
        ),
        (Out, "its answer", also.tcp_out(22, 40_001, SYN_ACK), true),
        (
            In,
            "SSH, a stranger",
            stranger.tcp_in(40_000, 22, tcp::SYN),
            false,
        ),
        (
            Out,
            "an answer to a stranger",
            stranger.tcp_out(22, 40_000, SYN_ACK),
            false,
        ),
        (
            In,
            "HTTP, a stranger",
            stranger.tcp_in(40_000, 80, tcp::SYN),
            true,
        ),
        (
            Out,
            "to a stranger",
            stranger.tcp_out(5_000, 80, tcp::SYN),
            true,
        ),
        (
            Out,
            "from the other address",
            also.tcp_out(5_000, 80, tcp::SYN),
            true,
        ),
    ];
    rows.extend(talk.spoofed());
    rows
}

fn clients_times_ports() -> Vec<Row> {
    let talk = Talk::of(7);
    let mut rows = talk.spoofed();
    // Every client with every port.
    for client in 1..=2 {
        for port in [80, 443, 8080] {
            let client = talk.with([198, 51, 100, client]);
            rows.push((In, "a client", client.tcp_in(40_000, port, tcp::SYN), true));
            rows.push((
                Out,
                "the answer",
                client.tcp_out(port, 40_000, SYN_ACK),
                true,
            ));
        }
    }
    // Each of these with its own port only.
    for (client, port, passes) in [
        (1, 2201, true),
        (2, 2202, true),
        (1, 2202, false),
        (2, 2201, false),
    ] {
        let client = talk.with([203, 0, 113, client]);
        rows.push((
            In,
            "a forwarded port",
            client.tcp_in(40_000, port, tcp::SYN),
            passes,
        ));
    }
    let stranger = talk.with([198, 51, 100, 3]);
    rows.extend([
        (
            In,
            "a client, another port",
            talk.tcp_in(40_000, 81, tcp::SYN),
            false,
        ),
        (
            In,
            "a stranger",
            stranger.tcp_in(40_000, 80, tcp::SYN),
            false,
        ),
        (
            Out,
            "to a stranger",
            stranger.tcp_out(5_000, 81, tcp::SYN),
            true,
        ),
        (In, "the answer", stranger.tcp_in(81, 5_000, SYN_ACK), true),
        (In, "UDP", stranger.udp_in(1, 2), true),
    ]);
    rows
}

fn clean_traffic() -> Vec<Row> {
    let talk = Talk {
        own: [10, 0, 0, 1],
        ..Talk::of(1)
    };
    let mut rows = talk.spoofed();
    rows.extend([
        (Out, "from its own address", talk.udp_out(1, 2), true),
        (In, "anything", talk.tcp_in(1, 2, tcp::SYN), true),
        (
            Out,
            "its announcement",
            Ethernet::broadcast(talk.vm).rarp(&Arp::announce_self(talk.vm)),
            true,
        ),
    ]);
    rows
}
