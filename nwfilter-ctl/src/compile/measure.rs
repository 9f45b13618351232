//! How deep an image is. For people and tests; the datapath needs none of it.

use std::collections::HashMap;

use nwfilter_common::{CLASSES, NODES, NodeRef, ROOTS, kind};

use super::Image;

impl Image {
    /// Nodes on the longest way from a root to a leaf.
    pub fn longest_way(&self) -> usize {
        let mut known = HashMap::new();
        let roots = &self.words()[ROOTS..ROOTS + 4 * CLASSES];
        let deepest = roots
            .iter()
            .map(|&root| depth(self.words(), NodeRef(root), &mut known));
        deepest.max().unwrap_or_default()
    }
}

/// Nodes from here to the furthest leaf. Recursion ends: a node comes after its children, and the
/// compiler bounds the depth.
fn depth(words: &[u32], node: NodeRef, known: &mut HashMap<u32, usize>) -> usize {
    let at = node.0 as usize;
    // The root of a class that the compiler does not know is zero.
    if node.is_leaf() || at < NODES {
        return 0;
    }
    if let Some(depth) = known.get(&node.0) {
        return *depth;
    }
    let (first, count) = children(words[at]);
    let below = words[at + first..at + first + count]
        .iter()
        .map(|&child| depth(words, NodeRef(child), known));
    let depth = 1 + below.max().unwrap_or_default();
    known.insert(node.0, depth);
    depth
}

/// Where a node's children are, from its start, and how many.
const fn children(head: u32) -> (usize, usize) {
    let width = 1usize << ((head >> 16) & 7);
    match head & 0xff {
        kind::EQUAL32 => (2, 2),
        kind::EQUAL64 => (3, 2),
        kind::SEARCH32 => (width, width),
        kind::SEARCH64 => (2 * width - 1, width),
        kind::SLOTS | kind::SLOT_PAIRS => (1, 2),
        _ => (0, 0),
    }
}
