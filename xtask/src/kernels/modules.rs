//! Which files of a kernel's modules have to be loaded, and in which order.

use anyhow::{Context as _, Result};

/// Files that make `wanted` available, each after all that it depends on, as paths in the directory
/// of the kernel's modules. `dependencies` is the text of its `modules.dep`, `builtin` that of
/// `modules.builtin`.
///
/// # Errors
/// If the kernel knows no such module.
pub(crate) fn order<'a>(
    wanted: &[&str],
    dependencies: &'a str,
    builtin: &str,
) -> Result<Vec<&'a str>> {
    let mut order = Vec::new();
    for &module in wanted {
        if builtin.lines().any(|path| name(path) == name(module)) {
            continue;
        }
        let entries = || dependencies.lines().filter_map(|line| line.split_once(':'));
        let (path, _) = entries()
            .find(|(path, _)| name(path) == name(module))
            .with_context(|| format!("the kernel has no module `{module}`"))?;
        add(path, dependencies, &mut order);
    }
    Ok(order)
}

/// Adds a module after its dependencies. These form no circle: depmod refuses that.
fn add<'a>(path: &'a str, dependencies: &'a str, order: &mut Vec<&'a str>) {
    if order.contains(&path) {
        return;
    }
    let mut entries = dependencies.lines().filter_map(|line| line.split_once(':'));
    if let Some((_, needed)) = entries.find(|(of, _)| *of == path) {
        for path in needed.split_whitespace() {
            add(path, dependencies, order);
        }
    }
    order.push(path);
}

/// A module's name: `-` in a file's name is `_` in the kernel.
fn name(path: &str) -> String {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    let stem = file.split_once(".ko").map_or(file, |(stem, _)| stem);
    stem.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "kernel/net/8021q/8021q.ko.xz: kernel/net/802/garp.ko.xz \
        kernel/net/llc/llc.ko.xz kernel/net/802/stp.ko.xz\n\
        kernel/net/802/garp.ko.xz: kernel/net/llc/llc.ko.xz kernel/net/802/stp.ko.xz\n\
        kernel/net/802/stp.ko.xz: kernel/net/llc/llc.ko.xz\n\
        kernel/net/llc/llc.ko.xz:\n\
        kernel/drivers/char/virtio-rng.ko:\n";
    const BUILTIN: &str = "kernel/net/sched/cls_bpf.ko\nkernel/net/packet/af_packet.ko\n";

    #[test]
    fn modules_come_once_and_after_what_they_need() {
        let order = order(&["8021q", "stp", "virtio_rng"], DEPENDENCIES, BUILTIN).unwrap();
        assert_eq!(
            order,
            [
                "kernel/net/llc/llc.ko.xz",
                "kernel/net/802/stp.ko.xz",
                "kernel/net/802/garp.ko.xz",
                "kernel/net/8021q/8021q.ko.xz",
                "kernel/drivers/char/virtio-rng.ko",
            ]
        );
    }

    #[test]
    fn what_is_built_in_needs_no_file_and_what_is_nowhere_is_an_error() {
        assert!(
            order(&["cls_bpf", "af-packet"], DEPENDENCIES, BUILTIN)
                .unwrap()
                .is_empty()
        );
        let error = order(&["veth"], DEPENDENCIES, BUILTIN).unwrap_err();
        assert_eq!(error.to_string(), "the kernel has no module `veth`");
    }
}
