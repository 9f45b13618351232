//! libvirt's network filters on eBPF: the control plane's library.
//!
//! Data flows one way: [`parse`] reads filters and bindings, [`resolve`] makes concrete rules of
//! them, [`compile`] makes match tables of those, [`kernel`] installs them.

pub mod address_set;
pub mod builtin;
pub mod cli;
pub mod compile;
pub mod daemon;
pub mod diag;
pub mod format;
pub mod kernel;
pub mod lint;
pub mod model;
pub mod parse;
pub mod prepare;
pub mod resolve;
pub mod xml;
