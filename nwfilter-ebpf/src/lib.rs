//! Empty on purpose: gives nwfilter-ctl a library to depend on for building, so that cargo tracks
//! this crate's changes. The program is `main.rs`.
#![no_std]
