//! Attaching the classifier to both directions of a port: TCX links where the kernel has them, else
//! filters of a clsact queueing discipline.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::{FdLink, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
    },
};
use nwfilter_common::FrameDirection;

use super::{KernelError, object, sys};

/// How programs are attached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AttachMode {
    /// TCX if the kernel has it (Linux 6.6, or a backport: it is tried), else clsact.
    #[default]
    Auto,
    /// Only TCX.
    Tcx,
    /// Only clsact.
    Clsact,
}

/// Priority and handle of our clsact filters: before all others, and known to be ours.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 0x6e77);

const DIRECTIONS: [FrameDirection; 2] = [FrameDirection::In, FrameDirection::Out];

const fn attach_type(direction: FrameDirection) -> TcAttachType {
    match direction {
        FrameDirection::In => TcAttachType::Egress,
        FrameDirection::Out => TcAttachType::Ingress,
    }
}

/// A program attached to one direction of a port. Dropping it detaches, unless it is pinned or its
/// [`Attachment::keep`] was called.
#[derive(Debug)]
pub(super) enum Attachment {
    /// A link that nothing but this holds.
    Tcx(#[expect(dead_code, reason = "held for its drop")] FdLink),
    /// A link pinned at this path.
    Pinned(PathBuf),
    /// A filter.
    Clsact(SchedClassifierLink),
}

impl Attachment {
    /// Detaches.
    pub(super) fn detach(self) -> Result<(), KernelError> {
        match self {
            Self::Pinned(path) => match sys::detach_pinned_link(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => Err(KernelError::File {
                    action: "detach",
                    path,
                    source,
                }),
                _ => remove(&path),
            },
            Self::Tcx(_) => Ok(()),
            // Its device may be gone, and then so is the filter.
            Self::Clsact(link) => {
                drop(link);
                Ok(())
            }
        }
    }

    /// Whether it is on a device; `None` if that cannot be told.
    pub(super) fn is_on(&self, ifindex: u32) -> Option<bool> {
        match self {
            Self::Pinned(path) => {
                Some(sys::pinned_link_ifindex(path).is_ok_and(|on| on == ifindex))
            }
            Self::Tcx(_) | Self::Clsact(_) => None,
        }
    }

    /// Leaves the program attached when this process ends.
    pub(super) fn keep(self) {
        if let Self::Clsact(link) = self {
            std::mem::forget(link);
        }
    }
}

/// Gives the pins of a port the name that it has now.
pub(super) fn rename(attached: &mut [Attachment], port: &str) -> Result<(), KernelError> {
    for (attachment, direction) in attached.iter_mut().zip(DIRECTIONS) {
        if let Attachment::Pinned(path) = attachment {
            let links = path.parent().unwrap_or(path);
            let new = pin_path(links, port, direction);
            remove(&new)?;
            fs::rename(&*path, &new).map_err(|source| KernelError::File {
                action: "rename",
                path: path.clone(),
                source,
            })?;
            *path = new;
        }
    }
    Ok(())
}

/// Removes the pins of links that are not among those known.
pub(super) fn remove_strangers<'a>(
    links: &Path,
    known: impl Iterator<Item = &'a Attachment>,
) -> Result<(), KernelError> {
    let known: HashSet<&Path> = known
        .filter_map(|attachment| match attachment {
            Attachment::Pinned(path) => Some(path.as_path()),
            Attachment::Tcx(_) | Attachment::Clsact(_) => None,
        })
        .collect();
    let failed = |source| KernelError::File {
        action: "read",
        path: links.to_owned(),
        source,
    };
    for entry in fs::read_dir(links).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !known.contains(path.as_path()) {
            Attachment::Pinned(path).detach()?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), KernelError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(KernelError::File {
            action: "remove",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Path of the pin of a port's link. A dot may be in a device's name, but not in that of a pin.
fn pin_path(links: &Path, port: &str, direction: FrameDirection) -> PathBuf {
    let escaped = port.replace('%', "%25").replace('.', "%2e");
    let suffix = match direction {
        FrameDirection::In => "in",
        FrameDirection::Out => "out",
    };
    links.join(format!("{escaped}-{suffix}"))
}

/// Attaches both programs to a port, or takes over what is attached already. `links` is where links
/// are pinned, if they are.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    mode: AttachMode,
    links: Option<&Path>,
    port: &str,
    ifindex: u32,
) -> Result<Vec<Attachment>, KernelError> {
    let mut attached = Vec::new();
    for direction in DIRECTIONS {
        // On an error, dropping what is attached so far detaches it; pins are removed by hand.
        match attach_one(ebpf, mode, links, port, ifindex, direction) {
            Ok(attachment) => attached.push(attachment),
            Err(error) => {
                for attachment in attached {
                    attachment.detach()?;
                }
                return Err(error);
            }
        }
    }
    Ok(attached)
}

fn attach_one(
    ebpf: &mut Ebpf,
    mode: AttachMode,
    links: Option<&Path>,
    port: &str,
    ifindex: u32,
    direction: FrameDirection,
) -> Result<Attachment, KernelError> {
    let program = object::program(ebpf, object::program_name(direction))?;
    let pin = links.map(|links| pin_path(links, port, direction));
    if let Some(pin) = pin.as_ref().filter(|pin| pin.exists()) {
        if take_over(program, pin, port, ifindex)? {
            return Ok(Attachment::Pinned(pin.clone()));
        }
        // The link of a device that is gone.
        remove(pin)?;
    }
    let failed = |source: ProgramError| KernelError::Attach {
        port: port.to_owned(),
        source: Box::new(source),
    };
    if mode != AttachMode::Clsact {
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        match program.attach_with_options(port, attach_type(direction), first) {
            Ok(id) => {
                let link = program.take_link(id).map_err(failed)?;
                let link: FdLink = link.try_into().map_err(|source| KernelError::Link {
                    path: PathBuf::from(port),
                    source: Box::new(source),
                })?;
                let Some(pin) = pin else {
                    return Ok(Attachment::Tcx(link));
                };
                link.pin(&pin).map_err(|source| KernelError::Pin {
                    path: pin.clone(),
                    source: Box::new(source),
                })?;
                return Ok(Attachment::Pinned(pin));
            }
            // What a kernel without TCX says to an attach type that it does not know.
            Err(ProgramError::SyscallError(error))
                if mode == AttachMode::Auto
                    && error.io_error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    attach_clsact(program, port, direction)
}

/// Puts the program into a pinned link in place of the one there; false if the link is not on this
/// device.
fn take_over(
    program: &mut SchedClassifier,
    pin: &Path,
    port: &str,
    ifindex: u32,
) -> Result<bool, KernelError> {
    let of = sys::pinned_link_ifindex(pin).map_err(|source| KernelError::File {
        action: "read the link",
        path: pin.to_owned(),
        source,
    })?;
    if of != ifindex {
        return Ok(false);
    }
    let failed = |source| KernelError::Link {
        path: pin.to_owned(),
        source: Box::new(source),
    };
    let link = FdLink::from(PinnedLink::from_pin(pin).map_err(failed)?);
    let link: SchedClassifierLink = link.try_into().map_err(failed)?;
    let attach = |source| KernelError::Attach {
        port: port.to_owned(),
        source: Box::new(source),
    };
    let id = program.attach_to_link(link).map_err(attach)?;
    // The pin holds the link; this descriptor is not needed.
    program.take_link(id).map(drop).map_err(attach)?;
    Ok(true)
}

fn attach_clsact(
    program: &mut SchedClassifier,
    port: &str,
    direction: FrameDirection,
) -> Result<Attachment, KernelError> {
    let failed = |source: ProgramError| KernelError::Attach {
        port: port.to_owned(),
        source: Box::new(source),
    };
    match tc::qdisc_add_clsact(port) {
        Ok(()) => {}
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(source) => {
            return Err(KernelError::Qdisc {
                port: port.to_owned(),
                source: Box::new(source),
            });
        }
    }
    let options = NlOptions {
        priority: PRIORITY,
        handle: HANDLE,
        classid: None,
    };
    let options = TcAttachOptions::Netlink(options);
    let id = match program.attach_with_options(port, attach_type(direction), options) {
        Err(ProgramError::TcError(TcError::NetlinkError(error)))
            if error.raw_os_error() == Some(libc::EEXIST) =>
        {
            // Ours, of an earlier run: replace the program in it.
            let ours =
                SchedClassifierLink::attached(port, attach_type(direction), PRIORITY, HANDLE, None)
                    .map_err(|source| KernelError::Syscall {
                        call: "if_nametoindex",
                        source,
                    })?;
            program.attach_to_link(ours).map_err(failed)?
        }
        other => other.map_err(failed)?,
    };
    Ok(Attachment::Clsact(program.take_link(id).map_err(failed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_devices_have_different_pins() {
        let pin = |port| pin_path(Path::new("/p"), port, FrameDirection::In);
        assert_eq!(pin("eth0.1"), Path::new("/p/eth0%2e1-in"));
        assert_ne!(pin("eth0%2e1"), pin("eth0.1"));
    }
}
