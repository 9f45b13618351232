//! The address sets, which are all ports'.

use std::collections::BTreeSet;

use nwfilter_common::{SetKey, SetName};

use super::Datapath;
use crate::kernel::{KernelError, sets::Filled};

impl Datapath {
    /// Makes or replaces an address set, for all ports at the same instant. Each element comes with whether
    /// it is an exception.
    ///
    /// # Errors
    ///
    /// When there are too many sets or elements.
    pub fn replace_set(
        &mut self,
        name: SetName,
        elements: impl IntoIterator<Item = (SetKey, bool)>,
    ) -> Result<(), KernelError> {
        self.replace_sets(&[(name, Filled::new(elements)?)])
    }

    /// Makes or replaces address sets, one after the other, each for all ports at the same instant.
    ///
    /// # Errors
    ///
    /// When there are too many sets; then all are as they were.
    pub fn replace_sets(&mut self, sets: &[(SetName, Filled)]) -> Result<(), KernelError> {
        self.sets.replace(sets)
    }

    /// Adds an element to a set, with whether it is an exception, or removes one (`None`).
    ///
    /// # Errors
    ///
    /// When there is no such set, or no such element to remove.
    pub fn change_set(
        &mut self,
        name: SetName,
        key: &SetKey,
        exception: Option<bool>,
    ) -> Result<(), KernelError> {
        self.sets.change(name, key, exception)
    }

    /// Removes all address sets but these.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn retain_sets(&mut self, wanted: &BTreeSet<SetName>) -> Result<(), KernelError> {
        self.sets.retain(wanted)
    }
}
