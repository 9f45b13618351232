//! The engine's larger parts. The kernel's verifier goes through what follows a place once for each way
//! that leads there, but through a function that it verifies by itself only once: the kernel program
//! makes each part such a function. What happens when is up to [`crate::decide`].

use crate::{
    ct::{Effect, Place, Tables, commit, track, track_usual, tracked_bit},
    engine::{Hook, Pages},
    field::word,
    fragment,
    image::{NodeRef, TableLayer, WORD_FLAGS, WORD_LIMITS, WORD_TRACKED, flag},
    limit, option,
    packet::Packet,
    parse::{Headers, parse, usual},
    walk::{at, check, walk},
    work::{Work, forget, recall},
};

/// Parts that know frame, port and tables.
pub trait Parts {
    /// Reads the headers; `false` if there is not even that of Ethernet.
    fn read(&self, work: &mut Work) -> bool;

    /// Gives a later fragment the fields and the class of the first one.
    fn adopt(&self, work: &mut Work);

    /// Goes on from a node to a leaf.
    fn walk(&self, layer: TableLayer, node: NodeRef, work: &mut Work) -> NodeRef;

    /// Finds the frame's connection; says whether the frame changes it.
    fn track(&self, work: &mut Work) -> bool;

    /// Looks for TCP options.
    fn options(&self, work: &mut Work);

    /// Changes the frame's connection, now that the verdict is known.
    fn commit(&self, accepted: bool, work: &mut Work);

    /// Makes the frame's connection count for the limits that have looked at it.
    fn join(&self, work: &mut Work);

    /// Lends the fields of a first fragment that passes to later ones.
    fn lend(&self, work: &mut Work);
}

/// The parts themselves.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a, P: ?Sized, I: ?Sized, T: ?Sized> {
    /// The frame.
    pub packet: &'a P,
    /// Where it was seen.
    pub hook: Hook<'a>,
    /// The port's image.
    pub image: &'a I,
    /// Connections and all that.
    pub tables: &'a T,
}

impl<P: Packet + ?Sized, I: Pages + ?Sized, T: Tables + ?Sized> Whole<'_, P, I, T> {
    /// [`Parts::track`] for frames that [`track_usual`] leaves.
    #[inline(always)]
    pub fn track_any(&self, work: &mut Work) {
        let Hook {
            direction,
            port,
            record,
        } = self.hook;
        let flags = self.image.page(0).map_or(0, |first| first[WORD_FLAGS]);
        let place = Place {
            class: recall(&work.fields[word::INET_CLASS]) as usize,
            port,
            direction,
            since: record.since,
            dhcp: flags & flag::DHCP_ANSWERS != 0,
        };
        track(self.packet, self.image, self.tables, place, work);
    }
}

impl<P: Packet + ?Sized, I: Pages + ?Sized, T: Tables + ?Sized> Parts for Whole<'_, P, I, T> {
    #[inline(always)]
    fn read(&self, work: &mut Work) -> bool {
        read_usual(self.packet, work) || read(self.packet, work)
    }

    #[inline(always)]
    fn adopt(&self, work: &mut Work) {
        let Some(first) = self.image.page(0) else {
            return;
        };
        let Some(class) = fragment::adopt(self.tables, &self.hook, work) else {
            return;
        };
        let (words, bit) = tracked_bit(self.hook.direction, class as usize);
        // The verifier of Linux 6.1 does not know how small this is, so it has to see the mask.
        let words = forget(&mut work.fields, words as u64) as usize & 3;
        let tracks = at(first, WORD_TRACKED + words) >> bit & 1 != 0;
        // Unless the tables ask for a state that they did not ask for when the first fragment came.
        if work.fields[word::TRACKED] == 0 && tracks {
            return;
        }
        if tracks {
            work.fields[word::FLOW] = limit::flow_of_fragment(&work.fields);
        }
        for (flag, word) in [
            (flag::ETHERNET_FRAGMENTS, word::ETHERNET_CLASS),
            (flag::INET_FRAGMENTS, word::INET_CLASS),
        ] {
            if recall(&first[WORD_FLAGS]) & flag != 0 {
                work.fields[word] = class;
            }
        }
    }

    #[inline(always)]
    fn walk(&self, layer: TableLayer, node: NodeRef, work: &mut Work) -> NodeRef {
        let slots = &self.hook.record.slots;
        walk(
            self.image,
            node,
            slots,
            work,
            |page, address, work| match layer {
                TableLayer::Ethernet => None,
                TableLayer::Inet => check(page, address, self.tables, &self.hook, work),
            },
        )
    }

    #[inline(always)]
    fn track(&self, work: &mut Work) -> bool {
        if track_usual(self.tables, &self.hook, work) {
            return false;
        }
        self.track_any(work);
        work.is_pending()
    }

    #[inline(always)]
    fn options(&self, work: &mut Work) {
        option::tcp_options(self.packet, self.image, &mut work.fields);
    }

    #[inline(always)]
    fn commit(&self, accepted: bool, work: &mut Work) {
        let Some(first) = self.image.page(0) else {
            return;
        };
        let effect = Effect {
            begin: accepted,
            advance: accepted || first[WORD_FLAGS] & flag::DROPPED_ADVANCE != 0,
            limits: first[WORD_LIMITS],
        };
        commit(self.tables, self.image, &self.hook, work, effect);
    }

    #[inline(always)]
    fn join(&self, work: &mut Work) {
        limit::join(self.tables, self.image, &self.hook, work);
    }

    #[inline(always)]
    fn lend(&self, work: &mut Work) {
        let flags = self.image.page(0).map_or(0, |first| first[WORD_FLAGS]);
        let options = flags & flag::TCP_OPTIONS != 0;
        fragment::keep(self.tables, &self.hook, work, options);
    }
}

/// [`Parts::read`], which asks for nothing but the frame.
#[inline(always)]
pub fn read<P: Packet + ?Sized>(packet: &P, work: &mut Work) -> bool {
    keep(parse(packet, &mut work.fields), work)
}

/// Reads the headers of the usual frame: IP without options, whole, with TCP or UDP; `false` if it is
/// another one. Does the same as [`read`] for these, and is short enough to be in the program that
/// decides.
#[inline(always)]
pub fn read_usual<P: Packet + ?Sized>(packet: &P, work: &mut Work) -> bool {
    keep(usual(packet, &mut work.fields), work)
}

/// Keeps what the parser has found beside the fields. Classes go through memory, so that the verifier
/// does not walk all that follows once for each of them.
#[inline(always)]
fn keep(headers: Option<Headers>, work: &mut Work) -> bool {
    let Some(headers) = headers else {
        return false;
    };
    work.fields[word::TRANSPORT] = u64::from(headers.transport);
    for word in [word::PARSED, word::ETHERNET_CLASS, word::INET_CLASS] {
        work.fields[word] = headers.class as u64;
    }
    true
}
