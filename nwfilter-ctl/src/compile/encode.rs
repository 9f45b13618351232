//! Diagrams as words: the layout of [`nwfilter_common::Page`]s. See `image.rs` there.
//!
//! Nodes lie in the order in which frames come to them: the roots of all diagrams first, then what
//! those lead to, and so on. The first page, which the program has at hand anyway, so holds what most
//! frames meet.

use std::collections::{HashMap, HashSet, VecDeque};

use nwfilter_common::{
    ABI_VERSION, Class, Field, FrameDirection, IMAGE_MAGIC, LeafVerdict, MAX_LOOKED, MAX_STEPS,
    NODES, NodeRef, PAGE_WORDS, ROW_KEYS, TableLayer, WORD_ABI, WORD_ENTRIES, WORD_FLAGS,
    WORD_LENGTH, WORD_LIMITS, WORD_MAGIC, WORD_TRACKED, flag, head, kind, root_word, set_argument,
    tracked_classes,
};

use super::{
    CompileError, Entry, Image, MAX_IMAGE_WORDS,
    diagram::{Diagram, Effort, Node, Rows, Target},
    lower::{DIRECTIONS, Lists},
    rule::{Condition, FlatRule},
    specialise::specialise,
};
use crate::model::Semantics;

/// Makes the image of these lists, and counts the nodes on the longest way through it.
pub(super) fn image(
    lists: &Lists,
    semantics: Semantics,
    efforts: &[Effort],
) -> Result<(Image, usize), CompileError> {
    let mut result = Err(too_large(FrameDirection::In, TableLayer::Ethernet, 0));
    for &effort in efforts {
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
    let mut nodes = Nodes::default();
    let mut roots: Vec<(usize, NodeRef)> = Vec::new();
    let mut diagram = Diagram::default();
    let mut refs: Vec<NodeRef> = Vec::new();
    // Many classes see the same rules.
    let mut diagrams: HashMap<Vec<(usize, FlatRule)>, Target> = HashMap::new();
    // What to look up connections for, and the layers in which later fragments miss something.
    let mut stateful: HashSet<(FrameDirection, Class)> = HashSet::new();
    let mut fragments: HashSet<TableLayer> = HashSet::new();
    let mut options = false;
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
                            Field::TcpOptionsBroken => options = true,
                            _ => {}
                        }
                        if matches!(condition, Condition::Bit(..)) {
                            options = true;
                        }
                    }
                    let missing = Entry::missing(layer);
                    if class.is_fragment() && rules.iter().any(|(_, rule)| rule.entry == missing) {
                        fragments.insert(layer);
                    }
                    *diagrams
                        .entry(rules)
                        .or_insert_with_key(|rules| diagram.build(rules, effort))
                };
                for node in &diagram.nodes[refs.len()..] {
                    let node = nodes.node(node, &refs);
                    refs.push(node);
                }
                if NODES + nodes.length > MAX_IMAGE_WORDS {
                    return Err(too_large(direction, layer, rules.len()));
                }
                let root = target(root, &refs);
                steps = steps.max(nodes.depth(root));
                if steps > MAX_STEPS {
                    return Err(too_deep(direction, layer, rules.len()));
                }
                if nodes.looks(root) > MAX_LOOKED {
                    return Err(CompileError::TooManyLimits {
                        limit: MAX_LOOKED,
                        direction,
                    });
                }
                roots.push((root_word(direction, layer, class as usize), root));
            }
        }
    }
    let limits = nodes.limits;
    let mut words = nodes.lay_out(&roots);
    words[WORD_LIMITS] = limits;
    words[WORD_MAGIC] = IMAGE_MAGIC;
    words[WORD_ABI] = ABI_VERSION;
    words[WORD_LENGTH] = words.len() as u32;
    words[WORD_ENTRIES] = lists.entries.len() as u32;
    let tracked = tracked_classes(|direction, class| stateful.contains(&(direction, class)));
    words[WORD_TRACKED..][..tracked.len()].copy_from_slice(&tracked);
    words[WORD_FLAGS] = flags(semantics, !stateful.is_empty(), &fragments);
    if options {
        words[WORD_FLAGS] |= flag::TCP_OPTIONS;
    }
    words.resize(words.len().next_multiple_of(PAGE_WORDS), 0);
    Ok((Image::from_words(words), steps))
}

/// What the engine has to remember. Nothing is asked for that no rule of this filter depends on.
fn flags(semantics: Semantics, stateful: bool, fragments: &HashSet<TableLayer>) -> u32 {
    let wanted = match semantics {
        Semantics::Strict => flag::STRICT,
        Semantics::Libvirt => flag::LIBVIRT,
    };
    let mut flags = wanted;
    if !stateful {
        flags &= !(flag::DHCP_ANSWERS | flag::DROPPED_ADVANCE);
    }
    for (layer, flag) in [
        (TableLayer::Ethernet, flag::ETHERNET_FRAGMENTS),
        (TableLayer::Inet, flag::INET_FRAGMENTS),
    ] {
        if !fragments.contains(&layer) {
            flags &= !flag;
        }
    }
    flags
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

/// A node in words. Its children, the last words, are leaves or numbers of nodes.
struct Encoded {
    words: Vec<u32>,
    children: usize,
    /// Nodes on the longest way from here to a leaf, itself included.
    depth: usize,
    /// Connection limits on the way with the most, itself included.
    looks: usize,
}

/// The nodes of all diagrams; until they are laid out, a [`NodeRef`] is a node's number.
#[derive(Default)]
struct Nodes {
    nodes: Vec<Encoded>,
    /// Words of all of them.
    length: usize,
    /// Connection limits of the image.
    limits: u32,
}

impl Nodes {
    /// Nodes on the longest way to a leaf.
    fn depth(&self, node: NodeRef) -> usize {
        if node.is_leaf() {
            return 0;
        }
        self.nodes[node.0 as usize].depth
    }

    /// Connection limits on the way to a leaf with the most.
    fn looks(&self, node: NodeRef) -> usize {
        if node.is_leaf() {
            return 0;
        }
        self.nodes[node.0 as usize].looks
    }

    /// Adds a node. `children` are its last words.
    fn push(&mut self, words: Vec<u32>, children: usize) -> NodeRef {
        let below = || words[words.len() - children..].iter().copied().map(NodeRef);
        let depth = below().map(|child| self.depth(child)).max().unwrap_or(0) + 1;
        let looks = below().map(|child| self.looks(child)).max().unwrap_or(0);
        self.length += words.len();
        self.nodes.push(Encoded {
            words,
            children,
            depth,
            looks,
        });
        NodeRef(self.nodes.len() as u32 - 1)
    }

    /// The words of the image, except for its header.
    fn lay_out(self, roots: &[(usize, NodeRef)]) -> Vec<u32> {
        let mut addresses: Vec<Option<u32>> = vec![None; self.nodes.len()];
        let mut order = Vec::new();
        let mut waiting: VecDeque<NodeRef> = roots.iter().map(|(_, root)| *root).collect();
        let mut end = NODES;
        while let Some(node) = waiting.pop_front() {
            let number = node.0 as usize;
            if node.is_leaf() || addresses[number].is_some() {
                continue;
            }
            let Encoded {
                words, children, ..
            } = &self.nodes[number];
            if words.len() > PAGE_WORDS - end % PAGE_WORDS {
                end = end.next_multiple_of(PAGE_WORDS);
            }
            addresses[number] = Some(end as u32);
            end += words.len();
            order.push(number);
            waiting.extend(words[words.len() - children..].iter().copied().map(NodeRef));
        }
        let address = |node: NodeRef| match addresses.get(node.0 as usize) {
            Some(Some(address)) if !node.is_leaf() => *address,
            _ => node.0,
        };
        let mut image = vec![0; end];
        for (word, root) in roots {
            image[*word] = address(*root);
        }
        for number in order {
            let Encoded {
                words, children, ..
            } = &self.nodes[number];
            let at = address(NodeRef(number as u32)) as usize;
            let (head, tail) = words.split_at(words.len() - children);
            image[at..][..head.len()].copy_from_slice(head);
            for (place, child) in image[at + head.len()..].iter_mut().zip(tail) {
                *place = address(NodeRef(*child));
            }
        }
        image
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
                self.push(vec![head, target(*yes, refs).0, target(*no, refs).0], 2)
            }
            Node::Bit(test, yes, no) => {
                let head = head(kind::BIT, test.field.index(), u32::from(test.bit));
                self.push(vec![head, target(*yes, refs).0, target(*no, refs).0], 2)
            }
            Node::Set(test, yes, no) => {
                let argument = set_argument(test.dimensions.into(), test.destinations.into());
                let head = head(kind::SET, test.field.index(), argument);
                let [yes, no] = [yes, no].map(|next| target(*next, refs).0);
                self.push([&[head], &test.name.0[..], &[yes, no]].concat(), 2)
            }
            Node::Limit(test, yes, no) => {
                self.limits = self.limits.max(u32::from(test.number) + 1);
                let head = head(kind::LIMIT, Field::CtState.index(), test.number.into());
                let [yes, no] = [yes, no].map(|next| target(*next, refs));
                let node = self.push(vec![head, test.most, yes.0, no.0], 2);
                self.nodes[node.0 as usize].looks += 1;
                node
            }
            Node::Rows(fields, targets) => {
                let targets = targets.iter().map(|t| target(*t, refs).0);
                self.rows(fields, &targets.collect::<Vec<_>>())
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
            self.push(vec![head, low, yes.0, no.0], 2)
        } else {
            let head = head(kind::EQUAL64, field.index(), 0);
            self.push(vec![head, low, high, yes.0, no.0], 2)
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

    fn rows(&mut self, fields: &[Rows], targets: &[u32]) -> NodeRef {
        let mut node = vec![0];
        let (wide, narrow): (Vec<_>, Vec<_>) =
            fields.iter().partition(|rows| rows.field.bits() > 32);
        for Rows {
            field,
            bounds,
            rows,
        } in narrow.iter().chain(&wide)
        {
            node.push(field.index() as u32);
            keys(&mut node, *field, bounds, ROW_KEYS);
            let last = rows[rows.len() - 1];
            for i in 0..=ROW_KEYS {
                let row = rows.get(i).unwrap_or(&last);
                node.extend([*row as u32, (row >> 32) as u32]);
            }
        }
        let counts = narrow.len() | wide.len() << 4;
        node[0] = head(kind::ROWS, counts, node.len() as u32);
        node.extend(targets);
        self.push(node, targets.len())
    }

    fn search_node(&mut self, field: Field, bounds: &[u64], children: &[NodeRef]) -> NodeRef {
        let levels = usize::BITS - bounds.len().leading_zeros();
        let width = 1usize << levels;
        let narrow = field.bits() <= 32;
        let kind = if narrow {
            kind::SEARCH32
        } else {
            kind::SEARCH64
        };
        let mut node = vec![head(kind, field.index(), levels)];
        keys(&mut node, field, bounds, width - 1);
        let last = children[children.len() - 1];
        node.extend((0..width).map(|i| children.get(i).unwrap_or(&last).0));
        self.push(node, width)
    }
}

/// Appends a field's keys, `count` together with those that are not used.
fn keys(node: &mut Vec<u32>, field: Field, keys: &[u64], count: usize) {
    for i in 0..count {
        let key = keys.get(i).copied().unwrap_or(u64::MAX);
        node.push(key as u32);
        if field.bits() > 32 {
            node.push((key >> 32) as u32);
        }
    }
}
