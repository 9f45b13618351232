//! Shapes of bindings whose addresses may have to be learned. What is enforced meanwhile has a shape,
//! too, that all such ports share.

use std::net::IpAddr;

use super::{Shaped, Shapes};
use crate::{
    learn::{LearningError, plan},
    model::Binding,
    prepare::PrepareError,
    resolve::{FilterSource, ResolveError},
};

/// Bindings of a filter that lack the same variables.
#[derive(Clone, Debug)]
pub(super) struct Lack {
    /// Their variables by name, and the numbers of values.
    variables: Vec<(String, usize)>,
    error: ResolveError,
}

fn variables(binding: &Binding) -> impl Iterator<Item = (&str, usize)> {
    let parameters = binding.parameters.0.iter();
    parameters.map(|(name, values)| (name.as_str(), values.len()))
}

impl Shapes {
    /// Makes a binding ready, with the addresses of its VM that have been learned. All calls must be
    /// with the same filters.
    ///
    /// # Errors
    ///
    /// As [`Shapes::prepare`]; also what will keep its filter from being built once the addresses are
    /// known.
    pub fn prepare_learning(
        &mut self,
        binding: &Binding,
        filters: &dyn FilterSource,
        learned: &[IpAddr],
    ) -> Result<Shaped, LearningError> {
        let known = self.lack(binding);
        let error = match known {
            Some(ref error) => error.clone(),
            None => match self.prepare(binding, filters) {
                Err(PrepareError::Resolve(error)) => error,
                done => return Ok(done?),
            },
        };
        let Some(plan) = plan(binding, &error, learned)? else {
            return Err(PrepareError::from(error).into());
        };
        if known.is_none() {
            let same = self.lacking.entry(binding.filter.clone()).or_default();
            let variables = variables(binding).map(|(name, count)| (name.to_owned(), count));
            same.push(Lack {
                variables: variables.collect(),
                error,
            });
        }
        let mut own = self.prepare(&plan.complete, filters)?;
        own.learn = plan.learn;
        let Some(learning) = plan.learning else {
            return Ok(own);
        };
        let mut shaped = self.prepare(&learning.binding, &learning)?;
        shaped.learn = plan.learn;
        shaped.own = Some(own.shape);
        Ok(shaped)
    }

    /// What a binding lacks, if another one was found to lack the same.
    fn lack(&self, binding: &Binding) -> Option<ResolveError> {
        let mut same = self.lacking.get(&binding.filter)?.iter();
        let own = |lack: &&Lack| {
            let others = lack.variables.iter();
            variables(binding).eq(others.map(|(name, count)| (name.as_str(), *count)))
        };
        same.find(own).map(|lack| lack.error.clone())
    }
}
