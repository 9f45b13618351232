//! Shared by the kernel program and userspace: the layout of everything that crosses the boundary,
//! and the engine that decides frames. `no_std`, no allocation, no I/O.
#![no_std]

mod mac;

pub use mac::{MacAddr, ParseMacError};
