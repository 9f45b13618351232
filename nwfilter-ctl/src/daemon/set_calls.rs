//! Calls about address sets. What is acknowledged is on disk and in force.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tracing::warn;

use super::{
    DaemonError,
    api::{ApiError, ErrorKind, SetInfo},
    control::Control,
    error::chain,
};
use crate::{
    address_set::{self, AddressSet, Element, SetError, set_name},
    kernel::KernelError,
};

fn invalid(error: &SetError) -> ApiError {
    ApiError::new(ErrorKind::Invalid, error.to_string())
}

fn kernel(error: &KernelError) -> ApiError {
    ApiError::new(ErrorKind::Kernel, chain(error))
}

impl Control {
    /// Reads all sets and puts them into force.
    pub(super) fn load_sets(&mut self) -> Result<(), DaemonError> {
        let loaded = self
            .set_files
            .load()
            .map_err(DaemonError::file("read", self.config.sets_dir()))?;
        let mut known = BTreeSet::new();
        for (name, set) in loaded {
            let Ok(key) = set_name(&name) else { continue };
            known.insert(key);
            match set {
                Ok(set) => {
                    self.datapath.replace_set(key, set.keys())?;
                    self.sets.insert(name, set);
                }
                Err(error) => warn!("set {name} cannot be used and stays as it is: {error}"),
            }
        }
        self.datapath.retain_sets(&known)?;
        Ok(())
    }

    pub(super) fn create_set(
        &mut self,
        name: &str,
        elements: &[String],
    ) -> Result<SetInfo, ApiError> {
        if self.sets.contains_key(name) {
            let message = format!("there is a set `{name}` already");
            return Err(ApiError::new(ErrorKind::Exists, message));
        }
        let set = new_set(name, elements)?;
        self.replace_set(name, set)
    }

    pub(super) fn import_sets(
        &mut self,
        sets: &BTreeMap<String, Vec<String>>,
    ) -> Result<Vec<SetInfo>, ApiError> {
        let made: Result<Vec<_>, ApiError> = sets
            .iter()
            .map(|(name, elements)| Ok((name, new_set(name, elements)?)))
            .collect();
        made?
            .into_iter()
            .map(|(name, set)| self.replace_set(name, set))
            .collect()
    }

    pub(super) fn destroy_set(&mut self, name: &str) -> Result<Value, ApiError> {
        self.find_set(name)?;
        let removed = self.set_files.remove(name);
        removed.map_err(|error| storage(name, &error))?;
        self.sets.remove(name);
        let names = self.sets.keys().filter_map(|name| set_name(name).ok());
        let wanted = names.collect();
        let retained = self.datapath.retain_sets(&wanted);
        retained.map_err(|error| kernel(&error))?;
        Ok(Value::Null)
    }

    pub(super) fn add_to_set(
        &mut self,
        name: &str,
        elements: &[String],
    ) -> Result<SetInfo, ApiError> {
        let mut set = self.find_set(name)?.clone();
        let texts = elements.iter().map(String::as_str);
        set.add(texts).map_err(|error| invalid(&error))?;
        match elements {
            [one] => {
                let (element, exception) =
                    address_set::entry(one).map_err(|error| invalid(&error))?;
                self.change_set(name, set, &element, Some(exception))
            }
            _ => self.replace_set(name, set),
        }
    }

    pub(super) fn remove_from_set(
        &mut self,
        name: &str,
        elements: &[String],
    ) -> Result<SetInfo, ApiError> {
        let mut set = self.find_set(name)?.clone();
        let parsed: Result<Vec<Element>, SetError> =
            elements.iter().map(|element| element.parse()).collect();
        let parsed = parsed.map_err(|error| invalid(&error))?;
        for element in &parsed {
            if !set.remove(element) {
                let message = format!("`{element}` is not in the set `{name}`");
                return Err(ApiError::new(ErrorKind::NotFound, message));
            }
        }
        match parsed[..] {
            [one] => self.change_set(name, set, &one, None),
            _ => self.replace_set(name, set),
        }
    }

    pub(super) fn list_sets(&self) -> Vec<SetInfo> {
        let sets = self.sets.iter();
        sets.map(|(name, set)| info(name, set)).collect()
    }

    pub(super) fn show_set(&self, name: &str) -> Result<Vec<String>, ApiError> {
        Ok(self.find_set(name)?.lines().collect())
    }

    fn find_set(&self, name: &str) -> Result<&AddressSet, ApiError> {
        let message = || format!("there is no set `{name}`");
        let set = self.sets.get(name);
        set.ok_or_else(|| ApiError::new(ErrorKind::NotFound, message()))
    }

    /// Saves a set and puts it into force as a whole.
    fn replace_set(&mut self, name: &str, set: AddressSet) -> Result<SetInfo, ApiError> {
        let key = set_name(name).map_err(|error| invalid(&error))?;
        self.save_set(name, &set)?;
        if let Err(error) = self.datapath.replace_set(key, set.keys()) {
            self.restore_set(name);
            return Err(kernel(&error));
        }
        Ok(self.keep_set(name, set))
    }

    /// As [`Control::replace_set`] where only one element is another, which costs the same however large
    /// the set is in the kernel.
    fn change_set(
        &mut self,
        name: &str,
        set: AddressSet,
        element: &Element,
        exception: Option<bool>,
    ) -> Result<SetInfo, ApiError> {
        let key = set_name(name).map_err(|error| invalid(&error))?;
        self.save_set(name, &set)?;
        if let Err(error) = self.datapath.change_set(key, &element.key(), exception) {
            self.restore_set(name);
            return Err(kernel(&error));
        }
        Ok(self.keep_set(name, set))
    }

    fn save_set(&self, name: &str, set: &AddressSet) -> Result<(), ApiError> {
        let saved = self.set_files.save(name, set);
        saved.map_err(|error| storage(name, &error))
    }

    /// Saves again what was there before.
    fn restore_set(&self, name: &str) {
        let restored = match self.sets.get(name) {
            Some(before) => self.set_files.save(name, before),
            None => self.set_files.remove(name),
        };
        if let Err(error) = restored {
            warn!("the file of set {name} is not what is in force: {error}");
        }
    }

    fn keep_set(&mut self, name: &str, set: AddressSet) -> SetInfo {
        let info = info(name, &set);
        self.sets.insert(name.to_owned(), set);
        info
    }
}

fn new_set(name: &str, elements: &[String]) -> Result<AddressSet, ApiError> {
    set_name(name).map_err(|error| invalid(&error))?;
    let mut set = AddressSet::default();
    let texts = elements.iter().map(String::as_str);
    set.add(texts).map_err(|error| invalid(&error))?;
    Ok(set)
}

fn info(name: &str, set: &AddressSet) -> SetInfo {
    SetInfo {
        name: name.to_owned(),
        elements: set.len(),
    }
}

fn storage(name: &str, error: &std::io::Error) -> ApiError {
    let message = format!("the set `{name}` cannot be saved: {error}");
    ApiError::new(ErrorKind::Storage, message)
}
