//! What is enforced for a binding whose addresses may have to be learned: its filter with what is
//! known, or the filter for learning. Pure.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use nwfilter_common::PortRecord;

use super::{Mode, ModeError, Modes, filter};
use crate::{
    kernel::Learn,
    model::{Binding, Selector, Semantics},
    parse::parse_filter,
    prepare::{PrepareError, Prepared, prepare},
    resolve::{
        FilterSource, LoadedFilter, MissingVariable, ReferencePath, ResolveError, SourceError,
    },
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

/// As [`prepare`], with addresses that have been learned. If some that the filter needs are not known
/// yet, what is enforced lets the VM get them.
///
/// IPv4 comes first: while its addresses are unknown, the filter itself is not in force. IPv6
/// addresses that are unknown beside known IPv4 addresses are as if there were none.
///
/// # Errors
///
/// As [`prepare`]; also what will keep the filter from being built once the addresses are known.
pub fn prepare_learning(
    binding: &Binding,
    filters: &dyn FilterSource,
    semantics: Semantics,
    learned: &[IpAddr],
) -> Result<Prepared, LearningError> {
    let error = match prepare(binding, filters, semantics) {
        Err(PrepareError::Resolve(error)) => error,
        done => return Ok(done?),
    };
    let Some(modes) = lacking(binding, &error)? else {
        return Err(PrepareError::from(error).into());
    };
    let mut complete = binding.clone();
    let mut known = [true; 2];
    let families = [
        (
            IP,
            modes.ipv4,
            IpAddr::is_ipv4 as fn(&IpAddr) -> bool,
            NO_ADDRESS,
        ),
        (IPV6, modes.ipv6, IpAddr::is_ipv6, NO_ADDRESS6),
    ];
    for ((name, mode, family, none), known) in families.into_iter().zip(&mut known) {
        if mode == Mode::None {
            continue;
        }
        let addresses = learned.iter().filter(|address| family(address));
        let mut values: Vec<String> = addresses.map(ToString::to_string).collect();
        if values.is_empty() {
            *known = false;
            values.push(none.to_owned());
        }
        complete.parameters.0.insert(name.to_owned(), values);
    }
    let [known4, known6] = known;
    let mut prepared = prepare(&complete, filters, semantics)?;
    let filter_holds = if modes.ipv4 == Mode::None {
        known6
    } else {
        known4
    };
    if !filter_holds {
        prepared.compiled = learning_filter(binding, &modes)?.compiled;
    }
    prepared.learning = !filter_holds;
    prepared.learn = Learn {
        flags: flags(&modes, known4),
        mac: binding.mac,
    };
    Ok(prepared)
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

fn learning_filter(binding: &Binding, modes: &Modes) -> Result<Prepared, LearningError> {
    let text = filter::text(modes);
    let (parsed, found) = parse_filter(&text, Semantics::Strict);
    let invalid = || ResolveError::Filter {
        name: filter::NAME.to_owned(),
        error: SourceError::Invalid {
            path: None,
            text: text.as_str().into(),
            found: found.clone().into(),
        },
        path: ReferencePath::default(),
    };
    let parsed = parsed.ok_or_else(|| PrepareError::from(invalid()))?;
    let mut source = BTreeMap::new();
    let loaded = LoadedFilter::new(parsed, text, None);
    source.insert(filter::NAME.to_owned(), Arc::new(loaded));
    let binding = Binding {
        filter: filter::NAME.to_owned(),
        ..binding.clone()
    };
    Ok(prepare(&binding, &source, Semantics::Strict)?)
}
