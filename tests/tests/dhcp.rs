//! Addresses are learned from real servers and clients, which need nothing more than that.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{fs, time::Instant};

use nix::sys::signal::Signal;
use nwfilter_common::MacAddr;
use nwfilter_tests::{
    daemon::{Daemon, Site},
    dhcp::Files,
    frame::{Ethernet, Ipv4, Udp},
    learning::{addresses, bind, wait, wait_until},
    need::{self, Need},
    net::{Direction, Lan, NetNs, Vm},
};
use serde_json::Value;

const NEEDS: [Need; 5] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::Program("dnsmasq"),
    Need::Program("udhcpc"),
    Need::File("/sys/fs/bpf"),
];
const DHCLIENT: Need = Need::Program("dhclient");

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const SERVER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 0xfe]);
const PARAMETERS: [(&str, &str); 2] = [("CTRL_IP_LEARNING", "dhcp"), ("DHCPSERVER", "10.0.0.254")];

/// A network with a server, and a VM whose port is filtered.
struct Network {
    files: Files,
    vm: Vm,
    server: Vm,
    _daemon: Daemon,
    site: Site,
    lan: Lan,
}

impl Network {
    fn new(filter: &str, parameters: &[(&str, &str)]) -> Self {
        let lan = Lan::new().unwrap();
        let vm = lan.vm("vm1", MAC).unwrap();
        let server = lan.vm("server", SERVER).unwrap();
        let inside = server.inside.as_ref().unwrap();
        inside.address("eth0", "10.0.0.254/24").unwrap();
        let site = Site::new().unwrap();
        let daemon = site.start(&lan.host).unwrap();
        if filter == "own" {
            let path = site.state().join("filter");
            fs::write(&path, OWN).unwrap();
            let path = path.to_str().unwrap();
            let defined = site.run(&lan.host, &["define", path]).unwrap();
            assert!(defined.status.success(), "{defined:?}");
        }
        bind(&site, &lan, "vm1", MAC, filter, parameters).unwrap();
        Self {
            files: Files::new(site.state()).unwrap(),
            vm,
            server,
            _daemon: daemon,
            site,
            lan,
        }
    }

    fn inside(&self) -> &NetNs {
        self.vm.inside.as_ref().unwrap()
    }

    fn server(&self) -> &NetNs {
        self.server.inside.as_ref().unwrap()
    }

    fn wait(&self, expected: &[&str]) -> Value {
        wait(&self.site, &self.lan, "vm1", expected).unwrap()
    }

    fn may_send_from(&self, address: &str) -> bool {
        let source: std::net::Ipv4Addr = address.parse().unwrap();
        let frame = Ethernet::new(MAC, Lan::OUTSIDE).ipv4(
            &Ipv4::new(source, [10, 0, 0, 200]),
            &Udp::new(4000, 4000, []),
        );
        self.lan
            .probe(&self.vm, Direction::Out)
            .arrives(&frame)
            .unwrap()
    }
}

#[test]
fn udhcpc_gets_an_address_renews_it_and_gives_it_back() {
    if !need::met(&NEEDS) {
        return;
    }
    let network = Network::new("clean-traffic", &PARAMETERS);
    let range = "10.0.0.10,10.0.0.20,10m";
    let _server = network.files.dnsmasq(network.server(), range, &[]).unwrap();
    let start = Instant::now();
    let mut client = network.files.udhcpc(network.inside(), &[]).unwrap();
    let address = client.event("bound").unwrap();
    let known = network.wait(&[&address]);
    // Both are cut to seconds, at two times.
    let left = 599_u64.saturating_sub(start.elapsed().as_secs() + 1)..=600;
    let known = &known["addresses"][0];
    assert_eq!(known["source"], "dhcp");
    assert_eq!(known["server"], "10.0.0.254");
    assert!(
        left.contains(&known["expires"].as_u64().unwrap()),
        "{known}"
    );
    assert!(network.may_send_from(&address));
    assert!(!network.may_send_from("10.0.0.21"));

    client.signal(Signal::SIGUSR1).unwrap();
    assert_eq!(client.event("renew").unwrap(), address);
    network.wait(&[&address]);
    client.signal(Signal::SIGUSR2).unwrap();
    client.event("deconfig").unwrap();
    network.wait(&[]);
    assert!(!network.may_send_from(&address));

    client.signal(Signal::SIGUSR1).unwrap();
    let address = client.event("bound").unwrap();
    network.wait(&[&address]);
    assert!(network.may_send_from(&address));
}

#[test]
fn two_clients_of_one_vm_have_an_address_each() {
    if !need::met(&NEEDS) {
        return;
    }
    let network = Network::new("clean-traffic", &PARAMETERS);
    let range = "10.0.0.10,10.0.0.20,infinite";
    let _server = network.files.dnsmasq(network.server(), range, &[]).unwrap();
    let client = |name: &str| {
        let name = format!("0x3d:{name}");
        let mut client = network
            .files
            .udhcpc(network.inside(), &["-x", &name])
            .unwrap();
        let address = client.event("bound").unwrap();
        (client, address)
    };
    let (first, one) = client("0001");
    let known = network.wait(&[&one]);
    assert_eq!(known["addresses"][0].get("expires"), None, "infinite");
    let (_second, other) = client("0002");
    assert_ne!(one, other);
    network.wait(&[&one, &other]);
    assert!(network.may_send_from(&one) && network.may_send_from(&other));
    first.signal(Signal::SIGUSR2).unwrap();
    network.wait(&[&other]);
    assert!(!network.may_send_from(&one) && network.may_send_from(&other));
}

#[test]
fn an_address_that_the_server_refuses_is_the_vms_no_more() {
    if !need::met(&NEEDS) {
        return;
    }
    let network = Network::new("clean-traffic", &PARAMETERS);
    let range = "10.0.0.10,10.0.0.20,10m";
    let server = network.files.dnsmasq(network.server(), range, &[]).unwrap();
    let mut client = network.files.udhcpc(network.inside(), &[]).unwrap();
    let old = client.event("bound").unwrap();
    network.wait(&[&old]);
    drop(server);
    network.files.forget().unwrap();
    let range = "10.0.0.30,10.0.0.40,10m";
    let _server = network.files.dnsmasq(network.server(), range, &[]).unwrap();
    client.signal(Signal::SIGUSR1).unwrap();
    client.event("nak").unwrap();
    let new = client.event("bound").unwrap();
    assert_ne!(old, new);
    network.wait(&[&new]);
    assert!(!network.may_send_from(&old));
    assert!(network.may_send_from(&new));
}

#[test]
fn dhclient_gets_an_address_and_gives_it_back() {
    if !need::met(&NEEDS) || !need::met(&[DHCLIENT]) {
        return;
    }
    let network = Network::new("clean-traffic", &PARAMETERS);
    let range = "10.0.0.10,10.0.0.20,10m";
    let _server = network.files.dnsmasq(network.server(), range, &[]).unwrap();
    let mut client = network.files.dhclient(network.inside(), &["-4"]).unwrap();
    let address = client.event("BOUND").unwrap();
    network.wait(&[&address]);
    assert!(network.may_send_from(&address));
    let mut release = network
        .files
        .dhclient(network.inside(), &["-4", "-r"])
        .unwrap();
    release.hear("DHCPRELEASE ").unwrap();
    network.wait(&[]);
    assert!(!network.may_send_from(&address));
}

#[test]
fn a_strange_server_gives_no_address() {
    if !need::met(&NEEDS) {
        return;
    }
    let parameters = [PARAMETERS[0], ("DHCPSERVER", "10.0.0.253")];
    let network = Network::new("clean-traffic", &parameters);
    let range = "10.0.0.10,10.0.0.20,10m";
    let mut server = network.files.dnsmasq(network.server(), range, &[]).unwrap();
    let _client = network.files.udhcpc(network.inside(), &[]).unwrap();
    for _ in 0..2 {
        server.hear("DHCPOFFER").unwrap();
    }
    let binding = network.wait(&[]);
    assert_eq!(binding["state"], "learning");
}

const OWN: &str = "<filter name='own'><uuid>11111111-2222-3333-4444-555555555555</uuid>
  <filterref filter='no-mac-spoofing'/>
  <filterref filter='no-ipv6-spoofing'/>
  <rule action='accept' direction='inout' priority='900'><mac protocolid='ipv6'/></rule>
  <filterref filter='no-other-l2-traffic'/>
</filter>";

#[test]
fn dhclient_gets_an_ipv6_address_and_gives_it_back() {
    if !need::met(&NEEDS) || !need::met(&[DHCLIENT]) {
        return;
    }
    let parameters = [("CTRL_IPV6_LEARNING", "any"), ("DHCPSERVERV6", "fe80::fe")];
    let network = Network::new("own", &parameters);
    for (namespace, commands) in [
        (
            network.server(),
            "address add fd00::fe/64 dev eth0 nodad\naddress add fe80::fe/64 dev eth0 nodad",
        ),
        (network.inside(), "address add fe80::1/64 dev eth0 nodad"),
    ] {
        namespace.ip(commands).unwrap();
    }
    let range = "fd00::100,fd00::1ff,64,10m";
    let _server = network.files.dnsmasq(network.server(), range, &[]).unwrap();
    let mut client = network
        .files
        .dhclient(network.inside(), &["-6", "-D", "LL"])
        .unwrap();
    let address = client.event("BOUND6").unwrap();
    let knows = |binding: &Value, address: &str| addresses(binding).contains(&address);
    let binding = wait_until(&network.site, &network.lan, "vm1", |binding| {
        knows(binding, &address)
    })
    .unwrap();
    let known = binding["addresses"].as_array().unwrap();
    let lease = known
        .iter()
        .find(|known| known["address"] == address)
        .unwrap();
    assert_eq!(lease["source"], "dhcp");
    assert_eq!(lease["server"], "fe80::fe");
    // And, by neighbour discovery, the one with which it has asked.
    assert!(knows(&binding, "fe80::1"), "{binding}");
    let mut release = network
        .files
        .dhclient(network.inside(), &["-6", "-r", "-D", "LL"])
        .unwrap();
    release.event("RELEASE6").unwrap();
    wait_until(&network.site, &network.lan, "vm1", |binding| {
        !knows(binding, &address)
    })
    .unwrap();
}
