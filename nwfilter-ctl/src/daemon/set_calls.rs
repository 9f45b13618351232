//! Calls about address sets. What is acknowledged is on disk and in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
    sync::Arc,
};

use nwfilter_common::{MAX_SETS, SetName};
use serde_json::Value;
use tracing::warn;

use super::{
    DaemonError,
    api::{ApiError, ErrorKind, SetInfo},
    control::Control,
    error::chain,
    set_change::{NewSet, with, without},
};
use crate::{
    address_set::{self, AddressSet, Element, SetError, set_name},
    fault,
    kernel::{Filled, KernelError},
};

pub(super) fn invalid(error: &SetError) -> ApiError {
    ApiError::new(ErrorKind::Invalid, error.to_string())
}

pub(super) fn kernel(error: &KernelError) -> ApiError {
    ApiError::new(ErrorKind::Kernel, chain(error))
}

impl Control {
    /// Reads all sets and puts into force those that are others than before; at the start, all of them.
    pub(super) fn load_sets(&mut self) -> Result<(), DaemonError> {
        let loaded = self
            .set_files
            .load()
            .map_err(DaemonError::file("read", self.config.sets_dir()))?;
        let mut sets = BTreeMap::new();
        let mut broken = BTreeMap::new();
        let mut changed = Vec::new();
        for (name, set) in loaded {
            match set {
                Ok(set) => {
                    let before = self.sets.get(&name).filter(|before| ***before == set);
                    if before.is_none()
                        && let Ok(key) = set_name(&name)
                    {
                        changed.push((key, Filled::new(set.keys())?));
                    }
                    // One that is as before is the same one, for changes that are at work.
                    let set = before.cloned().unwrap_or_else(|| Arc::new(set));
                    sets.insert(name, set);
                }
                Err(error) => {
                    warn!("set {name} cannot be used and stays as it is: {error}");
                    broken.insert(name, error);
                }
            }
        }
        self.datapath.replace_sets(&changed)?;
        (self.sets, self.broken_sets) = (sets, broken);
        self.datapath.retain_sets(&self.set_names())?;
        Ok(())
    }

    /// The sets that there are to be in the kernel, also those of which nothing else is known.
    fn set_names(&self) -> BTreeSet<SetName> {
        let names = self.sets.keys().chain(self.broken_sets.keys());
        names.filter_map(|name| set_name(name).ok()).collect()
    }

    /// Whether a set of this name can be made.
    pub(super) fn check_new_set(&self, name: &str) -> Result<(), ApiError> {
        let exists = |message| Err(ApiError::new(ErrorKind::Exists, message));
        if self.sets.contains_key(name) {
            return exists(format!("there is a set `{name}` already"));
        }
        match self.broken_sets.get(name) {
            Some(error) => exists(unusable(name, error)),
            None => Ok(()),
        }
    }

    /// Saves sets and puts them into force, all or none.
    pub(super) fn replace_sets(&mut self, sets: Vec<NewSet>) -> Result<Vec<SetInfo>, ApiError> {
        let mut names = self.set_names();
        names.extend(sets.iter().map(|set| set.filled.0));
        if names.len() > MAX_SETS {
            let full = KernelError::Full {
                what: "another set",
                limit: MAX_SETS,
            };
            return Err(kernel(&full));
        }
        fault::point();
        let files: Vec<(&str, &AddressSet)> = sets
            .iter()
            .map(|set| (set.name.as_str(), &set.set))
            .collect();
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        let saved = self.set_files.save_all(&files);
        saved.map_err(|error| storage(&names.join(", "), &error))?;
        let (sets, filled): (Vec<_>, Vec<_>) = sets
            .into_iter()
            .map(|set| ((set.name, set.set), set.filled))
            .unzip();
        if let Err(error) = self.datapath.replace_sets(&filled) {
            for (name, _) in &sets {
                self.restore_set(name);
            }
            return Err(kernel(&error));
        }
        fault::point();
        let kept = sets.into_iter();
        Ok(kept.map(|(name, set)| self.keep_set(&name, set)).collect())
    }

    pub(super) fn destroy_set(&mut self, name: &str) -> Result<Value, ApiError> {
        if !self.broken_sets.contains_key(name) {
            self.find_set(name)?;
        }
        let removed = self.set_files.remove(name);
        removed.map_err(|error| storage(name, &error))?;
        self.sets.remove(name);
        self.broken_sets.remove(name);
        let retained = self.datapath.retain_sets(&self.set_names());
        retained.map_err(|error| kernel(&error))?;
        Ok(Value::Null)
    }

    /// Adds one element to a set.
    pub(super) fn add_to_set(&mut self, name: &str, element: &String) -> Result<SetInfo, ApiError> {
        let set = with(Some(&*self.find_set(name)?), slice::from_ref(element))?;
        let (element, exception) = address_set::entry(element).map_err(|error| invalid(&error))?;
        self.change_set(name, set, &element, Some(exception))
    }

    /// Removes one element from a set.
    pub(super) fn remove_from_set(
        &mut self,
        name: &str,
        element: &String,
    ) -> Result<SetInfo, ApiError> {
        let set = without(name, Some(&*self.find_set(name)?), slice::from_ref(element))?;
        let element: Element = element.parse().map_err(|error| invalid(&error))?;
        self.change_set(name, set, &element, None)
    }

    pub(super) fn list_sets(&self) -> Vec<SetInfo> {
        let sets = self.sets.iter();
        let sets = sets.map(|(name, set)| info(name, set));
        sets.chain(self.problems_of_sets()).collect()
    }

    /// Sets whose files cannot be used.
    pub(super) fn problems_of_sets(&self) -> impl Iterator<Item = SetInfo> {
        let broken = self.broken_sets.iter();
        broken.map(|(name, error)| SetInfo {
            name: name.clone(),
            elements: 0,
            problem: Some(error.clone()),
        })
    }

    pub(super) fn show_set(&self, name: &str) -> Result<Vec<String>, ApiError> {
        Ok(self.find_set(name)?.lines().collect())
    }

    pub(super) fn find_set(&self, name: &str) -> Result<Arc<AddressSet>, ApiError> {
        if let Some(error) = self.broken_sets.get(name) {
            return Err(ApiError::new(ErrorKind::Invalid, unusable(name, error)));
        }
        let message = || format!("there is no set `{name}`");
        let set = self.sets.get(name).cloned();
        set.ok_or_else(|| ApiError::new(ErrorKind::NotFound, message()))
    }

    /// Saves a set and puts it into force, where only one element is another than before: that costs the
    /// same however large
    /// the set is in the kernel.
    fn change_set(
        &mut self,
        name: &str,
        set: AddressSet,
        element: &Element,
        exception: Option<bool>,
    ) -> Result<SetInfo, ApiError> {
        let key = set_name(name).map_err(|error| invalid(&error))?;
        let saved = self.set_files.save(name, &set);
        saved.map_err(|error| storage(name, &error))?;
        if let Err(error) = self.datapath.change_set(key, &element.key(), exception) {
            self.restore_set(name);
            return Err(kernel(&error));
        }
        fault::point();
        Ok(self.keep_set(name, set))
    }

    /// Saves again what was there before.
    fn restore_set(&self, name: &str) {
        let restored = match self.sets.get(name) {
            Some(before) => self.set_files.save(name, before),
            // What it was before made no sense; at least the next start has a set then.
            None if self.broken_sets.contains_key(name) => Ok(()),
            None => self.set_files.remove(name),
        };
        if let Err(error) = restored {
            warn!("the file of set {name} is not what is in force: {error}");
        }
    }

    fn keep_set(&mut self, name: &str, set: AddressSet) -> SetInfo {
        let info = info(name, &set);
        self.sets.insert(name.to_owned(), Arc::new(set));
        self.broken_sets.remove(name);
        info
    }
}

fn unusable(name: &str, error: &str) -> String {
    format!(
        "the file of the set `{name}` cannot be used: {error}; repair it and reload, or destroy the set"
    )
}

fn info(name: &str, set: &AddressSet) -> SetInfo {
    SetInfo {
        name: name.to_owned(),
        elements: set.len(),
        problem: None,
    }
}

fn storage(name: &str, error: &std::io::Error) -> ApiError {
    let message = format!("the set `{name}` cannot be saved: {error}");
    ApiError::new(ErrorKind::Storage, message)
}
