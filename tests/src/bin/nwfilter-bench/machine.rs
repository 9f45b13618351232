//! What is measured on, and when: without it, numbers say nothing.

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::utsname::uname;

/// A machine at the beginning of a measurement.
pub(crate) struct Machine {
    begin: String,
    load: f64,
}

impl Machine {
    /// This one, now.
    pub(crate) fn now() -> Result<Self> {
        Ok(Self {
            begin: date()?,
            load: load()?,
        })
    }

    /// What is worth knowing of a measurement that ends now.
    pub(crate) fn stamp(&self) -> Result<String> {
        let mut text = format!(
            "{}, Linux {}, {} CPUs ({}), load {:.1} at the beginning and {:.1} at the end",
            self.begin,
            uname()?.release().to_string_lossy(),
            cpus(),
            model(),
            self.load,
            load()?,
        );
        for warning in self.warnings() {
            write!(text, "; **{warning}**")?;
        }
        Ok(text)
    }

    /// What makes times here say little of other machines.
    pub(crate) fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if setting("net/core/bpf_jit_enable").as_deref() == Some("0") {
            warnings.push("the kernel interprets BPF programs, its compiler is off");
        }
        if setting("net/core/bpf_jit_harden").is_some_and(|value| value != "0") {
            warnings.push("the kernel blinds constants of BPF programs");
        }
        if setting("kernel/bpf_stats_enabled").as_deref() == Some("1") {
            warnings.push("the kernel takes the time of every BPF program");
        }
        // One is what is measured before.
        if self.load > f64::from(cpus()) * 0.75 {
            warnings.push("the machine was busy with something else");
        }
        warnings
    }
}

/// The value of a file below `/proc/sys`.
fn setting(name: &str) -> Option<String> {
    let value = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    Some(value.trim().to_owned())
}

fn date() -> Result<String> {
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%d %H:%M UTC"])
        .stderr(Stdio::inherit())
        .output()
        .context("start `date`")?;
    ensure!(output.status.success(), "`date` fails");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Processes that want to run, in the mean of the last minute.
fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let first = text.split_whitespace().next().context("no load")?;
    Ok(first.parse()?)
}

fn cpus() -> u32 {
    thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32)
}

/// As the kernel calls it.
fn model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    name.map_or_else(|| "unknown".into(), |(_, name)| name.to_owned())
}
