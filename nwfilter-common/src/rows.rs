//! Bit rows: one node that tests up to 64 rules in several fields at once. In each field the value chooses
//! a row of bits, one for each rule; the first rule whose bit is in all of these rows decides. Knows
//! nothing of what rules are: the compiler makes the rows.
//!
//! After the head come the tables, first those of fields of at most 32 bits, then those of wider ones. A
//! table is `[field, keys, rows]`: [`ROW_KEYS`] ascending keys of one or two words, and one row more, of
//! two words each. Low words come first; unused keys are at the end, with the last row. Then come
//! the children: one for each rule, and one for frames that no rule matches, which has a bit in all rows.
//!
//! All tables have the same size, so that neither processor nor verifier has to branch.

use crate::{
    field::{FIELD_WORDS, Fields},
    image::{NodeRef, Page, kind},
    walk::{above, at, narrow_above, wide},
};

/// Most rules of a node.
pub const ROW_RULES: usize = 64;
/// Keys of a table.
pub const ROW_KEYS: usize = (1 << kind::MAX_LEVELS) - 1;
/// Most tables of a node.
pub const MAX_ROW_FIELDS: usize = 8;
/// Words of a table for a field of at most 32 bits.
const NARROW_TABLE: usize = 1 + ROW_KEYS + 2 * (ROW_KEYS + 1);
/// Words of a table for a wider field.
const WIDE_TABLE: usize = NARROW_TABLE + ROW_KEYS;

/// Takes the node's test: the child that it leads to.
#[inline(always)]
pub fn rows(page: &Page, address: usize, fields: &Fields) -> NodeRef {
    let head = at(page, address);
    let (narrow_tables, wide_tables) = (head >> 8 & 15, head >> 12 & 15);
    let mut table = address + 1;
    let mut rules = u64::MAX;
    for i in 0..MAX_ROW_FIELDS as u32 {
        if i >= narrow_tables {
            break;
        }
        let value = fields[at(page, table) as usize % FIELD_WORDS];
        let before = rank(|key| narrow_above(at(page, table + 1 + key), value));
        rules &= wide(page, table + 1 + ROW_KEYS + 2 * before);
        table += NARROW_TABLE;
    }
    for i in 0..MAX_ROW_FIELDS as u32 {
        if i >= wide_tables {
            break;
        }
        let value = fields[at(page, table) as usize % FIELD_WORDS];
        let before = rank(|key| above(wide(page, table + 1 + 2 * key), value));
        rules &= wide(page, table + 1 + 2 * ROW_KEYS + 2 * before);
        table += WIDE_TABLE;
    }
    let first = trailing_zeros(rules);
    NodeRef(at(page, address + (head >> 16) as usize + first))
}

/// Number of keys that are not above, among [`ROW_KEYS`] sorted ones. Counts those above: of the opposite
/// the compiler makes branches.
#[inline(always)]
fn rank(above: impl Fn(usize) -> usize) -> usize {
    let mut before = 0;
    for quarter in [16, 4, 1] {
        let key = before + quarter - 1;
        let above = above(key) + above(key + quarter) + above(key + 2 * quarter);
        before += quarter * (3 - above);
    }
    before
}

/// Number of zeros below the lowest one, 64 if there is no one. BPF has no instruction for it.
#[inline(always)]
fn trailing_zeros(bits: u64) -> usize {
    // The zeros as ones, which are then counted (Hacker's Delight, sections 2-1 and 5-1).
    let zeros = !bits & bits.wrapping_sub(1);
    let pairs = zeros - (zeros >> 1 & 0x5555_5555_5555_5555);
    let fours = (pairs & 0x3333_3333_3333_3333) + (pairs >> 2 & 0x3333_3333_3333_3333);
    let bytes = (fours + (fours >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    (bytes.wrapping_mul(0x0101_0101_0101_0101) >> 56) as usize
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;
    use crate::{
        field::Field,
        image::{PAGE_WORDS, head},
    };

    /// A rule as intervals of fields.
    type Rule = Vec<(Field, u64, u64)>;

    /// Address of the node in [`page`]: so that it ends with the page.
    fn page(rules: &[Rule], fields: &[Field]) -> (Page, usize) {
        let mut words = vec![0];
        for field in fields {
            words.push(field.index() as u32);
            let of = |rule: &Rule| {
                let found = rule.iter().find(|(of, ..)| of == field);
                found.map_or((0, u64::MAX), |(_, low, high)| (*low, *high))
            };
            let mut keys: Vec<u64> = rules
                .iter()
                .map(of)
                .flat_map(|(low, high)| [Some(low), high.checked_add(1)])
                .flatten()
                .filter(|key| *key > 0 && *key <= field.max_value())
                .collect();
            keys.sort_unstable();
            keys.dedup();
            keys.resize(ROW_KEYS, u64::MAX);
            for key in &keys {
                words.push(*key as u32);
                if field.bits() > 32 {
                    words.push((key >> 32) as u32);
                }
            }
            for start in [0].iter().chain(&keys) {
                let start = (*start).min(field.max_value());
                let holds = |rule| {
                    let (low, high) = of(rule);
                    low <= start && start <= high
                };
                let mut row = if rules.len() < ROW_RULES {
                    1 << rules.len()
                } else {
                    0
                };
                for (i, rule) in rules.iter().enumerate() {
                    row |= u64::from(holds(rule)) << i;
                }
                words.extend([row as u32, (row >> 32) as u32]);
            }
        }
        let wide = fields.iter().filter(|field| field.bits() > 32).count();
        let counts = (fields.len() - wide) | wide << 4;
        words[0] = head(kind::ROWS, counts, words.len() as u32);
        words.extend((0..=rules.len() as u32).map(|child| 1000 + child));
        let mut page = [0; PAGE_WORDS];
        let address = PAGE_WORDS - words.len();
        page[address..].copy_from_slice(&words);
        (page, address)
    }

    fn naive(rules: &[Rule], fields: &Fields) -> usize {
        let matches = |rule: &Rule| {
            rule.iter()
                .all(|(field, low, high)| (*low..=*high).contains(&fields[field.index()]))
        };
        rules.iter().position(matches).unwrap_or(rules.len())
    }

    /// The node says what walking through the rules says, for the values of some frames.
    fn agrees(rules: &[Rule], tested: &[Field], frames: impl Iterator<Item = Vec<u64>>) {
        let (page, address) = page(rules, tested);
        for values in frames {
            let mut fields = [0; FIELD_WORDS];
            for (field, value) in tested.iter().zip(values) {
                fields[field.index()] = value;
            }
            let child = rows(&page, address, &fields);
            let expected = NodeRef(1000 + naive(rules, &fields) as u32);
            assert_eq!(child, expected, "{fields:?}");
        }
    }

    #[test]
    fn zeros_are_counted() {
        for bit in 0..64 {
            for above in [0, u64::MAX, 0xdead_beef_0bad_cafe] {
                let bits = 1 << bit | (above << bit);
                assert_eq!(trailing_zeros(bits), bits.trailing_zeros() as usize);
            }
        }
        assert_eq!(trailing_zeros(0), 64);
    }

    #[test]
    fn each_of_64_rules_is_found_and_none() {
        let tested = [Field::DstPort, Field::Ip6SrcLow];
        for count in [1, 63, 64] {
            let rules: Vec<Rule> = (0..count)
                .map(|i| vec![(tested[0], i % 8, i % 8), (tested[1], i / 8, i / 8)])
                .collect();
            let frames = (0..10).flat_map(|low| (0..10).map(move |high| vec![low, high]));
            agrees(&rules, &tested, frames);
        }
    }

    #[test]
    fn values_at_both_ends_of_all_fields() {
        let all = [
            Field::IpProtocol,
            Field::SrcPort,
            Field::DstPort,
            Field::Ip4Src,
            Field::SrcMac,
            Field::DstMac,
            Field::Ip6SrcHigh,
            Field::Ip6SrcLow,
        ];
        let rules: Vec<Rule> = (0..31)
            .map(|i| {
                let part = |field: Field| {
                    let max = field.max_value();
                    // Ranges that begin or end with the field's values, and some in between.
                    match (i + field.index()) % 4 {
                        0 => (field, 0, max >> (i % 7)),
                        1 => (field, max >> (i % 5), max),
                        2 => (field, max, max),
                        _ => (field, 0, max),
                    }
                };
                all.iter().copied().map(part).collect()
            })
            .collect();
        for count in 1..=all.len() {
            let tested = &all[..count];
            let rules: Vec<Rule> = rules.iter().map(|rule| rule[..count].to_vec()).collect();
            let frames = (0..4_u32.pow(count as u32).min(3000)).map(|pattern| {
                let value = |(i, field): (usize, &Field)| {
                    let max = field.max_value();
                    [0, max, max >> 1, max >> 3][(pattern >> (2 * i) & 3) as usize]
                };
                tested.iter().enumerate().map(value).collect()
            });
            agrees(&rules, tested, frames);
        }
    }
}
