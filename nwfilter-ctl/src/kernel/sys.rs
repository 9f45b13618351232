//! The few system calls that aya does not wrap.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info};
use nwfilter_common::FrameDirection;

use super::KernelError;

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS_MAGIC: libc::c_long = 0xcafe_4a11;

/// Whether the path is on a BPF file system.
pub(super) fn is_bpffs(path: &Path) -> io::Result<bool> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is a C string and `stat` is writable memory of the right type.
    if unsafe { libc::statfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled the structure.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_type == BPF_FS_MAGIC)
}

/// Index of a device in this network namespace; `None` if there is none of that name.
pub fn ifindex(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a C string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}

/// Name of a device in this network namespace.
pub fn ifname(ifindex: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call asks for.
    if unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) }.is_null() {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&name).ok()?;
    Some(OsStr::from_bytes(name.to_bytes()).to_str()?.to_owned())
}

/// Interface index of the pinned TCX link, 0 when its device is not in this network namespace any more,
/// and its direction.
pub(super) fn pinned_link(pin: &Path) -> io::Result<(u32, FrameDirection)> {
    let link = pinned(pin)?;
    // SAFETY: plain data, for which all zero bytes are valid.
    let mut info: bpf_link_info = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut attr = zeroed_attr();
    attr.info.bpf_fd = link.as_raw_fd().cast_unsigned();
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    attr.info.info = &raw mut info as u64;
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which lives.
    unsafe { bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &attr) }?;
    // SAFETY: integers, whatever kind of link it is.
    let tcx = unsafe { info.__bindgen_anon_1.tcx };
    let direction = if tcx.attach_type == bpf_attach_type::BPF_TCX_EGRESS as u32 {
        FrameDirection::In
    } else {
        FrameDirection::Out
    };
    // The index is that in the namespace where the device is now.
    let is_here = tcx.ifindex != 0 && is_at(tcx.ifindex, tcx.attach_type, info.id);
    Ok((if is_here { tcx.ifindex } else { 0 }, direction))
}

/// Whether a link is among those of a device of this network namespace.
fn is_at(ifindex: u32, attach_type: u32, link: u32) -> bool {
    /// Most programs at a hook (`BPF_MPROG_MAX` of the kernel's `linux/bpf_mprog.h`).
    const MOST: usize = 64;
    let mut programs = [0_u32; MOST];
    let mut links = [0_u32; MOST];
    let mut attr = zeroed_attr();
    attr.query.__bindgen_anon_1.target_ifindex = ifindex;
    attr.query.attach_type = attach_type;
    attr.query.prog_ids = &raw mut programs as u64;
    attr.query.link_ids = &raw mut links as u64;
    attr.query.__bindgen_anon_2.count = MOST as u32;
    // SAFETY: the kernel writes at most `count` words to each list, and both live.
    let asked = unsafe { bpf(bpf_cmd::BPF_PROG_QUERY, &attr) };
    asked.is_ok() && links.contains(&link)
}

/// Takes the pinned link off its device, now. Removing its pin does that, too, but some time later:
/// the kernel leaves it to a worker what the last reference to a link does when it goes.
pub(super) fn detach_pinned_link(pin: &Path) -> io::Result<()> {
    detach(&pinned(pin)?)
}

/// Takes the link of this number off its device, now. Closing its descriptor does that, too, but not
/// before a process that was forked meanwhile has run its program: until then it has a copy.
pub(super) fn detach_link(id: u32) -> io::Result<()> {
    let mut attr = zeroed_attr();
    attr.__bindgen_anon_6.__bindgen_anon_1.link_id = id;
    // SAFETY: the attributes are those of the command, without pointers.
    let fd = unsafe { bpf(bpf_cmd::BPF_LINK_GET_FD_BY_ID, &attr) }?;
    // SAFETY: the call returned a descriptor that nobody else owns.
    detach(&unsafe { OwnedFd::from_raw_fd(fd) })
}

fn detach(link: &OwnedFd) -> io::Result<()> {
    let mut attr = zeroed_attr();
    attr.link_detach.link_fd = link.as_raw_fd().cast_unsigned();
    // SAFETY: the attributes are those of the command, without pointers.
    unsafe { bpf(bpf_cmd::BPF_LINK_DETACH, &attr) }.map(drop)
}

/// Opens what is pinned.
fn pinned(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut attr = zeroed_attr();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    // SAFETY: the path is a C string that lives until the call returns.
    let fd = unsafe { bpf(bpf_cmd::BPF_OBJ_GET, &attr) }?;
    // SAFETY: the call returned a descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn zeroed_attr() -> bpf_attr {
    // SAFETY: plain data, for which all zero bytes are valid.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// bpf(2).
///
/// # Safety
///
/// The pointers in `attr` are what the command asks for.
unsafe fn bpf(command: bpf_cmd, attr: &bpf_attr) -> io::Result<i32> {
    // SAFETY: the caller vouches for the attributes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            &raw const *attr,
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}

/// Waits until every program that was running when the call was made has returned.
///
/// `MEMBARRIER_CMD_GLOBAL` is `synchronize_rcu()` in the kernel (`kernel/sched/membarrier.c`), and
/// programs at TC hooks run inside an RCU read-side section.
pub(super) fn wait_for_programs() -> Result<(), KernelError> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes no pointers.
    match unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } {
        0 => Ok(()),
        _ => Err(KernelError::Syscall {
            call: "membarrier",
            source: io::Error::last_os_error(),
        }),
    }
}
