//! From the tests of a rule, as written, to conditions on header fields.

use std::net::{Ipv4Addr, Ipv6Addr};

use nwfilter_common::{BRIDGE_GROUP_ADDRESS, Field, MacAddr, SetName, ethertype, ip_protocol};

use crate::{
    compile::{
        CompileError,
        rule::{BitTest, Condition, SetTest, SlotTest},
        set::ValueSet,
        slots::{Full, SlotTable},
    },
    model::{Attr, Datum, Protocol, Semantics, SetDirection},
    resolve::{Instance, Test},
};

/// Conditions that must all hold.
pub(super) type Conjunction = Vec<Condition>;

/// Why lowering stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// Start again with this variable's values in the image.
    Full(Full),
    /// There is no such filter.
    Error(CompileError),
}

impl From<Full> for Stop {
    fn from(full: Full) -> Self {
        Self::Full(full)
    }
}

/// Which way round a rule is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Orientation {
    /// As written.
    Written,
    /// Source and destination swapped.
    Swapped,
}

/// What an instance's element and tests come down to.
pub(super) struct Tests {
    /// One of these must hold.
    pub(super) alternatives: Vec<Conjunction>,
    /// If one of these holds, nobody can say whether the rule matches: its options may be in the part
    /// of the header that is broken.
    pub(super) doubts: Vec<Conjunction>,
}

/// What an instance's element and tests come down to.
pub(super) fn conditions(
    instance: &Instance,
    orientation: Orientation,
    semantics: Semantics,
    slots: &mut SlotTable,
) -> Result<Tests, Stop> {
    let mut builder = Builder {
        instance,
        orientation,
        semantics,
        slots,
        alternatives: vec![vec![]],
    };
    builder.element();
    builder.tests()?;
    Ok(builder.finish())
}

struct Builder<'a> {
    instance: &'a Instance,
    orientation: Orientation,
    semantics: Semantics,
    slots: &'a mut SlotTable,
    alternatives: Vec<Conjunction>,
}

/// An address or a number range of the language and the field it is compared with.
struct Place {
    written: Field,
    swapped: Field,
}

const fn place(written: Field, swapped: Field) -> Place {
    Place { written, swapped }
}

impl Builder<'_> {
    fn field(&self, Place { written, swapped }: Place) -> Field {
        match self.orientation {
            Orientation::Written => written,
            Orientation::Swapped => swapped,
        }
    }

    /// Adds a condition to every alternative.
    fn and(&mut self, field: Field, set: &ValueSet) {
        for alternative in &mut self.alternatives {
            alternative.push(Condition::In(field, set.clone()));
        }
    }

    /// Adds a number of conditions of which one must hold.
    fn and_either(&mut self, either: &[Conjunction]) {
        self.alternatives = self
            .alternatives
            .iter()
            .flat_map(|alternative| {
                either
                    .iter()
                    .map(move |more| [alternative.as_slice(), more].concat())
            })
            .collect();
    }

    fn and_in(&mut self, field: Field, set: &ValueSet, negated: bool) {
        let set = if negated {
            set.complement(field.max_value())
        } else {
            set.clone()
        };
        self.and(field, &set);
    }

    /// What the element itself tests.
    fn element(&mut self) {
        let ether_type = |value: u16| ValueSet::single(u64::from(value));
        let protocol = self.instance.protocol;
        match protocol {
            Protocol::None | Protocol::Mac => {}
            Protocol::Vlan => self.and(Field::EtherType, &ether_type(ethertype::VLAN)),
            Protocol::Stp => self.and(Field::DstMac, &ValueSet::single(BRIDGE_GROUP_ADDRESS)),
            Protocol::Arp => self.and(Field::EtherType, &ether_type(ethertype::ARP)),
            Protocol::Rarp => self.and(Field::EtherType, &ether_type(ethertype::RARP)),
            Protocol::Ip => self.and(Field::EtherType, &ether_type(ethertype::IPV4)),
            Protocol::Ipv6 => self.and(Field::EtherType, &ether_type(ethertype::IPV6)),
            _ => {
                let v4 = protocol.family() == Some(crate::model::Family::V4);
                let family = if v4 { ethertype::IPV4 } else { ethertype::IPV6 };
                self.and(Field::EtherType, &ether_type(family));
                if let Some(number) = protocol.ip_protocol() {
                    self.and(Field::IpProtocol, &ValueSet::single(u64::from(number)));
                }
            }
        }
    }

    fn get(&self, attr: Attr) -> Option<&Test> {
        self.instance.tests.iter().find(|test| test.attr == attr)
    }

    fn prefix(&self, attr: Attr) -> Option<u8> {
        match self.get(attr)?.values.first()? {
            Datum::Prefix(length) => Some(*length),
            _ => None,
        }
    }

    fn mac_mask(&self, attr: Attr) -> u64 {
        match self.get(attr).and_then(|test| test.values.first()) {
            Some(Datum::MacMask(mask) | Datum::Mac(mask)) => mask.to_u64(),
            _ => MacAddr::BROADCAST.to_u64(),
        }
    }

    fn tests(&mut self) -> Result<(), Stop> {
        let instance = self.instance;
        for test in &instance.tests {
            self.test(test)?;
        }
        Ok(())
    }

    /// Adds what is known of some frames only, last.
    fn finish(mut self) -> Tests {
        let Some(test) = self.get(Attr::TcpOption) else {
            return Tests {
                alternatives: self.alternatives,
                doubts: vec![],
            };
        };
        let kinds = test.values.iter().filter_map(number);
        let bits: Vec<BitTest> = kinds.map(|kind| BitTest::tcp_option(kind as u8)).collect();
        let no = |bits: &[BitTest]| -> Conjunction {
            bits.iter().map(|bit| Condition::Bit(*bit, false)).collect()
        };
        let broken = |value| Condition::In(Field::TcpOptionsBroken, ValueSet::single(value));
        let none = |value| [no(&bits), vec![broken(value)]].concat();
        let (negated, sure) = (test.negated, self.alternatives.clone());
        self.and_either(&[none(1)]);
        let doubts = std::mem::replace(&mut self.alternatives, sure);
        if negated {
            self.and_either(&[none(0)]);
        } else {
            // Not the same frame twice.
            let nth = |i: usize| [no(&bits[..i]), vec![Condition::Bit(bits[i], true)]].concat();
            let either: Vec<_> = (0..bits.len()).map(nth).collect();
            self.and_either(&either);
        }
        Tests {
            alternatives: self.alternatives,
            doubts,
        }
    }

    /// One attribute. Masks, range ends and flags are taken along with the attribute they belong to.
    fn test(&mut self, test: &Test) -> Result<(), Stop> {
        use Field as F;
        let protocol = self.instance.protocol;
        match test.attr {
            Attr::SrcMacAddr => self.mac(test, place(F::SrcMac, F::DstMac), Attr::SrcMacMask)?,
            Attr::DstMacAddr => self.mac(test, place(F::DstMac, F::SrcMac), Attr::DstMacMask)?,
            Attr::ProtocolId => self.numbers(test, F::EtherType),
            Attr::VlanId => self.numbers(test, F::VlanId),
            Attr::EncapProtocol => self.encapsulated(test),
            Attr::RootAddress => {
                self.mac(
                    test,
                    place(F::StpRootAddress, F::StpRootAddress),
                    Attr::RootAddressMask,
                )?;
            }
            Attr::SenderAddress => {
                let field = F::StpSenderAddress;
                self.mac(test, place(field, field), Attr::SenderAddressMask)?;
            }
            Attr::RootPriority => self.range(test, F::StpRootPriority, Attr::RootPriorityHi),
            Attr::RootCost => self.range(test, F::StpRootCost, Attr::RootCostHi),
            Attr::SenderPriority => self.range(test, F::StpSenderPriority, Attr::SenderPriorityHi),
            Attr::Port => self.range(test, F::StpPort, Attr::PortHi),
            Attr::Age => self.range(test, F::StpAge, Attr::AgeHi),
            Attr::MaxAge => self.range(test, F::StpMaxAge, Attr::MaxAgeHi),
            Attr::HelloTime => self.range(test, F::StpHelloTime, Attr::HelloTimeHi),
            Attr::ForwardDelay => self.range(test, F::StpForwardDelay, Attr::ForwardDelayHi),
            Attr::HwType => self.numbers(test, F::ArpHwType),
            Attr::ProtocolType => self.numbers(test, F::ArpProtocol),
            Attr::Opcode => self.numbers(test, F::ArpOpcode),
            Attr::ArpSrcMacAddr | Attr::ArpDstMacAddr => {
                let sender = test.attr == Attr::ArpSrcMacAddr;
                self.and(F::ArpMacs, &ValueSet::single(1));
                let place = if sender {
                    place(F::ArpSrcMac, F::ArpDstMac)
                } else {
                    place(F::ArpDstMac, F::ArpSrcMac)
                };
                self.mac(test, place, Attr::Comment)?;
            }
            Attr::ArpSrcIpAddr => {
                self.and(F::ArpIps, &ValueSet::single(1));
                let mask = self.prefix(Attr::ArpSrcIpMask);
                self.address(test, place(F::ArpSrcIp, F::ArpDstIp), mask)?;
            }
            Attr::ArpDstIpAddr => {
                self.and(F::ArpIps, &ValueSet::single(1));
                let mut mask = self.prefix(Attr::ArpDstIpMask);
                if self.semantics == Semantics::Libvirt && mask.is_none() {
                    // Section 2.4: the destination takes over the source's mask.
                    mask = self.prefix(Attr::ArpSrcIpMask);
                }
                self.address(test, place(F::ArpDstIp, F::ArpSrcIp), mask)?;
            }
            Attr::Gratuitous => {
                if matches!(test.values.first(), Some(Datum::Bool(true))) {
                    self.and(F::ArpIps, &ValueSet::single(1));
                    self.and_in(F::ArpGratuitous, &ValueSet::single(1), test.negated);
                }
            }
            Attr::SrcIpAddr | Attr::DstIpAddr => self.ip_address(test)?,
            Attr::SrcIpFrom | Attr::DstIpFrom => self.ip_range(test),
            Attr::IpProtocol => self.numbers(test, F::IpProtocol),
            Attr::SrcPortStart => {
                let field = self.field(place(F::SrcPort, F::DstPort));
                self.range(test, field, Attr::SrcPortEnd);
            }
            Attr::DstPortStart => {
                let field = self.field(place(F::DstPort, F::SrcPort));
                self.range(test, field, Attr::DstPortEnd);
            }
            Attr::Dscp => self.dscp(test),
            Attr::Type if protocol == Protocol::Stp => self.numbers(test, F::StpType),
            Attr::Flags if protocol == Protocol::Stp => self.numbers(test, F::StpFlags),
            Attr::Type | Attr::TypeEnd | Attr::Code | Attr::CodeEnd
                if protocol == Protocol::Ipv6 =>
            {
                // Once for the whole group, at its first attribute.
                let group = [Attr::Type, Attr::TypeEnd, Attr::Code, Attr::CodeEnd];
                let first = self.instance.tests.iter().find(|t| group.contains(&t.attr));
                if first.is_some_and(|first| first.attr == test.attr) {
                    self.and(
                        F::IpProtocol,
                        &ValueSet::single(u64::from(ip_protocol::ICMPV6)),
                    );
                    let types = self.span(Attr::Type, Attr::TypeEnd);
                    let codes = self.span(Attr::Code, Attr::CodeEnd);
                    self.icmp(types, codes);
                }
            }
            // Once, at the type; without a type the code is ignored (section 2.5).
            Attr::Type => {
                let set = |test: &Test| (numbers(test), test.negated);
                self.icmp(Some(set(test)), self.get(Attr::Code).map(set));
            }
            Attr::Flags => self.tcp_flags(test),
            Attr::IpSet => self.set(test)?,
            // States and limits are the matrix's, options come last; the rest belongs to another attribute or tests nothing.
            _ => {}
        }
        Ok(())
    }

    /// `ipset` with `ipsetflags`; without flags it is ignored.
    fn set(&mut self, test: &Test) -> Result<(), Stop> {
        let flags = self
            .get(Attr::IpSetFlags)
            .and_then(|flags| flags.values.first());
        let Some(Datum::SetDirections(directions)) = flags else {
            return Ok(());
        };
        let swapped = self.orientation == Orientation::Swapped;
        let bits = directions.iter().enumerate().map(|(i, direction)| {
            let destination = (*direction == SetDirection::Dst) != swapped;
            u8::from(destination) << i
        });
        let v4 = self.instance.protocol.family() == Some(crate::model::Family::V4);
        let flags = SetTest {
            field: if v4 { Field::Ip4Src } else { Field::Ip6SrcHigh },
            name: SetName::default(),
            dimensions: directions.len() as u8,
            destinations: bits.fold(0, |all, bit| all | bit),
        };
        let mut sets = Vec::new();
        for value in &test.values {
            let Datum::Text(name) = value else { continue };
            let Some(name) = SetName::new(name) else {
                return Err(Stop::Error(CompileError::Unsupported {
                    origin: self.instance.origin.clone(),
                    what: test.attr,
                }));
            };
            sets.push(SetTest { name, ..flags });
        }
        // More than one only if negated, and then it must be in none. libvirt loses the sign.
        if test.negated && self.semantics == Semantics::Strict {
            for alternative in &mut self.alternatives {
                alternative.extend(sets.iter().map(|set| Condition::Set(*set, false)));
            }
            return Ok(());
        }
        let alternatives = std::mem::take(&mut self.alternatives);
        for alternative in alternatives {
            self.alternatives.extend(sets.iter().map(|set| {
                let mut alternative = alternative.clone();
                alternative.push(Condition::Set(*set, true));
                alternative
            }));
        }
        Ok(())
    }

    fn numbers(&mut self, test: &Test, field: Field) {
        self.and_in(field, &numbers(test), test.negated);
    }

    /// A range whose end is another attribute. With several values (strict, negated) the end has as
    /// many.
    fn range(&mut self, test: &Test, field: Field, end: Attr) {
        let ends: Vec<u64> = self.get(end).map_or_else(Vec::new, |end| {
            end.values
                .iter()
                .filter_map(|value| match value {
                    Datum::Number(number) => Some(u64::from(*number)),
                    _ => None,
                })
                .collect()
        });
        let mut excluded = ValueSet::range(0, field.max_value());
        let mut ranges = Vec::new();
        for (i, value) in test.values.iter().enumerate() {
            let Datum::Number(low) = value else { continue };
            let low = u64::from(*low);
            let high = ends.get(i).or(ends.last()).copied().unwrap_or(low);
            let range = ValueSet::range(low, high);
            excluded = excluded.intersection(&range.complement(field.max_value()));
            ranges.push(range);
        }
        if test.negated {
            self.and(field, &excluded);
        } else if let Some(range) = ranges.pop() {
            self.and(field, &range);
        }
    }

    fn encapsulated(&mut self, test: &Test) {
        let dead = self.semantics == Semantics::Libvirt && test.variable.is_none();
        let values = test.values.iter().filter_map(|value| match value {
            // Fact 10: written in decimal, read as hexadecimal.
            Datum::Number(number) if dead => u64::from_str_radix(&number.to_string(), 16).ok(),
            Datum::Number(number) => Some(u64::from(*number)),
            _ => None,
        });
        self.and_in(
            Field::VlanEncap,
            &ValueSet::from_values(values),
            test.negated,
        );
    }

    fn dscp(&mut self, test: &Test) {
        // Fact 9: libvirt's `ip dscp` is compared with the whole octet.
        let octet = self.semantics == Semantics::Libvirt && self.instance.protocol == Protocol::Ip;
        let values = test.values.iter().flat_map(|value| match value {
            Datum::Number(number) if octet => vec![u64::from(*number)],
            Datum::Number(number) => (0..4).map(|ecn| u64::from(number << 2 | ecn)).collect(),
            _ => vec![],
        });
        self.and_in(
            Field::TrafficClass,
            &ValueSet::from_values(values),
            test.negated,
        );
    }

    fn tcp_flags(&mut self, test: &Test) {
        let matching = |value: &Datum, bits: u64| match value {
            Datum::TcpFlags(flags) => bits & u64::from(flags.mask) == u64::from(flags.flags),
            _ => false,
        };
        let all = 0..=Field::TcpFlags.max_value();
        let values = all.filter(|&bits| test.values.iter().any(|value| matching(value, bits)));
        self.and_in(
            Field::TcpFlags,
            &ValueSet::from_values(values),
            test.negated,
        );
    }

    /// The range that two attributes of `ipv6` span, with its sign: a missing start is 0, a missing
    /// end the start or else 255. `None` without either.
    fn span(&self, start: Attr, end: Attr) -> Option<(ValueSet, bool)> {
        let (starts, ends) = (self.get(start), self.get(end));
        let negated = starts.or(ends)?.negated;
        let values = |test: Option<&Test>| -> Vec<u64> {
            test.map_or_else(Vec::new, |test| {
                test.values.iter().filter_map(number).collect()
            })
        };
        let (starts, ends) = (values(starts), values(ends));
        let ranges = (0..starts.len().max(ends.len())).map(|i| {
            let start = starts.get(i).or(starts.last()).copied();
            let end = ends.get(i).or(ends.last()).copied();
            (start.unwrap_or(0), end.or(start).unwrap_or(0xff))
        });
        Some((ValueSet::from_ranges(ranges), negated))
    }

    /// ICMP types and codes: with the same sign, negated as a unit.
    fn icmp(&mut self, types: Option<(ValueSet, bool)>, codes: Option<(ValueSet, bool)>) {
        let (kind, code) = (Field::IcmpType, Field::IcmpCode);
        match (types, codes) {
            (Some((types, true)), Some((codes, true))) => {
                self.boxes(&[vec![(kind, types), (code, codes)]], true);
            }
            (types, codes) => {
                for (field, sets) in [(kind, types), (code, codes)] {
                    if let Some((set, negated)) = sets {
                        self.and_in(field, &set, negated);
                    }
                }
            }
        }
    }

    /// A test of a value that may come from a variable and then is kept in slots. `parts` are its
    /// words with their masks; the last one is the low half of an IPv6 address.
    fn value(&mut self, test: &Test, field: Field, parts: &[(u64, u64)]) -> Result<(), Stop> {
        if let Some(variable) = test.variable.as_ref().filter(|v| self.slots.holds(v)) {
            let place = (self.instance.protocol, test.attr);
            let first = self.slots.slot(variable, place, parts)?;
            let slot_test = SlotTest {
                field,
                first,
                count: 1,
            };
            for alternative in &mut self.alternatives {
                alternative.push(Condition::Slots(slot_test, test.negated));
            }
            return Ok(());
        }
        let halves = [Some(field), field.low_half()];
        let sets: Vec<(Field, ValueSet)> = halves
            .into_iter()
            .flatten()
            .zip(parts)
            .map(|(field, &(value, mask))| {
                (field, ValueSet::prefix(value, mask, field.max_value()))
            })
            .collect();
        self.boxes(&[sets], test.negated);
        Ok(())
    }

    /// Conditions that the fields are inside, or outside of, a union of boxes.
    fn boxes(&mut self, boxes: &[Vec<(Field, ValueSet)>], negated: bool) {
        if !negated {
            let inside: Vec<Conjunction> = boxes
                .iter()
                .map(|sets| {
                    sets.iter()
                        .map(|(field, set)| Condition::In(*field, set.clone()))
                        .collect()
                })
                .collect();
            self.and_either(&inside);
            return;
        }
        for sets in boxes {
            // Outside in the first field, or inside in the first and outside in the second, ...
            let outside: Vec<Conjunction> = (0..sets.len())
                .map(|last| {
                    let inner = sets[..last].iter();
                    let inner = inner.map(|(field, set)| Condition::In(*field, set.clone()));
                    let (field, set) = &sets[last];
                    inner
                        .chain([Condition::In(*field, set.complement(field.max_value()))])
                        .collect()
                })
                .collect();
            self.and_either(&outside);
        }
    }

    /// All values of a test that is a single address, one after the other: more than one only if
    /// negated, and then all must hold.
    fn mac(&mut self, test: &Test, place: Place, mask: Attr) -> Result<(), Stop> {
        let field = self.field(place);
        let mask = self.mac_mask(mask);
        for (i, value) in test.values.iter().enumerate() {
            if let Datum::Mac(mac) = value {
                self.value(&element(test, i), field, &[(mac.to_u64(), mask)])?;
            }
        }
        Ok(())
    }

    fn address(&mut self, test: &Test, place: Place, prefix: Option<u8>) -> Result<(), Stop> {
        let field = self.field(place);
        for (i, value) in test.values.iter().enumerate() {
            let test = &element(test, i);
            match value {
                Datum::Ipv4(address) => {
                    let mask = prefix_mask4(prefix.unwrap_or(32));
                    self.value(test, field, &[(u64::from(u32::from(*address)), mask)])?;
                }
                Datum::Ipv6(address) => {
                    let [(high, low), (high_mask, low_mask)] =
                        [u128::from(*address), prefix_mask6(prefix.unwrap_or(128))]
                            .map(|value| ((value >> 64) as u64, value as u64));
                    self.value(test, field, &[(high, high_mask), (low, low_mask)])?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The field of an IP address attribute.
    fn ip_place(test: &Test, source: bool) -> Option<Place> {
        use Field as F;
        match (test.values.first()?, source) {
            (Datum::Ipv4(_), true) => Some(place(F::Ip4Src, F::Ip4Dst)),
            (Datum::Ipv4(_), false) => Some(place(F::Ip4Dst, F::Ip4Src)),
            (Datum::Ipv6(_), true) => Some(place(F::Ip6SrcHigh, F::Ip6DstHigh)),
            (Datum::Ipv6(_), false) => Some(place(F::Ip6DstHigh, F::Ip6SrcHigh)),
            _ => None,
        }
    }

    fn ip_address(&mut self, test: &Test) -> Result<(), Stop> {
        let source = test.attr == Attr::SrcIpAddr;
        let mask = if source {
            Attr::SrcIpMask
        } else {
            Attr::DstIpMask
        };
        match Self::ip_place(test, source) {
            Some(place) => self.address(test, place, self.prefix(mask)),
            None => Ok(()),
        }
    }

    /// `srcipfrom` to `srcipto`; without effect beside `srcipaddr` (section 2.5).
    fn ip_range(&mut self, test: &Test) {
        let source = test.attr == Attr::SrcIpFrom;
        let (single, end) = if source {
            (Attr::SrcIpAddr, Attr::SrcIpTo)
        } else {
            (Attr::DstIpAddr, Attr::DstIpTo)
        };
        let Some(place) = Self::ip_place(test, source) else {
            return;
        };
        if self.get(single).is_some() {
            return;
        }
        let field = self.field(place);
        let ends = self
            .get(end)
            .map_or_else(Vec::new, |end| end.values.clone());
        let mut boxes = Vec::new();
        for (i, from) in test.values.iter().enumerate() {
            match (from, ends.get(i).or(ends.last()).unwrap_or(from)) {
                (Datum::Ipv4(from), Datum::Ipv4(to)) => {
                    let [from, to] = [from, to].map(|a: &Ipv4Addr| u64::from(u32::from(*a)));
                    boxes.push(vec![(field, ValueSet::range(from, to))]);
                }
                (Datum::Ipv6(from), Datum::Ipv6(to)) => {
                    let [from, to] = [from, to].map(|a: &Ipv6Addr| u128::from(*a));
                    if let Some(low) = field.low_half() {
                        boxes.extend(range_boxes(field, low, from, to));
                    }
                }
                _ => {}
            }
        }
        self.boxes(&boxes, test.negated);
    }
}

/// A number.
fn number(value: &Datum) -> Option<u64> {
    match value {
        Datum::Number(number) => Some(u64::from(*number)),
        _ => None,
    }
}

/// All numbers of a test.
fn numbers(test: &Test) -> ValueSet {
    ValueSet::from_values(test.values.iter().filter_map(number))
}

/// A copy of the test for its `i`th value only.
fn element(test: &Test, i: usize) -> Test {
    let mut variable = test.variable.clone();
    if let Some(variable) = &mut variable {
        variable.index += i as u32;
    }
    Test {
        attr: test.attr,
        negated: test.negated,
        values: test.values[i..=i].to_vec(),
        variable,
    }
}

/// The disjoint boxes over the two halves of an address that make up a range of addresses.
fn range_boxes(high: Field, low: Field, from: u128, to: u128) -> Vec<Vec<(Field, ValueSet)>> {
    if from > to {
        return vec![];
    }
    let [(from_high, from_low), (to_high, to_low)] =
        [from, to].map(|address| ((address >> 64) as u64, address as u64));
    let slice = |highs: ValueSet, lows: ValueSet| vec![(high, highs), (low, lows)];
    if from_high == to_high {
        return vec![slice(
            ValueSet::single(from_high),
            ValueSet::range(from_low, to_low),
        )];
    }
    let mut boxes = vec![
        slice(
            ValueSet::single(from_high),
            ValueSet::range(from_low, u64::MAX),
        ),
        slice(ValueSet::single(to_high), ValueSet::range(0, to_low)),
    ];
    if to_high - from_high > 1 {
        boxes.push(slice(
            ValueSet::range(from_high + 1, to_high - 1),
            ValueSet::range(0, u64::MAX),
        ));
    }
    boxes
}

/// The mask of an IPv4 prefix length.
fn prefix_mask4(length: u8) -> u64 {
    u64::from(
        u32::MAX
            .checked_shl(32 - u32::from(length.min(32)))
            .unwrap_or(0),
    )
}

/// The mask of an IPv6 prefix length.
fn prefix_mask6(length: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(length.min(128)))
        .unwrap_or(0)
}
