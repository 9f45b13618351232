//! The inet layer: its lists (4.4, 4.5), what the rules in them test (2.5), and the walk.

use std::net::IpAddr;

use nwfilter_common::MacAddr;
use nwfilter_ctl::{
    model::{Action, Attr, Datum, Family, Protocol, Semantics, SetDirection},
    resolve::Instance,
};

use super::{
    Cause, FrameDirection, Lookup, Outcome, Sets, Verdict,
    connection::{Connections, Tracking},
    ip::{Packet, protocol},
    limit::Limits,
    matrix::{StateTest, expand},
    truth::{self, Field, Match, Truth},
    values::{Attributes, number},
};

/// A rule as it stands in one of the lists.
pub(super) struct Rule {
    /// Counts all rules of a port, from 0.
    id: usize,
    instance: Instance,
    /// Source and destination exchanged, MAC tests removed.
    swapped: bool,
    state: StateTest,
}

/// The lists of one family: one for frames from the VM (FI and HI, which are alike), one for frames
/// to it (FO).
#[derive(Default)]
pub(super) struct Lists {
    from_vm: Vec<Rule>,
    to_vm: Vec<Rule>,
}

impl Lists {
    /// The lists of a family, of rules in the order of 4.1; `None` without a rule of the family.
    /// `next_id` is moved on by each listed rule.
    pub(super) fn new(
        sorted: &[&Instance],
        family: Family,
        semantics: Semantics,
        next_id: &mut usize,
    ) -> Option<Self> {
        let mut rules = sorted
            .iter()
            .filter(|rule| rule.protocol.family() == Some(family))
            .peekable();
        rules.peek()?;
        let mut lists = Self::default();
        for instance in rules {
            for direction in [FrameDirection::Out, FrameDirection::In] {
                let Some((swapped, state)) = expand(instance, direction, semantics) else {
                    continue;
                };
                let list = match direction {
                    FrameDirection::Out => &mut lists.from_vm,
                    FrameDirection::In => &mut lists.to_vm,
                };
                list.push(Rule {
                    id: *next_id,
                    instance: (*instance).clone(),
                    swapped,
                    state,
                });
                *next_id += 1;
            }
        }
        Some(lists)
    }

    pub(super) fn list(&self, direction: FrameDirection) -> &[Rule] {
        match direction {
            FrameDirection::Out => &self.from_vm,
            FrameDirection::In => &self.to_vm,
        }
    }
}

/// One packet on its way through the layer.
pub(super) struct Walk<'a> {
    pub(super) semantics: Semantics,
    pub(super) source_mac: MacAddr,
    pub(super) destination_mac: MacAddr,
    pub(super) packet: &'a Packet,
    pub(super) tracking: &'a Tracking,
    pub(super) connections: &'a Connections,
    pub(super) sets: &'a dyn Sets,
}

impl Walk<'_> {
    /// Walks a list.
    pub(super) fn decide(&self, list: &[Rule], limits: &mut Limits) -> Outcome {
        for rule in list {
            if rule.instance.action == Action::Continue {
                continue;
            }
            match self.matches(rule, limits) {
                Match::No => {}
                Match::Missing => return Outcome::new(Verdict::Drop, Cause::Missing),
                Match::Yes => {
                    let verdict = match rule.instance.action {
                        Action::Drop => Verdict::Drop,
                        Action::Reject => Verdict::Reject,
                        Action::Accept | Action::Return | Action::Continue => Verdict::Accept,
                    };
                    return Outcome::new(verdict, Cause::Rule(rule.instance.origin.clone()));
                }
            }
        }
        Outcome::new(Verdict::Accept, Cause::EndOfLayer)
    }

    /// A connection limit looks only at packets that all other tests of its rule match, because
    /// looking counts.
    fn matches(&self, rule: &Rule, limits: &mut Limits) -> Match {
        let attributes = Attributes::new(&rule.instance.tests, self.semantics);
        let mut tests = self.tests(rule, attributes);
        if truth::all(&tests) == Match::Yes
            && let Some(limit) = attributes.get(Attr::ConnlimitAbove)
        {
            let count = limits.look(rule.id, self.packet, self.tracking, self.connections);
            tests.push(count.test(limit.negated, |count| {
                limit
                    .values
                    .iter()
                    .filter_map(number)
                    .any(|most| *count > most as usize)
            }));
        }
        truth::all(&tests)
    }

    fn tests(&self, rule: &Rule, attributes: Attributes<'_>) -> Vec<Truth> {
        let swapped = rule.swapped;
        let mut tests = vec![
            self.protocol(rule.instance.protocol),
            self.state(rule.state),
        ];
        if !swapped {
            self.macs(attributes, &mut tests);
        }
        self.addresses(attributes, swapped, &mut tests);
        let dscp = self.packet.traffic_class.map(|byte| byte >> 2);
        tests.extend(attributes.number(Attr::Dscp, &dscp));
        tests.extend(self.set(rule.instance.protocol, attributes, swapped));
        match rule.instance.protocol {
            Protocol::Tcp | Protocol::TcpIpv6 => {
                self.ports(attributes, swapped, &mut tests);
                self.tcp(rule.instance.protocol, attributes, &mut tests);
            }
            Protocol::Udp | Protocol::UdpIpv6 | Protocol::Sctp | Protocol::SctpIpv6 => {
                self.ports(attributes, swapped, &mut tests);
            }
            Protocol::Icmp | Protocol::IcmpV6 => self.icmp(attributes, &mut tests),
            _ => {}
        }
        tests
    }

    /// The protocol of the element; `all` has none.
    fn protocol(&self, element: Protocol) -> Truth {
        let Some(wanted) = element.ip_protocol() else {
            return Truth::True;
        };
        // 4a.5: `ah-ipv6` never matches a later fragment in libvirt, as long as it is not reassembled.
        if self.semantics == Semantics::Libvirt
            && self.packet.family == Family::V6
            && self.packet.is_later_fragment()
            && self.packet.transport == Field::Unknown
            && wanted == protocol::AH
        {
            return Truth::False;
        }
        self.packet.protocol.test(false, |number| *number == wanted)
    }

    fn state(&self, test: StateTest) -> Truth {
        let (wanted, negated, wanted_direction) = match test {
            StateTest::None => return Truth::True,
            StateTest::States { states, negated } => (states, negated, None),
            StateTest::Directed { states, direction } => (states, false, Some(direction)),
        };
        let Some(state) = self.tracking.state() else {
            return Truth::Unknown;
        };
        let in_direction =
            wanted_direction.is_none_or(|wanted| self.tracking.direction() == Some(wanted));
        Truth::from(state.intersects(wanted) != negated && in_direction)
    }

    /// `srcmacaddr`. What the documents promise besides (mask, destination), libvirt has not.
    fn macs(&self, attributes: Attributes<'_>, tests: &mut Vec<Truth>) {
        let source = Field::Is(self.source_mac);
        match self.semantics {
            Semantics::Libvirt => tests.extend(attributes.mac(Attr::SrcMacAddr, None, source)),
            Semantics::Strict => {
                tests.extend(attributes.mac(Attr::SrcMacAddr, Some(Attr::SrcMacMask), source));
                let destination = Field::Is(self.destination_mac);
                let mask = Some(Attr::DstMacMask);
                tests.extend(attributes.mac(Attr::DstMacAddr, mask, destination));
            }
        }
    }

    /// Networks, and ranges where there is no network.
    fn addresses(&self, attributes: Attributes<'_>, swapped: bool, tests: &mut Vec<Truth>) {
        let (mut source, mut destination) = (self.packet.source, self.packet.destination);
        if swapped {
            std::mem::swap(&mut source, &mut destination);
        }
        tests.extend(attributes.network(Attr::SrcIpAddr, Attr::SrcIpMask, &source));
        tests.extend(attributes.network(Attr::DstIpAddr, Attr::DstIpMask, &destination));
        if !attributes.has(Attr::SrcIpAddr) {
            tests.extend(attributes.address_range(Attr::SrcIpFrom, Attr::SrcIpTo, &source));
        }
        if !attributes.has(Attr::DstIpAddr) {
            tests.extend(attributes.address_range(Attr::DstIpFrom, Attr::DstIpTo, &destination));
        }
    }

    fn ports(&self, attributes: Attributes<'_>, swapped: bool, tests: &mut Vec<Truth>) {
        let ports = self.packet.ports();
        let mut source = ports.map(|(source, _)| *source);
        let mut destination = ports.map(|(_, destination)| *destination);
        if swapped {
            std::mem::swap(&mut source, &mut destination);
        }
        tests.extend(attributes.range(Attr::SrcPortStart, Attr::SrcPortEnd, &source));
        tests.extend(attributes.range(Attr::DstPortStart, Attr::DstPortEnd, &destination));
    }

    /// `flags`, which libvirt ignores on `tcp-ipv6`, and `option`.
    fn tcp(&self, element: Protocol, attributes: Attributes<'_>, tests: &mut Vec<Truth>) {
        let ignored = element == Protocol::TcpIpv6 && self.semantics == Semantics::Libvirt;
        if let Some(test) = attributes.get(Attr::Flags).filter(|_| !ignored) {
            tests.push(self.packet.tcp_flags().test(test.negated, |flags| {
                test.values.iter().any(|value| match value {
                    Datum::TcpFlags(wanted) => flags & wanted.mask == wanted.flags,
                    _ => false,
                })
            }));
        }
        if let Some(test) = attributes.get(Attr::TcpOption) {
            let options = self.packet.tcp_options();
            let found = options.then(|options| has_option(options, &test.values));
            tests.push(found.test(test.negated, |found| *found));
        }
    }

    /// `type` and `code`; `code` without `type` is ignored. With the same sign they are negated
    /// together; with different signs, which `Strict` keeps, they are two tests.
    fn icmp(&self, attributes: Attributes<'_>, tests: &mut Vec<Truth>) {
        let Some(kinds) = attributes.get(Attr::Type) else {
            return;
        };
        let codes = attributes.get(Attr::Code);
        let kind_is = |kind: u8| kinds.values.contains(&Datum::Number(kind.into()));
        let code_is =
            |code: u8| codes.is_none_or(|test| test.values.contains(&Datum::Number(code.into())));
        let icmp = self.packet.icmp();
        match codes {
            Some(codes) if codes.negated != kinds.negated => {
                tests.push(icmp.test(kinds.negated, |(kind, _)| kind_is(*kind)));
                tests.push(icmp.test(codes.negated, |(_, code)| code_is(*code)));
            }
            _ => {
                tests.push(icmp.test(kinds.negated, |(kind, code)| {
                    kind_is(*kind) && code_is(*code)
                }));
            }
        }
    }

    /// `ipset` with `ipsetflags`. Without flags it is ignored, and libvirt loses it on everything
    /// but `all` (fact 12).
    fn set(&self, element: Protocol, attributes: Attributes<'_>, swapped: bool) -> Option<Truth> {
        let test = attributes.get(Attr::IpSet)?;
        let flags = attributes.get(Attr::IpSetFlags)?;
        let is_all = matches!(element, Protocol::All | Protocol::AllIpv6);
        if self.semantics == Semantics::Libvirt && !is_all {
            return None;
        }
        let directions: Vec<SetDirection> = flags
            .values
            .iter()
            .find_map(|value| match value {
                Datum::SetDirections(directions) => Some(directions.as_slice()),
                _ => None,
            })
            .unwrap_or_default()
            .iter()
            .map(|direction| match (direction, swapped) {
                (SetDirection::Src, false) | (SetDirection::Dst, true) => SetDirection::Src,
                (SetDirection::Dst, false) | (SetDirection::Src, true) => SetDirection::Dst,
            })
            .collect();
        let addresses: Field<(IpAddr, IpAddr)> = self.packet.source.then(|source| {
            self.packet
                .destination
                .map(|destination| (*source, *destination))
        });
        // The reference does not say it, but libvirt's own daemon does it: the sign is lost.
        let negated = test.negated && self.semantics == Semantics::Strict;
        // A set may be of addresses with ports.
        if directions.len() > 1 && self.packet.transport == Field::Unknown {
            let known = addresses.test(negated, |_| true);
            return Some(if known == Truth::False && addresses == Field::Absent {
                Truth::False
            } else {
                Truth::Unknown
            });
        }
        let icmp = self.packet.icmp();
        let icmp = icmp
            .value()
            .map(|(kind, code)| u16::from_be_bytes([*kind, *code]));
        let ports = self.packet.ports().value().copied();
        Some(addresses.test(negated, |(source, destination)| {
            test.values.iter().any(|value| match value {
                Datum::Text(name) => self.sets.contains(&Lookup {
                    set: name,
                    directions: &directions,
                    source: *source,
                    destination: *destination,
                    ports: ports.or(icmp.map(|port| (port, port))),
                    protocol: self.packet.protocol.value().copied(),
                }),
                _ => false,
            })
        }))
    }
}

/// Looks for one of the TCP options `wanted` (RFC 9293 section 3.1): kind 0 ends the list, kind 1 is a single byte,
/// the others have a length. After an option with an impossible length, the rest is unknown.
fn has_option(options: &[u8], wanted: &[Datum]) -> Field<bool> {
    let mut rest = options;
    while let [kind, tail @ ..] = rest {
        if wanted.contains(&Datum::Number(u32::from(*kind))) {
            return Field::Is(true);
        }
        rest = match kind {
            0 => return Field::Is(false),
            1 => tail,
            _ => match tail
                .first()
                .and_then(|length| rest.get(usize::from(*length)..).filter(|_| *length >= 2))
            {
                Some(next) => next,
                None => return Field::Unknown,
            },
        };
    }
    Field::Is(false)
}
