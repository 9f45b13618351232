//! The kernel side of the control plane: loads the program, attaches it to ports, and switches
//! tables. The only module that uses aya, and it knows nothing of XML, rules or fields.
//!
//! All state is in the kernel, below one pin directory:
//!
//! ```text
//! <pins>/v4/GLOBALS, PORTS, ...      the maps of ABI version 4
//! <pins>/v4/nwfilter_in, _out        the programs, and nwfilter_sweep, which runs on no frame
//! <pins>/links/PORT-in, PORT-out     the TCX links (none where the kernel has only clsact)
//! ```

mod attach;
mod connections;
mod counters;
mod datapath;
mod error;
mod events;
mod object;
mod plan;
pub mod probe;
mod sets;
mod sys;
mod tables;
mod tc;

pub use self::{
    attach::AttachMode,
    connections::Connection,
    datapath::{Bind, Change, Datapath, Learn, Options, PortState},
    error::KernelError,
    events::{DropEvents, LearnEvents, Ring},
    object::Run,
    sets::Filled,
    sys::{ifindex, ifname},
};
