//! Learning, without a kernel: messages byte by byte, the table under every event, and the parsers
//! against an independent one.

mod frames;
mod learner;
mod oracle;
mod prepare;

use std::net::Ipv4Addr;

use nwfilter_common::MacAddr;

const VM: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
