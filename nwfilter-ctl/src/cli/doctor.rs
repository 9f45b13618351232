//! `nwfilter-ctl doctor`: what the host has of what filtering needs. Looks only; needs no daemon.

use std::{fs, io::Write, path::Path, process::Command};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{CliError, Global, Outcome};
use crate::kernel::probe;

/// Look for what this host lacks; exit with 1 if it lacks something
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
struct Check {
    name: &'static str,
    /// False for what keeps filters from working or undermines them.
    good: bool,
    detail: String,
}

/// Checks the host.
///
/// # Errors
///
/// `out` cannot be written to.
pub fn run(global: &Global, out: &mut impl Write) -> Result<Outcome, CliError> {
    let mut checks = checks(Path::new("/"));
    checks.extend(probes());
    let good = checks.iter().all(|check| check.good);
    if global.json {
        writeln!(
            out,
            "{}",
            json!({ "schema": 1, "good": good, "checks": checks })
        )?;
    } else {
        for check in &checks {
            let mark = if check.good { "ok  " } else { "BAD " };
            writeln!(out, "{mark} {}: {}", check.name, check.detail)?;
        }
    }
    Ok(if good {
        Outcome::Done
    } else {
        Outcome::Findings
    })
}

/// Everything, on the host whose file system is at `root`.
fn checks(root: &Path) -> Vec<Check> {
    let text = |path: &str| {
        fs::read_to_string(root.join(path))
            .map_or_else(|_| String::new(), |text| text.trim().into())
    };
    let check = |name, good, detail: &str| Check {
        name,
        good,
        detail: detail.into(),
    };
    let release = text("proc/sys/kernel/osrelease");
    let version = version(&release);
    let has = |needed: (u32, u32)| version.is_some_and(|version| version >= needed);
    let mounts = text("proc/mounts");
    let bpffs = mounts
        .lines()
        .any(|line| line.split(' ').nth(2) == Some("bpf"));
    let capabilities = text("proc/self/status")
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok())
        .unwrap_or(0);
    let bridged = ["iptables", "ip6tables", "arptables"]
        .map(|table| text(&format!("proc/sys/net/bridge/bridge-nf-call-{table}")));
    vec![
        check(
            "kernel",
            has((6, 1)),
            &format!("{release}; 6.1 or newer is needed"),
        ),
        check(
            "rights",
            // CAP_NET_ADMIN, CAP_SYS_ADMIN of linux/capability.h; the latter stands for CAP_BPF and
            // CAP_PERFMON, and opens maps in maps.
            [12, 21].iter().all(|bit| capabilities & (1 << bit) != 0),
            "CAP_NET_ADMIN and CAP_SYS_ADMIN for the daemon",
        ),
        check(
            "BPF file system",
            bpffs,
            if bpffs {
                "mounted"
            } else {
                "not mounted: mount -t bpf bpf /sys/fs/bpf"
            },
        ),
        check(
            "BTF",
            root.join("sys/kernel/btf/vmlinux").exists(),
            "/sys/kernel/btf/vmlinux",
        ),
        check(
            "JIT",
            text("proc/sys/net/core/bpf_jit_enable") != "0",
            "net.core.bpf_jit_enable must not be 0, or every frame is slow",
        ),
        check(
            "br_netfilter",
            true,
            if bridged.iter().any(|value| value == "1") {
                "bridged frames pass iptables too (net.bridge.bridge-nf-call-*): needless here"
            } else {
                "not in the way"
            },
        ),
    ]
}

/// What can only be found out by asking this kernel.
fn probes() -> Vec<Check> {
    let maps = probe::maps();
    let devices = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let devices: Vec<&str> = devices
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim()))
        .collect();
    let programs = devices
        .iter()
        .filter_map(|device| Some((*device, probe::tcx(device)?, probe::clsact(device))));
    vec![
        Check {
            name: "BPF maps",
            good: maps.is_ok(),
            detail: match maps {
                Ok(()) => "can be made".into(),
                Err(error) => format!("cannot be made: {error}"),
            },
        },
        tcx(),
        others(programs),
        libvirt_chains(&rules_of_tools()),
    ]
}

/// Whether TCX hooks are there, tried out.
fn tcx() -> Check {
    let (good, detail) = match probe::has_tcx() {
        Ok(true) => (true, "the kernel has it".to_owned()),
        Ok(false) => (
            true,
            "the kernel has it not (before 6.6), clsact is used instead".into(),
        ),
        Err(error) => (true, format!("cannot be asked for: {error}")),
    };
    Check {
        name: "TCX",
        good,
        detail,
    }
}

/// Programs of others on devices: one that runs before ours may let frames pass that ours drops.
fn others<'a>(devices: impl Iterator<Item = (&'a str, [Vec<String>; 2], [bool; 2])>) -> Check {
    let mut before = Vec::new();
    let mut elsewhere = Vec::new();
    for (device, directions, clsact) in devices {
        for ((programs, way), clsact) in directions.iter().zip(["in", "out"]).zip(clsact) {
            let own = programs.iter().position(|name| probe::is_ours(name));
            // Filters of clsact come after all of them.
            let own = own.or(clsact.then_some(programs.len()));
            for (position, name) in programs.iter().enumerate() {
                if probe::is_ours(name) {
                    continue;
                }
                let place = format!("{name} on {device} ({way})");
                if own.is_some_and(|own| position < own) {
                    before.push(place);
                } else {
                    elsewhere.push(place);
                }
            }
        }
    }
    let detail = match (&before[..], &elsewhere[..]) {
        ([], []) => "none".into(),
        ([], elsewhere) => format!("not before ours: {}", elsewhere.join(", ")),
        (before, _) => format!(
            "before ours, which may never see a frame: {}",
            before.join(", ")
        ),
    };
    Check {
        name: "other TCX programs",
        good: before.is_empty(),
        detail,
    }
}

/// What the tools say in which filters of libvirt's own would be. Those that are not there, or that
/// this user may not ask, say nothing.
fn rules_of_tools() -> String {
    let tools: [(&str, &[&str]); 3] = [
        ("ebtables", &["-t", "nat", "-L"]),
        ("iptables", &["-S"]),
        ("ip6tables", &["-S"]),
    ];
    let outputs = tools.iter().filter_map(|(tool, arguments)| {
        let output = Command::new(tool).args(*arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    });
    outputs.collect()
}

/// Whether libvirt's own filters of ports are still there: its chains for one port each.
fn libvirt_chains(rules: &str) -> Check {
    /// What their names begin with (`nwfilter_ebiptables_driver.c`).
    const PREFIXES: [&str; 5] = ["libvirt-I-", "libvirt-O-", "FI-", "FO-", "HI-"];
    let words = rules.split(|c: char| c.is_whitespace() || c == ',');
    let mut ports: Vec<&str> = words
        .filter_map(|word| PREFIXES.iter().find_map(|prefix| word.strip_prefix(prefix)))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    Check {
        name: "libvirt's own filters",
        good: ports.is_empty(),
        detail: if ports.is_empty() {
            "none found in ebtables and iptables".into()
        } else {
            format!(
                "still there for {}: frames pass both; stop libvirt's nwfilter driver, and delete \
                 its bindings (`virsh nwfilter-binding-delete`)",
                ports.join(", ")
            )
        },
    }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-', '+']);
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(version("6.1-rc1"), Some((6, 1)));
        assert!(version("6.10.0") > version("6.6.0"));
        assert_eq!(version(""), None);
    }

    #[test]
    fn filters_of_libvirt_are_known_by_their_chains() {
        let there = libvirt_chains("-N FI-vnet7\nBridge chain: libvirt-I-vnet7, entries: 2\n");
        assert!(!there.good && there.detail.contains("vnet7:"), "{there:?}");
        assert!(libvirt_chains("-N libvirt-in\n-N LIBVIRT_INP\n-P INPUT ACCEPT\n").good);
    }

    #[test]
    fn a_program_before_ours_is_a_fault() {
        let programs = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let port = |names: &[&str], clsact| {
            let directions = [vec![], programs(names)];
            others([("vm1", directions, [clsact; 2])].into_iter())
        };
        let found = |names: &[&str]| port(names, false);
        assert!(port(&[], true).good && !port(&["cil"], true).good);
        assert!(found(&[]).good);
        assert!(found(&["nwfilter_out", "cil"]).good);
        assert!(found(&["cil"]).good);
        let before = found(&["cil", "nwfilter_out"]);
        assert!(
            !before.good && before.detail.contains("cil on vm1 (out)"),
            "{before:?}"
        );
    }

    #[test]
    fn rights_are_those_that_the_daemon_needs() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        // All but CAP_SYS_ADMIN; that and CAP_NET_ADMIN.
        for (effective, good) in [("000001ffffdfffff", false), ("0000000000201000", true)] {
            let status = format!("Name:\tx\nCapEff:\t{effective}\n");
            fs::write(root.path().join("proc/self/status"), status).unwrap();
            let checks = checks(root.path());
            let rights = checks.iter().find(|check| check.name == "rights").unwrap();
            assert_eq!(rights.good, good, "{effective}");
        }
    }

    #[test]
    fn an_empty_host_lacks_what_is_needed() {
        let root = tempfile::tempdir().unwrap();
        let bad: Vec<_> = checks(root.path())
            .into_iter()
            .filter(|check| !check.good)
            .map(|check| check.name)
            .collect();
        assert_eq!(bad, ["kernel", "rights", "BPF file system", "BTF"]);
    }
}
