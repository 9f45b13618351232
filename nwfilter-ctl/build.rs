//! Builds the TC program with the eBPF toolchain and leaves it in `OUT_DIR/nwfilter.o`.
//!
//! Every build of this workspace shares one build of the program, in `ebpf` of the target
//! directory: neither profile nor features nor flags of the host's side change it.
#![expect(
    clippy::print_stdout,
    reason = "a build script talks to cargo on its standard output"
)]

#[path = "../nwfilter-ebpf/build/toolchain.rs"]
mod toolchain;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use toolchain::{LINKER_VARIABLE, TOOLCHAIN_VARIABLE, Tools};

/// What the object is made of, from the repository's root.
const SOURCES: [&str; 7] = [
    "Cargo.lock",
    "Cargo.toml",
    "nwfilter-common/Cargo.toml",
    "nwfilter-common/src",
    "nwfilter-ebpf/Cargo.toml",
    "nwfilter-ebpf/build",
    "nwfilter-ebpf/src",
];

fn main() {
    if let Err(error) = build() {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    println!("cargo::rerun-if-env-changed={TOOLCHAIN_VARIABLE}");
    println!("cargo::rerun-if-env-changed={LINKER_VARIABLE}");
    if env::var("CARGO_CFG_TARGET_ENDIAN")? != "little" {
        return Err("nwfilter runs on little-endian hosts only".into());
    }

    let tools = Tools::find(&workspace).map_err(|missing| {
        format!("the eBPF program cannot be built, run `cargo xtask setup`; missing is\n{missing}")
    })?;
    for file in tools.files() {
        println!("cargo::rerun-if-changed={}", file.display());
    }

    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let target_dir = target_dir(&out_dir)
        .unwrap_or_else(|| workspace.join("target"))
        .join("ebpf");
    let architecture = env::var("CARGO_CFG_TARGET_ARCH")?;
    let mut cargo = tools.cargo("build", &architecture, &target_dir);
    // Standard error is ours, so that cargo shows it when the build fails.
    cargo.current_dir(&workspace).stdout(Stdio::null());
    let status = cargo
        .status()
        .map_err(|error| format!("{cargo:?} does not start: {error}"))?;
    if !status.success() {
        return Err("the eBPF program does not build, see above".into());
    }
    let object = Tools::object(&target_dir);
    fs::copy(&object, out_dir.join("nwfilter.o"))
        .map_err(|error| format!("cannot copy {}: {error}", object.display()))?;
    Ok(())
}

/// The target directory that `out_dir` is in: the one that cargo has tagged as a cache.
fn target_dir(out_dir: &Path) -> Option<PathBuf> {
    let tagged = |directory: &&Path| directory.join("CACHEDIR.TAG").exists();
    out_dir.ancestors().find(tagged).map(Path::to_path_buf)
}
