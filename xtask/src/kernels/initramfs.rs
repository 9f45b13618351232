//! A guest's first and only root directory: busybox as its shell, a few modules of the kernel, and the
//! script that is its first program. What a guest is for is not decided here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use super::modules;
use super::transcript::MARK;
use crate::exec;

/// The device to which the script writes; the kernel's messages go to another.
pub(crate) const REPORT: &str = "/dev/ttyS1";

/// Begins an archive for an unpacked kernel, with modules and all they need; returns the script's
/// first lines, too, which make the kernel ready.
///
/// # Errors
/// If the kernel lacks a module, or a file cannot be read.
pub(crate) fn begin(
    kernel: &Path,
    busybox: &Path,
    wanted: &[&str],
) -> Result<(Archive, Vec<String>)> {
    let mut archive = Archive::default();
    for directory in ["/bin", "/dev", "/proc", "/run", "/sys", "/tmp"] {
        archive.directory(directory)?;
    }
    archive.program("/busybox", &read(busybox)?)?;
    let modules = pack_modules(kernel, busybox, wanted, &mut archive)?;
    Ok((archive, script(&modules)))
}

/// Adds the script and ends the archive.
///
/// # Errors
/// If there is a script already.
pub(crate) fn finish(mut archive: Archive, script: &[String]) -> Result<Vec<u8>> {
    let script = script.join("\n") + "\n";
    archive.program("/init", script.as_bytes())?;
    archive.finish()
}

/// Adds modules; returns their paths in the order of loading.
fn pack_modules(
    kernel: &Path,
    busybox: &Path,
    wanted: &[&str],
    archive: &mut Archive,
) -> Result<Vec<String>> {
    let release = release(kernel)?;
    let directory = kernel.join("lib/modules").join(&release);
    if !directory.join("modules.dep").exists() {
        // As the package's installation would.
        exec::run(
            Command::new(busybox)
                .arg("depmod")
                .arg("-b")
                .args([kernel, Path::new(&release)]),
        )?;
    }
    let [dependencies, builtin] = ["modules.dep", "modules.builtin"].map(|name| {
        let path = directory.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    });
    let (dependencies, builtin) = (dependencies?, builtin?);
    let mut paths = Vec::new();
    for file in modules::order(wanted, &dependencies, &builtin)? {
        let path = format!("/lib/modules/{file}");
        archive.file(&path, &read(&directory.join(file))?)?;
        paths.push(path);
    }
    Ok(paths)
}

/// What an unpacked kernel calls itself.
fn release(kernel: &Path) -> Result<String> {
    let image = image(kernel)?;
    let name = image
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    Ok(name.trim_start_matches(IMAGE).to_owned())
}

/// The file of an unpacked kernel that boots.
///
/// # Errors
/// If there is none.
pub(crate) fn image(kernel: &Path) -> Result<PathBuf> {
    let boot = kernel.join("boot");
    let entries = fs::read_dir(&boot).with_context(|| format!("cannot read {}", boot.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(IMAGE))
        })
        .with_context(|| format!("{} has no {IMAGE}*", boot.display()))
}

const IMAGE: &str = "vmlinuz-";

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The script's first lines, after which everything goes to [`REPORT`]. What it cannot do it reports,
/// and goes on: a guest that does not switch itself off is one that hangs.
fn script(modules: &[String]) -> Vec<String> {
    let mut lines = vec![
        "#!/busybox sh".to_owned(),
        format!("say() {{ echo \"{MARK} $*\"; }}"),
        "must() { \"$@\" || say \"failed: $*\"; }".to_owned(),
        "/busybox mount -t devtmpfs devtmpfs /dev".to_owned(),
        format!("exec </dev/null >{REPORT} 2>&1"),
        format!("must /busybox stty -F {REPORT} raw -echo"),
        "say kernel $(/busybox uname -r)".to_owned(),
        "must /busybox mount -t proc proc /proc".to_owned(),
        "must /busybox mount -t sysfs sysfs /sys".to_owned(),
    ];
    lines.extend(
        modules
            .iter()
            .map(|module| format!("must /busybox insmod {}", quote(module))),
    );
    lines.push("must /busybox ip link set dev lo up".to_owned());
    lines
}

/// A word of the shell that means `text`.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_loads_modules_in_order() {
        let script = script(&["/lib/modules/a.ko".into(), "/lib/modules/b'.ko".into()]);
        let modules: Vec<&String> = script
            .iter()
            .filter(|line| line.contains("insmod"))
            .collect();
        assert_eq!(
            modules,
            [
                "must /busybox insmod '/lib/modules/a.ko'",
                r"must /busybox insmod '/lib/modules/b'\''.ko'",
            ]
        );
    }
}
