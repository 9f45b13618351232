//! Interleaved measurements and their medians.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// Measurements of a number of things, by round.
#[derive(Debug, PartialEq)]
pub(crate) struct Samples(Vec<Vec<f64>>);

impl Samples {
    /// Median of one thing.
    pub(crate) fn median(&self, thing: usize) -> f64 {
        self.median_of(|round| round[thing])
    }

    /// Medians of all things.
    pub(crate) fn medians(&self) -> Vec<f64> {
        let things = self.0.first().map_or(0, Vec::len);
        (0..things).map(|thing| self.median(thing)).collect()
    }

    /// Median of what one thing takes beyond the first.
    pub(crate) fn net(&self, thing: usize) -> f64 {
        self.median_of(|round| round[thing] - round[0])
    }

    /// The same of one thing by that of another.
    pub(crate) fn net_ratio(&self, thing: usize, other: usize) -> f64 {
        self.median_of(|round| (round[thing] - round[0]) / (round[other] - round[0]))
    }

    /// Median of what a round's measurements come down to. A ratio is one of the same round, because
    /// the clock of the processor may be another in the next.
    pub(crate) fn median_of(&self, value: impl Fn(&[f64]) -> f64) -> f64 {
        median(self.0.iter().map(|round| value(round)).collect())
    }
}

/// Measures a number of things in turns, so that noise meets all of them alike.
pub(crate) fn interleaved<E>(
    rounds: usize,
    things: usize,
    mut measure: impl FnMut(usize) -> Result<f64, E>,
) -> Result<Samples, E> {
    let mut round = || (0..things).map(&mut measure).collect();
    let rounds: Result<_, E> = (0..rounds).map(|_| round()).collect();
    Ok(Samples(rounds?))
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
        let samples = interleaved(3, 2, |thing| {
            order.push(thing);
            Ok::<_, ()>([1.0, 2.0, 5.0, 6.0, 3.0, 9.0][order.len() - 1])
        });
        let samples = samples.unwrap();
        assert_eq!(samples.medians(), [3.0, 6.0]);
        let ratio = samples.median_of(|round| round[1] / round[0]);
        assert_eq!(vec![ratio], [2.0]);
        assert_eq!(order, [0, 1, 0, 1, 0, 1]);
    }
}
