//! The pin directory: one process has it, and this version's maps are in a directory of their own.

use std::{
    fs::{self, TryLockError},
    io,
    path::{Path, PathBuf},
};

use nwfilter_common::ABI_VERSION;

use crate::kernel::{KernelError, sys};

pub(super) fn links_dir(pins: &Path) -> PathBuf {
    pins.join("links")
}

/// Makes sure that nobody else changes what is pinned. A directory can be locked although it is on
/// a BPF file system, which has no files to write to.
pub(super) fn lock_pins(pins: &Path) -> Result<fs::File, KernelError> {
    let failed = |source| KernelError::File {
        action: "lock",
        path: pins.to_owned(),
        source,
    };
    let directory = fs::File::open(pins).map_err(failed)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(KernelError::Busy {
            path: pins.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes the pin directory and returns that of this version's maps.
pub(super) fn prepare_pins(pins: &Path) -> Result<PathBuf, KernelError> {
    let maps = pins.join(format!("v{ABI_VERSION}"));
    let existing = pins.ancestors().find(|path| path.exists()).unwrap_or(pins);
    let on_bpffs = sys::is_bpffs(existing).map_err(|source| KernelError::File {
        action: "examine",
        path: existing.to_owned(),
        source,
    })?;
    if !on_bpffs {
        return Err(KernelError::NoBpffs {
            path: pins.to_owned(),
        });
    }
    for path in [&maps, &links_dir(pins)] {
        fs::create_dir_all(path).map_err(|source| {
            if source.kind() == io::ErrorKind::PermissionDenied {
                KernelError::NotPermitted
            } else {
                KernelError::File {
                    action: "create",
                    path: path.clone(),
                    source,
                }
            }
        })?;
    }
    Ok(maps)
}

/// Removes the maps of other versions of the layout, which nobody uses any more.
pub(super) fn remove_other_versions(pins: &Path) -> Result<(), KernelError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| KernelError::File {
            action,
            path,
            source,
        }
    };
    let own = format!("v{ABI_VERSION}");
    for entry in fs::read_dir(pins).map_err(failed("read", pins))? {
        let entry = entry.map_err(failed("read", pins))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let version = name.strip_prefix('v');
        if version.is_some_and(|version| version.parse::<u32>().is_ok()) && name != own {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}
