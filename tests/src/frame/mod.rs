//! Frames as bytes: plain structs, one per header, that say what is on the wire, correct by default
//! and wrong on request. [`describe()`] is the way back, for people.
//!
//! Every header is a struct with public fields and a constructor for the usual case; a test names
//! the fields it cares about:
//!
//! ```
//! use nwfilter_tests::frame::{Ethernet, Ipv4, Tcp, tcp};
//! # use nwfilter_common::MacAddr;
//! # let (vm, peer) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
//! let syn = Tcp { flags: tcp::SYN, ..Tcp::new(40_000, 80) };
//! let ip = Ipv4 { time_to_live: 1, ..Ipv4::new([10, 0, 0, 1], [10, 0, 0, 2]) };
//! let frame = Ethernet::new(vm, peer).vlan(5).ipv4(&ip, &syn);
//! assert_eq!(frame.len(), 14 + 4 + 20 + 20);
//! ```
//!
//! Lengths and checksums are computed unless a field of type `Option` overrides them. Nothing here
//! knows what a filter is, and nothing is shared with the parser of the engine under test.

mod arp;
mod checksum;
mod describe;
pub mod dhcp;
mod ethernet;
pub mod icmp;
mod ipv4;
mod ipv6;
mod stp;
pub mod tcp;
#[cfg(test)]
mod tests;
mod transport;

pub use arp::Arp;
pub use checksum::{crc32c, internet_checksum};
pub use describe::describe;
pub use dhcp::Dhcp;
pub use ethernet::{Ethernet, LOCAL_EXPERIMENTAL, padded};
pub use icmp::{Icmp, Icmpv6, Igmp};
pub use ipv4::Ipv4;
pub use ipv6::{Extension, Ipv6};
pub use stp::{Bpdu, BpduKind, STP_GROUP};
pub use tcp::Tcp;
pub use transport::{Ah, Esp, Pseudo, Raw, Sctp, Segment, Udp, UdpLite};
