//! Debian's packages below `target/kernels`, unpacked and never installed: what is there is used
//! again, what is not is downloaded. It takes neither root nor a Debian in which they could run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::series::Series;
use crate::exec;

/// Where packages are unpacked, each in a directory of its name.
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// The one of a repository.
    pub(crate) fn new(workspace: &Path) -> Self {
        Self(workspace.join("target/kernels"))
    }

    /// The directory of a series' kernel: the newest that is there, else the newest there is.
    ///
    /// # Errors
    /// If Debian has none, or it cannot be downloaded.
    pub(crate) fn kernel(&self, series: Series) -> Result<PathBuf> {
        let here = self.names()?;
        if let Some(package) = series.newest(here.iter().map(String::as_str)) {
            return Ok(self.0.join(package));
        }
        let find = || -> Result<Option<String>> {
            let known = exec::output(
                Command::new("apt-cache")
                    .args(["pkgnames", &format!("{}{series}.", super::series::PREFIX)]),
            )?;
            Ok(series.newest(known.lines()).map(str::to_owned))
        };
        let package = match find()? {
            Some(package) => Some(package),
            None => {
                update();
                find()?
            }
        };
        let package = package.with_context(|| {
            format!(
                "apt's sources have no kernel {series}: no package `{}`",
                series.pattern()
            )
        })?;
        self.package(&package)
    }

    /// The directory in which a package is unpacked.
    ///
    /// # Errors
    /// If it cannot be downloaded or unpacked.
    pub(crate) fn package(&self, package: &str) -> Result<PathBuf> {
        let directory = self.0.join(package);
        if directory.is_dir() {
            return Ok(directory);
        }
        println!("downloading: {package}");
        // What is here under its own name is complete.
        let partial = self.0.join(format!("{package}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial)
                .with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        let root = partial.join("root");
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        if let Err(error) = download(package, &partial) {
            // The list of what there is may be old.
            if !update() {
                return Err(error);
            }
            download(package, &partial)?;
        }
        for file in entries(&partial)? {
            if file.extension().is_some_and(|extension| extension == "deb") {
                exec::run(
                    Command::new("dpkg-deb")
                        .arg("--extract")
                        .args([&file, &root]),
                )?;
            }
        }
        fs::rename(&root, &directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        fs::remove_dir_all(&partial)
            .with_context(|| format!("cannot remove {}", partial.display()))?;
        Ok(directory)
    }

    /// Packages that are there.
    fn names(&self) -> Result<Vec<String>> {
        if !self.0.is_dir() {
            return Ok(Vec::new());
        }
        let names = entries(&self.0)?
            .into_iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        Ok(names.collect())
    }
}

/// What is in a directory, in the order of names.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || {
        let paths = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
        paths.collect::<std::io::Result<Vec<PathBuf>>>()
    };
    let mut paths = read().with_context(|| format!("cannot read {}", directory.display()))?;
    paths.sort();
    Ok(paths)
}

fn download(package: &str, directory: &Path) -> Result<()> {
    // apt gives root's downloads to another user, who may not write here.
    let mut apt = Command::new("apt-get");
    apt.args([
        "--quiet",
        "--option",
        "APT::Sandbox::User=root",
        "download",
        package,
    ]);
    exec::output(apt.current_dir(directory)).map(drop)
}

/// Has apt look what there is now; whether it could, which takes root.
fn update() -> bool {
    println!("running: apt-get update");
    exec::output(Command::new("apt-get").args(["--quiet", "update"])).is_ok()
}
