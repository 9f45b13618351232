//! What the kernel can do and who else is attached, found out by trying. Changes nothing.

use std::io;

use aya::{
    maps::{Array, MapData, MapError},
    programs::{ProgramError, SchedClassifier},
};
use nwfilter_common::names;

use super::{
    attach::{DIRECTIONS, attach_type, is_filtered_by_clsact},
    sys,
};

/// Whether this process may make a BPF map; else why not.
///
/// # Errors
///
/// What the kernel says.
pub fn maps() -> Result<(), String> {
    match Array::<MapData, u32>::create(1, 0) {
        Ok(_) => Ok(()),
        Err(MapError::CreateError { io_error, .. }) => Err(io_error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// The programs at the TCX hooks of a device, in the order in which they run: first those for frames
/// that enter the VM, then those for frames that leave it. `None` where there are no such hooks, or
/// where they cannot be asked.
pub fn tcx(device: &str) -> Option<[Vec<String>; 2]> {
    let mut programs = [vec![], vec![]];
    for (direction, programs) in DIRECTIONS.into_iter().zip(&mut programs) {
        let (_, found) = SchedClassifier::query_tcx(device, attach_type(direction)).ok()?;
        let name = |name: Option<&str>| name.unwrap_or("without a name").to_owned();
        programs.extend(found.iter().map(|program| name(program.name_as_str())));
    }
    Some(programs)
}

/// Whether our clsact filters are on a device, in the same order. What is at its TCX hooks runs before
/// them.
pub fn clsact(device: &str) -> [bool; 2] {
    DIRECTIONS.map(|direction| {
        sys::ifindex(device).is_some_and(|ifindex| is_filtered_by_clsact(ifindex, direction))
    })
}

/// Whether there are TCX hooks; an error if that cannot be told.
///
/// # Errors
///
/// Most likely that this process may not ask.
pub fn has_tcx() -> io::Result<bool> {
    match SchedClassifier::query_tcx("lo", attach_type(DIRECTIONS[0])) {
        Ok(_) => Ok(true),
        Err(ProgramError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::EINVAL) =>
        {
            Ok(false)
        }
        Err(ProgramError::SyscallError(error)) => Err(error.io_error),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Whether a program of that name is ours. The kernel keeps no more than 15 bytes of a name.
pub fn is_ours(program: &str) -> bool {
    [names::PROGRAM_IN, names::PROGRAM_OUT].contains(&program)
}
