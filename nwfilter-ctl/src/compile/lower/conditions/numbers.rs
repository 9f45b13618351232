//! Tests of numbers: single ones, ranges, and those whose bits mean something.

use nwfilter_common::Field;

use super::Builder;
use crate::{
    compile::set::ValueSet,
    model::{Attr, Datum, Protocol, Semantics},
    resolve::Test,
};

impl Builder<'_> {
    pub(super) fn numbers(&mut self, test: &Test, field: Field) {
        self.and_in(field, &numbers(test), test.negated);
    }

    /// A range whose end is another attribute. With several values (strict, negated) the end has as
    /// many.
    pub(super) fn range(&mut self, test: &Test, field: Field, end: Attr) {
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

    pub(super) fn encapsulated(&mut self, test: &Test) {
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

    pub(super) fn dscp(&mut self, test: &Test) {
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

    pub(super) fn tcp_flags(&mut self, test: &Test) {
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
    pub(super) fn span(&self, start: Attr, end: Attr) -> Option<(ValueSet, bool)> {
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
    pub(super) fn icmp(
        &mut self,
        types: Option<(ValueSet, bool)>,
        codes: Option<(ValueSet, bool)>,
    ) {
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
}

/// A number.
pub(super) fn number(value: &Datum) -> Option<u64> {
    match value {
        Datum::Number(number) => Some(u64::from(*number)),
        _ => None,
    }
}

/// All numbers of a test.
pub(super) fn numbers(test: &Test) -> ValueSet {
    ValueSet::from_values(test.values.iter().filter_map(number))
}
