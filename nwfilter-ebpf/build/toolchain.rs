//! Finds the tools that build the eBPF object, a Rust toolchain with the standard library's source
//! and bpf-linker, and runs that toolchain's cargo. It installs nothing: `cargo xtask setup` does.
//!
//! Compiled into nwfilter-ctl's build script and into xtask, so that both see the same tools.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of bpf-linker that reads what [`Rust`] writes, as `bpf-linker --version` prints it.
pub(crate) const LINKER_VERSION: &str = "0.13.0";
/// Names a toolchain's directory, the one that holds `bin/rustc`, to use instead of a found one.
pub(crate) const TOOLCHAIN_VARIABLE: &str = "NWFILTER_EBPF_TOOLCHAIN";
/// Names a bpf-linker to use, whatever its version.
pub(crate) const LINKER_VARIABLE: &str = "NWFILTER_BPF_LINKER";

const TARGET: &str = "bpfel-unknown-none";
/// Inside a toolchain: there when its standard library's source is, which `-Z build-std` builds.
const STD_SOURCE: &str = "lib/rustlib/src/rust/library/Cargo.lock";
const OLDEST_RUST: (u32, u32) = (1, 95);
/// bpf-linker is built with this LLVM and reads no bitcode of a newer one.
const NEWEST_LLVM: u32 = 22;
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

/// The tools that build the eBPF object.
#[derive(Debug)]
pub(crate) struct Tools {
    /// The compiler and its cargo.
    pub(crate) rust: Rust,
    /// The bpf-linker.
    pub(crate) linker: PathBuf,
}

/// A Rust toolchain that can build its own `core`.
#[derive(Debug)]
pub(crate) struct Rust {
    /// The directory that holds `bin/rustc`.
    pub(crate) sysroot: PathBuf,
}

/// What is missing, one finding per line, with every place that was looked at.
#[derive(Debug)]
pub(crate) struct Missing(Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Missing {}

impl Tools {
    /// Finds both tools. `workspace` is the repository's root.
    ///
    /// # Errors
    /// All that is missing, not only the first of it.
    pub(crate) fn find(workspace: &Path) -> Result<Self, Missing> {
        match (Rust::find(), find_linker(workspace)) {
            (Ok(rust), Ok(linker)) => Ok(Self { rust, linker }),
            (rust, linker) => {
                let findings = [rust.err(), linker.err()].into_iter().flatten();
                Err(Missing(findings.flat_map(|missing| missing.0).collect()))
            }
        }
    }

    /// The files whose change means that the tools have changed.
    pub(crate) fn files(&self) -> [PathBuf; 2] {
        [self.rust.program("rustc"), self.linker.clone()]
    }

    /// A call of cargo's `subcommand` for the kernel's side of a host of `architecture` (as in
    /// `CARGO_CFG_TARGET_ARCH`), independent of a cargo that may be running this process.
    pub(crate) fn cargo(&self, subcommand: &str, architecture: &str, target_dir: &Path) -> Command {
        let mut command = Command::new(self.rust.program("cargo"));
        for (key, _) in env::vars_os() {
            if key.to_str().is_some_and(belongs_to_outer_cargo) {
                command.env_remove(key);
            }
        }
        let flags = [
            "-Cdebuginfo=2".to_owned(),
            // 32-bit operations and all comparisons: shorter code that the verifier understands better.
            "-Ctarget-cpu=v3".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            format!("-Clinker={}", self.linker.display()),
            format!("--cfg=bpf_target_arch=\"{architecture}\""),
        ];
        command
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("RUSTC", self.rust.program("rustc"))
            // build-std is unstable; this also lets a stable compiler do it.
            .env("RUSTC_BOOTSTRAP", "1")
            .arg(subcommand)
            .args([
                "--package",
                "nwfilter-ebpf",
                "--bins",
                "--release",
                "--locked",
            ])
            .args(["-Z", "build-std=core", "--target", TARGET, "--target-dir"])
            .arg(target_dir);
        command
    }

    /// Where [`Tools::cargo`]'s `build` leaves the object.
    pub(crate) fn object(target_dir: &Path) -> PathBuf {
        target_dir.join(TARGET).join("release/nwfilter")
    }
}

impl Rust {
    /// Finds a toolchain: the one asked for, else the one in use, rustup's nightly, the system's.
    ///
    /// # Errors
    /// Why each of these does not do.
    pub(crate) fn find() -> Result<Self, Missing> {
        if let Some(asked) = env::var_os(TOOLCHAIN_VARIABLE) {
            return Self::at(PathBuf::from(asked))
                .map_err(|why| Missing(vec![format!("{TOOLCHAIN_VARIABLE}: {why}")]));
        }
        let mut findings = vec!["a Rust toolchain with rust-src for the eBPF build:".to_owned()];
        for sysroot in candidates() {
            match Self::at(sysroot) {
                Ok(rust) => return Ok(rust),
                Err(why) => findings.push(format!("  {why}")),
            }
        }
        Err(Missing(findings))
    }

    /// The path of one of the toolchain's programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(name)
    }

    fn at(sysroot: PathBuf) -> Result<Self, String> {
        let place = sysroot.display().to_string();
        let rust = Self { sysroot };
        if !rust.program("rustc").exists() || !rust.program("cargo").exists() {
            return Err(format!("{place} has no bin/rustc or no bin/cargo"));
        }
        if !rust.sysroot.join(STD_SOURCE).exists() {
            return Err(format!("{place} has no rust-src"));
        }
        let text = output_of(Command::new(rust.program("rustc")).arg("-vV"))?;
        check_version(&text).map_err(|why| format!("{place} {why}"))?;
        Ok(rust)
    }
}

/// Finds bpf-linker: the one asked for, else the one that set-up installs, else one in `PATH`.
///
/// # Errors
/// Why each of these does not do.
pub(crate) fn find_linker(workspace: &Path) -> Result<PathBuf, Missing> {
    if let Some(asked) = env::var_os(LINKER_VARIABLE).map(PathBuf::from) {
        return match output_of(Command::new(&asked).arg("--version")) {
            Ok(_) => Ok(asked),
            Err(why) => Err(Missing(vec![format!("{LINKER_VARIABLE}: {why}")])),
        };
    }
    let own = linker_root(workspace).join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut findings = vec![format!("bpf-linker {LINKER_VERSION}:")];
    for directory in std::iter::once(own).chain(env::split_paths(&path)) {
        let linker = directory.join("bpf-linker");
        if !linker.exists() {
            continue;
        }
        match output_of(Command::new(&linker).arg("--version")) {
            Ok(text) if text.trim() == format!("bpf-linker {LINKER_VERSION}") => return Ok(linker),
            Ok(text) => findings.push(format!("  {} is {}", linker.display(), text.trim())),
            Err(why) => findings.push(format!("  {why}")),
        }
    }
    if findings.len() == 1 {
        findings.push("  not in target/tools/bin, not in PATH".to_owned());
    }
    Err(Missing(findings))
}

/// Where set-up installs bpf-linker: `cargo install --root` of this.
pub(crate) fn linker_root(workspace: &Path) -> PathBuf {
    workspace.join("target/tools")
}

fn candidates() -> Vec<PathBuf> {
    let in_use = output_of(Command::new("rustc").args(["--print", "sysroot"]));
    let rustup = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".rustup")));
    let host = format!("nightly-{}-unknown-linux-gnu", env::consts::ARCH);
    let mut candidates = Vec::new();
    candidates.extend(in_use.map(|sysroot| PathBuf::from(sysroot.trim())));
    candidates.extend(rustup.map(|rustup| rustup.join("toolchains").join(host)));
    candidates.push(PathBuf::from("/usr"));
    candidates
}

/// Judges the output of `rustc -vV`.
fn check_version(text: &str) -> Result<(), String> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let mut numbers = value?.split(['.', '-']).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let (Some(release), Some(llvm)) = (field("release: "), field("LLVM version: ")) else {
        return Err("has a rustc that does not tell its version".to_owned());
    };
    if release < OLDEST_RUST {
        let (major, minor) = OLDEST_RUST;
        return Err(format!(
            "is Rust {}.{}, older than {major}.{minor}",
            release.0, release.1
        ));
    }
    if llvm.0 > NEWEST_LLVM {
        return Err(format!(
            "has LLVM {}, bpf-linker reads up to {NEWEST_LLVM}",
            llvm.0
        ));
    }
    Ok(())
}

/// Whether an environment variable may be one that cargo set for a build script, or one that is
/// meant for the host's code.
fn belongs_to_outer_cargo(variable: &str) -> bool {
    (variable.starts_with("CARGO") || variable.starts_with("RUST"))
        && !KEPT_VARIABLES.iter().any(|kept| variable.starts_with(kept))
}

fn output_of(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{program} does not run: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.lines().next().unwrap_or_default();
        return Err(format!(
            "{program} does not work ({}): {why}",
            output.status
        ));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{program} does not print text"))
}
