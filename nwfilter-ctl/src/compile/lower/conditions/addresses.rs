//! Tests of hardware and IP addresses, with their masks and ranges; those that come from variables
//! are kept in slots.

use std::net::{Ipv4Addr, Ipv6Addr};

use nwfilter_common::{Field, MacAddr};

use super::{Builder, Place, Stop, place};
use crate::{
    compile::{
        rule::{Condition, SlotTest},
        set::ValueSet,
    },
    model::{Attr, Datum},
    resolve::Test,
};

impl Builder<'_> {
    pub(super) fn prefix(&self, attr: Attr) -> Option<u8> {
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

    /// All values of a test that is a single address, one after the other: more than one only if
    /// negated, and then all must hold.
    pub(super) fn mac(&mut self, test: &Test, place: Place, mask: Attr) -> Result<(), Stop> {
        let field = self.field(place);
        let mask = self.mac_mask(mask);
        for (i, value) in test.values.iter().enumerate() {
            if let Datum::Mac(mac) = value {
                self.value(&element(test, i), field, &[(mac.to_u64(), mask)])?;
            }
        }
        Ok(())
    }

    pub(super) fn address(
        &mut self,
        test: &Test,
        place: Place,
        prefix: Option<u8>,
    ) -> Result<(), Stop> {
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

    pub(super) fn ip_address(&mut self, test: &Test) -> Result<(), Stop> {
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
    pub(super) fn ip_range(&mut self, test: &Test) {
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
