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
        links::{FdLink, Link as _, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
    },
};
use nwfilter_common::FrameDirection;
use tracing::debug;

use super::{KernelError, object, sys, tc as filters};
use crate::fault;

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
const HANDLE_MINOR: u16 = 0x6e77;
const HANDLE: TcHandle = TcHandle::new(0, HANDLE_MINOR);

pub(super) const DIRECTIONS: [FrameDirection; 2] = [FrameDirection::In, FrameDirection::Out];

pub(super) const fn attach_type(direction: FrameDirection) -> TcAttachType {
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
    Tcx(FdLink),
    /// A link pinned at this path.
    Pinned(PathBuf),
    /// A filter.
    Clsact {
        link: SchedClassifierLink,
        direction: FrameDirection,
        /// Number of the program in it.
        program: u32,
    },
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
            Self::Tcx(link) => {
                // What fails here is done when the link is closed.
                if let Ok(info) = link.info() {
                    let _ = sys::detach_link(info.id());
                }
                Ok(())
            }
            // Its device may be gone, and then so is the filter.
            Self::Clsact { link, .. } => {
                drop(link);
                Ok(())
            }
        }
    }

    /// Whether it is on a device; `None` if that cannot be told.
    pub(super) fn is_on(&self, ifindex: u32) -> Option<bool> {
        match self {
            Self::Pinned(path) => Some(sys::pinned_link(path).is_ok_and(|(on, _)| on == ifindex)),
            Self::Tcx(_) => None,
            Self::Clsact {
                direction, program, ..
            } => {
                let there = filters::program(ifindex, *direction, PRIORITY, HANDLE_MINOR.into());
                there.ok().map(|there| there == Some(*program))
            }
        }
    }

    /// The way of attaching.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Tcx(_) | Self::Pinned(_) => "tcx",
            Self::Clsact { .. } => "clsact",
        }
    }

    /// Leaves the program attached when this process ends.
    pub(super) fn keep(self) {
        if let Self::Clsact { link, .. } = self {
            std::mem::forget(link);
        }
    }
}

/// Gives the pins of all links the names that their devices have now. Two devices may have swapped
/// theirs, so no pin takes the place of another before that has moved.
pub(super) fn settle(links: &Path) -> Result<(), KernelError> {
    let mut moved = Vec::new();
    for path in pins(links)? {
        let Ok((ifindex, direction)) = sys::pinned_link(&path) else {
            // None of ours. If it is in the way of a port, that port will say so.
            continue;
        };
        let Some(name) = sys::ifname(ifindex) else {
            continue;
        };
        let settled = pin_path(links, &name, direction);
        if settled != path {
            // No name of a device yields that of this pin.
            let away = links.join(format!("%{ifindex}%-{}", suffix(direction)));
            if away != path {
                fs::rename(&path, &away).map_err(file("rename", &path))?;
                fault::point();
            }
            moved.push((away, settled));
        }
    }
    for (away, settled) in moved {
        if settled.exists() {
            // Another link of the same device in the same direction.
            Attachment::Pinned(away).detach()?;
        } else {
            fs::rename(&away, &settled).map_err(file("rename", &away))?;
        }
        fault::point();
    }
    Ok(())
}

/// Where the links of a port are once [`settle`] has been there.
pub(super) fn follow(attached: &mut [Attachment], port: &str) {
    for (attachment, direction) in attached.iter_mut().zip(DIRECTIONS) {
        if let Attachment::Pinned(path) = attachment {
            let links = path.parent().unwrap_or(path);
            *path = pin_path(links, port, direction);
        }
    }
}

/// Removes the links that are neither among those attached nor of one of these ports.
pub(super) fn remove_strangers<'a>(
    links: &Path,
    ports: impl Iterator<Item = &'a String>,
    attached: impl Iterator<Item = &'a Attachment>,
) -> Result<(), KernelError> {
    let mut known: HashSet<PathBuf> = attached
        .filter_map(|attachment| match attachment {
            Attachment::Pinned(path) => Some(path.clone()),
            Attachment::Tcx(_) | Attachment::Clsact { .. } => None,
        })
        .collect();
    known.extend(ports.flat_map(|port| DIRECTIONS.map(|way| pin_path(links, port, way))));
    for path in pins(links)? {
        if !known.contains(&path) && sys::pinned_link(&path).is_ok() {
            Attachment::Pinned(path).detach()?;
        }
    }
    Ok(())
}

/// All pins of links.
fn pins(links: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let entries = fs::read_dir(links).map_err(file("read", links))?;
    let paths = entries.map(|entry| Ok(entry.map_err(file("read", links))?.path()));
    paths.collect()
}

/// For `map_err` on operations on files.
fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KernelError {
    let path = path.to_owned();
    move |source| KernelError::File {
        action,
        path,
        source,
    }
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
    links.join(format!("{escaped}-{}", suffix(direction)))
}

const fn suffix(direction: FrameDirection) -> &'static str {
    match direction {
        FrameDirection::In => "in",
        FrameDirection::Out => "out",
    }
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
    let mut new = Vec::new();
    for direction in DIRECTIONS {
        match attach_one(ebpf, mode, links, port, ifindex, direction) {
            Ok((attachment, is_new)) => {
                attached.push(attachment);
                new.push(is_new);
                fault::point();
            }
            Err(error) => {
                for (attachment, is_new) in attached.into_iter().zip(new) {
                    if is_new {
                        attachment.detach()?;
                    } else {
                        // It was in force before, and still is.
                        attachment.keep();
                    }
                }
                return Err(error);
            }
        }
    }
    Ok(attached)
}

/// Whether a filter is where ours is with clsact.
pub(super) fn is_filtered_by_clsact(ifindex: u32, direction: FrameDirection) -> bool {
    let program = filters::program(ifindex, direction, PRIORITY, HANDLE_MINOR.into());
    program.is_ok_and(|program| program.is_some())
}

/// Attaches again what is not on its device any more: each direction for itself, so that one is better
/// than none. Says in which it was needed.
pub(super) fn repair(
    ebpf: &mut Ebpf,
    mode: AttachMode,
    links: Option<&Path>,
    port: &str,
    ifindex: u32,
    attached: &mut [Attachment],
) -> Result<Vec<&'static str>, KernelError> {
    let mut repaired = Vec::new();
    let mut failed = None;
    for (attachment, direction) in attached.iter_mut().zip(DIRECTIONS) {
        if attachment.is_on(ifindex) != Some(false) {
            continue;
        }
        match attach_one(ebpf, mode, links, port, ifindex, direction) {
            Ok((new, _)) => {
                // The old one is gone, or is this one.
                std::mem::replace(attachment, new).keep();
                repaired.push(suffix(direction));
            }
            Err(error) => failed = Some(error),
        }
        fault::point();
    }
    failed.map_or(Ok(repaired), Err)
}

/// Attaches one program; also says whether there was none before.
fn attach_one(
    ebpf: &mut Ebpf,
    mode: AttachMode,
    links: Option<&Path>,
    port: &str,
    ifindex: u32,
    direction: FrameDirection,
) -> Result<(Attachment, bool), KernelError> {
    let program = object::program(ebpf, object::program_name(direction))?;
    let pin = links.map(|links| pin_path(links, port, direction));
    if let Some(pin) = pin.as_ref().filter(|pin| pin.exists()) {
        if take_over(program, pin, port, ifindex)? {
            return Ok((Attachment::Pinned(pin.clone()), false));
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
                remove_clsact(port, direction);
                let Some(pin) = pin else {
                    return Ok((Attachment::Tcx(link), true));
                };
                link.pin(&pin).map_err(|source| KernelError::Pin {
                    path: pin.clone(),
                    source: Box::new(source),
                })?;
                return Ok((Attachment::Pinned(pin), true));
            }
            // What a kernel without TCX says to an attach type that it does not know.
            Err(ProgramError::SyscallError(error))
                if mode == AttachMode::Auto
                    && error.io_error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    attach_clsact(program, port, ifindex, direction)
}

/// Puts the program into a pinned link in place of the one there; false if the link is not on this
/// device.
fn take_over(
    program: &mut SchedClassifier,
    pin: &Path,
    port: &str,
    ifindex: u32,
) -> Result<bool, KernelError> {
    let (of, _) = sys::pinned_link(pin).map_err(file("read the link", pin))?;
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
    ifindex: u32,
    direction: FrameDirection,
) -> Result<(Attachment, bool), KernelError> {
    let failed = |source: ProgramError| KernelError::Attach {
        port: port.to_owned(),
        source: Box::new(source),
    };
    match tc::qdisc_add_clsact(port) {
        Ok(()) => {}
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {
            // `ingress` takes filters for the other direction, too, and then has them in this one.
            if direction == FrameDirection::In && !filters::has_clsact(ifindex).unwrap_or(true) {
                return Err(KernelError::NoClsact {
                    port: port.to_owned(),
                });
            }
        }
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
    let mut is_new = true;
    let id = match program.attach_with_options(port, attach_type(direction), options) {
        Err(ProgramError::TcError(TcError::NetlinkError(error)))
            if error.raw_os_error() == Some(libc::EEXIST) =>
        {
            // Ours, of an earlier run: replace the program in it.
            is_new = false;
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
    let link = program.take_link(id).map_err(failed)?;
    let info = program.info().map_err(failed)?;
    let attachment = Attachment::Clsact {
        link,
        direction,
        program: info.id(),
    };
    Ok((attachment, is_new))
}

/// Removes our clsact filter, of a time when that was the way to attach; most often there is none.
fn remove_clsact(port: &str, direction: FrameDirection) {
    let ours = SchedClassifierLink::attached(port, attach_type(direction), PRIORITY, HANDLE, None);
    if let Ok(ours) = ours
        && ours.detach().is_ok()
    {
        debug!("{port}: attached by TCX, no longer by clsact");
    }
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
