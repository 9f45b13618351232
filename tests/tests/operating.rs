//! `docs/operating.md` can be followed: its shell commands, one after the other, in namespaces in which
//! nothing but the program is installed.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{env, fs, os::unix::fs::symlink, path::Path, process::Command};

use nwfilter_tests::{
    daemon,
    need::{self, Need},
    net::NetNs,
};

const NEEDS: [Need; 4] = [
    Need::NetworkNamespace,
    Need::Program("ip"),
    Need::File("/sys/fs/bpf"),
    Need::File("/dev/net/tun"),
];

/// When the page waits for what never comes, the test ends all the same.
const MOST_SECONDS: &str = "1200";

/// The shell's commands of a page, each block with a line that says which it is.
fn commands(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("\n```").next().unwrap());
    let numbered = blocks.enumerate();
    numbered
        .map(|(number, block)| format!("echo '== block {number}' >&2\n{block}\n"))
        .collect()
}

/// A line that begins with `!` must fail; `set -e` alone does not see that.
fn strict(commands: &str) -> String {
    let line = |line: &str| match line.strip_prefix("! ") {
        Some(command) => format!("if {command}; then echo 'it works' >&2; exit 1; fi\n"),
        None => format!("{line}\n"),
    };
    commands.lines().map(line).collect()
}

#[test]
fn the_page_on_operating_can_be_followed() {
    if !need::met(&NEEDS) {
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    let commands = strict(&commands(&fs::read_to_string(page).unwrap()));
    assert!(commands.contains("binding-create"));
    let directory = env::temp_dir().join(format!("nwfilter-operating-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    symlink(daemon::program().unwrap(), directory.join("nwfilter-ctl")).unwrap();
    if !Need::Program("ping").is_met() {
        symlink("/usr/bin/busybox", directory.join("ping")).unwrap();
    }
    let script = format!(
        "set -eum
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/nwfilter
mount -t bpf bpf /sys/fs/bpf
trap 'cat /run/nwfilter.log >&2; kill $(jobs -p) 2> /dev/null || true' EXIT
{commands}
test -z \"$(ls /sys/fs/bpf | grep nwfilter)\"
"
    );
    // Something to mount upon.
    let configuration = Path::new("/etc/nwfilter");
    let made = fs::create_dir(configuration).is_ok();
    let host = NetNs::new().unwrap();
    let search = format!("{}:{}", directory.display(), env::var("PATH").unwrap());
    let output = host
        .run(|| {
            Command::new("timeout")
                .args([MOST_SECONDS, "unshare", "--mount", "bash", "-c", &script])
                .env("PATH", search)
                .output()
        })
        .unwrap();
    fs::remove_dir_all(&directory).unwrap();
    if made {
        fs::remove_dir(configuration).unwrap();
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{stdout}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // By `show`, not only by what the page looks for.
    let learned = |line: &str| line == "address 10.0.0.1 (traffic)";
    assert!(stdout.lines().any(learned), "{stdout}");
}
