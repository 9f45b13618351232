//! libvirt's network filters on eBPF: the control plane's library.
//!
//! Data flows one way: [`resolve`] makes concrete rules of filters and a binding, [`compile`] makes
//! match tables of them, `kernel` installs those.

pub mod builtin;
pub mod cli;
pub mod compile;
pub mod diag;
pub mod format;
pub mod lint;
pub mod model;
pub mod parse;
pub mod resolve;
pub mod xml;
