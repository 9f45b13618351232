//! The pure half of the way of the data in one step: from a binding to tables ready to install.

use nwfilter_common::{PortRecord, SLOTS};

use crate::{
    compile::{CompileError, Compiled, compile},
    kernel::{Bind, Learn},
    model::{Binding, Semantics},
    resolve::{FilterSource, ResolveError, Resolved, resolve},
};

/// A binding with its rules and its tables.
#[derive(Debug)]
pub struct Prepared {
    /// What the tables were made from.
    pub resolved: Resolved,
    /// The tables.
    pub compiled: Compiled,
}

/// Why a binding cannot be enforced.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A filter or a variable is missing or wrong.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// There are no tables for these rules.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// Resolves and compiles a binding.
///
/// # Errors
///
/// See [`PrepareError`].
pub fn prepare(
    binding: &Binding,
    filters: &dyn FilterSource,
    semantics: Semantics,
) -> Result<Prepared, PrepareError> {
    let resolved = resolve(binding, filters, semantics)?;
    let compiled = compile(&resolved.instances, semantics)?;
    Ok(Prepared { resolved, compiled })
}

impl Prepared {
    /// What to tell the datapath to enforce this on a port.
    pub fn bind<'a>(&'a self, port: &'a str) -> Bind<'a> {
        Bind {
            port,
            image: Some(&self.compiled.image),
            slots: &self.compiled.slots,
            entries: self.compiled.entries.len() as u32,
            identities: None,
            learn: Learn::default(),
        }
    }

    /// A port record with which the engine decides frames in userspace as the kernel would.
    pub fn record(&self) -> PortRecord {
        let mut record = PortRecord {
            // Any but 0, which would say that there is no port.
            ifindex: 1,
            entries: self.compiled.entries.len() as u32,
            flags: PortRecord::READY,
            ..PortRecord::default()
        };
        let slots = &self.compiled.slots;
        record.slots[..slots.len().min(SLOTS)].copy_from_slice(slots);
        record
    }
}
