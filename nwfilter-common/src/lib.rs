//! Shared by the kernel program and userspace: the layout of everything that crosses the boundary,
//! and the engine that decides frames. `no_std`, no allocation, no I/O.
#![no_std]

#[cfg(any(test, feature = "user"))]
extern crate std;

mod abi;
mod answer;
mod class;
mod ct;
mod engine;
mod field;
mod fragment;
mod image;
mod learn;
mod limit;
mod mac;
mod option;
mod packet;
mod parse;
mod parts;
mod rows;
mod set;
mod walk;
mod work;

pub use abi::{
    ABI_VERSION, ANSWER_MARK, Counter, DropEvent, EVENTS_BYTES, FAULT_COUNTERS, Fault,
    GLOBAL_COUNT, Global, MAX_CONNECTIONS, MAX_COUNTERS, MAX_FRAGMENTS, MAX_IMAGES, MAX_PORTS,
    MAX_SLOT_RUN, PortRecord, SLOTS, SNAPSHOT_LEN, Slot, TALLIES, Tally, names,
};
pub use answer::{Answer, Answers, DEFAULT_ANSWERS, answer, is_answer};
pub use class::{CLASSES, Class, ClassInfo, Knowledge, ethertype, ip_protocol};
#[cfg(any(test, feature = "user"))]
pub use ct::MemoryTables;
pub use ct::{
    Added, DEFAULT_QUOTA, DEFAULT_TIMEOUTS, Entry, Key, Key4, PLACES, RECENT, Recent, TIMEOUTS,
    TRACKING_COUNTERS, Tables, TcpState, Timeout, Timeouts, TrackedClasses, Tracking,
    TrackingCounter, nanoseconds, sweep_verdict, track_usual, tracked_classes,
};
pub use engine::{Hook, Pages, Verdict, decide, decide_by};
pub use field::{CtState, FIELD_WORDS, Field, FieldSet, Fields};
pub use fragment::{Fragment, SLOTS_PER_DIRECTION};
pub use image::{
    FrameDirection, IMAGE_MAGIC, LeafVerdict, MAX_STEPS, NODES, NodeRef, PAGE_WORDS, Page, ROOTS,
    TableLayer, WORD_ABI, WORD_ENTRIES, WORD_FLAGS, WORD_LENGTH, WORD_LIMITS, WORD_MAGIC,
    WORD_TRACKED, flag, head, kind, root_word,
};
pub use learn::{
    LEARN_BURST, LEARN_FRAME, LEARN_INTERVAL, LEARNING_BYTES, LearnEvent, admit, is_wanted,
};
pub use limit::{Count, Limits, MAX_LOOKED, Member, Source};
pub use mac::{MacAddr, ParseMacError};
pub use packet::{Packet, Tag};
pub use parse::{BRIDGE_GROUP_ADDRESS, Headers, MAX_EXTENSION_HEADERS, parse};
pub use parts::{Parts, Whole, read, read_usual};
pub use rows::{MAX_ROW_FIELDS, ROW_KEYS, ROW_RULES, rows};
pub use set::{MAX_SET_ELEMENTS, MAX_SETS, SET_NAME_WORDS, SetKey, SetName, Sets, set_argument};
pub use work::Work;
