//! The kernel's table of connections, emptied through netlink (`nfnetlink_conntrack.h`).

use anyhow::{Context, Result};

use super::netfilter::request;

/// Subsystem 1 (conntrack), message 2 (delete).
const DELETE: u16 = 0x0102;

/// Empties the table of the current network namespace.
pub(super) fn forget() -> Result<()> {
    // No family, no filter, so everything.
    request(DELETE, 0, &[]).context("forget connections")
}
