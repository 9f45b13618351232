//! `cargo xtask setup`: finds what a development machine lacks and installs it, with Debian's
//! packages where it is about programs. Where it may not, it tells what to do.

mod plan;
mod requirements;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::exec;
use plan::{Missing, Plan};
use requirements::{REQUIREMENTS, Requirement};

pub(crate) use requirements::{Group, find_program, qemu};

/// Makes everything available that `groups` need; without any, everything of all groups.
///
/// # Errors
/// What is missing and by which commands it comes, if it may not or could not be installed.
pub(crate) fn setup(groups: &[Group]) -> Result<()> {
    let workspace = crate::workspace();
    let wanted =
        |requirement: &&Requirement| groups.is_empty() || groups.contains(&requirement.group);
    let missing = missing(&workspace, REQUIREMENTS.iter().filter(wanted));
    if missing.is_empty() {
        return Ok(());
    }
    for Missing { requirement, why } in &missing {
        println!(
            "missing: {}, which {}: {why}",
            requirement.name, requirement.purpose
        );
    }

    let plan = Plan::new(&missing, &installed_packages());
    let root = fs::metadata("/proc/self")
        .context("cannot read /proc")?
        .uid()
        == 0;
    if let Some(obstacle) = plan.obstacle(root, find_program("apt-get").is_ok()) {
        bail!("setup cannot install this: {obstacle}; the way is (# as root)\n{plan}");
    }
    for step in &plan.steps {
        println!("running: {}", step.command);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &step.command])
            .env("DEBIAN_FRONTEND", "noninteractive");
        exec::run(shell.current_dir(&workspace))?;
    }

    let still = self::missing(
        &workspace,
        missing.iter().map(|missing| missing.requirement),
    );
    if let Some(Missing { requirement, why }) = still.first() {
        bail!("{} is still missing: {why}", requirement.name);
    }
    Ok(())
}

fn missing<'a>(
    workspace: &Path,
    requirements: impl Iterator<Item = &'a Requirement>,
) -> Vec<Missing<'a>> {
    let missing = requirements.filter_map(|requirement| {
        let why = requirement.probe(workspace).err()?;
        Some(Missing { requirement, why })
    });
    missing.collect()
}

/// Names of Debian's packages that are installed; none on other systems.
fn installed_packages() -> String {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"]);
    let output = query
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    String::from_utf8_lossy(&output).into_owned()
}
