//! The table of what a development machine needs. A new need is a new line here.

use std::borrow::Cow;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::toolchain::{Rust, find_linker};

/// What a requirement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// `cargo build`.
    Build,
    /// The demo and the benchmarks.
    Run,
    /// The tests.
    Test,
    /// The tests in other kernels, `cargo xtask test --kernels`.
    Kernels,
}

/// One line of the table.
pub(crate) struct Requirement {
    pub(crate) group: Group,
    pub(crate) name: &'static str,
    pub(crate) purpose: &'static str,
    pub(crate) probe: Probe,
    /// Debian's packages that bring it, separated by spaces.
    pub(crate) packages: &'static str,
    /// What else is to be done, after the packages are there.
    pub(crate) step: Option<Step>,
}

/// How a requirement is detected.
pub(crate) enum Probe {
    /// By a program of its name in `PATH` or in the system's directories.
    Program,
    /// By a function that tells why it is not there; it gets the repository's root.
    Check(fn(&Path) -> Result<(), String>),
}

/// A command of the shell, for the repository's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) command: Cow<'static, str>,
    pub(crate) root: bool,
}

const INSTALL_LINKER: Step = Step {
    command: Cow::Borrowed(
        "LLVM_PREFIX=/usr/lib/llvm-22 PATH=/usr/lib/llvm-22/bin:$PATH \
        cargo install --locked --root target/tools bpf-linker --version 0.13.0 \
        --no-default-features --features llvm-22",
    ),
    root: false,
};
/// Unpacked, because Debian's QEMU cannot be installed beside a newer `qemu-utils`, and takes no root.
const UNPACK_QEMU: Step = Step {
    command: Cow::Borrowed(
        "apt-get --quiet update; mkdir -p target/tools/qemu.partial && \
        cd target/tools/qemu.partial && \
        apt-get --quiet --option APT::Sandbox::User=root download $(\
        apt-get install --simulate --no-install-recommends qemu-system-x86 | \
        sed -n 's/^Inst \\([^ ]*\\).*/\\1/p') && \
        for package in *.deb; do dpkg-deb --extract $package . && rm $package || exit; done && \
        cd .. && mv qemu.partial qemu",
    ),
    root: false,
};
const MOUNT_BPFFS: Step = Step {
    command: Cow::Borrowed("mount -t bpf bpf /sys/fs/bpf"),
    root: true,
};

/// Everything, in the order in which it is to be installed.
pub(crate) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        group: Group::Build,
        name: "eBPF Rust",
        purpose: "compiles the eBPF program",
        probe: Probe::Check(rust),
        packages: "rustc-web cargo-web rust-web-src",
        step: None,
    },
    Requirement {
        group: Group::Build,
        name: "bpf-linker",
        purpose: "links the eBPF program",
        probe: Probe::Check(linker),
        packages: "llvm-22-dev",
        step: Some(INSTALL_LINKER),
    },
    Requirement {
        group: Group::Run,
        name: "bpffs",
        purpose: "keeps programs and maps",
        probe: Probe::Check(bpffs),
        packages: "",
        step: Some(MOUNT_BPFFS),
    },
    program(
        Group::Run,
        "ip",
        "makes network namespaces and ports",
        "iproute2",
    ),
    program(
        Group::Test,
        "bpftool",
        "shows what the kernel has loaded",
        "bpftool",
    ),
    program(Group::Test, "iperf3", "sends through the filters", "iperf3"),
    program(
        Group::Test,
        "systemctl",
        "starts the service as an operator does",
        "systemd",
    ),
    program(
        Group::Test,
        "libvirtd",
        "enforces the same filters, to compare with",
        "libvirt-daemon-system",
    ),
    program(
        Group::Test,
        "virsh",
        "defines and binds them",
        "libvirt-clients",
    ),
    program(
        Group::Test,
        "ebtables",
        "is what libvirt filters with",
        "ebtables",
    ),
    program(
        Group::Test,
        "iptables",
        "is what libvirt filters with",
        "iptables",
    ),
    program(
        Group::Test,
        "dnsmasq",
        "gives addresses to be learned",
        "dnsmasq-base",
    ),
    program(
        Group::Test,
        "udhcpc",
        "gets addresses to be learned",
        "udhcpc",
    ),
    program(
        Group::Test,
        "dhclient",
        "gets addresses to be learned, also for IPv6",
        "isc-dhcp-client",
    ),
    program(
        Group::Kernels,
        "strip",
        "makes the tests fit into a small machine",
        "binutils",
    ),
    Requirement {
        group: Group::Kernels,
        name: QEMU,
        purpose: "boots other kernels",
        probe: Probe::Check(|workspace| qemu(workspace).map(drop)),
        packages: "",
        step: Some(UNPACK_QEMU),
    },
];

const QEMU: &str = "qemu-system-x86_64";

const fn program(
    group: Group,
    name: &'static str,
    purpose: &'static str,
    packages: &'static str,
) -> Requirement {
    Requirement {
        group,
        name,
        purpose,
        probe: Probe::Program,
        packages,
        step: None,
    }
}

impl Requirement {
    /// Tells why this is missing, if it is.
    pub(crate) fn probe(&self, workspace: &Path) -> Result<(), String> {
        match self.probe {
            Probe::Program => find_program(self.name).map(drop),
            Probe::Check(check) => check(workspace),
        }
    }
}

/// Ordinary users' `PATH` often lacks the system's directories, but their programs run there, too.
pub(crate) fn find_program(name: &str) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .ok_or_else(|| "not in PATH".to_owned())
}

/// The machine's QEMU, else the one that set-up has unpacked.
pub(crate) fn qemu(workspace: &Path) -> Result<PathBuf, String> {
    find_program(QEMU).or_else(|why| {
        let unpacked = workspace.join("target/tools/qemu/usr/bin").join(QEMU);
        if unpacked.is_file() {
            Ok(unpacked)
        } else {
            Err(format!("{why} and not in target/tools/qemu"))
        }
    })
}

fn rust(_workspace: &Path) -> Result<(), String> {
    Rust::find().map(drop).map_err(|why| why.to_string())
}

fn linker(workspace: &Path) -> Result<(), String> {
    find_linker(workspace)
        .map(drop)
        .map_err(|why| why.to_string())
}

fn bpffs(_workspace: &Path) -> Result<(), String> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
    if has_bpffs(&mounts) {
        Ok(())
    } else {
        Err("not mounted at /sys/fs/bpf".to_owned())
    }
}

/// Whether the text of `/proc/self/mounts` has a bpffs at its usual place.
fn has_bpffs(mounts: &str) -> bool {
    mounts.lines().any(|mount| {
        let fields: Vec<&str> = mount.split(' ').collect();
        matches!(fields[..], [_, "/sys/fs/bpf", "bpf", ..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::LINKER_VERSION;

    #[test]
    fn every_requirement_can_be_met_and_told_apart() {
        for (index, requirement) in REQUIREMENTS.iter().enumerate() {
            let name = requirement.name;
            assert!(
                !requirement.packages.is_empty() || requirement.step.is_some(),
                "{name}"
            );
            assert!(!requirement.purpose.is_empty(), "{name}");
            assert!(
                !REQUIREMENTS[..index].iter().any(|other| other.name == name),
                "{name} twice"
            );
        }
    }

    #[test]
    fn the_linker_that_is_installed_is_the_one_that_is_looked_for() {
        let version = format!("bpf-linker --version {LINKER_VERSION} ");
        assert!(
            INSTALL_LINKER.command.contains(&version),
            "{}",
            INSTALL_LINKER.command
        );
    }

    #[test]
    fn programs_are_files_in_the_path() {
        assert!(find_program("sh").unwrap().ends_with("sh"));
        assert_eq!(
            find_program("no-such-program"),
            Err("not in PATH".to_owned())
        );
    }

    #[test]
    fn bpffs_counts_only_at_its_place() {
        let others = "sysfs /sys sysfs rw 0 0\nbpf /run/bpf bpf rw 0 0\n";
        assert!(!has_bpffs(others));
        assert!(!has_bpffs("tmpfs /sys/fs/bpf tmpfs rw 0 0"));
        assert!(has_bpffs(&format!(
            "{others}none /sys/fs/bpf bpf rw,mode=700 0 0\n"
        )));
    }
}
