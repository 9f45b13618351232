//! The Ethernet layer: what its rules test (2.4) and how its chains are walked (4.2, 4.3).

use std::net::IpAddr;

use nwfilter_ctl::{
    model::{Action, Attr, Direction, Protocol, Semantics},
    resolve::Instance,
};

use super::{
    Cause, FrameDirection, Outcome, Verdict,
    frame::{BRIDGE_GROUP, Frame, ethertype},
    ip::protocol,
    order::{Program, Step},
    truth::{self, Field, Match, Truth},
    values::{Attributes, number},
};

/// Walks the program of the frame's direction.
pub(super) fn decide(
    program: &Program,
    frame: &Frame<'_>,
    direction: FrameDirection,
    semantics: Semantics,
) -> Outcome {
    for step in &program.root {
        match step {
            Step::Rule(rule) => match apply(rule, frame, direction, semantics) {
                Applied::Next => {}
                Applied::Returns => {
                    return Outcome::new(Verdict::Accept, Cause::Rule(rule.origin.clone()));
                }
                Applied::Decides(outcome) => return outcome,
            },
            Step::Jump(chain) if enters(chain, frame) => {
                let rules = program
                    .chains
                    .get(chain)
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                if let Some(outcome) = walk(chain, rules, frame, direction, semantics) {
                    return outcome;
                }
            }
            Step::Jump(_) => {}
        }
    }
    Outcome::new(Verdict::Accept, Cause::EndOfLayer)
}

/// Walks a sub-chain; `None` when it returns to root.
fn walk(
    chain: &str,
    rules: &[Instance],
    frame: &Frame<'_>,
    direction: FrameDirection,
    semantics: Semantics,
) -> Option<Outcome> {
    for rule in rules {
        match apply(rule, frame, direction, semantics) {
            Applied::Next => {}
            Applied::Returns => return None,
            Applied::Decides(outcome) => return Some(outcome),
        }
    }
    Some(Outcome::new(
        Verdict::Accept,
        Cause::EndOfChain(chain.to_owned()),
    ))
}

enum Applied {
    Next,
    Returns,
    Decides(Outcome),
}

fn apply(
    rule: &Instance,
    frame: &Frame<'_>,
    direction: FrameDirection,
    semantics: Semantics,
) -> Applied {
    if rule.action == Action::Continue {
        return Applied::Next;
    }
    match truth::all(&tests(rule, frame, direction, semantics)) {
        Match::No => Applied::Next,
        Match::Missing => Applied::Decides(Outcome::new(Verdict::Drop, Cause::Missing)),
        Match::Yes => {
            let cause = Cause::Rule(rule.origin.clone());
            match rule.action {
                Action::Accept => Applied::Decides(Outcome::new(Verdict::Accept, cause)),
                Action::Drop | Action::Reject => {
                    Applied::Decides(Outcome::new(Verdict::Drop, cause))
                }
                Action::Return => Applied::Returns,
                Action::Continue => Applied::Next,
            }
        }
    }
}

/// The condition on the jump into a chain.
fn enters(chain: &str, frame: &Frame<'_>) -> bool {
    if chain.starts_with("ipv4") {
        frame.ethertype == ethertype::IPV4
    } else if chain.starts_with("ipv6") {
        frame.ethertype == ethertype::IPV6
    } else if chain.starts_with("arp") {
        frame.ethertype == ethertype::ARP
    } else if chain.starts_with("rarp") {
        frame.ethertype == ethertype::RARP
    } else if chain.starts_with("mac") {
        true
    } else if chain.starts_with("vlan") {
        frame.ethertype == ethertype::VLAN
    } else if chain.starts_with("stp") {
        frame.destination == BRIDGE_GROUP
    } else {
        false
    }
}

/// The tests of a rule. `inout` is as written for frames to the VM and has source and destination
/// swapped for frames from it.
fn tests(
    rule: &Instance,
    frame: &Frame<'_>,
    direction: FrameDirection,
    semantics: Semantics,
) -> Vec<Truth> {
    let attributes = Attributes::new(&rule.tests, semantics);
    let swapped = rule.direction == Direction::InOut && direction == FrameDirection::Out;
    let mut tests = Vec::new();
    if rule.protocol != Protocol::None {
        macs(attributes, frame, swapped, rule.protocol, &mut tests);
    }
    match rule.protocol {
        Protocol::Mac => {
            let ethertype = Field::Is(frame.ethertype);
            tests.extend(attributes.number(Attr::ProtocolId, &ethertype));
        }
        Protocol::Vlan => {
            tests.push(Truth::from(frame.ethertype == ethertype::VLAN));
            vlan(attributes, frame, semantics, &mut tests);
        }
        Protocol::Stp => {
            tests.push(Truth::from(frame.destination == BRIDGE_GROUP));
            stp(attributes, frame, &mut tests);
        }
        Protocol::Arp => {
            tests.push(Truth::from(frame.ethertype == ethertype::ARP));
            arp(attributes, frame, swapped, semantics, &mut tests);
        }
        Protocol::Rarp => {
            tests.push(Truth::from(frame.ethertype == ethertype::RARP));
            arp(attributes, frame, swapped, semantics, &mut tests);
        }
        Protocol::Ip => {
            tests.push(Truth::from(frame.ethertype == ethertype::IPV4));
            ip(attributes, frame, swapped, semantics, &mut tests);
        }
        Protocol::Ipv6 => {
            tests.push(Truth::from(frame.ethertype == ethertype::IPV6));
            ip(attributes, frame, swapped, semantics, &mut tests);
            icmpv6(attributes, frame, semantics, &mut tests);
        }
        _ => {}
    }
    tests
}

fn swap<T>(swapped: bool, source: T, destination: T) -> (T, T) {
    if swapped {
        (destination, source)
    } else {
        (source, destination)
    }
}

/// `srcmacaddr`, `dstmacaddr` and their masks. `stp` has only the source.
fn macs(
    attributes: Attributes<'_>,
    frame: &Frame<'_>,
    swapped: bool,
    protocol: Protocol,
    tests: &mut Vec<Truth>,
) {
    let (source, destination) = swap(
        swapped,
        Field::Is(frame.source),
        Field::Is(frame.destination),
    );
    tests.extend(attributes.mac(Attr::SrcMacAddr, Some(Attr::SrcMacMask), source));
    if protocol != Protocol::Stp {
        tests.extend(attributes.mac(Attr::DstMacAddr, Some(Attr::DstMacMask), destination));
    }
}

fn vlan(
    attributes: Attributes<'_>,
    frame: &Frame<'_>,
    semantics: Semantics,
    tests: &mut Vec<Truth>,
) {
    let vlan = frame.vlan();
    tests.extend(attributes.number(Attr::VlanId, &vlan.map(|vlan| vlan.id)));
    let inner = vlan.map(|vlan| vlan.inner);
    tests.extend(attributes.get(Attr::EncapProtocol).map(|test| {
        inner.test(test.negated, |inner| {
            test.values.iter().filter_map(number).any(|value| {
                // Fact 10: libvirt writes a literal in decimal, ebtables reads hexadecimal.
                let misread = semantics == Semantics::Libvirt && test.variable.is_none();
                let value = if misread {
                    u32::from_str_radix(&value.to_string(), 16).ok()
                } else {
                    Some(value)
                };
                value == Some(u32::from(*inner))
            })
        })
    }));
}

/// The body of a BPDU. A frame that carries none fails all of these, negated or not; of a BPDU
/// that is no configuration, only the type is tested.
fn stp(attributes: Attributes<'_>, frame: &Frame<'_>, tests: &mut Vec<Truth>) {
    let bpdu = frame.bpdu();
    let kind = bpdu.kind();
    tests.extend(attributes.number(Attr::Type, &kind));

    let body = bpdu.configuration();
    let byte = |at: usize| body.map(|body| u32::from(body[at]));
    let short = |at: usize| body.map(|body| u32::from_be_bytes([0, 0, body[at], body[at + 1]]));
    let long = |at: usize| {
        body.map(|body| u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]))
    };
    let mac = |at: usize| {
        body.map(|body| nwfilter_common::MacAddr(std::array::from_fn(|i| body[at + i])))
    };
    let fields = [
        attributes.number(Attr::Flags, &byte(0)),
        attributes.range(Attr::RootPriority, Attr::RootPriorityHi, &short(1)),
        attributes.mac(Attr::RootAddress, Some(Attr::RootAddressMask), mac(3)),
        attributes.range(Attr::RootCost, Attr::RootCostHi, &long(9)),
        attributes.range(Attr::SenderPriority, Attr::SenderPriorityHi, &short(13)),
        attributes.mac(Attr::SenderAddress, Some(Attr::SenderAddressMask), mac(15)),
        attributes.range(Attr::Port, Attr::PortHi, &short(21)),
        attributes.range(Attr::Age, Attr::AgeHi, &short(23)),
        attributes.range(Attr::MaxAge, Attr::MaxAgeHi, &short(25)),
        attributes.range(Attr::HelloTime, Attr::HelloTimeHi, &short(27)),
        attributes.range(Attr::ForwardDelay, Attr::ForwardDelayHi, &short(29)),
    ];
    for test in fields.into_iter().flatten() {
        tests.push(match kind {
            Field::Is(0) => test,
            Field::Is(_) => Truth::True,
            Field::Unknown => Truth::Unknown,
            Field::Absent | Field::Different => Truth::False,
        });
    }
}

fn arp(
    attributes: Attributes<'_>,
    frame: &Frame<'_>,
    swapped: bool,
    semantics: Semantics,
    tests: &mut Vec<Truth>,
) {
    let arp = frame.arp(semantics);
    tests.extend(attributes.number(Attr::HwType, &arp.hardware));
    tests.extend(attributes.number(Attr::ProtocolType, &arp.protocol));
    tests.extend(attributes.number(Attr::Opcode, &arp.opcode));

    let (source, destination) = swap(swapped, arp.sender_mac, arp.target_mac);
    tests.extend(attributes.mac(Attr::ArpSrcMacAddr, None, source));
    tests.extend(attributes.mac(Attr::ArpDstMacAddr, None, destination));

    let (source, destination) = swap(swapped, arp.sender_ip, arp.target_ip);
    let (source, destination) = (
        source.map(|ip| IpAddr::V4(*ip)),
        destination.map(|ip| IpAddr::V4(*ip)),
    );
    tests.extend(attributes.network(Attr::ArpSrcIpAddr, Attr::ArpSrcIpMask, &source));
    // libvirt's slip: the target's mask, when not given, is the sender's.
    let inherits = semantics == Semantics::Libvirt
        && !attributes.has(Attr::ArpDstIpMask)
        && attributes.has(Attr::ArpSrcIpAddr);
    let mask = if inherits {
        Attr::ArpSrcIpMask
    } else {
        Attr::ArpDstIpMask
    };
    tests.extend(attributes.network(Attr::ArpDstIpAddr, mask, &destination));

    if let Some(test) = attributes.get(Attr::Gratuitous)
        && test
            .values
            .contains(&nwfilter_ctl::model::Datum::Bool(true))
    {
        let both = arp
            .sender_ip
            .then(|sender| arp.target_ip.map(|target| (*sender, *target)));
        tests.push(both.test(test.negated, |(sender, target)| sender == target));
    }
}

/// `ip` and `ipv6`.
fn ip(
    attributes: Attributes<'_>,
    frame: &Frame<'_>,
    swapped: bool,
    semantics: Semantics,
    tests: &mut Vec<Truth>,
) {
    let Some(packet) = &frame.packet else { return };
    let (source, destination) = swap(swapped, packet.source, packet.destination);
    tests.extend(attributes.network(Attr::SrcIpAddr, Attr::SrcIpMask, &source));
    tests.extend(attributes.network(Attr::DstIpAddr, Attr::DstIpMask, &destination));

    // libvirt looks at a later fragment as it stands. In IPv6 the last header it then finds is the
    // fragment header.
    let alone = semantics == Semantics::Libvirt && packet.is_later_fragment();
    let is_v6 = frame.ethertype == ethertype::IPV6;
    let number = match packet.protocol {
        _ if alone && is_v6 => Field::Is(protocol::FRAGMENT),
        Field::Is(protocol::NO_NEXT_HEADER) if is_v6 => Field::Absent,
        number => number,
    };
    tests.extend(attributes.number(Attr::IpProtocol, &number));

    let ports = if alone { Field::Absent } else { packet.ports() };
    let source = ports.map(|(source, _)| *source);
    let destination = ports.map(|(_, destination)| *destination);
    let (source, destination) = swap(swapped, source, destination);
    tests.extend(attributes.range(Attr::SrcPortStart, Attr::SrcPortEnd, &source));
    tests.extend(attributes.range(Attr::DstPortStart, Attr::DstPortEnd, &destination));

    // Fact 9: libvirt compares the whole byte. `ipv6` has no such attribute.
    if !is_v6 {
        let dscp = packet.traffic_class.map(|byte| match semantics {
            Semantics::Libvirt => *byte,
            Semantics::Strict => byte >> 2,
        });
        tests.extend(attributes.number(Attr::Dscp, &dscp));
    }
}

/// `type`, `typeend`, `code` and `codeend` of `ipv6`: one range of types and one of codes. A missing
/// start is 0, a missing end is the start or else 255. With the same sign they are negated together;
/// with different signs, which `Strict` keeps, they are two tests.
fn icmpv6(
    attributes: Attributes<'_>,
    frame: &Frame<'_>,
    semantics: Semantics,
    tests: &mut Vec<Truth>,
) {
    let Some(packet) = &frame.packet else { return };
    let sign = |start, end| {
        attributes
            .get(start)
            .or(attributes.get(end))
            .map(|test| test.negated)
    };
    let kinds = sign(Attr::Type, Attr::TypeEnd);
    let codes = sign(Attr::Code, Attr::CodeEnd);

    let values = |name| {
        let values = attributes
            .get(name)
            .map(|test| test.values.as_slice())
            .unwrap_or_default();
        values.iter().filter_map(number).collect::<Vec<_>>()
    };
    let within = |field: u8, start, end| {
        let (starts, ends) = (values(start), values(end));
        (0..starts.len().max(ends.len()).max(1)).any(|index| {
            let start = starts.get(index).or(starts.last());
            let end = ends.get(index).or(ends.last()).or(start);
            let range = start.copied().unwrap_or(0)..=end.copied().unwrap_or(255);
            range.contains(&u32::from(field))
        })
    };
    let kind_is = |kind| within(kind, Attr::Type, Attr::TypeEnd);
    let code_is = |code| within(code, Attr::Code, Attr::CodeEnd);

    let alone = semantics == Semantics::Libvirt && packet.is_later_fragment();
    let icmp = if alone { Field::Absent } else { packet.icmp() };
    match (kinds, codes) {
        (None, None) => {}
        (Some(kinds), Some(codes)) if kinds != codes => {
            tests.push(icmp.test(kinds, |(kind, _)| kind_is(*kind)));
            tests.push(icmp.test(codes, |(_, code)| code_is(*code)));
        }
        (Some(negated), _) | (None, Some(negated)) => {
            tests.push(icmp.test(negated, |(kind, code)| kind_is(*kind) && code_is(*code)));
        }
    }
}
