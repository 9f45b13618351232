//! A guest's first and only root directory: busybox as its shell, a few modules of the kernel, the
//! test programs, and the script that runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use super::modules;
use super::programs::{Programs, SUITES};
use super::transcript::MARK;
use crate::exec;

/// The device to which the script writes; the kernel's messages go to another.
const REPORT: &str = "/dev/ttyS1";

/// What the script gives to every test program.
#[derive(Default)]
pub(crate) struct Environment {
    /// Variables and their values.
    pub(crate) variables: Vec<(String, String)>,
    /// Arguments after those of the suite.
    pub(crate) arguments: Vec<String>,
}

/// Makes the archive for an unpacked kernel.
///
/// # Errors
/// If the kernel lacks what the tests need, or a file cannot be read.
pub(crate) fn make(
    kernel: &Path,
    busybox: &Path,
    programs: &Programs,
    environment: &Environment,
) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["/dev", "/proc", "/run", "/sys", "/tmp"] {
        archive.directory(directory)?;
    }
    archive.program("/busybox", &read(busybox)?)?;
    let modules = pack_modules(kernel, busybox, &mut archive)?;
    programs.pack(&mut archive, &kernel.with_file_name("stripped"))?;
    archive.program("/init", script(&modules, environment).as_bytes())?;
    archive.finish()
}

/// Adds the modules that the tests need; returns their paths in the order of loading.
fn pack_modules(kernel: &Path, busybox: &Path, archive: &mut Archive) -> Result<Vec<String>> {
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
    for file in modules::order(&modules::WANTED, &dependencies, &builtin)? {
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

/// The script. It reports what it cannot do and goes on to the end in any case: a guest that does
/// not switch itself off is one that hangs.
fn script(modules: &[String], environment: &Environment) -> String {
    let mut lines = vec![
        "#!/busybox sh".to_owned(),
        format!("say() {{ echo \"{MARK} $*\"; }}"),
        "must() { \"$@\" || say \"failed: $*\"; }".to_owned(),
        // The suite's name, then the program with its arguments.
        "suite() { say begin $1; shift; \"$@\"; say end $?; }".to_owned(),
        "/busybox mount -t devtmpfs devtmpfs /dev".to_owned(),
        format!("exec </dev/null >{REPORT} 2>&1"),
        format!("must /busybox stty -F {REPORT} raw"),
        "say kernel $(/busybox uname -r)".to_owned(),
        "must /busybox mount -t proc proc /proc".to_owned(),
        "must /busybox mount -t sysfs sysfs /sys".to_owned(),
        "must /busybox mount -t bpf bpf /sys/fs/bpf".to_owned(),
    ];
    lines.extend(
        modules
            .iter()
            .map(|module| format!("must /busybox insmod {}", quote(module))),
    );
    lines.push("must /busybox ip link set dev lo up".to_owned());
    lines.push("export PATH=/usr/bin TMPDIR=/tmp HOME=/tmp".to_owned());
    for (name, value) in &environment.variables {
        lines.push(format!("export {name}={}", quote(value)));
    }
    for suite in SUITES {
        let arguments = [suite.filter]
            .into_iter()
            .filter(|filter| !filter.is_empty())
            .chain(environment.arguments.iter().map(String::as_str));
        let arguments: String = arguments
            .map(|argument| format!(" {}", quote(argument)))
            .collect();
        lines.push(format!("suite {} {}{arguments}", suite.name, suite.path()));
    }
    lines.push("say done".to_owned());
    // Waits until all is written, too.
    lines.push(format!("/busybox stty -F {REPORT} raw"));
    lines.push("/busybox reboot -f".to_owned());
    lines.join("\n") + "\n"
}

/// A word of the shell that means `text`.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_loads_modules_in_order_and_runs_every_suite() {
        let environment = Environment {
            variables: vec![("CI".to_owned(), "it's".to_owned())],
            arguments: vec!["--nocapture".to_owned()],
        };
        let script = script(
            &["/lib/modules/a.ko".into(), "/lib/modules/b.ko".into()],
            &environment,
        );
        let mut expected = vec![
            "must /busybox insmod '/lib/modules/a.ko'".to_owned(),
            "must /busybox insmod '/lib/modules/b.ko'".to_owned(),
            r"export CI='it'\''s'".to_owned(),
        ];
        expected.extend(
            SUITES
                .iter()
                .map(|suite| format!("suite {0} /tests/{0} ", suite.name)),
        );
        expected.extend(["say done", "/busybox reboot -f"].map(str::to_owned));
        let mut lines = script.lines();
        for expected in &expected {
            assert!(
                lines.any(|line| line.starts_with(expected)),
                "{expected} in {script}"
            );
        }
        assert!(
            script
                .lines()
                .any(|line| line.ends_with(" 'net::tests::' '--nocapture'"))
        );
    }
}
