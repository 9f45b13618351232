//! From the tests of a rule, as written, to conditions on header fields.
//!
//! Here is what tests which field, and how conditions are put together; `numbers`, `addresses` and
//! `sets` have the kinds of values that they are made of.

mod addresses;
mod numbers;
mod sets;

use nwfilter_common::{BRIDGE_GROUP_ADDRESS, Field, ethertype, ip_protocol};

use self::numbers::{number, numbers};
use crate::{
    compile::{
        CompileError,
        rule::{BitTest, Condition},
        set::ValueSet,
        slots::{Full, SlotTable},
    },
    model::{Attr, Datum, Protocol, Semantics},
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
}
