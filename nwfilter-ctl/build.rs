//! Builds the TC program with the eBPF toolchain and leaves it in `OUT_DIR/nwfilter.o`, and that of
//! the benchmarks in `OUT_DIR/baseline.o`.
//!
//! Every build of this workspace shares one build of the program, in `ebpf` of the target
//! directory: neither profile nor features nor flags of the host's side change it.

#[path = "../nwfilter-ebpf/toolchain/mod.rs"]
mod toolchain;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use toolchain::{LINKER_VARIABLE, Rust, TOOLCHAIN_VARIABLE, find_linker};

const TARGET: &str = "bpfel-unknown-none";

/// What the object is made of, from the repository's root.
const SOURCES: [&str; 7] = [
    "Cargo.lock",
    "Cargo.toml",
    "nwfilter-common/Cargo.toml",
    "nwfilter-common/src",
    "nwfilter-ebpf/Cargo.toml",
    "nwfilter-ebpf/src",
    "nwfilter-ebpf/toolchain",
];
/// What users set of cargo's variables to reach their registry; all others are the outer cargo's.
const KEPT_VARIABLES: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
    "RUSTUP_HOME",
];

fn main() {
    if let Err(error) = build() {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .join("..")
        .canonicalize()?;
    for source in SOURCES {
        rerun_if_changed(&workspace.join(source));
    }
    println!("cargo::rerun-if-env-changed={TOOLCHAIN_VARIABLE}");
    println!("cargo::rerun-if-env-changed={LINKER_VARIABLE}");
    if env::var("CARGO_CFG_TARGET_ENDIAN")? != "little" {
        return Err("nwfilter runs on little-endian hosts only".into());
    }

    let (rust, linker) = match (Rust::find(), find_linker(&workspace)) {
        (Ok(rust), Ok(linker)) => (rust, linker),
        (rust, linker) => {
            let rust = rust
                .err()
                .map(|why| format!("\na Rust toolchain with rust-src: {why}"));
            let linker = linker.err().map(|why| format!("\nbpf-linker: {why}"));
            let [rust, linker] = [rust, linker].map(Option::unwrap_or_default);
            return Err(format!("run `cargo xtask setup`, the build lacks{rust}{linker}").into());
        }
    };
    rerun_if_changed(&rust.program("rustc"));
    rerun_if_changed(&linker);

    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let target_dir = target_dir(&out_dir)
        .unwrap_or_else(|| workspace.join("target"))
        .join("ebpf");
    let mut cargo = inner_cargo(&rust, &linker, &env::var("CARGO_CFG_TARGET_ARCH")?);
    cargo
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(&workspace)
        .stdout(Stdio::null());
    let status = cargo
        .status()
        .map_err(|error| format!("{cargo:?} does not start: {error}"))?;
    if !status.success() {
        // What the compiler wrote on our standard error is shown when this script fails.
        process::exit(1);
    }
    for program in ["nwfilter", "baseline"] {
        let object = target_dir.join(TARGET).join("release").join(program);
        fs::copy(&object, out_dir.join(program).with_extension("o"))
            .map_err(|error| format!("cannot copy {}: {error}", object.display()))?;
    }
    println!("cargo::metadata=OBJECTS={}", out_dir.display());
    Ok(())
}

fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// A call of the eBPF toolchain's cargo that is independent of the cargo that runs this script.
fn inner_cargo(rust: &Rust, linker: &Path, architecture: &str) -> Command {
    let mut cargo = Command::new(rust.program("cargo"));
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(belongs_to_outer_cargo) {
            cargo.env_remove(key);
        }
    }
    let flags = [
        "-Cdebuginfo=2".to_owned(),
        // 32-bit operations and all comparisons: code that the verifier understands better.
        "-Ctarget-cpu=v3".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", linker.display()),
        format!("--cfg=bpf_target_arch=\"{architecture}\""),
    ];
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("RUSTC", rust.program("rustc"))
        // build-std is unstable; this lets a stable compiler do it.
        .env("RUSTC_BOOTSTRAP", "1")
        .args([
            "build",
            "--package",
            "nwfilter-ebpf",
            "--bins",
            "--release",
            "--locked",
        ])
        .args(["-Z", "build-std=core", "--target", TARGET]);
    cargo
}

/// Whether an environment variable is one that cargo sets for build scripts, or one that is meant
/// for the code of the host.
fn belongs_to_outer_cargo(variable: &str) -> bool {
    (variable.starts_with("CARGO") || variable.starts_with("RUST"))
        && !KEPT_VARIABLES.iter().any(|kept| variable.starts_with(kept))
}

/// The target directory that `out_dir` is in: the one that cargo has tagged as a cache.
fn target_dir(out_dir: &Path) -> Option<PathBuf> {
    let tagged = |directory: &&Path| directory.join("CACHEDIR.TAG").exists();
    out_dir.ancestors().find(tagged).map(Path::to_path_buf)
}
