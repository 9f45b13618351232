//! An image put into words, as the kernel has it: the way back from `encode`, for people who debug.
//! Takes any words, also such as no compiler makes; says nothing of what rules they came from.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::{self, Write},
};

use nwfilter_common::{
    Class, Field, FrameDirection, LeafVerdict, NodeRef, ROW_KEYS, ROW_RULES, TableLayer, WORD_ABI,
    WORD_ENTRIES, WORD_FLAGS, WORD_LENGTH, kind, root_word,
};

use super::lower::DIRECTIONS;

/// Most nodes that are put into words.
const MAX_NODES: usize = 10_000;

/// One line each for the header, for every root with the classes of frames that begin there, and for
/// every node that a frame can come to.
pub fn decode(words: &[u32]) -> Vec<String> {
    let word = |at: usize| words.get(at).copied().unwrap_or(0);
    let mut lines = vec![format!(
        "ABI version {}, {} words, {} entries, flags {:#x}",
        word(WORD_ABI),
        word(WORD_LENGTH),
        word(WORD_ENTRIES),
        word(WORD_FLAGS)
    )];
    let mut open = VecDeque::new();
    let mut seen = BTreeSet::new();
    for direction in DIRECTIONS {
        for layer in [TableLayer::Ethernet, TableLayer::Inet] {
            let mut roots: BTreeMap<u32, Vec<String>> = BTreeMap::new();
            for class in Class::ALL {
                let root = word(root_word(direction, layer, *class as usize));
                roots.entry(root).or_default().push(format!("{class:?}"));
            }
            for (root, classes) in roots {
                let way = match direction {
                    FrameDirection::In => "in",
                    FrameDirection::Out => "out",
                };
                let root = NodeRef(root);
                let classes = classes.join(", ");
                lines.push(format!("{way} {layer:?}: {}: {classes}", Target(root)));
                open.push_back(root);
            }
        }
    }
    while let Some(node) = open.pop_front() {
        if node.is_leaf() || !seen.insert(node.0) {
            continue;
        }
        if seen.len() > MAX_NODES {
            lines.push(format!("further nodes are left out, after {MAX_NODES}"));
            break;
        }
        let (text, children) = decode_node(words, node.0 as usize);
        lines.push(format!("{}: {text}", node.0));
        open.extend(children);
    }
    lines
}

/// A node in words, and where it leads.
fn decode_node(words: &[u32], at: usize) -> (String, Vec<NodeRef>) {
    let word = |offset: usize| words.get(at + offset).copied().unwrap_or(0);
    let head = word(0);
    let (kind, argument) = (head & 0xff, head >> 16);
    if kind == kind::ROWS {
        return decode_rows(head, word);
    }
    let Some(field) = Field::ALL.get((head >> 8 & 0xff) as usize) else {
        return (format!("no node: {head:#010x}"), vec![]);
    };
    let wide = |offset| wide(&word, offset);
    let branch = |test: String, at: usize| {
        let [yes, no] = [at, at + 1].map(|offset| NodeRef(word(offset)));
        let text = format!("{test} ? {} : {}", Target(yes), Target(no));
        (text, vec![yes, no])
    };
    let slots = |of: &str| {
        let (first, count) = (argument & 0xff, argument >> 8);
        let last = (first + count).saturating_sub(1);
        format!("{field:?} in {of} {first} to {last}")
    };
    match kind {
        kind::EQUAL32 => branch(format!("{field:?} = {:#x}", word(1)), 2),
        kind::EQUAL64 => branch(format!("{field:?} = {:#x}", wide(1)), 3),
        kind::SLOTS => branch(slots("slots"), 1),
        kind::SLOT_PAIRS => branch(slots("pairs of slots from"), 1),
        kind::SEARCH32 | kind::SEARCH64 => {
            let width = 1_usize << argument.min(kind::MAX_LEVELS);
            let stride = if kind == kind::SEARCH32 { 1 } else { 2 };
            let keys: Vec<u64> = (0..width - 1)
                .map(|key| match stride {
                    1 => u64::from(word(1 + key)),
                    _ => wide(1 + 2 * key),
                })
                .collect();
            let first = 1 + stride * (width - 1);
            let children: Vec<NodeRef> = (0..width)
                .map(|child| NodeRef(word(first + child)))
                .collect();
            let mut text = format!("{field:?}: {}", Target(children[0]));
            let pairs = keys.iter().zip(&children[1..]);
            for (index, (key, child)) in pairs.enumerate() {
                // Keys that are not used lead where the one before leads.
                let unused = *key == u64::from(u32::MAX) || *key == u64::MAX;
                if !(unused && *child == children[index]) {
                    // Writing to a string cannot fail.
                    let _ = write!(text, ", from {key:#x} {}", Target(*child));
                }
            }
            (text, children)
        }
        _ => (format!("no node: {head:#010x}"), vec![]),
    }
}

/// A node of bit rows: the rows between the keys of each field, then the children.
fn decode_rows(head: u32, word: impl Fn(usize) -> u32) -> (String, Vec<NodeRef>) {
    let mut text = String::from("rows of");
    // The bits in all rows, and in any.
    let (mut all, mut any) = (u64::MAX, 0);
    let mut at = 1;
    for (tables, stride) in [(head >> 8 & 15, 1), (head >> 12 & 15, 2)] {
        for _ in 0..tables {
            let Some(field) = Field::ALL.get(word(at) as usize) else {
                return (format!("no node: {head:#010x}"), vec![]);
            };
            let keys = (0..ROW_KEYS).map(|key| match stride {
                1 => u64::from(word(at + 1 + key)),
                _ => wide(&word, at + 1 + 2 * key),
            });
            let rows = at + 1 + stride * ROW_KEYS;
            let mut row = wide(&word, rows);
            (all, any) = (all & row, any | row);
            // Writing to a string cannot fail.
            let _ = write!(text, " {field:?}: {row:#x}");
            for (i, key) in keys.enumerate() {
                let before = std::mem::replace(&mut row, wide(&word, rows + 2 * (i + 1)));
                // Keys that are not used have the row of the one before.
                if row != before {
                    let _ = write!(text, ", from {key:#x} {row:#x}");
                }
                (all, any) = (all & row, any | row);
            }
            text += ";";
            at = rows + 2 * (ROW_KEYS + 1);
        }
    }
    // The child of no rule has a bit in all rows, unless there are 64 rules.
    let children = match any.checked_ilog2() {
        Some(last) if all >> last & 1 != 0 => last as usize + 1,
        Some(_) => ROW_RULES + 1,
        None => 0,
    };
    let first = (head >> 16) as usize;
    let children: Vec<_> = (0..children)
        .map(|child| NodeRef(word(first + child)))
        .collect();
    let named: Vec<_> = children
        .iter()
        .map(|child| Target(*child).to_string())
        .collect();
    let _ = write!(text, " then {}", named.join(", "));
    (text, children)
}

/// Two words as one number, low word first.
fn wide(word: &impl Fn(usize) -> u32, offset: usize) -> u64 {
    u64::from(word(offset)) | u64::from(word(offset + 1)) << 32
}

/// A node or a leaf, in words.
struct Target(NodeRef);

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_leaf() {
            return write!(f, "{}", self.0.0);
        }
        let verdict = match self.0.verdict() {
            LeafVerdict::Accept => "accept",
            LeafVerdict::Drop => "drop",
            LeafVerdict::Reject => "reject",
            LeafVerdict::NoLayer => return f.write_str("no such layer"),
        };
        write!(f, "{verdict} by entry {}", self.0.entry())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compile::{
            compile_as_long,
            tests::{compiled, instances},
        },
        model::Semantics,
    };

    #[test]
    fn every_value_of_a_filter_is_in_the_words() {
        let compiled = compiled(
            "<rule action='drop' direction='out'><tcp srcipaddr='10.0.0.7' dstportstart='8080'/></rule>
             <rule action='accept' direction='out'><mac srcmacaddr='$MAC'/></rule>",
        );
        let text = decode(compiled.image.words()).join("\n");
        for part in [
            "ABI version",
            "0xa000007",
            "0x1f90",
            "SrcMac in slots 0 to 0",
            "drop by entry ",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("no node"), "{text}");
    }

    #[test]
    fn bit_rows_name_their_children() {
        let rule = |port: u32| {
            format!(
                "<rule action='drop' direction='out'><tcp srcportstart='{port}' dstportstart='{port}'/></rule>"
            )
        };
        let rules = instances(&(0..3).map(rule).collect::<String>());
        let compiled = compile_as_long(&rules, Semantics::Strict).unwrap();
        let text = decode(compiled.image.words());
        let rows = text.iter().find(|line| line.contains("rows of")).unwrap();
        let expected = "rows of SrcPort: 0x9, from 0x1 0xa, from 0x2 0xc, from 0x3 0x8; \
                        DstPort: 0x9, from 0x1 0xa, from 0x2 0xc, from 0x3 0x8; \
                        then drop by entry 4, drop by entry 5, drop by entry 6, accept by entry 1";
        assert!(rows.ends_with(expected), "{rows}");
    }

    #[test]
    fn words_that_make_no_sense_are_no_harm() {
        for word in [
            0,
            1,
            0x0502,
            0x8807,
            0xffff_ff07,
            0xf_0002,
            0xffff,
            u32::MAX >> 1,
        ] {
            assert!(decode(&vec![word; 5000]).len() < 2 * MAX_NODES);
        }
        assert!(!decode(&[]).is_empty());
    }
}
