//! One iterator of a rule: its variables advance in parallel, over lists of equal length, and a tuple
//! of values that was there before is skipped.

use std::collections::HashMap;
use std::rc::Rc;

use super::{ResolveError, Site};

/// What an iterator walks over: the indices of each step. More than one only where negated tests
/// must hold for several values at once.
pub(super) type Rows = Rc<[Vec<u32>]>;

/// A variable that has values.
#[derive(Clone, Copy)]
pub(super) struct Variable<'a> {
    pub(super) name: &'a str,
    pub(super) values: &'a [String],
}

/// An iterator of a rule.
pub(super) struct Lockstep<'a> {
    pub(super) id: u16,
    /// The variables that it walks, each once; true where at least one test that is not negated
    /// reads it.
    variables: Vec<(Variable<'a>, bool)>,
}

impl<'a> Lockstep<'a> {
    pub(super) fn new(id: u16) -> Self {
        Self {
            id,
            variables: Vec::new(),
        }
    }

    /// Adds a variable that is read by a test.
    pub(super) fn add(
        &mut self,
        variable: Variable<'a>,
        positive: bool,
        site: impl FnOnce() -> Site,
    ) -> Result<(), ResolveError> {
        let known = self
            .variables
            .iter_mut()
            .find(|(other, _)| other.name == variable.name);
        if let Some((_, is_positive)) = known {
            *is_positive |= positive;
            return Ok(());
        }
        if let Some((first, _)) = self.variables.first()
            && first.values.len() != variable.values.len()
        {
            return Err(ResolveError::Cardinality {
                site: Box::new(site()),
                iterator: self.id,
                first: (first.name.into(), first.values.len()),
                second: (variable.name.into(), variable.values.len()),
            });
        }
        self.variables.push((variable, positive));
        Ok(())
    }

    /// What the steps depend on within a scope.
    pub(super) fn key(&self) -> Vec<(&'a str, bool)> {
        let key = self.variables.iter();
        key.map(|(variable, positive)| (variable.name, *positive))
            .collect()
    }

    /// One step for each different tuple of the values that positive tests read, in order of first
    /// appearance. In libvirt's reading every test counts as positive, so each step stands for a
    /// single tuple; in the strict one the values that only negated tests read are collected, and
    /// none of them may match.
    pub(super) fn steps(&self) -> Rows {
        let first = self.variables.first();
        let length = first.map_or(0, |(variable, _)| variable.values.len());
        let mut rows: Vec<Vec<u32>> = Vec::new();
        let mut seen: HashMap<Vec<&str>, usize> = HashMap::new();
        for index in 0..length {
            let positive = self.variables.iter().filter(|(_, positive)| *positive);
            let tuple = positive.map(|(variable, _)| variable.values[index].as_str());
            let row = *seen.entry(tuple.collect()).or_insert_with(|| {
                rows.push(Vec::new());
                rows.len() - 1
            });
            rows[row].push(index as u32);
        }
        rows.into()
    }
}
