//! Shared by the kernel program and userspace: the layout of everything that crosses the boundary,
//! and the engine that decides frames. `no_std`, no allocation, no I/O.
#![no_std]

mod abi;
mod class;
mod engine;
mod field;
mod image;
mod mac;
mod packet;
mod parse;

pub use abi::{
    ABI_VERSION, Counter, DropEvent, EVENTS_BYTES, FAULT_COUNTERS, Fault, GLOBAL_COUNT, Global,
    MAX_COUNTERS, MAX_IMAGES, MAX_PORTS, MAX_SLOT_RUN, PortRecord, SLOTS, SNAPSHOT_LEN, Slot,
    names,
};
pub use class::{CLASSES, Class, ClassInfo, Knowledge, ethertype, ip_protocol};
pub use engine::{Pages, Verdict, decide};
pub use field::{CtState, FIELD_WORDS, Field, FieldSet, Fields};
pub use image::{
    FrameDirection, IMAGE_MAGIC, LeafVerdict, MAX_STEPS, NODES, NodeRef, PAGE_WORDS, Page, ROOTS,
    TableLayer, WORD_ABI, WORD_ENTRIES, WORD_LENGTH, WORD_MAGIC, head, kind, root_word,
};
pub use mac::{MacAddr, ParseMacError};
pub use packet::{Packet, Tag};
pub use parse::{BRIDGE_GROUP_ADDRESS, Headers, MAX_EXTENSION_HEADERS, parse};
