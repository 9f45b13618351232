//! The frames of the demonstration, and what becomes of each.

use std::collections::BTreeMap;

use anyhow::Result;
use nwfilter_common::MacAddr;
use nwfilter_tests::{
    frame::{
        Arp, Bpdu, Dhcp, Ethernet, Icmp, Icmpv6, Ipv4, Ipv6, LOCAL_EXPERIMENTAL, STP_GROUP, Udp,
        dhcp,
    },
    net::{Direction, Direction::In, Direction::Out, Lan, Ping, in_order},
};

use super::{
    backend::{Backend, Counter, Decision},
    network::{HELLO, Network, Port},
};

/// One frame, or one exchange, and its way.
pub(crate) struct Case<'a> {
    /// What it is, in a few words.
    pub(crate) name: &'static str,
    /// The filters that it meets.
    way: Vec<Step<'a>>,
    /// What clean-traffic does to it.
    pub(crate) clean_traffic_passes: bool,
    source: Source,
}

/// A frame at a filter.
struct Step<'a> {
    port: &'a Port,
    direction: Direction,
    /// As it is on the wire; of a ping, as the kernel makes it but for what no filter reads.
    frame: Vec<u8>,
}

/// Where it comes from.
#[derive(Clone, Copy)]
enum Source {
    /// This process, at the near end of the way.
    Crafted,
    /// The kernel of vm1; that of vm2 answers.
    Ping,
}

/// Identifier and sequence number of the pings.
const PING: (u16, u16) = (0x6e77, 1);

/// Everything that is sent, in order.
pub(crate) fn all(network: &Network) -> Vec<Case<'_>> {
    let mut cases = vec![real_ping(network.vm1(), network.vm2())];
    cases.extend(lies(network.vm1(), network.intruder()));
    cases.extend(arrivals(network.vm2()));
    cases
}

/// From one kernel to another and back.
fn real_ping<'a>(from: &'a Port, to: &'a Port) -> Case<'a> {
    let (identifier, sequence) = PING;
    let message = Icmp::echo_request(identifier, sequence);
    let request =
        Ethernet::new(from.vm.mac, to.vm.mac).ipv4(&Ipv4::new(from.address, to.address), &message);
    let message = Icmp::echo_reply(identifier, sequence);
    let reply =
        Ethernet::new(to.vm.mac, from.vm.mac).ipv4(&Ipv4::new(to.address, from.address), &message);
    let step = |port, direction, frame: &Vec<u8>| Step {
        port,
        direction,
        frame: frame.clone(),
    };
    Case {
        name: "ping and its reply",
        way: vec![
            step(from, Out, &request),
            step(to, In, &request),
            step(to, Out, &reply),
            step(from, In, &reply),
        ],
        clean_traffic_passes: true,
        source: Source::Ping,
    }
}

fn crafted(
    (port, direction): (&Port, Direction),
    rows: impl IntoIterator<Item = (&'static str, Vec<u8>, bool)>,
) -> impl Iterator<Item = Case<'_>> {
    rows.into_iter()
        .map(move |(name, frame, clean_traffic_passes)| Case {
            name,
            way: vec![Step {
                port,
                direction,
                frame,
            }],
            clean_traffic_passes,
            source: Source::Crafted,
        })
}

/// The address that somebody outside would have.
const GATEWAY: [u8; 4] = [192, 168, 77, 1];

/// What the intruder sends: the truth first, then in another's name.
fn lies<'a>(victim: &Port, intruder: &'a Port) -> impl Iterator<Item = Case<'a>> {
    let (mac, address) = (intruder.vm.mac, intruder.address);
    let to_outside = Ethernet::new(mac, Lan::OUTSIDE);
    let as_victim = Ethernet::new(victim.vm.mac, MacAddr::BROADCAST);
    let everyone = Ethernet::broadcast(mac);
    let own = Ipv4::new(address, GATEWAY);
    let stolen = Ipv4::new(victim.address, GATEWAY);
    let hello = Udp::new(HELLO, HELLO, *b"hello");
    let discover = Udp::new(
        dhcp::CLIENT,
        dhcp::SERVER,
        Dhcp::new(dhcp::DISCOVER, mac).bytes(),
    );
    let nobody = Ipv4::new([0; 4], [255; 4]);
    let ask = |mac, address| everyone.arp(&Arp::request(mac, address, GATEWAY));
    let solicitation = Icmpv6::neighbour_solicitation([0xfe; 16], mac);
    let rows = [
        ("its own addresses", to_outside.ipv4(&own, &hello), true),
        (
            "another's IP address",
            to_outside.ipv4(&stolen, &hello),
            false,
        ),
        ("another's MAC address", as_victim.ipv4(&own, &hello), false),
        ("ARP", ask(mac, address), true),
        (
            "ARP, another's MAC address",
            ask(victim.vm.mac, address),
            false,
        ),
        ("ARP, another's IP address", ask(mac, victim.address), false),
        (
            "DHCP, not having an address",
            everyone.ipv4(&nobody, &discover),
            true,
        ),
        (
            "IPv6",
            to_outside.ipv6(&Ipv6::new([0xfe; 16], [0xff; 16]), &solicitation),
            false,
        ),
        (
            "a VLAN tag",
            to_outside.clone().vlan(7).ipv4(&own, &hello),
            false,
        ),
        (
            "RARP, announcing itself",
            everyone.rarp(&Arp::announce_self(mac)),
            true,
        ),
        (
            "RARP, announcing another",
            everyone.rarp(&Arp::announce_self(victim.vm.mac)),
            false,
        ),
        (
            "spanning tree",
            Ethernet::new(mac, STP_GROUP).bpdu(&Bpdu::new(mac)),
            false,
        ),
        (
            "unknown protocol",
            to_outside.frame(LOCAL_EXPERIMENTAL, &[0; 46]),
            false,
        ),
    ];
    crafted((intruder, Out), rows)
}

/// What comes from outside for a VM.
fn arrivals(port: &Port) -> impl Iterator<Item = Case<'_>> {
    let to_vm = Ethernet::new(Lan::OUTSIDE, port.vm.mac);
    let everyone = Ethernet::broadcast(Lan::OUTSIDE);
    let ip = Ipv4::new(GATEWAY, port.address);
    let hello = Udp::new(HELLO, HELLO, *b"hello");
    let solicitation = Icmpv6::neighbour_solicitation([0xfe; 16], Lan::OUTSIDE);
    let rows = [
        ("IPv4", to_vm.ipv4(&ip, &hello), true),
        (
            "ARP",
            to_vm.arp(&Arp::reply(
                (Lan::OUTSIDE, GATEWAY),
                (port.vm.mac, port.address),
            )),
            true,
        ),
        (
            "IPv6",
            to_vm.ipv6(&Ipv6::new([0xfe; 16], [0xff; 16]), &solicitation),
            false,
        ),
        ("a VLAN tag", to_vm.clone().vlan(7).ipv4(&ip, &hello), false),
        (
            "RARP of another",
            everyone.rarp(&Arp::announce_self(Lan::OUTSIDE)),
            false,
        ),
    ];
    crafted((port, In), rows)
}

/// A case and what became of it.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    /// The ports and directions that it met.
    pub(crate) way: Vec<(String, Direction)>,
    /// What was sent.
    pub(crate) frame: Vec<u8>,
    /// Whether it should have arrived.
    pub(crate) expected: bool,
    /// Whether it arrived on the other side of the wire; a ping, whether its reply did.
    pub(crate) arrived: bool,
    /// The rule that decided: the one that drops it or the last that lets it pass.
    pub(crate) rule: String,
    /// The counters that moved on its way, by port, and by how much.
    pub(crate) moved: Vec<(String, Counter)>,
}

impl Outcome {
    /// Whether it fared as expected.
    pub(crate) fn is_as_expected(&self) -> bool {
        self.expected == self.arrived
    }
}

/// Sends it and watches. Without `expected`, the verdict in userspace is what is expected.
pub(crate) fn run(
    case: &Case,
    network: &Network,
    backend: &mut dyn Backend,
    expected: Option<bool>,
) -> Result<Outcome> {
    let before = counters(case, backend)?;
    let arrived = send(case, network)?;
    let moved = movement(&before, counters(case, backend)?);

    let mut decision = Decision::default();
    for step in &case.way {
        decision = backend.explain(step.port, step.direction, &step.frame)?;
        if !decision.passes {
            break;
        }
    }
    Ok(Outcome {
        name: case.name,
        way: case
            .way
            .iter()
            .map(|step| (step.port.vm.port.clone(), step.direction))
            .collect(),
        frame: case
            .way
            .first()
            .map(|step| step.frame.clone())
            .unwrap_or_default(),
        expected: expected.unwrap_or(decision.passes),
        arrived,
        rule: decision.rule,
        moved,
    })
}

/// Sends it; whether it arrived.
pub(crate) fn send(case: &Case, network: &Network) -> Result<bool> {
    match (case.source, &case.way[..]) {
        (Source::Crafted, [step, ..]) => network
            .lan
            .probe(&step.port.vm, step.direction)
            .arrives(&step.frame),
        (Source::Ping, [from, to, ..]) => {
            let ping = Ping::open(from.port.inside()?, to.port.address)?;
            let (identifier, sequence) = PING;
            in_order(|| {
                ping.request(identifier, sequence)?;
                // There and back, two wires each.
                network.lan.settle(4)
            })?;
            ping.replied(identifier, sequence)
        }
        _ => Ok(false),
    }
}

/// The counters of the ports on the way, by port and rule.
fn counters(case: &Case, backend: &dyn Backend) -> Result<BTreeMap<(String, usize), Counter>> {
    let mut all = BTreeMap::new();
    for step in &case.way {
        for (index, counter) in backend.counters(step.port)?.into_iter().enumerate() {
            all.insert((step.port.vm.port.clone(), index), counter);
        }
    }
    Ok(all)
}

/// What has been added since `before`.
fn movement(
    before: &BTreeMap<(String, usize), Counter>,
    after: BTreeMap<(String, usize), Counter>,
) -> Vec<(String, Counter)> {
    let moved = after.into_iter().filter_map(|(key, counter)| {
        let (packets, bytes) = before
            .get(&key)
            .map_or((0, 0), |old| (old.packets, old.bytes));
        let moved = Counter {
            packets: counter.packets.saturating_sub(packets),
            bytes: counter.bytes.saturating_sub(bytes),
            ..counter
        };
        (moved.packets > 0).then_some((key.0, moved))
    });
    moved.collect()
}
