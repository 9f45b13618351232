//! Interleaved measurements and their medians.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// Medians of a number of things, measured in turns so that noise meets all of them alike.
pub(crate) fn interleaved<E>(
    rounds: usize,
    things: usize,
    mut measure: impl FnMut(usize) -> Result<f64, E>,
) -> Result<Vec<f64>, E> {
    let mut samples = vec![Vec::with_capacity(rounds); things];
    for _ in 0..rounds {
        for (thing, samples) in samples.iter_mut().enumerate() {
            samples.push(measure(thing)?);
        }
    }
    Ok(samples.into_iter().map(median).collect())
}

/// The middle one; 0 of none.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}

/// Keeps this thread, and those that it starts, on one CPU: the last that it may use, because the
/// first is where most interrupts are.
pub(crate) fn pin() -> Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).context("ask for the CPUs")?;
    let mut cpus = (0..CpuSet::count()).rev();
    let last = cpus.find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.context("no CPU")?)?;
    sched_setaffinity(this, &one).context("stay on one CPU")
}

/// Of this thread: it does not go on while others have the CPU.
pub(crate) fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_measured_in_turns() {
        let mut order = Vec::new();
        let medians = interleaved(3, 2, |thing| {
            order.push(thing);
            Ok::<_, ()>([1.0, 2.0, 5.0, 6.0, 3.0, 4.0][order.len() - 1])
        });
        assert_eq!(medians, Ok(vec![3.0, 4.0]));
        assert_eq!(order, [0, 1, 0, 1, 0, 1]);
    }
}
