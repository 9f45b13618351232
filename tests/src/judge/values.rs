//! Comparing a header field with the values of a rule's attributes: equality, masks, ranges. Which
//! field an attribute means is not known here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nwfilter_common::MacAddr;
use nwfilter_ctl::{
    model::{Attr, Datum, Semantics},
    resolve::Test,
};

use super::truth::{Field, Truth};

/// The attributes of one rule.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a> {
    tests: &'a [Test],
    semantics: Semantics,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(tests: &'a [Test], semantics: Semantics) -> Self {
        Self { tests, semantics }
    }

    /// The attribute, unless the rule has it not or libvirt loses it: `state`, `flags` and
    /// `gratuitous` vanish when their value is a variable (section 2.2). `flags` of `stp` is a
    /// number and stays.
    pub(super) fn get(self, attr: Attr) -> Option<&'a Test> {
        self.tests
            .iter()
            .find(|test| test.attr == attr)
            .filter(|test| {
                let loses = match test.attr {
                    Attr::State | Attr::Gratuitous => true,
                    Attr::Flags => test.values.iter().any(|v| matches!(v, Datum::TcpFlags(_))),
                    _ => false,
                };
                !(loses && test.variable.is_some() && self.semantics == Semantics::Libvirt)
            })
    }

    pub(super) fn has(self, attr: Attr) -> bool {
        self.get(attr).is_some()
    }

    /// `field` is the attribute's number.
    pub(super) fn number<T: Copy + Into<u32>>(self, attr: Attr, field: &Field<T>) -> Option<Truth> {
        let test = self.get(attr)?;
        Some(field.test(test.negated, |field| {
            test.values
                .iter()
                .any(|value| number(value) == Some((*field).into()))
        }))
    }

    /// `field` lies in the range from `low` to `high`, both included; without `high`, is `low`.
    /// Without `low`, `high` is ignored. The range has the sign of `low`.
    pub(super) fn range<T: Copy + Into<u32>>(
        self,
        low: Attr,
        high: Attr,
        field: &Field<T>,
    ) -> Option<Truth> {
        let low = self.get(low)?;
        let high = self.get(high);
        Some(field.test(low.negated, |field| {
            let field = (*field).into();
            low.values.iter().enumerate().any(|(index, from)| {
                let from = number(from);
                let to = high.map_or(from, |high| nth(high, index).and_then(number));
                from.is_some_and(|from| from <= field) && to.is_some_and(|to| field <= to)
            })
        }))
    }

    /// `field` is the address under the mask; without the address, the mask is ignored. Both have
    /// the sign of the address.
    pub(super) fn mac(
        self,
        address: Attr,
        mask: Option<Attr>,
        field: Field<MacAddr>,
    ) -> Option<Truth> {
        let address = self.get(address)?;
        let mask = mask.and_then(|mask| self.get(mask));
        Some(field.test(address.negated, |field| {
            address.values.iter().enumerate().any(|(index, value)| {
                let mask = match mask.and_then(|mask| nth(mask, index)) {
                    Some(Datum::MacMask(mask) | Datum::Mac(mask)) => *mask,
                    _ => MacAddr::BROADCAST,
                };
                let Datum::Mac(value) = value else {
                    return false;
                };
                (field.to_u64() & mask.to_u64()) == (value.to_u64() & mask.to_u64())
            })
        }))
    }

    /// `field` lies in the network of `address` with a prefix as long as `prefix` says, else in
    /// full. Both have the sign of the address.
    pub(super) fn network(
        self,
        address: Attr,
        prefix: Attr,
        field: &Field<IpAddr>,
    ) -> Option<Truth> {
        let address = self.get(address)?;
        let prefix = self.get(prefix);
        Some(field.test(address.negated, |field| {
            address.values.iter().enumerate().any(|(index, value)| {
                let length = match prefix.and_then(|prefix| nth(prefix, index)) {
                    Some(Datum::Prefix(length)) => *length,
                    _ => 128,
                };
                ip(value).is_some_and(|value| same_network(*field, value, length))
            })
        }))
    }

    /// `field` is an address from `from` to `to`, both included; without `to`, is `from`. Without
    /// `from`, `to` is ignored. The range has the sign of `from`.
    pub(super) fn address_range(
        self,
        from: Attr,
        to: Attr,
        field: &Field<IpAddr>,
    ) -> Option<Truth> {
        let from = self.get(from)?;
        let to = self.get(to);
        Some(field.test(from.negated, |field| {
            from.values.iter().enumerate().any(|(index, low)| {
                let low = ip(low);
                let high = to.map_or(low, |to| nth(to, index).and_then(ip));
                match (field, low, high) {
                    (IpAddr::V4(field), Some(IpAddr::V4(low)), Some(IpAddr::V4(high))) => {
                        low <= *field && *field <= high
                    }
                    (IpAddr::V6(field), Some(IpAddr::V6(low)), Some(IpAddr::V6(high))) => {
                        low <= *field && *field <= high
                    }
                    _ => false,
                }
            })
        }))
    }
}

/// A number.
pub(super) fn number(value: &Datum) -> Option<u32> {
    match value {
        Datum::Number(number) => Some(*number),
        _ => None,
    }
}

/// The mask or range end that belongs to the value at `index`: lists go in step, and the last value
/// of a shorter one stands for the rest.
fn nth(test: &Test, index: usize) -> Option<&Datum> {
    test.values.get(index).or(test.values.last())
}

fn ip(value: &Datum) -> Option<IpAddr> {
    match value {
        Datum::Ipv4(address) => Some(IpAddr::V4(*address)),
        Datum::Ipv6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// Whether the first `length` bits agree. A length beyond the address means all of it.
fn same_network(a: IpAddr, b: IpAddr, length: u8) -> bool {
    fn bits_v4(address: Ipv4Addr, length: u8) -> u32 {
        match 32 - u32::from(length.min(32)) {
            32 => 0,
            rest => address.to_bits() >> rest,
        }
    }
    fn bits_v6(address: Ipv6Addr, length: u8) -> u128 {
        match 128 - u32::from(length.min(128)) {
            128 => 0,
            rest => address.to_bits() >> rest,
        }
    }
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => bits_v4(a, length) == bits_v4(b, length),
        (IpAddr::V6(a), IpAddr::V6(b)) => bits_v6(a, length) == bits_v6(b, length),
        _ => false,
    }
}
