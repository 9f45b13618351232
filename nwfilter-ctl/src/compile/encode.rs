//! Diagrams as words: the layout of [`nwfilter_common::Page`]s. See `image.rs` there.

use std::collections::{HashMap, HashSet};

use nwfilter_common::{
    ABI_VERSION, Class, Field, FrameDirection, IMAGE_MAGIC, LeafVerdict, MAX_LOOKED, MAX_STEPS,
    NODES, NodeRef, PAGE_WORDS, TableLayer, WORD_ABI, WORD_ENTRIES, WORD_FLAGS, WORD_LENGTH,
    WORD_LIMITS, WORD_MAGIC, WORD_TRACKED, flag, head, kind, root_word, set_argument,
    tracked_classes,
};

use super::{
    CompileError, Image, MAX_IMAGE_WORDS,
    diagram::{Diagram, Effort, Node, Target},
    lower::{DIRECTIONS, Lists},
    rule::{Condition, FlatRule},
    specialise::specialise,
};
use crate::model::Semantics;

/// Makes the image of these lists, and counts the nodes on the longest way through it.
pub(super) fn image(lists: &Lists, semantics: Semantics) -> Result<(Image, usize), CompileError> {
    let mut result = Err(too_large(FrameDirection::In, TableLayer::Ethernet, 0));
    let longest = lists.rules.values().map(Vec::len).max().unwrap_or(0);
    for effort in Effort::for_lists(longest) {
        result = image_with(lists, semantics, effort);
        if !matches!(result, Err(CompileError::TooLarge { .. })) {
            break;
        }
    }
    result
}

fn image_with(
    lists: &Lists,
    semantics: Semantics,
    effort: Effort,
) -> Result<(Image, usize), CompileError> {
    let mut steps = 0;
    let mut words = Words {
        words: vec![0; NODES],
        depths: HashMap::new(),
        looks: HashMap::new(),
        limits: 0,
    };
    let mut diagram = Diagram::default();
    let mut refs: Vec<NodeRef> = Vec::new();
    // Many classes see the same rules.
    let mut roots: HashMap<Vec<(usize, FlatRule)>, Target> = HashMap::new();
    // What to look up connections for.
    let mut stateful: HashSet<(FrameDirection, Class)> = HashSet::new();
    let mut flags = match semantics {
        Semantics::Strict => flag::STRICT,
        Semantics::Libvirt => flag::LIBVIRT,
    };
    for direction in DIRECTIONS {
        for layer in [TableLayer::Ethernet, TableLayer::Inet] {
            let rules = &lists.rules[&(direction, layer)];
            for &class in Class::ALL {
                let root = if layer == TableLayer::Inet && !has_inet(lists, class) {
                    Target::Leaf(LeafVerdict::NoLayer, 0)
                } else {
                    let rules = specialise(rules, class, layer, semantics);
                    for condition in rules.iter().flat_map(|(_, rule)| &rule.conditions) {
                        match condition.field() {
                            Field::CtState => _ = stateful.insert((direction, class)),
                            Field::TcpOptionsBroken => flags |= flag::TCP_OPTIONS,
                            _ => {}
                        }
                        if matches!(condition, Condition::Bit(..)) {
                            flags |= flag::TCP_OPTIONS;
                        }
                    }
                    *roots
                        .entry(rules)
                        .or_insert_with_key(|rules| diagram.build(rules, effort))
                };
                for node in &diagram.nodes[refs.len()..] {
                    let node = words.node(node, &refs);
                    refs.push(node);
                }
                if words.words.len() > MAX_IMAGE_WORDS {
                    return Err(too_large(direction, layer, rules.len()));
                }
                let root = target(root, &refs);
                steps = steps.max(words.depth(root));
                if steps > MAX_STEPS {
                    return Err(too_deep(direction, layer, rules.len()));
                }
                if words
                    .looks
                    .get(&root)
                    .is_some_and(|&looks| looks > MAX_LOOKED)
                {
                    return Err(CompileError::TooManyLimits {
                        limit: MAX_LOOKED,
                        direction,
                    });
                }
                words.words[root_word(direction, layer, class as usize)] = root.0;
            }
        }
    }
    let limits = words.limits;
    let mut words = words.words;
    words[WORD_LIMITS] = limits;
    words[WORD_MAGIC] = IMAGE_MAGIC;
    words[WORD_ABI] = ABI_VERSION;
    words[WORD_LENGTH] = words.len() as u32;
    words[WORD_ENTRIES] = lists.entries.len() as u32;
    let tracked = tracked_classes(|direction, class| stateful.contains(&(direction, class)));
    words[WORD_TRACKED..][..tracked.len()].copy_from_slice(&tracked);
    words[WORD_FLAGS] = flags;
    words.resize(words.len().next_multiple_of(PAGE_WORDS), 0);
    Ok((Image { words }, steps))
}

fn too_large(direction: FrameDirection, layer: TableLayer, rules: usize) -> CompileError {
    CompileError::TooLarge {
        limit: MAX_IMAGE_WORDS,
        direction,
        layer,
        rules,
    }
}

fn too_deep(direction: FrameDirection, layer: TableLayer, rules: usize) -> CompileError {
    CompileError::TooDeep {
        limit: MAX_STEPS,
        direction,
        layer,
        rules,
    }
}

fn has_inet(lists: &Lists, class: Class) -> bool {
    class.is_ip4() && lists.inet_v4 || class.is_ip6() && lists.inet_v6
}

fn target(target: Target, refs: &[NodeRef]) -> NodeRef {
    match target {
        Target::Node(node) => refs[node],
        Target::Leaf(verdict, entry) => NodeRef::leaf(verdict, entry),
    }
}

struct Words {
    words: Vec<u32>,
    /// Nodes on the longest way from a node to a leaf, itself included.
    depths: HashMap<NodeRef, usize>,
    /// Connection limits on the way with the most, where there are any.
    looks: HashMap<NodeRef, usize>,
    /// Connection limits of the image.
    limits: u32,
}

impl Words {
    /// Nodes on the longest way to a leaf.
    fn depth(&self, node: NodeRef) -> usize {
        self.depths.get(&node).copied().unwrap_or(0)
    }

    /// Appends a node, in the next page if this one has not enough room. `children` are its last
    /// words.
    fn push(&mut self, node: &[u32], children: usize) -> NodeRef {
        let room = PAGE_WORDS - self.words.len() % PAGE_WORDS;
        if node.len() > room {
            self.words.resize(self.words.len() + room, 0);
        }
        let at = self.words.len();
        self.words.extend_from_slice(node);
        let children = node[node.len() - children..]
            .iter()
            .map(|child| NodeRef(*child));
        let below = children.clone().map(|child| self.depth(child)).max();
        let looks = children.filter_map(|child| self.looks.get(&child)).max();
        let looks = looks.copied();
        let node = NodeRef(at as u32);
        self.depths.insert(node, below.unwrap_or(0) + 1);
        self.looks.extend(looks.map(|looks| (node, looks)));
        node
    }

    fn node(&mut self, node: &Node, refs: &[NodeRef]) -> NodeRef {
        match node {
            Node::Slots(test, yes, no) => {
                let kind = if test.stride() == 2 {
                    kind::SLOT_PAIRS
                } else {
                    kind::SLOTS
                };
                let argument = u32::from(test.first) | u32::from(test.count) << 8;
                let head = head(kind, test.field.index(), argument);
                self.push(&[head, target(*yes, refs).0, target(*no, refs).0], 2)
            }
            Node::Bit(test, yes, no) => {
                let head = head(kind::BIT, test.field.index(), u32::from(test.bit));
                self.push(&[head, target(*yes, refs).0, target(*no, refs).0], 2)
            }
            Node::Set(test, yes, no) => {
                let argument = set_argument(test.dimensions.into(), test.destinations.into());
                let head = head(kind::SET, test.field.index(), argument);
                let [yes, no] = [yes, no].map(|next| target(*next, refs).0);
                self.push(&[&[head], &test.name.0[..], &[yes, no]].concat(), 2)
            }
            Node::Limit(test, yes, no) => {
                self.limits = self.limits.max(u32::from(test.number) + 1);
                let head = head(kind::LIMIT, Field::CtState.index(), test.number.into());
                let [yes, no] = [yes, no].map(|next| target(*next, refs));
                let node = self.push(&[head, test.most, yes.0, no.0], 2);
                *self.looks.entry(node).or_default() += 1;
                node
            }
            Node::Split(field, bounds, targets) => {
                let targets: Vec<NodeRef> = targets.iter().map(|t| target(*t, refs)).collect();
                match (&bounds[..], &targets[..]) {
                    (&[low, above], &[no, yes, other]) if no == other && above == low + 1 => {
                        self.equal(*field, low, yes, no)
                    }
                    (&[1], &[yes, no]) => self.equal(*field, 0, yes, no),
                    (&[max], &[no, yes]) if max == field.max_value() => {
                        self.equal(*field, max, yes, no)
                    }
                    _ => self.search(*field, bounds, &targets),
                }
            }
        }
    }

    fn equal(&mut self, field: Field, value: u64, yes: NodeRef, no: NodeRef) -> NodeRef {
        let (low, high) = (value as u32, (value >> 32) as u32);
        if field.bits() <= 32 {
            let head = head(kind::EQUAL32, field.index(), 0);
            self.push(&[head, low, yes.0, no.0], 2)
        } else {
            let head = head(kind::EQUAL64, field.index(), 0);
            self.push(&[head, low, high, yes.0, no.0], 2)
        }
    }

    /// A tree of search nodes.
    fn search(&mut self, field: Field, bounds: &[u64], targets: &[NodeRef]) -> NodeRef {
        const KEYS: usize = (1 << kind::MAX_LEVELS) - 1;
        if bounds.len() <= KEYS {
            return self.search_node(field, bounds, targets);
        }
        // Equal shares of the targets below each child; the bound between two shares is the key.
        let share = targets.len().div_ceil(KEYS + 1);
        let mut keys = Vec::new();
        let mut children = Vec::new();
        for (i, targets) in targets.chunks(share).enumerate() {
            let start = i * share;
            if i > 0 {
                keys.push(bounds[start - 1]);
            }
            let inner = &bounds[start..start + targets.len() - 1];
            children.push(match targets {
                [only] => *only,
                _ => self.search(field, inner, targets),
            });
        }
        self.search_node(field, &keys, &children)
    }

    fn search_node(&mut self, field: Field, keys: &[u64], children: &[NodeRef]) -> NodeRef {
        let levels = usize::BITS - keys.len().leading_zeros();
        let width = 1usize << levels;
        let narrow = field.bits() <= 32;
        let kind = if narrow {
            kind::SEARCH32
        } else {
            kind::SEARCH64
        };
        let mut node = vec![head(kind, field.index(), levels)];
        for i in 0..width - 1 {
            let key = keys.get(i).copied().unwrap_or(u64::MAX);
            node.push(key as u32);
            if !narrow {
                node.push((key >> 32) as u32);
            }
        }
        let last = children[children.len() - 1];
        node.extend((0..width).map(|i| children.get(i).unwrap_or(&last).0));
        self.push(&node, width)
    }
}
