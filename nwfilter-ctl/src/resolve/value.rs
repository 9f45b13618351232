//! From the text of a variable's value to a typed one.

use crate::model::{Attr, Datum, Protocol, Semantics};
use crate::parse::parse_value;

use super::tools::{self, Reading};

/// A value read from text.
pub(super) struct Read {
    /// The value.
    pub(super) datum: Datum,
    /// In strict semantics: libvirt's tools make something else of the text, namely this, or refuse
    /// it.
    pub(super) differs: Option<Differs>,
}

/// What libvirt's tools make of a text; `None` if they refuse it.
pub(super) struct Differs(pub(super) Option<Datum>);

/// Whether libvirt loses a test of this attribute when its value is a variable.
pub(super) const fn lost(protocol: Protocol, attr: Attr) -> bool {
    match attr {
        Attr::State | Attr::Gratuitous => true,
        Attr::Flags => !matches!(protocol, Protocol::Stp),
        _ => false,
    }
}

/// Reads a value; the error says what was expected.
pub(super) fn read(
    protocol: Protocol,
    attr: Attr,
    text: &str,
    semantics: Semantics,
) -> Result<Read, String> {
    let parse = || parse_value(protocol, attr, text).map_err(|error| error.to_string());
    let tools = tools::read(protocol, attr, text);
    match semantics {
        Semantics::Strict => {
            let datum = parse()?;
            let differs = match tools {
                Reading::Datum(other) if other != datum => Some(Differs(Some(other))),
                Reading::Refused(_) => Some(Differs(None)),
                _ => None,
            };
            Ok(Read { datum, differs })
        }
        Semantics::Libvirt => {
            let datum = match tools {
                Reading::Datum(datum) => datum,
                Reading::Refused(expected) => {
                    return Err(format!("libvirt's tools expect {expected}"));
                }
                Reading::AsLibvirt => parse()?,
            };
            Ok(Read {
                datum,
                differs: None,
            })
        }
    }
}
