//! The kernel side of the control plane: loads the program, attaches it to ports, and switches
//! tables. The only module that uses aya, and it knows nothing of XML, rules or fields.
//!
//! All state is in the kernel, below one pin directory:
//!
//! ```text
//! <pins>/v1/GLOBALS, PORTS, ...      the maps of ABI version 1
//! <pins>/v1/nwfilter_in, _out        the programs
//! <pins>/links/PORT-in, PORT-out     the TCX links (none where the kernel has only clsact)
//! ```

mod attach;
mod datapath;
mod error;
mod events;
mod object;
mod sys;
mod tables;

pub use self::{
    attach::AttachMode,
    datapath::{Bind, Change, Datapath, Options, PortState},
    error::KernelError,
    events::DropEvents,
    object::Run,
    sys::{ifindex, ifname},
};
