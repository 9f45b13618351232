//! Hands on where the benchmarks' eBPF object is.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Set by the build script of nwfilter-ctl.
    if let Ok(objects) = env::var("DEP_NWFILTER_EBPF_OBJECTS") {
        println!("cargo::rustc-env=NWFILTER_OBJECTS={objects}");
    }
}
