//! What can go wrong between us and the kernel, each with the thing that it concerns.

use std::{io, path::PathBuf};

use aya::{
    EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError, tc::TcError},
};

/// An error of the kernel side.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The caller may not load BPF programs.
    #[error("loading BPF programs needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN)")]
    NotPermitted,
    /// The pin directory is not on a BPF file system.
    #[error("{path} is not on a BPF file system: mount -t bpf bpf /sys/fs/bpf")]
    NoBpffs {
        /// The pin directory.
        path: PathBuf,
    },
    /// Another process has the pin directory open.
    #[error("{path} is in use by another nwfilter process")]
    Busy {
        /// The pin directory.
        path: PathBuf,
    },
    /// The object could not be loaded at all.
    #[error("the kernel does not take the BPF object (Linux 6.1 or newer is needed)")]
    Load(#[source] Box<EbpfError>),
    /// A program was refused.
    #[error("the kernel does not take the program {program}")]
    Program {
        /// Its name.
        program: &'static str,
        /// The verifier's words, and the rest.
        #[source]
        source: Box<ProgramError>,
    },
    /// The object lacks something: it and this library are not of one build.
    #[error("the BPF object has no {0}")]
    Incomplete(&'static str),
    /// A map operation failed.
    #[error("cannot {action} the map {map}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: Box<MapError>,
    },
    /// A pin could not be made, read or removed.
    #[error("cannot pin {path}")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<PinError>,
    },
    /// A link could not be read from its pin.
    #[error("cannot take over the link {path}")]
    Link {
        /// The pin.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<LinkError>,
    },
    /// There is no such device in this network namespace.
    #[error("there is no network device {port}")]
    NoDevice {
        /// Its name.
        port: String,
    },
    /// The program could not be attached.
    #[error("cannot attach the filter to {port}")]
    Attach {
        /// The port.
        port: String,
        /// Why not.
        #[source]
        source: Box<ProgramError>,
    },
    /// Another queueing discipline is where clsact would be.
    #[error(
        "{port} has the queueing discipline `ingress`, which takes no filters of frames that enter the VM; \
         clsact would be in its place"
    )]
    NoClsact {
        /// The device.
        port: String,
    },
    /// The classifier queue could not be made.
    #[error("cannot add the clsact queueing discipline to {port}")]
    Qdisc {
        /// The port.
        port: String,
        /// Why not.
        #[source]
        source: Box<TcError>,
    },
    /// A table of the datapath is full.
    #[error("no room for {what}: the limit is {limit}")]
    Full {
        /// What there is no room for.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// A file operation below the pin directory failed.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A system call failed.
    #[error("{call} failed")]
    Syscall {
        /// Its name.
        call: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl KernelError {
    /// What the kernel says of a program.
    pub(super) fn program(program: &'static str, source: ProgramError) -> Self {
        Self::Program {
            program,
            source: Box::new(source),
        }
    }

    /// For `map_err` on map operations.
    pub(super) fn map(map: &'static str, action: &'static str) -> impl Fn(MapError) -> Self + Copy {
        move |source| Self::Map {
            map,
            action,
            source: Box::new(source),
        }
    }
}
