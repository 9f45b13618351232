//! Frames through the whole engine, with tables in memory and images made by hand.

mod fragments;
mod frames;
mod icmp;
mod ports;
mod recent;
mod shares;
mod tcp;

use std::{boxed::Box, vec::Vec};

use super::{MemoryTables, TrackedClasses, tracked_classes};
use crate::{
    Class, CtState, FrameDirection, Hook, LeafVerdict, NODES, NodeRef, PAGE_WORDS, Page,
    PortRecord, TableLayer, Verdict, WORD_FLAGS, WORD_LIMITS, WORD_TRACKED, Work, decide, flag,
    head, kind, root_word,
};
use crate::{Field, FrameDirection::In, FrameDirection::Out};

const SECOND: u64 = 1_000_000_000;

/// Ports of the host, whose frames share tables.
struct Rig {
    tables: MemoryTables,
    image: Vec<Page>,
    record: PortRecord,
    work: Box<Work>,
    port: u32,
    next_node: usize,
}

impl Rig {
    /// All passes, everything is tracked.
    fn new() -> Self {
        let mut rig = Self {
            tables: MemoryTables::new(),
            image: std::vec![[0; PAGE_WORDS]],
            record: PortRecord {
                ifindex: 1,
                entries: 1,
                ..PortRecord::default()
            },
            work: Box::default(),
            port: 7,
            next_node: NODES,
        };
        rig.tables.clock.set(1000 * SECOND);
        rig.image[0][WORD_FLAGS] = flag::STRICT;
        rig.track(|_, _| true);
        for direction in [In, Out] {
            rig.set_all(direction, TableLayer::Ethernet, LeafVerdict::Accept);
            rig.set_all(direction, TableLayer::Inet, LeafVerdict::Accept);
        }
        rig
    }

    fn track(&mut self, tests: impl Fn(FrameDirection, Class) -> bool) {
        let words: TrackedClasses = tracked_classes(tests);
        self.image[0][WORD_TRACKED..][..words.len()].copy_from_slice(&words);
    }

    fn set_root(
        &mut self,
        direction: FrameDirection,
        layer: TableLayer,
        class: Class,
        root: NodeRef,
    ) {
        self.image[0][root_word(direction, layer, class as usize)] = root.0;
    }

    fn set_all(&mut self, direction: FrameDirection, layer: TableLayer, verdict: LeafVerdict) {
        for class in Class::ALL {
            self.set_root(direction, layer, *class, NodeRef::leaf(verdict, 0));
        }
    }

    /// Makes the inet layer accept frames of a class if a field has a value, and drop all others.
    fn accept_if(&mut self, direction: FrameDirection, class: Class, field: Field, value: u32) {
        let at = self.next_node;
        self.next_node += 4;
        self.image[0][at..at + 4].copy_from_slice(&[
            head(kind::EQUAL32, field.index(), 0),
            value,
            NodeRef::leaf(LeafVerdict::Accept, 0).0,
            NodeRef::leaf(LeafVerdict::Drop, 0).0,
        ]);
        self.set_root(direction, TableLayer::Inet, class, NodeRef(at as u32));
    }

    /// Makes the inet layer drop frames of a class from sources with more connections than that.
    fn limit(&mut self, direction: FrameDirection, class: Class, most: u32) {
        let at = self.next_node;
        self.next_node += 4;
        self.image[0][WORD_LIMITS] = 1;
        self.image[0][at..at + 4].copy_from_slice(&[
            head(kind::LIMIT, Field::CtState.index(), 0),
            most,
            NodeRef::leaf(LeafVerdict::Drop, 0).0,
            NodeRef::leaf(LeafVerdict::Accept, 0).0,
        ]);
        self.set_root(direction, TableLayer::Inet, class, NodeRef(at as u32));
    }

    fn decide(&mut self, direction: FrameDirection, frame: &[u8]) -> Verdict {
        let hook = Hook {
            direction,
            port: self.port,
            record: &self.record,
        };
        let image = self.image.as_slice();
        decide(frame, &hook, image, &self.tables, &mut self.work)
    }

    /// The state of a frame, whatever becomes of it.
    fn state(&mut self, direction: FrameDirection, frame: &[u8]) -> Option<CtState> {
        self.decide(direction, frame);
        self.work.connection()
    }

    fn accepts(&mut self, direction: FrameDirection, frame: &[u8]) -> bool {
        self.decide(direction, frame).verdict == LeafVerdict::Accept
    }

    /// Sends frames one after the other and compares the states.
    #[track_caller]
    fn expect(&mut self, steps: &[(FrameDirection, &[u8], CtState)]) {
        for (number, (direction, frame, state)) in steps.iter().enumerate() {
            let got = self.state(*direction, frame);
            assert_eq!(got, Some(*state), "frame {number}, {direction:?}");
        }
    }
}

#[test]
fn what_is_not_asked_for_is_not_tracked() {
    let frame = frames::udp(frames::VM, 1000, frames::PEER, 53);
    let mut rig = Rig::new();
    rig.track(|_, class| class == Class::Ip4Tcp);
    assert_eq!(rig.state(Out, &frame), None);
    assert!(rig.tables.connections().is_empty());
    // The state of an earlier frame is not that of this one.
    rig.state(
        Out,
        &frames::tcp(frames::VM, 1000, frames::PEER, 80, frames::SYN),
    );
    assert_eq!(rig.state(Out, &frame), None);
}

#[test]
fn a_test_in_one_direction_tracks_both_and_icmp_all() {
    let has = |words: TrackedClasses, direction, class| {
        let (word, bit) = super::tracked_bit(direction, class as usize);
        words[word] >> bit & 1 == 1
    };
    let udp = tracked_classes(|direction, class| (direction, class) == (In, Class::Ip6Udp));
    assert!(has(udp, In, Class::Ip6Udp) && has(udp, Out, Class::Ip6Udp));
    assert!(!has(udp, Out, Class::Ip6Tcp) && !has(udp, Out, Class::Ip4Udp));
    let icmp = tracked_classes(|direction, class| (direction, class) == (In, Class::Ip4Icmp));
    assert!(has(icmp, Out, Class::Ip4Tcp) && has(icmp, In, Class::Ip4Other));
    assert!(!has(icmp, Out, Class::Ip6Tcp) && !has(icmp, Out, Class::Arp));
}
