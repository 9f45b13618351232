//! From a root to a leaf of a decision diagram: takes the tests of nodes. Knows no layer and no frame,
//! only fields, slots and pages.

use crate::{
    abi::{MAX_SLOT_RUN, SLOTS, Slot},
    ct::Tables,
    engine::{Hook, Pages},
    field::{FIELD_WORDS, Fields},
    image::{MAX_STEPS, NodeRef, PAGE_WORDS, Page, kind},
    limit,
    set::{self, SET_NAME_WORDS},
    work::Work,
};

/// Steps that [`quick_walk`] takes.
const QUICK_STEPS: usize = 4;

/// Takes the first steps, if they are in the first page and compare with one value. Most frames are
/// through after two or three of them: to call back and forth for those would take longer than the
/// tests themselves.
#[inline(always)]
pub(crate) fn quick_walk(
    first: &Page,
    root: NodeRef,
    fields: &Fields,
    slots: &[Slot; SLOTS],
) -> NodeRef {
    let mut node = root;
    for _ in 0..QUICK_STEPS {
        if node.is_leaf() {
            return node;
        }
        match quick_step(first, node, fields, slots) {
            Some(next) => node = next,
            None => break,
        }
    }
    node
}

/// Goes on to a leaf. Yields something else only if the image is broken. `check` takes the tests that
/// are about more than fields and slots.
#[inline(always)]
pub(crate) fn walk<I: Pages + ?Sized>(
    image: &I,
    node: NodeRef,
    slots: &[Slot; SLOTS],
    work: &mut Work,
    check: impl Fn(&Page, usize, &mut Work) -> Option<NodeRef>,
) -> NodeRef {
    let Some(first) = image.page(0) else {
        return NOWHERE;
    };
    let mut node = node;
    image.repeat(MAX_STEPS as u32, || {
        if node.is_leaf() {
            return false;
        }
        let number = node.0 / PAGE_WORDS as u32;
        let page = if number == 0 {
            first
        } else {
            match image.page(number) {
                Some(page) => page,
                None => return false,
            }
        };
        let address = node.0 as usize;
        node = match at(page, address) & 0xff {
            kind::ROWS => image.rows(page, node.0, &work.fields),
            kind::LIMIT.. => check(page, address, work).unwrap_or(NOWHERE),
            _ => step(page, address, &work.fields, slots),
        };
        true
    });
    node
}

/// No node: makes [`walk`] fail.
const NOWHERE: NodeRef = NodeRef(u32::MAX >> 1);

/// Takes a test of the inet layer that is about more than fields and slots; `None` if there is no
/// such test.
#[inline(always)]
pub(crate) fn check<T: Tables + ?Sized>(
    page: &Page,
    address: usize,
    tables: &T,
    hook: &Hook<'_>,
    work: &mut Work,
) -> Option<NodeRef> {
    let head = at(page, address);
    let (holds, children) = match head & 0xff {
        kind::LIMIT => {
            let most = at(page, address + 1);
            let above = limit::look(tables, hook, work, head >> 16, most);
            (above, address + 2)
        }
        kind::SET => {
            for i in 0..SET_NAME_WORDS {
                work.set_name.0[i] = at(page, address + 1 + i);
            }
            let contained = set::contains(tables, work, head >> 16);
            (contained, address + 1 + SET_NAME_WORDS)
        }
        _ => return None,
    };
    Some(NodeRef(at(page, children + usize::from(!holds))))
}

/// Takes the test of a node in the first page that compares with one value, or with up to three bounds;
/// `None` for others.
#[inline(always)]
fn quick_step(
    first: &Page,
    node: NodeRef,
    fields: &Fields,
    slots: &[Slot; SLOTS],
) -> Option<NodeRef> {
    let address = node.0 as usize;
    if address >= PAGE_WORDS {
        return None;
    }
    let head = at(first, address);
    let argument = head >> 16;
    let value = fields[(head >> 8) as usize % FIELD_WORDS];
    let child = match head & 0xff {
        kind::EQUAL32 => {
            let equal = value == u64::from(at(first, address + 1));
            address + 2 + usize::from(!equal)
        }
        kind::SLOTS if argument >> 8 == 1 => {
            let slot = &slots[argument as usize % SLOTS];
            address + 1 + usize::from(value & slot.mask != slot.value)
        }
        kind::SEARCH32 if argument <= 2 => {
            let passes = |key| narrow_not_above(at(first, address + 1 + key), value);
            if argument == 2 {
                address + 4 + passes(0) + passes(1) + passes(2)
            } else {
                address + 2 + passes(0)
            }
        }
        _ => return None,
    };
    Some(NodeRef(at(first, child)))
}

/// A word of a page.
#[inline(always)]
pub(crate) fn at(page: &Page, word: usize) -> u32 {
    page[word % PAGE_WORDS]
}

/// Takes one node's test.
#[inline(always)]
fn step(page: &Page, address: usize, fields: &Fields, slots: &[Slot; SLOTS]) -> NodeRef {
    let head = at(page, address);
    let field = (head >> 8) as usize % FIELD_WORDS;
    let argument = head >> 16;
    let value = fields[field];
    let child = match head & 0xff {
        kind::EQUAL32 => {
            let equal = value == u64::from(at(page, address + 1));
            address + 2 + usize::from(!equal)
        }
        kind::EQUAL64 => {
            let equal = value == wide(page, address + 1);
            address + 3 + usize::from(!equal)
        }
        kind::SEARCH32 => {
            let before = search(argument, |key| {
                narrow_not_above(at(page, address + 1 + key), value)
            });
            address + (1 << (argument & 7)) + before
        }
        kind::SEARCH64 => {
            let before = search(argument, |key| {
                not_above(wide(page, address + 1 + 2 * key), value)
            });
            address + (2 << (argument & 7)) - 1 + before
        }
        kind::SLOTS => {
            let hit = in_slots(slots, argument, 1, |slot, _| {
                value & slot.mask == slot.value
            });
            address + 1 + usize::from(!hit)
        }
        kind::SLOT_PAIRS => {
            let low = fields[(field + 1) % FIELD_WORDS];
            let hit = in_slots(slots, argument, 2, |slot, next| {
                value & slot.mask == slot.value && low & next.mask == next.value
            });
            address + 1 + usize::from(!hit)
        }
        kind::BIT => {
            let bit = value >> (argument & 63) & 1;
            address + 2 - bit as usize
        }
        // An unknown kind: make `walk` fail.
        _ => return NOWHERE,
    };
    NodeRef(at(page, child))
}

/// A 64-bit number, low word first.
#[inline(always)]
pub(crate) fn wide(page: &Page, address: usize) -> u64 {
    u64::from(at(page, address)) | u64::from(at(page, address + 1)) << 32
}

/// 1 if `key > value`. Without a branch, which would double the verifier's work at each level.
#[inline(always)]
pub(crate) fn above(key: u64, value: u64) -> usize {
    // The borrow of `value - key` (Hacker's Delight, section 2-13).
    let borrow = (!value & key) | ((!value | key) & value.wrapping_sub(key));
    (borrow >> 63) as usize
}

/// As [`above`], for a value of less than 63 bits.
#[inline(always)]
pub(crate) fn narrow_above(key: u32, value: u64) -> usize {
    (value.wrapping_sub(u64::from(key)) >> 63) as usize
}

/// 1 if `key <= value`.
#[inline(always)]
fn not_above(key: u64, value: u64) -> usize {
    1 ^ above(key, value)
}

/// As [`not_above`], for a value of less than 63 bits.
#[inline(always)]
fn narrow_not_above(key: u32, value: u64) -> usize {
    1 ^ narrow_above(key, value)
}

/// Number of keys for which `passes` is 1, in a search of `levels` levels over sorted keys. Two levels at
/// a time: the processor compares with three keys at once, while each round has to wait for the one
/// before.
#[inline(always)]
fn search(levels: u32, passes: impl Fn(usize) -> usize) -> usize {
    let mut before = 0;
    let mut quarter = (1usize << (levels & 7)) >> 2;
    if levels & 1 != 0 {
        let half = quarter * 2;
        // Nothing is left of a quarter of two.
        let half = half + usize::from(half == 0);
        before = half * passes(half - 1);
        quarter = half >> 2;
    }
    for _ in 0..kind::MAX_LEVELS / 2 {
        if quarter == 0 {
            break;
        }
        let key = before + quarter - 1;
        let passed = passes(key) + passes(key + quarter) + passes(key + 2 * quarter);
        before += quarter * passed;
        quarter >>= 2;
    }
    before
}

/// Whether `test` holds for one of a run of slots, `stride` slots each.
#[inline(always)]
fn in_slots(
    slots: &[Slot; SLOTS],
    argument: u32,
    stride: usize,
    test: impl Fn(&Slot, &Slot) -> bool,
) -> bool {
    let first = (argument & 0xff) as usize;
    let count = (argument >> 8) as usize;
    let hit = |i: usize| {
        let at = first + i * stride;
        i < count && test(&slots[at % SLOTS], &slots[(at + 1) % SLOTS])
    };
    // Written out, because a loop comes out of the compiler as one that counts `count` down until it
    // is 0: verifiers before Linux 6.8 learn nothing from `!= 0` and see it go on for ever.
    const { assert!(MAX_SLOT_RUN == 8) };
    hit(0) || hit(1) || hit(2) || hit(3) || hit(4) || hit(5) || hit(6) || hit(7)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn searches_count_the_keys_before() {
        for levels in 1..=kind::MAX_LEVELS {
            let keys: Vec<u64> = (1..1 << levels).map(|key| key * 10).collect();
            for value in 0..=keys.len() as u64 * 10 + 10 {
                let expected = keys.iter().filter(|key| **key <= value).count();
                let wide = search(levels, |key| not_above(keys[key], value));
                let narrow = search(levels, |key| narrow_not_above(keys[key] as u32, value));
                assert_eq!([wide, narrow], [expected; 2], "{levels} levels, {value}");
            }
        }
    }

    #[test]
    fn all_bits_are_compared() {
        for key in [0, 1, u64::MAX >> 1, 1 << 63, u64::MAX] {
            for value in [0, 1, u64::MAX >> 1, 1 << 63, u64::MAX] {
                assert_eq!(not_above(key, value), usize::from(key <= value));
            }
        }
    }
}
