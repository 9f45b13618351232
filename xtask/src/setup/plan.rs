//! What set-up will do about what is missing. Nothing here does anything.

use std::fmt;

use super::requirements::{Requirement, Step};

/// A requirement that is not met.
pub(crate) struct Missing<'a> {
    pub(crate) requirement: &'a Requirement,
    pub(crate) why: String,
}

/// Commands in their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    needs_apt: bool,
}

impl Plan {
    /// Plans for `missing`, where dpkg says `installed`: lines of a status and a package's name.
    pub(crate) fn new(missing: &[Missing<'_>], installed: &str) -> Self {
        let is_installed = |package: &str| {
            installed
                .lines()
                .any(|line| line.strip_prefix("installed ") == Some(package))
        };
        let packages: Vec<&str> = missing
            .iter()
            .flat_map(|missing| missing.requirement.packages.split_whitespace())
            .filter(|package| !is_installed(package))
            .collect();
        let mut steps: Vec<Step> = missing
            .iter()
            .filter_map(|missing| missing.requirement.step.clone())
            .collect();
        if !packages.is_empty() {
            // An update may fail because of a source that nothing here needs; the installation tells.
            let command = format!(
                "apt-get update; apt-get install --yes --no-install-recommends {}",
                packages.join(" ")
            );
            steps.insert(
                0,
                Step {
                    command: command.into(),
                    root: true,
                },
            );
        }
        Self {
            steps,
            needs_apt: !packages.is_empty(),
        }
    }

    /// Why this cannot be done by a user who is root or not, on a system with apt or not.
    pub(crate) fn obstacle(&self, root: bool, apt: bool) -> Option<&'static str> {
        if self.needs_apt && !apt {
            return Some("there is no apt-get, find these packages in your system");
        }
        if !root && self.steps.iter().any(|step| step.root) {
            return Some("this takes root");
        }
        None
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self
            .steps
            .iter()
            .map(|step| format!("  {} {}", if step.root { '#' } else { '$' }, step.command))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::requirements::{Group, Probe};
    use super::*;

    const COMPILER: Requirement = Requirement {
        group: Group::Build,
        name: "compiler",
        purpose: "compiles",
        probe: Probe::Program,
        packages: "gcc libc6-dev",
        step: None,
    };
    const MOUNT: Requirement = Requirement {
        group: Group::Run,
        name: "mount",
        packages: "",
        step: Some(Step {
            command: std::borrow::Cow::Borrowed("mount it"),
            root: true,
        }),
        ..COMPILER
    };
    const TOOL: Requirement = Requirement {
        name: "tool",
        packages: "tool-dev",
        step: Some(Step {
            command: std::borrow::Cow::Borrowed("make tool"),
            root: false,
        }),
        ..COMPILER
    };

    fn plan(requirements: &[&Requirement], installed: &str) -> Plan {
        let missing: Vec<Missing<'_>> = requirements
            .iter()
            .map(|&requirement| Missing {
                requirement,
                why: String::new(),
            })
            .collect();
        Plan::new(&missing, installed)
    }

    #[test]
    fn packages_come_first_and_in_one_command() {
        let text = plan(
            &[&MOUNT, &COMPILER, &TOOL],
            "not-installed gcc\ninstalled gcc-12\n",
        );
        let expected = "  # apt-get update; apt-get install --yes --no-install-recommends \
            gcc libc6-dev tool-dev\n  # mount it\n  $ make tool";
        assert_eq!(text.to_string(), expected);
    }

    #[test]
    fn what_is_installed_is_not_installed_again() {
        let installed = "installed gcc\ninstalled libc6-dev\ninstalled tool-dev\n";
        assert_eq!(plan(&[&COMPILER], installed).to_string(), "");
        assert_eq!(
            plan(&[&COMPILER, &TOOL], installed).to_string(),
            "  $ make tool"
        );
    }

    #[test]
    fn root_and_apt_are_asked_for_only_where_they_are_needed() {
        let root = Some("this takes root");
        let apt = Some("there is no apt-get, find these packages in your system");
        let tool = plan(&[&TOOL], "installed tool-dev\n");
        assert_eq!(tool.obstacle(false, false), None);
        assert_eq!(plan(&[&MOUNT], "").obstacle(true, false), None);
        assert_eq!(plan(&[&MOUNT], "").obstacle(false, true), root);
        assert_eq!(plan(&[&COMPILER], "").obstacle(true, true), None);
        assert_eq!(plan(&[&COMPILER], "").obstacle(false, true), root);
        assert_eq!(plan(&[&COMPILER], "").obstacle(true, false), apt);
    }
}
