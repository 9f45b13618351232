//! The engine: decides a frame with an image and a port record. The same code runs in the kernel
//! and in userspace; what differs is where frame, pages and fields live.

use crate::{
    abi::{Fault, MAX_SLOT_RUN, PortRecord, SLOTS, Slot},
    ct::{Effect, Place, Tables, commit, track, tracked_bit},
    field::{FIELD_WORDS, Fields, word},
    fragment,
    image::{
        FrameDirection, LeafVerdict, MAX_STEPS, NodeRef, PAGE_WORDS, Page, TableLayer, WORD_FLAGS,
        WORD_LIMITS, WORD_TRACKED, flag, kind, root_word,
    },
    limit::{self, flow},
    option,
    packet::Packet,
    parse::parse,
    set::{self, SET_NAME_WORDS},
    work::{Work, class_word, recall},
};

/// Where the pages of one image live, and how to go through them.
pub trait Pages {
    /// A page by number; `None` behind the last one.
    fn page(&self, number: u32) -> Option<&Page>;

    /// Calls `body` until it says `false`, `times` times at the most. A method, because the kernel's
    /// verifier would walk through every round of an ordinary loop.
    fn repeat<F: FnMut() -> bool>(&self, times: u32, body: F);
}

impl Pages for [Page] {
    fn page(&self, number: u32) -> Option<&Page> {
        self.get(number as usize)
    }

    fn repeat<F: FnMut() -> bool>(&self, times: u32, mut body: F) {
        for _ in 0..times {
            if !body() {
                break;
            }
        }
    }
}

/// What happens to a frame, and who decided it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Pass or not.
    pub verdict: LeafVerdict,
    /// The layer that decided last.
    pub layer: TableLayer,
    /// Entry that decided in the Ethernet layer; valid if `fault` is [`Fault::None`].
    pub ethernet: u32,
    /// Entry that decided in the inet layer; valid if `layer` is [`TableLayer::Inet`].
    pub inet: u32,
    /// Set when neither rule nor default decided; the frame is dropped.
    pub fault: Fault,
}

impl Verdict {
    /// A frame that no rule got to see.
    #[inline(always)]
    pub const fn fault(fault: Fault) -> Self {
        Self {
            verdict: LeafVerdict::Drop,
            layer: TableLayer::Ethernet,
            ethernet: 0,
            inet: 0,
            fault,
        }
    }

    /// The entry that decided.
    #[inline(always)]
    pub const fn entry(&self) -> u32 {
        match self.layer {
            TableLayer::Ethernet => self.ethernet,
            TableLayer::Inet => self.inet,
        }
    }
}

/// Where a frame was seen.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// Seen from the VM.
    pub direction: FrameDirection,
    /// Port number.
    pub port: u32,
    /// The port's record.
    pub record: &'a PortRecord,
}

/// Decides a frame. `work` is working memory.
#[inline(always)]
pub fn decide<P: Packet + ?Sized, I: Pages + ?Sized, T: Tables + ?Sized>(
    packet: &P,
    hook: &Hook<'_>,
    image: &I,
    tables: &T,
    work: &mut Work,
) -> Verdict {
    let Hook {
        direction,
        port,
        record,
    } = *hook;
    work.fields[word::TRACKED] = 0;
    work.fields[word::FLOW] = flow::NONE;
    work.fields[word::LOOKED] = 0;
    let Some(first) = image.page(0) else {
        return Verdict::fault(Fault::NoImage);
    };
    let Some(headers) = parse(packet, &mut work.fields) else {
        return Verdict::fault(Fault::ShortFrame);
    };
    work.fields[word::TRANSPORT] = u64::from(headers.transport);
    // Read anew each time, so that the verifier does not remember how the last test went.
    let has = |flags| recall(&first[WORD_FLAGS]) & flags != 0;
    // Whether tables for a class ask for the connection's state.
    let tracks = |class| {
        let (bits, bit) = tracked_bit(direction, class);
        at(first, WORD_TRACKED + bits) >> bit & 1 != 0
    };
    // Classes go through memory, so that the verifier does not walk all that follows once for each of
    // them.
    for word in [word::PARSED, word::ETHERNET_CLASS, word::INET_CLASS] {
        work.fields[word] = headers.class as u64;
    }
    if recall(&work.fields[word::FRAGMENT]) > 1
        && has(flag::ETHERNET_FRAGMENTS | flag::INET_FRAGMENTS)
        && let Some(class) = fragment::adopt(tables, hook, work)
    {
        let tracks = tracks(class as usize);
        // Unless the tables ask for a state that they did not ask for when the first fragment came.
        if work.fields[word::TRACKED] != 0 || !tracks {
            if tracks {
                work.fields[word::FLOW] = limit::flow_of_fragment(&work.fields);
            }
            for (flag, word) in [
                (flag::ETHERNET_FRAGMENTS, word::ETHERNET_CLASS),
                (flag::INET_FRAGMENTS, word::INET_CLASS),
            ] {
                if has(flag) {
                    work.fields[word] = class;
                }
            }
        }
    }
    let root = |layer, work: &Work| {
        let class = recall(&work.fields[class_word(layer)]) as usize;
        NodeRef(at(first, root_word(direction, layer, class)))
    };

    let ethernet = root(TableLayer::Ethernet, work);
    let leaf = walk(image, first, ethernet, work, record, |_, _, _| None);
    if !leaf.is_leaf() || leaf.entry() >= record.entries {
        return Verdict::fault(Fault::BadImage);
    }
    let mut verdict = Verdict {
        verdict: leaf.verdict(),
        layer: TableLayer::Ethernet,
        ethernet: leaf.entry(),
        inet: 0,
        fault: Fault::None,
    };

    let passes = matches!(verdict.verdict, LeafVerdict::Accept);
    // The state of later fragments is that of the first one.
    let class = recall(&work.fields[word::INET_CLASS]) as usize;
    let tracked = has(flag::CONNECTIONS)
        && tracks(class)
        && class == recall(&work.fields[word::PARSED]) as usize
        && (passes || matches!(direction, FrameDirection::In) && has(flag::DROPPED_ADVANCE));
    if tracked {
        let place = Place {
            class,
            port,
            direction,
            since: record.since,
            dhcp: has(flag::DHCP_ANSWERS),
        };
        track(packet, image, tables, place, work);
    }
    if passes && has(flag::TCP_OPTIONS) {
        option::tcp_options(packet, image, &mut work.fields);
    }
    let inet = root(TableLayer::Inet, work);
    let no_inet = inet.is_leaf() && matches!(inet.verdict(), LeafVerdict::NoLayer);
    if passes && !no_inet {
        let leaf = walk(image, first, inet, work, record, |page, address, work| {
            check(page, address, tables, hook, work)
        });
        if !leaf.is_leaf() || leaf.entry() >= record.entries {
            return Verdict::fault(Fault::BadImage);
        }
        verdict.layer = TableLayer::Inet;
        verdict.verdict = leaf.verdict();
        verdict.inet = leaf.entry();
    }

    let accepted = matches!(verdict.verdict, LeafVerdict::Accept);
    if tracked {
        let effect = Effect {
            begin: accepted,
            advance: accepted || has(flag::DROPPED_ADVANCE),
            limits: recall(&first[WORD_LIMITS]),
        };
        commit(tables, image, hook, work, effect);
        limit::join(tables, image, hook, work);
    }
    if accepted && has(flag::ETHERNET_FRAGMENTS | flag::INET_FRAGMENTS) {
        fragment::keep(tables, hook, work, has(flag::TCP_OPTIONS));
    }
    verdict
}

/// Goes from a root to a leaf. Yields something else only if the image is broken. `check` takes the
/// tests that are about more than fields and slots.
#[inline(always)]
fn walk<I: Pages + ?Sized>(
    image: &I,
    first: &Page,
    root: NodeRef,
    work: &mut Work,
    record: &PortRecord,
    check: impl Fn(&Page, usize, &mut Work) -> Option<NodeRef>,
) -> NodeRef {
    let mut node = root;
    // Most frames are through after two or three of the plainest nodes: calling back and forth for
    // those would take longer than the tests themselves.
    for _ in 0..QUICK_STEPS {
        if node.is_leaf() {
            return node;
        }
        match quick_step(first, node, &work.fields, &record.slots) {
            Some(next) => node = next,
            None => break,
        }
    }
    if node.is_leaf() {
        return node;
    }
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
            kind::LIMIT.. => check(page, address, work).unwrap_or(NOWHERE),
            _ => step(page, address, &work.fields, &record.slots),
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
fn check<T: Tables + ?Sized>(
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

/// Steps that [`walk`] takes before it begins the loop.
const QUICK_STEPS: usize = 4;

/// Takes the test of a node in the first page that compares with one value; `None` for others.
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
    let (equal, children) = match head & 0xff {
        kind::EQUAL32 => (value == u64::from(at(first, address + 1)), address + 2),
        kind::SLOTS if argument >> 8 == 1 => {
            let slot = &slots[argument as usize % SLOTS];
            (value & slot.mask == slot.value, address + 1)
        }
        _ => return None,
    };
    Some(NodeRef(at(first, children + usize::from(!equal))))
}

#[inline(always)]
fn at(page: &Page, word: usize) -> u32 {
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
                not_above(u64::from(at(page, address + 1 + key)), value)
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

#[inline(always)]
fn wide(page: &Page, address: usize) -> u64 {
    u64::from(at(page, address)) | u64::from(at(page, address + 1)) << 32
}

/// 1 if `key <= value`. Without a branch, which would double the verifier's work at each level.
#[inline(always)]
fn not_above(key: u64, value: u64) -> usize {
    // The borrow of `value - key` (Hacker's Delight, section 2-13).
    let borrow = (!value & key) | ((!value | key) & value.wrapping_sub(key));
    (1 ^ (borrow >> 63)) as usize
}

/// Number of keys for which `passes` is 1, in a search of `levels` levels over sorted keys.
#[inline(always)]
fn search(levels: u32, passes: impl Fn(usize) -> usize) -> usize {
    let mut before = 0;
    let mut half = (1usize << (levels & 7)) >> 1;
    for _ in 0..kind::MAX_LEVELS {
        // Once `half` is 0 the remaining rounds read a key and add nothing.
        before += half * passes((before + half).saturating_sub(1));
        half >>= 1;
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
