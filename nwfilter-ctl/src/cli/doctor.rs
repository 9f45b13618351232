//! `nwfilter-ctl doctor`: what the host has of what filtering needs. Looks only; needs no daemon.

use std::{fs, io::Write, path::Path};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{CliError, Global, Outcome};

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
    let checks = checks(Path::new("/"));
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
    let chains = libvirt_chains(&text("proc/net/ip_tables_names"));
    vec![
        check(
            "kernel",
            has((6, 1)),
            &format!("{release}; 6.1 or newer is needed"),
        ),
        check(
            "TCX",
            true,
            if has((6, 6)) {
                "this kernel should have it"
            } else {
                "not before 6.6, clsact is used instead"
            },
        ),
        check(
            "rights",
            // CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF of linux/capability.h; or CAP_SYS_ADMIN.
            capabilities & (1 << 21) != 0
                || [12, 38, 39]
                    .iter()
                    .all(|bit| capabilities & (1 << bit) != 0),
            "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON for the daemon",
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
        chains,
    ]
}

/// Whether legacy tables exist in which libvirt's own filters may still be.
fn libvirt_chains(tables: &str) -> Check {
    Check {
        name: "iptables",
        good: true,
        detail: if tables.is_empty() {
            "no legacy tables".into()
        } else {
            format!(
                "legacy tables are in use ({}); filters of libvirt's own may still be there",
                tables.split_whitespace().collect::<Vec<_>>().join(", ")
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
