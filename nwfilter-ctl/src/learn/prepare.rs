//! What is enforced for a binding whose addresses may have to be learned: its filter with what is
//! known, or the filter for learning. Pure.

use std::{net::IpAddr, sync::Arc};

use nwfilter_common::PortRecord;

use super::{Mode, ModeError, Modes, filter};
use crate::{
    kernel::Learn,
    model::{Binding, Selector},
    prepare::PrepareError,
    resolve::{FilterSource, LoadedFilter, MissingVariable, ResolveError, SourceError},
};

const IP: &str = "IP";
const IPV6: &str = "IPV6";

/// An address that no VM has, to see whether the filter can be built at all.
const NO_ADDRESS: &str = "240.0.0.0";
/// Likewise: as a source it is invalid, as a destination reserved.
const NO_ADDRESS6: &str = "ff00::";

/// Why a binding cannot be enforced.
#[derive(Debug, thiserror::Error)]
pub enum LearningError {
    /// There are no tables for it.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// It does not say how its addresses are to be learned.
    #[error(transparent)]
    Mode(#[from] ModeError),
}

/// What to enforce for a binding that lacks addresses.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The binding with its addresses, as far as they are known.
    pub complete: Binding,
    /// What is enforced in place of that until enough is known.
    pub learning: Option<Learning>,
    /// What the addresses are learned from.
    pub learn: Learn,
}

/// The filter for learning, as bound to the port. It is a source of filters that has no other.
#[derive(Clone, Debug)]
pub struct Learning {
    /// The binding, with that filter.
    pub binding: Binding,
    filter: Result<Arc<LoadedFilter>, SourceError>,
}

impl FilterSource for Learning {
    fn get(&self, name: &str) -> Result<Arc<LoadedFilter>, SourceError> {
        if name == self.binding.filter {
            self.filter.clone()
        } else {
            Err(SourceError::Missing)
        }
    }
}

/// What to enforce for a binding that cannot be resolved for `error`, with what has been learned.
/// `None` if it does not lack addresses alone, or they are not to be learned.
///
/// IPv4 comes first: while its addresses are unknown, the filter itself is not in force. IPv6
/// addresses that are unknown beside known IPv4 addresses are as if there were none.
///
/// # Errors
///
/// Parameters that do not say how to learn.
pub fn plan(
    binding: &Binding,
    error: &ResolveError,
    learned: &[IpAddr],
) -> Result<Option<Plan>, ModeError> {
    let Some(modes) = lacking(binding, error)? else {
        return Ok(None);
    };
    let mut complete = binding.clone();
    let mut complete_with = |name: &str, family: fn(&IpAddr) -> bool, none: &str| {
        let addresses = learned.iter().filter(|address| family(address));
        let mut values: Vec<String> = addresses.map(ToString::to_string).collect();
        let known = !values.is_empty();
        if !known {
            values.push(none.to_owned());
        }
        complete.parameters.0.insert(name.to_owned(), values);
        known
    };
    let known4 = modes.ipv4 == Mode::None || complete_with(IP, IpAddr::is_ipv4, NO_ADDRESS);
    let known6 = modes.ipv6 == Mode::None || complete_with(IPV6, IpAddr::is_ipv6, NO_ADDRESS6);
    let enough = if modes.ipv4 == Mode::None {
        known6
    } else {
        known4
    };
    let learning = (!enough).then(|| {
        let (name, filter) = filter::filter(&modes);
        Learning {
            binding: Binding {
                filter: name,
                ..binding.clone()
            },
            filter,
        }
    });
    Ok(Some(Plan {
        complete,
        learning,
        learn: Learn {
            flags: flags(&modes, known4),
            mac: binding.mac,
        },
    }))
}

/// Which addresses a binding lacks, and how they are to be learned: [`Mode::None`] for those that it
/// has or does not need.
fn lacking(binding: &Binding, error: &ResolveError) -> Result<Option<Modes>, ModeError> {
    let missing = match error {
        ResolveError::AddressUnknown(missing) => std::slice::from_ref(&**missing),
        ResolveError::MissingVariables(missing) => missing,
        _ => return Ok(None),
    };
    let is = |missing: &MissingVariable, name: &str| {
        missing.access.name == name
            && matches!(missing.access.selector, Selector::Iterator { id: 0, .. })
    };
    let can = |missing| is(missing, IP) || is(missing, IPV6);
    if !missing.iter().all(can) {
        return Ok(None);
    }
    let mut modes = Modes::of(&binding.parameters)?;
    for (name, mode) in [(IP, &mut modes.ipv4), (IPV6, &mut modes.ipv6)] {
        if !missing.iter().any(|missing| is(missing, name)) {
            *mode = Mode::None;
        } else if *mode == Mode::None {
            return Ok(None);
        }
    }
    Ok(Some(modes))
}

/// What the datapath has to report.
fn flags(modes: &Modes, known4: bool) -> u32 {
    let ipv4 = match modes.ipv4 {
        Mode::None => 0,
        Mode::Any if !known4 => PortRecord::LEARN_DHCP | PortRecord::LEARN_USED,
        Mode::Any | Mode::Dhcp => PortRecord::LEARN_DHCP,
    };
    let ipv6 = match modes.ipv6 {
        Mode::None => 0,
        Mode::Dhcp => PortRecord::LEARN_DHCP6,
        Mode::Any => PortRecord::LEARN_DHCP6 | PortRecord::LEARN_CLAIMED,
    };
    ipv4 | ipv6
}
