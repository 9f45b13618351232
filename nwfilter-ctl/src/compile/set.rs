//! Sets of numbers as sorted, disjoint, non-adjacent inclusive intervals.

/// A set of values of a header field.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ValueSet(Vec<(u64, u64)>);

impl ValueSet {
    /// One value.
    pub fn single(value: u64) -> Self {
        Self(vec![(value, value)])
    }

    /// All from `low` to `high`, inclusive; empty if `low > high`.
    pub fn range(low: u64, high: u64) -> Self {
        Self(if low <= high {
            vec![(low, high)]
        } else {
            vec![]
        })
    }

    /// All values of these.
    pub fn from_values(values: impl IntoIterator<Item = u64>) -> Self {
        Self::normalise(values.into_iter().map(|value| (value, value)).collect())
    }

    /// All from the first to the second of each pair, inclusive.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self::normalise(
            ranges
                .into_iter()
                .filter(|(low, high)| low <= high)
                .collect(),
        )
    }

    /// The values that agree with `value` in the bits of `mask`, of a field with `bits` bits. The
    /// mask is ones, then zeros.
    pub fn prefix(value: u64, mask: u64, max: u64) -> Self {
        let host = !mask & max;
        let low = value & mask & max;
        Self::range(low, low | host)
    }

    fn normalise(mut intervals: Vec<(u64, u64)>) -> Self {
        intervals.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(intervals.len());
        for (low, high) in intervals {
            match merged.last_mut() {
                Some((_, end)) if low <= end.saturating_add(1) => *end = high.max(*end),
                _ => merged.push((low, high)),
            }
        }
        Self(merged)
    }

    /// The values up to `max` that are not in the set.
    pub fn complement(&self, max: u64) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(0);
        for &(low, high) in &self.0 {
            if let Some(start) = next.filter(|&start| start < low) {
                gaps.push((start, low - 1));
            }
            next = high.checked_add(1);
        }
        if let Some(start) = next.filter(|&start| start <= max) {
            gaps.push((start, max));
        }
        Self(gaps)
    }

    /// The values in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(&&(a_low, a_high)), Some(&&(b_low, b_high))) = (a.peek(), b.peek()) {
            let (low, high) = (a_low.max(b_low), a_high.min(b_high));
            if low <= high {
                both.push((low, high));
            }
            if a_high < b_high {
                a.next();
            } else {
                b.next();
            }
        }
        Self(both)
    }

    /// Whether the value is in the set.
    pub fn contains(&self, value: u64) -> bool {
        let after = self.0.partition_point(|&(low, _)| low <= value);
        after > 0 && value <= self.0[after - 1].1
    }

    /// Whether there is nothing in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether everything up to `max` is in the set.
    pub fn is_full(&self, max: u64) -> bool {
        matches!(self.0[..], [(0, high)] if high >= max)
    }

    /// The intervals, ascending.
    pub fn intervals(&self) -> &[(u64, u64)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: u64 = 15;

    fn members(set: &ValueSet) -> Vec<u64> {
        (0..=MAX).filter(|&value| set.contains(value)).collect()
    }

    proptest! {
        #[test]
        fn agree_with_lists_of_members(
            a in proptest::collection::vec(0..=MAX, 0..10),
            b in proptest::collection::vec(0..=MAX, 0..10),
        ) {
            let (set_a, set_b) =
                (ValueSet::from_values(a.clone()), ValueSet::from_values(b.clone()));
            let both: Vec<_> = (0..=MAX).filter(|v| a.contains(v) && b.contains(v)).collect();
            let rest: Vec<_> = (0..=MAX).filter(|v| !a.contains(v)).collect();
            prop_assert_eq!(members(&set_a.intersection(&set_b)), both);
            prop_assert_eq!(members(&set_a.complement(MAX)), rest.clone());
            prop_assert_eq!(set_a.is_full(MAX), rest.is_empty());
            prop_assert_eq!(set_a.complement(MAX).complement(MAX), set_a);
        }
    }

    #[test]
    fn the_largest_value_has_no_successor() {
        let all = ValueSet::range(0, u64::MAX);
        assert!(all.complement(u64::MAX).is_empty());
        assert!(all.is_full(u64::MAX));
        let last = ValueSet::single(u64::MAX);
        assert_eq!(last.complement(u64::MAX).intervals(), [(0, u64::MAX - 1)]);
    }
}
