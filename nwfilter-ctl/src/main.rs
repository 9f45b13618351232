//! The `nwfilter-ctl` binary.
fn main() {}
