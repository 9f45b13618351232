//! Interleaved measurements and their medians.

/// Medians of a number of things, measured in turns so that noise meets all of them alike.
pub(crate) fn interleaved<E>(
    rounds: usize,
    things: &mut [&mut dyn FnMut() -> Result<f64, E>],
) -> Result<Vec<f64>, E> {
    let mut samples = vec![Vec::with_capacity(rounds); things.len()];
    for _ in 0..rounds {
        for (thing, samples) in things.iter_mut().zip(&mut samples) {
            samples.push(thing()?);
        }
    }
    Ok(samples.into_iter().map(median).collect())
}

/// The middle one; 0 of none.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}
