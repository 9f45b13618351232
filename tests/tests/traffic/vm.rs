//! A real virtual machine behind a bound tap: what it does honestly works, and what it sends under
//! another's addresses reaches nobody.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::Instant,
};

use nwfilter_common::MacAddr;
use nwfilter_tests::{
    guest::Guest,
    need::{self, Need},
    net::{Lan, Vm},
};

use super::{
    NEEDS,
    stacks::{Bound, MAC, PORT, SERVER_MAC, Version, connects, listen, syns},
};

/// The usual filter, and: the VM asks whom it wants, nobody asks the VM.
const FILTER: &str = "<filter name='vm'>
  <filterref filter='clean-traffic'/>
  <rule action='accept' direction='out' priority='500'><icmp/></rule>
  <rule action='accept' direction='out' priority='500'><tcp/></rule>
  <rule action='drop' direction='inout' priority='1000'><all/></rule>
</filter>";

/// The host's own address, on the bridge.
const BRIDGE: &str = "10.0.0.254";
/// What the VM pretends to have.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const OTHER_MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 9]);
/// Bytes of a file.
const LENGTH: usize = 4 << 20;

/// What the VM does under another's addresses, and the way back; with the filter that drops it.
const SPOOFS: [(&str, &str); 3] = [
    (
        "no-mac-spoofing",
        "ip link set dev eth0 down; ip link set dev eth0 address 52:54:00:00:00:09; \
         ip link set dev eth0 up; ip neigh replace 10.0.0.2 lladdr 52:54:00:00:00:02 dev eth0; \
         ping -c 1 -W 1 10.0.0.2; \
         ip link set dev eth0 down; ip link set dev eth0 address 52:54:00:00:00:01; \
         ip link set dev eth0 up",
    ),
    (
        "no-ip-spoofing",
        "ip addr add 10.0.0.9/24 dev eth0; \
         ip neigh replace 10.0.0.2 lladdr 52:54:00:00:00:02 dev eth0; \
         ping -c 1 -W 1 -I 10.0.0.9 10.0.0.2; \
         ip addr del 10.0.0.9/24 dev eth0",
    ),
    (
        "no-arp-ip-spoofing",
        "ip addr add 10.0.0.9/24 dev eth0; \
         arping -c 1 -w 1 -I eth0 -s 10.0.0.9 10.0.0.2; \
         ip addr del 10.0.0.9/24 dev eth0",
    ),
];

/// Whether a frame has an address in it that is not the VM's.
fn is_spoofed(frame: &[u8]) -> bool {
    let contains = |address: &[u8]| frame.windows(address.len()).any(|bytes| bytes == address);
    contains(&OTHER_MAC.0) || contains(&OTHER.octets())
}

/// How many frames a filter has dropped.
fn by(bound: &Bound, filter: &str) -> u64 {
    let drops = bound.drops();
    let drops = drops
        .iter()
        .filter(|(rule, _)| rule.split('#').next() == Some(filter));
    drops.map(|(_, packets)| packets).sum()
}

/// Runs a command that must succeed.
fn run(guest: &mut Guest, command: &str) -> Vec<String> {
    let done = guest.run(command).unwrap();
    assert_eq!(done.status, 0, "{command}: {:#?}", done.output);
    done.output
}

/// Asks somebody who answers at once, which may take a while all the same.
fn ping(address: &str) -> String {
    format!("ping -c 1 -W 60 {address}")
}

/// Has the VM do what it should not, then something honest; returns what has reached the server by
/// the time that was answered.
fn spoof(guest: &mut Guest, server: &Vm, command: &str) -> Vec<Vec<u8>> {
    server.end.drain().unwrap();
    guest.run(command).unwrap();
    run(guest, &ping("10.0.0.2"));
    server.end.drain().unwrap()
}

/// Hands out a file, then takes it back.
fn file_server(listener: &TcpListener, file: &[u8]) -> Vec<u8> {
    let (mut connection, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    connection.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
    connection.write_all(file).unwrap();
    drop(connection);

    let (mut connection, _) = listener.accept().unwrap();
    let mut back = Vec::new();
    connection.read_to_end(&mut back).unwrap();
    back
}

#[test]
fn a_virtual_machine_is_itself_or_silent() {
    if !need::met(&[&NEEDS[..], &[Need::File("/dev/net/tun"), Guest::NEED]].concat()) {
        return;
    }
    let lan = Lan::new().unwrap();
    lan.host
        .address(Lan::BRIDGE, &format!("{BRIDGE}/24"))
        .unwrap();
    let server = lan.vm("vm2", SERVER_MAC).unwrap();
    let outside = server.inside.as_ref().unwrap();
    let IpAddr::V4(own) = Version::V4.vm() else {
        unreachable!("an address of version 4");
    };
    let address = Version::V4.server();
    outside.address("eth0", &format!("{address}/24")).unwrap();
    outside.neighbour("eth0", &own.to_string(), MAC).unwrap();
    lan.host.bridge_entry("vm2", SERVER_MAC).unwrap();
    lan.host.tap(PORT).unwrap();
    lan.host.attach(PORT, Lan::BRIDGE).unwrap();
    let mut bound = Bound::new(&lan.host, FILTER);

    let mut guest = Guest::boot(&lan.host, PORT, MAC).unwrap();
    // What a kernel says by itself in IPv6 would be dropped.
    run(
        &mut guest,
        "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6",
    );
    run(
        &mut guest,
        &format!("ip addr add {own}/24 dev eth0; ip link set dev eth0 up"),
    );
    run(&mut guest, &ping(BRIDGE));
    run(&mut guest, &ping(&address.to_string()));

    let file: Vec<u8> = (0..LENGTH).map(|i| (i / 8) as u8).collect();
    let listener = listen(outside, address, 8080);
    let back = {
        let file = file.clone();
        thread::spawn(move || file_server(&listener, &file))
    };
    run(
        &mut guest,
        &format!("wget -q -O file http://{address}:8080/"),
    );
    run(&mut guest, &format!("nc {address} 8080 <file"));
    assert!(back.join().unwrap() == file, "not the same file");
    assert_eq!(bound.drops(), []);

    let start = Instant::now();
    assert!(!connects(&lan, outside, SocketAddr::new(own.into(), 80)));
    let dropped = by(&bound, "vm");
    assert!(syns(start).contains(&dropped), "{dropped}");
    for (filter, command) in SPOOFS {
        let before = by(&bound, filter);
        let frames = spoof(&mut guest, &server, command);
        let spoofed: Vec<_> = frames.iter().filter(|frame| is_spoofed(frame)).collect();
        assert!(spoofed.is_empty(), "{filter}: {spoofed:x?}");
        assert!(by(&bound, filter) > before, "{filter}: not even sent");
    }

    // All that would have arrived.
    bound.unbind(&lan.host);
    for (filter, command) in SPOOFS {
        let frames = spoof(&mut guest, &server, command);
        assert!(frames.iter().any(|frame| is_spoofed(frame)), "{filter}");
    }
}
