//! libvirt's network filters on eBPF: the control plane's library.
//!
//! Data flows one way: [`parse`] reads filters and bindings, [`resolve`] makes concrete rules of
//! them, [`compile`] makes match tables of those, [`kernel`] installs them.

pub mod address_set;
pub mod builtin;
mod chain;
pub mod cli;
pub mod compile;
pub mod daemon;
pub mod diag;
mod fault;
pub mod format;
pub mod kernel;
pub mod learn;
pub mod lint;
pub mod model;
pub mod parse;
pub mod prepare;
pub mod resolve;
pub mod shapes;
pub mod xml;
