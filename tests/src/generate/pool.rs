//! The few values that generated filters and frames share, so that they often meet.

use std::net::{Ipv4Addr, Ipv6Addr};

use nwfilter_common::MacAddr;

/// The VM's address, which is that of the binding.
pub const VM: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
/// Somebody else's address.
pub const PEER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);

/// MAC addresses.
pub const MACS: &[MacAddr] = &[
    VM,
    PEER,
    MacAddr([0x52, 0x54, 0, 0xff, 0, 1]),
    MacAddr::BROADCAST,
    MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]),
    MacAddr([0x33, 0x33, 0, 0, 0, 1]),
    MacAddr([0; 6]),
];

/// MAC masks; the first one has no bit.
pub const MAC_MASKS: &[MacAddr] = &[
    MacAddr([0; 6]),
    MacAddr::BROADCAST,
    MacAddr([0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
    MacAddr([0xff, 0xff, 0xff, 0, 0, 0]),
    MacAddr([0x80, 0, 0, 0, 0, 0]),
];

/// IPv4 addresses; the first ones are used most.
pub const IPV4: &[Ipv4Addr] = &[
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(10, 0, 0, 2),
    Ipv4Addr::new(10, 0, 0, 3),
    Ipv4Addr::new(10, 0, 1, 0),
    Ipv4Addr::UNSPECIFIED,
    Ipv4Addr::BROADCAST,
    Ipv4Addr::new(224, 0, 0, 1),
];

/// IPv6 addresses; the first ones are used most.
pub const IPV6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, 0),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::UNSPECIFIED,
];

/// Lengths of IPv4 prefixes.
pub const PREFIXES_V4: &[u32] = &[0, 1, 8, 24, 30, 31, 32];
/// Lengths of IPv6 prefixes.
pub const PREFIXES_V6: &[u32] = &[0, 1, 10, 64, 112, 126, 127, 128];

/// Ports.
pub const PORTS: &[u16] = &[80, 1000, 67, 68, 81, 0, 65535];

/// Ethertypes of more than 0x5ff.
pub const ETHERTYPES: &[u16] = &[
    0x0800, 0x0806, 0x86dd, 0x8035, 0x8100, 0x88a8, 0x0835, 0x0600, 0x1234, 0x2054,
];

/// IP protocol numbers.
pub const PROTOCOLS: &[u8] = &[
    6, 17, 1, 58, 132, 136, 50, 51, 2, 33, 47, 0, 43, 44, 59, 60, 135, 253, 255,
];

/// Bytes of traffic class.
pub const TRAFFIC_CLASSES: &[u8] = &[0, 40, 10, 0xb8, 0xbb, 0xff];
/// DSCP values, and what [`TRAFFIC_CLASSES`] are when read as such.
pub const DSCPS: &[u32] = &[0, 10, 40, 46, 63];

/// ICMP types.
pub const ICMP_TYPES: &[u8] = &[8, 0, 3, 11, 5, 4, 12, 13, 14, 15, 16, 17, 18, 9, 30, 255];
/// `ICMPv6` types; those of neighbour discovery more than once.
pub const ICMPV6_TYPES: &[u8] = &[
    128, 129, 1, 2, 3, 4, 135, 135, 136, 136, 133, 134, 137, 130, 131, 132, 143, 139, 140, 200, 255,
];
/// ICMP and ICMPv6 codes.
pub const ICMP_CODES: &[u8] = &[0, 1, 3, 4, 255];
/// Identifiers of ICMP echoes and of datagrams.
pub const IDS: &[u16] = &[1, 2];

/// VLAN ids.
pub const VLANS: &[u16] = &[1, 0, 5, 4094];

/// ARP operations.
pub const OPCODES: &[u16] = &[1, 2, 3, 4, 9, 0, 10];
