//! The object: its maps, found again by their pins, and its programs.

use std::{fs, io, path::Path, time::Duration};

use aya::{
    Ebpf, EbpfError, EbpfLoader, TestRun as _, TestRunOptions, VerifierLogLevel,
    maps::{MapData, MapError, ProgramArray},
    programs::{ProgramError, SchedClassifier},
    util::nr_cpus,
};
use nwfilter_common::{FrameDirection, TALLIES, names};

use super::{KernelError, tables};

const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/nwfilter.o"));

const MAPS: [&str; 23] = [
    names::GLOBALS,
    names::PORT_HASH,
    names::PORTS,
    names::IMAGES,
    names::PAGES,
    names::COUNTERS,
    names::TALLIES,
    names::EVENTS,
    names::LEARNING,
    names::LEARN_LIMITS,
    names::SCRATCH,
    names::CONNECTIONS4,
    names::CONNECTIONS6,
    names::REMEMBERED,
    names::CHANGES,
    names::FRAGMENTS,
    names::TIMEOUTS,
    names::TRACKING,
    names::MEMBERS,
    names::COUNTS,
    names::ANSWERS,
    names::ANSWERERS,
    names::SETS,
];

/// All programs.
const PROGRAMS: [&str; 5] = [
    names::PROGRAM_IN,
    names::PROGRAM_OUT,
    names::PROGRAM_SWEEP,
    names::PROGRAM_ANSWER_IN,
    names::PROGRAM_ANSWER_OUT,
];

/// Result of running a program on a frame with `BPF_PROG_TEST_RUN`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Run {
    /// The TC action that the program returned.
    pub action: i32,
    /// Mean time of one run, to the nanosecond.
    pub duration: Duration,
}

/// Loads the object. With a pin directory, maps that are pinned there are used again and new ones
/// are pinned.
pub(super) fn load(pins: Option<&Path>) -> Result<Ebpf, KernelError> {
    let paths: Vec<_> = pins
        .iter()
        .flat_map(|pins| MAPS.iter().map(move |name| (*name, pins.join(name))))
        .collect();
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::STATS);
    let cpus = nr_cpus().map_err(|(_, source)| KernelError::File {
        action: "read",
        path: "/sys/devices/system/cpu/possible".into(),
        source,
    })?;
    loader.map_max_entries(names::TALLIES, (cpus * TALLIES) as u32);
    for (name, path) in &paths {
        loader.map_pin_path(name, path);
    }
    let mut ebpf = loader.load(OBJECT).map_err(|error| match error {
        EbpfError::MapError(MapError::CreateError { io_error, .. })
            if io_error.kind() == io::ErrorKind::PermissionDenied =>
        {
            KernelError::NotPermitted
        }
        error => KernelError::Load(Box::new(error)),
    })?;
    for name in PROGRAMS {
        let program = program(&mut ebpf, name)?;
        verify(program).map_err(|source| KernelError::program(name, source))?;
        if let Some(pins) = pins {
            // A new program each time: its code may be newer than that of the pinned one.
            let path = pins.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(KernelError::File {
                        action: "remove",
                        path,
                        source,
                    });
                }
                _ => program.pin(&path).map_err(|source| KernelError::Pin {
                    path,
                    source: Box::new(source),
                })?,
            }
        }
    }
    Ok(ebpf)
}

/// Has the kernel verify a program and take it. It gives that up when there is a signal for this thread, whatever
/// comes of the signal: also when the process was only stopped for a while.
fn verify(program: &mut SchedClassifier) -> Result<(), ProgramError> {
    /// So many signals are no accident.
    const ATTEMPTS: usize = 100;
    for _ in 1..ATTEMPTS {
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            other => return other,
        }
    }
    program.load()
}

/// Tells the programs which ones answer. The map must live as long as they are to do that.
pub(super) fn set_answerers(ebpf: &mut Ebpf) -> Result<ProgramArray<MapData>, KernelError> {
    let mut answerers: ProgramArray<MapData> = tables::take(ebpf, names::ANSWERERS)?;
    for (direction, name) in [
        (FrameDirection::In, names::PROGRAM_ANSWER_IN),
        (FrameDirection::Out, names::PROGRAM_ANSWER_OUT),
    ] {
        let fd = program(ebpf, name)?
            .fd()
            .map_err(|source| KernelError::program(name, source))?;
        answerers
            .set(direction as u32, fd, 0)
            .map_err(KernelError::map(names::ANSWERERS, "write"))?;
    }
    Ok(answerers)
}

/// Name of the program for a direction.
pub(super) const fn program_name(direction: FrameDirection) -> &'static str {
    match direction {
        FrameDirection::In => names::PROGRAM_IN,
        FrameDirection::Out => names::PROGRAM_OUT,
    }
}

/// A program by its name.
pub(super) fn program<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, KernelError> {
    let program = ebpf
        .program_mut(name)
        .ok_or(KernelError::Incomplete(name))?;
    program
        .try_into()
        .map_err(|source| KernelError::program(name, source))
}

/// For each program, what the verifier has looked at.
pub(super) fn verified_instructions(
    ebpf: &Ebpf,
) -> Result<Vec<(&'static str, Option<u32>)>, KernelError> {
    let verified = |name: &'static str| {
        let program = ebpf.program(name).ok_or(KernelError::Incomplete(name))?;
        let info = program.info();
        let info = info.map_err(|source| KernelError::program(name, source))?;
        Ok((name, info.verified_instruction_count()))
    };
    PROGRAMS.into_iter().map(verified).collect()
}

/// Runs a program on a frame as if it were at the hook of an interface.
pub(super) fn test_run(
    ebpf: &mut Ebpf,
    name: &'static str,
    ifindex: u32,
    frame: &[u8],
    repeat: u32,
) -> Result<Run, KernelError> {
    /// Offset of `ifindex` in `struct __sk_buff` (`linux/bpf.h`).
    const IFINDEX: usize = 40;
    let mut context = [0; IFINDEX + 4];
    context[IFINDEX..].copy_from_slice(&ifindex.to_ne_bytes());
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat,
        ..TestRunOptions::default()
    };
    let result = program(ebpf, name)?
        .test_run(options)
        .map_err(|source| KernelError::program(name, source))?;
    Ok(Run {
        action: result.return_value.cast_signed(),
        duration: result.duration,
    })
}

/// Removes dead connections and fragments from the tables.
pub(super) fn sweep(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    /// Loopback, which every network namespace has.
    const IFINDEX: u32 = 1;
    // The program looks at no frame, but is not run without one.
    test_run(ebpf, names::PROGRAM_SWEEP, IFINDEX, &[0; 64], 1)?;
    Ok(())
}
