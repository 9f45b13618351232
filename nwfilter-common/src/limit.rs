//! Connection limits: how many open connections of one source address a rule has looked at.
//!
//! A rule with `connlimit-above` *looks at* the connection of each frame that all its other tests
//! match. From then on the connection is a *member* of the limit, under the source address of that
//! frame, until it is closed, times out and is swept, or is flushed. Members are elements of one table
//! and the number of each source's is an element of another, so a look costs the same however many
//! there are. Only connections that are stored become members: a frame that begins one and is dropped
//! leaves nothing behind.
//!
//! A port has at most as many members as connections ([`PortRecord::quota`]). Over that nobody can
//! count any more, and a source counts as above every limit.

use crate::{
    abi::PortRecord,
    class::Class,
    ct::{Added, Entry, Key, Tables, TcpState, TrackingCounter, write_key},
    engine::{Hook, Pages},
    field::{CtState, Field, Fields, word},
    work::{Work, recall},
};

/// Most limits that one frame can be looked at by; the compiler keeps to it.
pub const MAX_LOOKED: usize = 32;

/// Age from which on the count of a source without members is removed; nanoseconds.
const STALE: u64 = 10_000_000_000;

/// What the frame's connection is, for limits: the value of [`word::FLOW`].
pub(crate) mod flow {
    /// The frame has none.
    pub(crate) const NONE: u64 = 0;
    /// The one whose key is in the working memory.
    pub(crate) const KNOWN: u64 = 1;
    /// That of the first fragment, which has been looked at.
    pub(crate) const FRAGMENT: u64 = 2;
    /// One whose key has yet to be written there.
    pub(crate) const REMEMBERED: u64 = 3;
}

/// What the connection of a later fragment is: that of the first one, if it has one.
#[inline(always)]
pub(crate) fn flow_of_fragment(fields: &Fields) -> u64 {
    let state = fields[Field::CtState.index()];
    if state == CtState::Invalid as u64 || state == CtState::Untracked as u64 {
        flow::NONE
    } else {
        flow::FRAGMENT
    }
}

/// The limits that have looked at one frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub(crate) struct Looked(pub(crate) [u32; MAX_LOOKED]);

impl Looked {
    /// The limit's number.
    const LIMIT: u32 = 0xffff;
    /// Its answer.
    const ABOVE: u32 = 1 << 31;
    /// It does not count the frame's connection yet.
    const JOINS: u32 = 1 << 30;

    pub(crate) const fn new() -> Self {
        Self([0; MAX_LOOKED])
    }

    /// What the first `looks` limits said, by number: whether the source was above.
    pub(crate) fn answer(&self, looks: usize, limit: u32) -> Option<bool> {
        let looked = self.0.iter().take(looks);
        looked
            .copied()
            .find(|looked| looked & Self::LIMIT == limit)
            .map(|looked| looked & Self::ABOVE != 0)
    }
}

/// A connection that a limit counts. Part of the ABI.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(C)]
pub struct Member {
    /// Its key.
    pub connection: Key,
    /// Source address of the frame that was looked at, IPv4 in the second word.
    pub source: [u64; 2],
    /// Number of the limit in the image.
    pub limit: u32,
    /// [`PortRecord::limits`] at that time.
    pub epoch: u32,
}

/// What is counted: a source of a limit of a port. Part of the ABI.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(C)]
pub struct Source {
    /// As in [`Member`], as are all others.
    pub address: [u64; 2],
    /// Port number.
    pub port: u32,
    /// Number of the limit.
    pub limit: u32,
    /// Epoch.
    pub epoch: u32,
    /// Zero.
    pub reserved: u32,
}

/// Members of a source. Part of the ABI.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Count {
    /// How many.
    pub members: u64,
    /// When the first of them came, `CLOCK_MONOTONIC`, nanoseconds.
    pub since: u64,
}

impl Count {
    /// Whether it can be removed.
    #[inline(always)]
    pub const fn is_stale(&self, now: u64) -> bool {
        self.members == 0 && self.since.saturating_add(STALE) < now
    }
}

impl Member {
    pub(crate) const fn new() -> Self {
        Self {
            connection: Key::new(),
            source: [0; 2],
            limit: 0,
            epoch: 0,
        }
    }

    /// What counts it.
    #[inline(always)]
    pub const fn counted_by(&self) -> Source {
        Source {
            address: self.source,
            port: self.connection.port as u32,
            limit: self.limit,
            epoch: self.epoch,
            reserved: 0,
        }
    }

    /// Whether it still counts. `record` is that of its port, `entry` its connection now, `created`
    /// what the connection had when it became a member.
    #[inline(always)]
    pub fn counts(
        &self,
        record: &PortRecord,
        entry: Option<Entry>,
        created: u64,
        now: u64,
    ) -> bool {
        let same = self.epoch == record.limits && record.ifindex != 0;
        same && entry
            .is_some_and(|entry| entry.created == created && is_open(&entry, now, record.since))
    }
}

/// Where members live.
pub trait Limits {
    /// Number of a source's members.
    fn members(&self, source: &Source) -> u64;

    /// Whether this is a member.
    fn is_member(&self, member: &Member) -> bool;

    /// Stores a member whose connection was created then.
    fn add_member(&self, member: &Member, created: u64) -> Added;

    /// Removes a member; `false` if there is none.
    fn remove_member(&self, member: &Member) -> bool;

    /// One member more; `false` if there is no room to count.
    fn count_member(&self, source: &Source, now: u64) -> bool;

    /// One member less.
    fn uncount_member(&self, source: &Source);
}

/// Whether a connection counts: alive and not closed.
#[inline(always)]
fn is_open(entry: &Entry, now: u64, since: u64) -> bool {
    entry.is_alive(now, since) && !is_closed(entry)
}

/// Whether TCP has closed a connection.
#[inline(always)]
pub(crate) const fn is_closed(entry: &Entry) -> bool {
    let closed = 1 << TcpState::TimeWait as u32 | 1 << TcpState::Close as u32;
    closed >> (entry.state & 0x1f) & 1 != 0
}

/// Has a limit look at the frame: whether its source has more than `most` open connections that this
/// limit has looked at, with this one.
#[inline(always)]
pub(crate) fn look<T: Tables + ?Sized>(
    tables: &T,
    hook: &Hook<'_>,
    work: &mut Work,
    limit: u32,
    most: u32,
) -> bool {
    let v6 = recall(&work.fields[word::INET_CLASS]) >= Class::Ip6Tcp as u64;
    work.member.source = if v6 {
        [
            work.fields[Field::Ip6SrcHigh.index()],
            work.fields[Field::Ip6SrcLow.index()],
        ]
    } else {
        [0, work.fields[Field::Ip4Src.index()]]
    };
    work.member.limit = limit;
    work.member.epoch = hook.record.limits;
    work.member.connection.port = hook.port as u16;
    if recall(&work.fields[word::FLOW]) == flow::REMEMBERED {
        write_key(hook, work);
        work.fields[word::FLOW] = flow::KNOWN;
    }
    let flow = recall(&work.fields[word::FLOW]);
    let mut counted = flow == flow::FRAGMENT;
    let mut joins = false;
    if flow == flow::KNOWN {
        work.member.connection.overwrite(work.key.words());
        counted = tables.is_member(&work.member);
        // A connection that is not stored yet may have the key of one that is gone.
        joins = !counted || work.begins();
    }
    work.source = work.member.counted_by();
    let members = tables.members(&work.source);
    let full = !counted
        && tables.counter(hook.port, TrackingCounter::Limited) >= u64::from(hook.record.quota());
    let above = full || members + u64::from(!counted) > u64::from(most);
    let at = recall(&work.fields[word::LOOKED]) as usize;
    if at < MAX_LOOKED {
        let above = u32::from(above) * Looked::ABOVE;
        let joins = u32::from(joins) * Looked::JOINS;
        work.looked.0[at % MAX_LOOKED] = (limit & Looked::LIMIT) | above | joins;
        work.fields[word::LOOKED] = at as u64 + 1;
    }
    above
}

/// Makes the frame's connection a member of the limits that have looked at it.
#[inline(always)]
pub(crate) fn join<T: Tables + ?Sized, I: Pages + ?Sized>(
    tables: &T,
    image: &I,
    hook: &Hook<'_>,
    work: &mut Work,
) {
    let looked = recall(&work.fields[word::LOOKED]) as usize;
    // Without a connection of its own, what the working memory has is another frame's.
    if looked == 0 || recall(&work.fields[word::FLOW]) != flow::KNOWN {
        return;
    }
    let now = tables.now();
    let Some(stored) = tables.connection(&work.key) else {
        return;
    };
    let mut entry = stored.get();
    if !is_open(&entry, now, hook.record.since) {
        return;
    }
    if entry.state & Entry::LIMITED == 0 {
        entry.state |= Entry::LIMITED;
        stored.set(entry);
    }
    let created = entry.created;
    work.member.connection.overwrite(work.key.words());
    let mut next = 0;
    image.repeat(MAX_LOOKED as u32, || {
        if next >= looked {
            return false;
        }
        let looked = work.looked.0[next % MAX_LOOKED];
        next += 1;
        work.member.limit = looked & Looked::LIMIT;
        let room = looked & Looked::JOINS != 0
            && tables.counter(hook.port, TrackingCounter::Limited) < u64::from(hook.record.quota());
        if room && matches!(tables.add_member(&work.member, created), Added::Stored) {
            work.source = work.member.counted_by();
            if tables.count_member(&work.source, now) {
                tables.count(hook.port, TrackingCounter::Limited);
            } else {
                tables.remove_member(&work.member);
            }
        }
        true
    });
}

/// Ends the memberships of the connection in the working memory, which is closed or replaced. Those
/// under another address than its own, by an error that a router sent, are left to the sweep.
#[inline(always)]
pub(crate) fn leave<T: Tables + ?Sized, I: Pages + ?Sized>(
    tables: &T,
    image: &I,
    hook: &Hook<'_>,
    work: &mut Work,
    limits: u32,
) {
    work.member.connection.overwrite(work.key.words());
    work.member.epoch = hook.record.limits;
    // The frame may join under this address afterwards.
    let source = work.member.source;
    let mut limit = 0;
    image.repeat(limits, || {
        work.member.limit = limit;
        limit += 1;
        for end in 0..2 {
            work.member.source = work.key.addresses[end];
            if tables.remove_member(&work.member) {
                work.source = work.member.counted_by();
                tables.uncount_member(&work.source);
                tables.uncount(hook.port, TrackingCounter::Limited);
            }
        }
        true
    });
    work.member.source = source;
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(C)`, only integers, no padding: see the sizes below.
    unsafe impl aya::Pod for super::Member {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Source {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Count {}
}

const _: () = {
    assert!(size_of::<Member>() == 64);
    assert!(size_of::<Source>() == 32);
    assert!(size_of::<Count>() == 16);
};
