//! The same decisions from the program in the kernel, loaded for this call only and bound to the
//! loopback device of a network namespace of its own: nothing of the host is touched.

use std::{error::Error, io, thread};

use nix::sched::{CloneFlags, unshare};
use nwfilter_common::{Counter, FAULT_COUNTERS, Fault, FrameDirection, LeafVerdict, TableLayer};

use super::{
    super::{CliError, load::Loaded},
    capture::Frame,
    judge::{By, Decision},
};
use crate::{
    compile::{Compiled, Entry, Outcome},
    kernel::{Change, Datapath, KernelError, Options},
};

/// Every network namespace has this device.
const PORT: &str = "lo";

/// TC actions that let a frame pass (`linux/pkt_cls.h`).
const TC_ACT_UNSPEC: i32 = -1;
const TC_ACT_OK: i32 = 0;
const TC_ACT_PIPE: i32 = 3;

/// Runs frames in order. `None` stands for a frame that the kernel cannot be given.
pub(super) fn decide_all(
    loaded: &Loaded,
    frames: &[(FrameDirection, Frame)],
) -> Result<Vec<Option<Decision>>, CliError> {
    let prepared = &loaded.prepared;
    // A namespace belongs to a thread; this one is gone afterwards.
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| CliError::Namespace(error.into()))?;
        let mut datapath = Datapath::open(Options::default())?;
        for (name, set) in &loaded.sets {
            datapath.replace_set(*name, set.keys())?;
        }
        datapath.apply(&[Change::Bind(prepared.bind(PORT))])?;
        frames
            .iter()
            .map(|(direction, frame)| {
                match decide(&mut datapath, &prepared.compiled, *direction, &frame.data) {
                    Err(CliError::Kernel(error)) if is_refusal(&error) => Ok(None),
                    decision => decision.map(Some),
                }
            })
            .collect()
    };
    thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|_| Err(CliError::Namespace(io::Error::other("the thread panicked"))))
}

/// Whether `BPF_PROG_TEST_RUN` does not take the frame: without whole headers of Ethernet and IP, or
/// when it does not fit a page.
fn is_refusal(error: &KernelError) -> bool {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.raw_os_error() == Some(libc::EINVAL)) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn decide(
    datapath: &mut Datapath,
    compiled: &Compiled,
    direction: FrameDirection,
    frame: &[u8],
) -> Result<Decision, CliError> {
    let before = datapath.counters(PORT)?;
    let action = datapath.test_run(PORT, direction, frame, 1)?.action;
    let after = datapath.counters(PORT)?;
    let moved: Vec<u32> = moved(&before, &after).collect();
    let passes = matches!(action, TC_ACT_UNSPEC | TC_ACT_OK | TC_ACT_PIPE);
    let fault = |number: &u32| *number < FAULT_COUNTERS;
    if let Some(number) = moved.iter().find(|number| fault(number)) {
        let fault = Fault::ALL
            .into_iter()
            .find(|fault| *fault as u32 == *number);
        return Ok(dropped_by(fault.unwrap_or(Fault::BadImage)));
    }
    // The layer that decided last is the one with the larger number.
    let deciding = moved
        .iter()
        .map(|number| number - FAULT_COUNTERS)
        .map(|entry| (layer_of(compiled, direction, entry), entry))
        .max();
    let Some((layer, entry)) = deciding else {
        return Ok(dropped_by(Fault::NoRecord));
    };
    let verdict = match passes {
        true => LeafVerdict::Accept,
        false if rejects(compiled, direction, layer, entry) => LeafVerdict::Reject,
        false => LeafVerdict::Drop,
    };
    Ok(Decision {
        verdict,
        by: By::Entry(layer, entry),
    })
}

const fn dropped_by(fault: Fault) -> Decision {
    Decision {
        verdict: LeafVerdict::Drop,
        by: By::Fault(fault),
    }
}

/// The counters that have counted something.
fn moved(before: &[Counter], after: &[Counter]) -> impl Iterator<Item = u32> {
    (0..)
        .zip(before.iter().zip(after))
        .filter(|(_, (before, after))| before.packets != after.packets)
        .map(|(number, _)| number)
}

fn layer_of(compiled: &Compiled, direction: FrameDirection, entry: u32) -> TableLayer {
    match compiled.entries.get(entry as usize) {
        Some(Entry::EndOfLayer(layer) | Entry::Missing(layer)) => *layer,
        Some(Entry::EndOfChain(_)) | None => TableLayer::Ethernet,
        Some(Entry::Rule(_)) => {
            let inet = &compiled.lists[&(direction, TableLayer::Inet)];
            if inet.iter().any(|rule| rule.entry == entry) {
                TableLayer::Inet
            } else {
                TableLayer::Ethernet
            }
        }
    }
}

fn rejects(compiled: &Compiled, direction: FrameDirection, layer: TableLayer, entry: u32) -> bool {
    compiled.lists[&(direction, layer)]
        .iter()
        .any(|rule| rule.entry == entry && rule.outcome == Outcome::Decide(LeafVerdict::Reject))
}
