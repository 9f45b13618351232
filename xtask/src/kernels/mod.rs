//! Debian's kernels in virtual machines: `cargo xtask test --kernels 6.1,6.12` runs the tests that
//! prove something about a kernel inside them, and other tests boot one. Nothing of them is installed: all is downloaded, unpacked and kept in
//! `target/kernels`; removing that directory is the way to newer ones.

mod cpio;
mod guest;
mod initramfs;
mod modules;
mod packages;
mod programs;
mod series;
mod suites;
mod transcript;
mod vm;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::setup::{self, Group};
use guest::Guest;

use packages::Cache;

pub(crate) use programs::Scope;
pub(crate) use series::Series;
pub(crate) use suites::Environment;

/// Everything that guests are made of, but for the tests.
pub(crate) struct Kernels {
    qemu: PathBuf,
    busybox: PathBuf,
    unpacked: Vec<(Series, PathBuf)>,
}

impl Kernels {
    /// Gets kernels, and what it takes to boot them.
    ///
    /// # Errors
    /// If something cannot be had here.
    pub(crate) fn get(series: &[Series]) -> Result<Self> {
        ensure!(
            env::consts::ARCH == "x86_64",
            "the kernels and the tests are for x86_64 only"
        );
        setup::setup(&[Group::Build, Group::Kernels])?;
        let workspace = crate::workspace();
        let cache = Cache::new(&workspace);
        let busybox = cache.package("busybox-static")?;
        let busybox = ["bin", "usr/bin"].map(|directory| busybox.join(directory).join("busybox"));
        let busybox = busybox.into_iter().find(|path| path.is_file());
        let kernels = series
            .iter()
            .map(|&series| Ok((series, cache.kernel(series)?)));
        Ok(Self {
            qemu: setup::qemu(&workspace).map_err(anyhow::Error::msg)?,
            busybox: busybox.context("busybox-static has no busybox")?,
            unpacked: kernels.collect::<Result<_>>()?,
        })
    }

    /// Makes the virtual machine that tests boot, of the last of the kernels.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn make_vm(&self) -> Result<()> {
        let (_, kernel) = self.unpacked.last().context("of which kernel?")?;
        vm::make(&crate::workspace(), &self.qemu, kernel, &self.busybox)
    }

    /// Runs the tests in one guest for each kernel, with more variables and arguments for the test
    /// programs.
    ///
    /// # Errors
    /// If tests do not build or a guest cannot be made.
    pub(crate) fn test(&self, environment: &Environment) -> Result<ExitCode> {
        let programs = programs::build(environment.scope)?;
        let mut code = ExitCode::SUCCESS;
        for (series, kernel) in &self.unpacked {
            let start = Instant::now();
            let archive = suites::archive(kernel, &self.busybox, &programs, environment)?;
            let initramfs = kernel.with_file_name(format!("{series}.initramfs"));
            fs::write(&initramfs, archive)
                .with_context(|| format!("cannot write {}", initramfs.display()))?;
            let guest = Guest {
                qemu: &self.qemu,
                kernel: &initramfs::image(kernel)?,
                initramfs: &initramfs,
                messages: &kernel.with_file_name(format!("{series}.messages")),
            };
            println!("kernel {series}: {}", kernel.display());
            let names = programs::suites(environment.scope).map(|(suite, _)| suite.name);
            let outcome = guest.run()?.judge(*series, names);
            let seconds = start.elapsed().as_secs_f64();
            if outcome.findings.is_empty() {
                println!(
                    "kernel {series}: {} tests passed on {} in {seconds:.1} s\n",
                    outcome.passed, outcome.release
                );
                continue;
            }
            code = ExitCode::FAILURE;
            eprintln!(
                "{}\n(all messages: {})",
                guest.last_messages(),
                guest.messages.display()
            );
            for finding in outcome.findings {
                eprintln!("kernel {series}: {finding}");
            }
        }
        Ok(code)
    }
}
