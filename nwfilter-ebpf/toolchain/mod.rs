//! Finds the tools that build the eBPF object, a Rust toolchain with the standard library's source
//! and bpf-linker. It installs nothing, that is `cargo xtask setup`, and builds nothing, that is
//! nwfilter-ctl's build script; both compile this file, so both see the same tools.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of bpf-linker, as `bpf-linker --version` prints it.
pub(crate) const LINKER_VERSION: &str = "0.13.0";
/// Names a toolchain's directory, the one that holds `bin/rustc`, to use instead of a found one.
pub(crate) const TOOLCHAIN_VARIABLE: &str = "NWFILTER_EBPF_TOOLCHAIN";
/// Names a bpf-linker to use, whatever its version.
pub(crate) const LINKER_VARIABLE: &str = "NWFILTER_BPF_LINKER";

/// Inside a toolchain: there when its standard library's source is, which `-Z build-std` builds.
const STD_SOURCE: &str = "lib/rustlib/src/rust/library/Cargo.lock";
const OLDEST_RUST: (u32, u32) = (1, 95);
/// bpf-linker is built with this LLVM and reads no bitcode of a newer one.
const NEWEST_LLVM: u32 = 22;

/// A Rust toolchain that can build its own `core`.
#[derive(Debug)]
pub(crate) struct Rust {
    /// The directory that holds `bin/rustc`.
    pub(crate) sysroot: PathBuf,
}

/// Why no usable tool was found, for each place that was looked at.
#[derive(Debug)]
pub(crate) struct Missing(Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Missing {}

impl Rust {
    /// Finds a toolchain: the one asked for, else the one in use, rustup's nightly, the system's.
    ///
    /// # Errors
    /// Why each of these does not do.
    pub(crate) fn find() -> Result<Self, Missing> {
        if let Some(asked) = env::var_os(TOOLCHAIN_VARIABLE) {
            return Self::at(PathBuf::from(asked), run)
                .map_err(|why| Missing(vec![format!("{TOOLCHAIN_VARIABLE}: {why}")]));
        }
        let mut findings = Vec::new();
        for sysroot in candidates() {
            match Self::at(sysroot, run) {
                Ok(rust) => return Ok(rust),
                Err(why) => findings.push(why),
            }
        }
        Err(Missing(findings))
    }

    /// The path of one of the toolchain's programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(name)
    }

    fn at(sysroot: PathBuf, run: Run) -> Result<Self, String> {
        let place = sysroot.display().to_string();
        let rust = Self { sysroot };
        if !rust.program("rustc").exists() || !rust.program("cargo").exists() {
            return Err(format!("{place} has no bin/rustc or no bin/cargo"));
        }
        if !rust.sysroot.join(STD_SOURCE).exists() {
            return Err(format!("{place} has no rust-src"));
        }
        let text = run(&rust.program("rustc"), &["-vV"])?;
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
        return match run(&asked, &["--version"]) {
            Ok(_) => Ok(asked),
            Err(why) => Err(Missing(vec![format!("{LINKER_VARIABLE}: {why}")])),
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let own = workspace.join("target/tools/bin");
    first_linker(std::iter::once(own).chain(env::split_paths(&path)), run)
}

fn first_linker(directories: impl Iterator<Item = PathBuf>, run: Run) -> Result<PathBuf, Missing> {
    let mut findings = Vec::new();
    for linker in directories.map(|directory| directory.join("bpf-linker")) {
        if !linker.exists() {
            continue;
        }
        match run(&linker, &["--version"]) {
            Ok(text) if text.trim() == format!("bpf-linker {LINKER_VERSION}") => return Ok(linker),
            Ok(text) => findings.push(format!("{} is {}", linker.display(), text.trim())),
            Err(why) => findings.push(why),
        }
    }
    if findings.is_empty() {
        findings.push("neither in target/tools/bin nor in PATH".to_owned());
    }
    Err(Missing(findings))
}

fn candidates() -> Vec<PathBuf> {
    let in_use = run(Path::new("rustc"), &["--print", "sysroot"]);
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

/// Runs a program with arguments: its standard output, or why there is none.
type Run = fn(&Path, &[&str]) -> Result<String, String>;

fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let place = program.display();
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{place} does not run: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.lines().next().unwrap_or("it says nothing");
        return Err(format!("{place} does not work: {why}"));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{place} does not print text"))
}

#[cfg(test)]
mod tests;
