#![no_std]
#![no_main]
//! TC classifier.
