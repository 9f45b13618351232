//! Addresses are learned from frames made by hand: what counts, what does not, and what passes
//! meanwhile.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{fs, time::Instant};

use nix::sys::signal::Signal;
use nwfilter_common::MacAddr;
use nwfilter_tests::{
    daemon::{Daemon, Site},
    frame::{Arp, Dhcp, Ethernet, Icmpv6, Ipv4, Ipv6, Udp, dhcp},
    learning::{addresses, bind, show, wait, wait_until},
    need::{self, Need},
    net::{Direction, Lan, Vm, in_order},
};
use serde_json::Value;

const NEEDS: [Need; 3] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::File("/sys/fs/bpf"),
];

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
const SERVER: [u8; 4] = [10, 0, 0, 254];

/// A host with a VM whose port has `clean-traffic` and no address.
struct Host {
    daemon: Option<Daemon>,
    vm: Vm,
    site: Site,
    lan: Lan,
}

impl Host {
    fn new(parameters: &[(&str, &str)]) -> Self {
        let lan = Lan::new().unwrap();
        let vm = lan.vm("vm1", MAC).unwrap();
        let site = Site::new().unwrap();
        let daemon = site.start(&lan.host).unwrap();
        let host = Self {
            daemon: Some(daemon),
            vm,
            site,
            lan,
        };
        host.bind(parameters);
        host
    }

    fn bind(&self, parameters: &[(&str, &str)]) {
        bind(
            &self.site,
            &self.lan,
            "vm1",
            MAC,
            "clean-traffic",
            parameters,
        )
        .unwrap();
    }

    fn out(&self, frame: &[u8]) -> bool {
        self.lan
            .probe(&self.vm, Direction::Out)
            .arrives(frame)
            .unwrap()
    }

    fn enters(&self, frame: &[u8]) -> bool {
        self.lan
            .probe(&self.vm, Direction::In)
            .arrives(frame)
            .unwrap()
    }

    /// Whether the VM may send from 10.0.0.1, 10.0.0.2 and 10.0.0.3.
    fn may_send(&self) -> [bool; 3] {
        [1, 2, 3].map(|last| self.out(&from([10, 0, 0, last])))
    }

    fn wait(&self, expected: &[&str]) -> Value {
        wait(&self.site, &self.lan, "vm1", expected).unwrap()
    }

    fn show(&self) -> Value {
        show(&self.site, &self.lan, "vm1").unwrap()
    }

    fn restart(&mut self, signal: Signal) {
        self.daemon.take().unwrap().end(signal).unwrap();
        self.daemon = Some(self.site.start(&self.lan.host).unwrap());
    }
}

fn from(address: [u8; 4]) -> Vec<u8> {
    Ethernet::new(MAC, Lan::OUTSIDE).ipv4(
        &Ipv4::new(address, [10, 0, 0, 200]),
        &Udp::new(4000, 4000, []),
    )
}

fn answer(server: [u8; 4], message: &Dhcp) -> Vec<u8> {
    Ethernet::new(Lan::OUTSIDE, MAC).ipv4(
        &Ipv4::new(server, [255; 4]),
        &Udp::new(dhcp::SERVER, dhcp::CLIENT, message.bytes()),
    )
}

fn ack(address: [u8; 4], lease: u32) -> Vec<u8> {
    answer(
        SERVER,
        &Dhcp {
            your_address: address.into(),
            lease: Some(lease),
            server: Some(SERVER.into()),
            ..Dhcp::new(dhcp::ACK, MAC)
        },
    )
}

fn sent(message: &Dhcp) -> Vec<u8> {
    Ethernet::new(MAC, MacAddr::BROADCAST).ipv4(
        &Ipv4::new(message.client_address, [255; 4]),
        &Udp::new(dhcp::CLIENT, dhcp::SERVER, message.bytes()),
    )
}

const DHCP: [(&str, &str); 1] = [("CTRL_IP_LEARNING", "dhcp")];

#[test]
fn from_the_first_frame_on_only_dhcp_passes_until_there_is_a_lease() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new(&DHCP);
    assert_eq!(host.may_send(), [false; 3]);
    let arp = Ethernet::new(MAC, MacAddr::BROADCAST).arp(&Arp::request(
        MAC,
        [10, 0, 0, 1],
        [10, 0, 0, 200],
    ));
    assert!(!host.out(&arp));
    let binding = host.show();
    assert_eq!(binding["state"], "learning");
    assert_eq!(addresses(&binding), [] as [&str; 0]);
    assert!(host.out(&sent(&Dhcp::new(dhcp::DISCOVER, MAC))));
    let offer = Dhcp {
        your_address: [10, 0, 0, 3].into(),
        lease: Some(600),
        ..Dhcp::new(dhcp::OFFER, MAC)
    };
    assert!(host.enters(&answer(SERVER, &offer)));
    let given = Instant::now();
    assert!(host.enters(&ack([10, 0, 0, 1], 600)));
    let binding = host.wait(&["10.0.0.1"]);
    // Both are cut to seconds, at two times.
    let left = 599_u64.saturating_sub(given.elapsed().as_secs() + 1)..=600;
    assert_eq!(binding["state"], "enforced");
    let known = &binding["addresses"][0];
    assert_eq!(known["source"], "dhcp");
    assert_eq!(known["server"], "10.0.0.254");
    assert!(
        left.contains(&known["expires"].as_u64().unwrap()),
        "{known}"
    );
    assert_eq!(host.may_send(), [true, false, false]);
    assert!(host.out(&arp));
}

#[test]
fn leases_add_up_and_end_one_by_one() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new(&DHCP);
    host.enters(&ack([10, 0, 0, 1], u32::MAX));
    host.enters(&ack([10, 0, 0, 2], 600));
    host.enters(&ack([10, 0, 0, 3], 600));
    let binding = host.wait(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(binding["addresses"][0].get("expires"), None);
    assert_eq!(host.may_send(), [true; 3]);
    let release = Dhcp {
        client_address: [10, 0, 0, 1].into(),
        server: Some(SERVER.into()),
        ..Dhcp::new(dhcp::RELEASE, MAC)
    };
    assert!(host.out(&sent(&release)));
    host.wait(&["10.0.0.2", "10.0.0.3"]);
    assert_eq!(host.may_send(), [false, true, true]);
    let decline = Dhcp {
        requested: Some([10, 0, 0, 2].into()),
        ..Dhcp::new(dhcp::DECLINE, MAC)
    };
    assert!(host.out(&sent(&decline)));
    host.wait(&["10.0.0.3"]);
    assert_eq!(host.may_send(), [false, false, true]);
    let request = Dhcp {
        requested: Some([10, 0, 0, 3].into()),
        ..Dhcp::new(dhcp::REQUEST, MAC)
    };
    assert!(host.out(&sent(&request)));
    host.enters(&answer(SERVER, &Dhcp::new(dhcp::NAK, MAC)));
    host.wait(&[]);
    assert_eq!(host.may_send(), [false; 3]);
    assert_eq!(host.show()["state"], "learning");
}

#[test]
fn a_lease_that_is_over_closes_the_port_unless_it_is_renewed() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new(&DHCP);
    host.enters(&ack([10, 0, 0, 2], 1));
    host.enters(&ack([10, 0, 0, 1], 2));
    host.enters(&ack([10, 0, 0, 1], 600));
    host.wait(&["10.0.0.1"]);
    assert_eq!(host.may_send(), [true, false, false]);
    host.enters(&ack([10, 0, 0, 1], 1));
    host.wait(&[]);
    assert_eq!(host.may_send(), [false; 3]);
}

#[test]
fn nobody_but_a_named_server_gives_addresses() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new(&[DHCP[0], ("DHCPSERVER", "10.0.0.254")]);
    let forged = |server| {
        answer(
            server,
            &Dhcp {
                your_address: [10, 0, 0, 2].into(),
                lease: Some(600),
                ..Dhcp::new(dhcp::ACK, MAC)
            },
        )
    };
    assert!(!host.enters(&forged([10, 0, 0, 253])), "by another server");
    // By the VM, as if it came from the server, or went to it.
    for ports in [(dhcp::SERVER, dhcp::CLIENT), (dhcp::CLIENT, dhcp::SERVER)] {
        let message = Dhcp {
            your_address: [10, 0, 0, 2].into(),
            lease: Some(600),
            ..Dhcp::new(dhcp::ACK, MAC)
        };
        let frame = Ethernet::new(MAC, MacAddr::BROADCAST).ipv4(
            &Ipv4::new(SERVER, [255; 4]),
            &Udp::new(ports.0, ports.1, message.bytes()),
        );
        host.out(&frame);
    }
    // For another VM.
    let message = Dhcp {
        your_address: [10, 0, 0, 2].into(),
        lease: Some(600),
        ..Dhcp::new(dhcp::ACK, OTHER)
    };
    host.enters(&answer(SERVER, &message));
    // What came before this has been looked at.
    host.enters(&ack([10, 0, 0, 1], 600));
    host.wait(&["10.0.0.1"]);
    // While the filter is in force, others do reach the VM, and still do not count.
    assert!(host.enters(&forged([10, 0, 0, 253])));
    host.enters(&ack([10, 0, 0, 3], 600));
    host.wait(&["10.0.0.1", "10.0.0.3"]);
    assert_eq!(host.may_send(), [true, false, true]);
}

#[test]
fn with_any_the_first_address_counts() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new(&[]);
    assert_eq!(host.show()["state"], "learning");
    let mut spoofed = from([10, 0, 0, 2]);
    spoofed[6..12].copy_from_slice(&OTHER.0);
    assert!(!host.out(&spoofed));
    assert!(host.out(&from([0, 0, 0, 0])));
    assert!(host.out(&from([10, 0, 0, 1])));
    let binding = host.wait(&["10.0.0.1"]);
    assert_eq!(binding["addresses"][0]["source"], "traffic");
    assert_eq!(host.may_send(), [true, false, false]);

    // The same by ARP, after another VM has got the port.
    host.site
        .run(&host.lan.host, &["binding-delete", "vm1"])
        .unwrap();
    host.bind(&[]);
    assert_eq!(addresses(&host.show()), [] as [&str; 0]);
    let arp = Arp::request(MAC, [10, 0, 0, 2], [10, 0, 0, 200]);
    assert!(host.out(&Ethernet::new(MAC, MacAddr::BROADCAST).arp(&arp)));
    host.wait(&["10.0.0.2"]);
    assert_eq!(host.may_send(), [false, true, false]);
    // A server knows better.
    host.enters(&ack([10, 0, 0, 3], 600));
    host.wait(&["10.0.0.3"]);
    assert_eq!(host.may_send(), [false, false, true]);
}

#[test]
fn what_is_known_outlives_the_daemon() {
    if !need::met(&NEEDS) {
        return;
    }
    let mut host = Host::new(&DHCP);
    host.enters(&ack([10, 0, 0, 1], 600));
    host.enters(&ack([10, 0, 0, 2], u32::MAX));
    host.wait(&["10.0.0.1", "10.0.0.2"]);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        host.restart(signal);
        let binding = host.show();
        assert_eq!(addresses(&binding), ["10.0.0.1", "10.0.0.2"], "{signal}");
        assert_eq!(binding["addresses"][0]["server"], "10.0.0.254");
        assert_eq!(host.may_send(), [true, true, false]);
    }
    // What happens while it is not there is made up for.
    host.daemon.take().unwrap().end(Signal::SIGTERM).unwrap();
    host.enters(&ack([10, 0, 0, 3], 600));
    let release = Dhcp {
        client_address: [10, 0, 0, 1].into(),
        ..Dhcp::new(dhcp::RELEASE, MAC)
    };
    assert!(host.out(&sent(&release)));
    assert_eq!(host.may_send(), [true, true, false]);
    host.daemon = Some(host.site.start(&host.lan.host).unwrap());
    host.wait(&["10.0.0.2", "10.0.0.3"]);

    // A lease belongs to the VM, also after it was bound anew.
    let run = |arguments: &[&str]| host.site.run(&host.lan.host, arguments).unwrap();
    assert!(run(&["binding-delete", "vm1"]).status.success());
    host.bind(&DHCP);
    assert_eq!(addresses(&host.show()), ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(host.may_send(), [false, true, true]);
}

#[test]
fn a_torn_file_of_leases_is_reported_and_kept() {
    if !need::met(&NEEDS) {
        return;
    }
    let mut host = Host::new(&DHCP);
    host.enters(&ack([10, 0, 0, 1], 600));
    host.wait(&["10.0.0.1"]);
    let directory = host.site.state().join("leases");
    let file = fs::read_dir(&directory).unwrap().next().unwrap().unwrap();
    host.daemon.take().unwrap().end(Signal::SIGKILL).unwrap();
    let whole = fs::read_to_string(file.path()).unwrap();
    let torn = &whole[..whole.len() / 2];
    fs::write(file.path(), torn).unwrap();
    host.daemon = Some(host.site.start(&host.lan.host).unwrap());
    assert_eq!(host.may_send(), [false; 3]);
    let status = host.site.run(&host.lan.host, &["status"]).unwrap();
    assert_eq!(status.status.code(), Some(1));
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains(".json: "), "{status}");
    host.enters(&ack([10, 0, 0, 2], 600));
    host.wait(&["10.0.0.2"]);
    let aside = file.path().with_extension("broken");
    assert_eq!(fs::read_to_string(aside).unwrap(), torn);
    let status = host.site.run(&host.lan.host, &["status"]).unwrap();
    assert!(status.status.success(), "{status:?}");
}

#[test]
fn a_filter_in_use_while_learning_is_redefined_and_not_removed() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new(&DHCP);
    let run = |arguments: &[&str]| host.site.run(&host.lan.host, arguments).unwrap();
    let define = |text: &str| {
        let path = host.site.state().join("filter");
        let text = format!(
            "<filter name='own'><uuid>11111111-2222-3333-4444-555555555555</uuid>{text}</filter>"
        );
        fs::write(&path, text).unwrap();
        run(&["define", path.to_str().unwrap()])
    };
    let spoofing = "<filterref filter='no-ip-spoofing'/>";
    assert!(define(spoofing).status.success());
    bind(&host.site, &host.lan, "vm1", MAC, "own", &DHCP).unwrap();
    assert_eq!(run(&["undefine", "own"]).status.code(), Some(2));
    // What the VM will need is missing now.
    let missing = "<rule action='drop' direction='in'><tcp dstportstart='$PORT'/></rule>";
    let refused = define(&format!("{spoofing}{missing}"));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("PORT"), "{message}");
    assert_eq!(host.may_send(), [false; 3]);
    // A filter that asks for no address is in force at once.
    assert!(
        define("<filterref filter='no-mac-spoofing'/>")
            .status
            .success()
    );
    assert_eq!(host.show()["state"], "enforced");
    assert_eq!(host.may_send(), [true; 3]);
    assert!(define(spoofing).status.success());
    assert_eq!(host.may_send(), [false; 3]);
    host.enters(&ack([10, 0, 0, 1], 600));
    host.wait(&["10.0.0.1"]);
    assert_eq!(host.may_send(), [true, false, false]);
}

#[test]
fn a_flood_of_answers_is_cut_short_and_counted() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new(&DHCP);
    let start = Instant::now();
    in_order(|| {
        for number in 0..200 {
            let lease = ack([10, 0, 1, number], 600);
            host.lan.outside().send(&lease)?;
        }
        host.lan.settle(2)
    })
    .unwrap();
    let tenths = start.elapsed().as_millis() as u64 / 100;
    let status = || {
        let output = host
            .site
            .run(&host.lan.host, &["status", "--json"])
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["status"].take()
    };
    // All but a burst, and what was let pass in the meantime.
    let lost = status()["lost_learning"].as_u64().unwrap();
    let least = 150_u64.saturating_sub(tenths + 1);
    assert!((least..=150).contains(&lost), "{lost} in {tenths} tenths");
    let binding = wait_until(&host.site, &host.lan, "vm1", |binding| {
        addresses(binding).len() == 8
    })
    .unwrap();
    assert_eq!(binding["state"], "enforced");
}

const IPV6: &str = "<filter name='own6'><uuid>11111111-2222-3333-4444-555555555555</uuid>
  <filterref filter='no-mac-spoofing'/>
  <rule action='accept' direction='out'><ipv6 srcipaddr='$IPV6'/></rule>
  <rule action='drop' direction='out' priority='1000'/>
</filter>";

#[test]
fn ipv6_addresses_are_learned_by_neighbour_discovery_if_asked_for() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new(&DHCP);
    let path = host.site.state().join("filter");
    fs::write(&path, IPV6).unwrap();
    let run = |arguments: &[&str]| host.site.run(&host.lan.host, arguments).unwrap();
    assert!(run(&["define", path.to_str().unwrap()]).status.success());
    let asked = [("CTRL_IPV6_LEARNING", "any")];
    assert!(bind(&host.site, &host.lan, "vm1", MAC, "own6", &[]).is_err());
    bind(&host.site, &host.lan, "vm1", MAC, "own6", &asked).unwrap();
    let from6 = |last: u16| {
        let source = [0xfd00, 0, 0, 0, 0, 0, 0, last];
        Ethernet::new(MAC, Lan::OUTSIDE).ipv6(
            &Ipv6::new(source, [0xfd00, 0, 0, 0, 0, 0, 0, 0xff]),
            &Udp::new(4000, 4000, []),
        )
    };
    assert!(!host.out(&from6(1)));
    for last in [1, 2] {
        let target = [0xfd00, 0, 0, 0, 0, 0, 0, last];
        let header = Ipv6 {
            hop_limit: 255,
            ..Ipv6::new([0_u16; 8], [0xff02, 0, 0, 0, 0, 1, 0xff00, last])
        };
        let claim = Ethernet::new(MAC, MacAddr([0x33, 0x33, 0xff, 0, 0, last as u8]))
            .ipv6(&header, &Icmpv6::neighbour_solicitation(target, MAC));
        host.vm.end.send(&claim).unwrap();
    }
    let binding = wait_until(&host.site, &host.lan, "vm1", |binding| {
        addresses(binding).contains(&"fd00::1")
    })
    .unwrap();
    assert_eq!(binding["addresses"][0]["source"], "neighbour");
    assert!(host.out(&from6(1)));
    assert!(!host.out(&from6(3)));
}

#[test]
fn an_address_given_by_hand_is_not_learned() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new(&[DHCP[0], ("IP", "10.0.0.2")]);
    host.enters(&ack([10, 0, 0, 1], 600));
    assert_eq!(host.may_send(), [false, true, false]);
    let binding = host.show();
    assert_eq!(binding["state"], "enforced");
    assert_eq!(addresses(&binding), [] as [&str; 0]);
}
