//! The grammar of `$NAME`, `$NAME[@N]` and `$NAME[I]` (section 3.1 of the semantics reference).

use thiserror::Error;

use super::value::{BLANKS, unsigned};
use crate::model::{Selector, VariableAccess};

/// Largest iterator id.
const MAX_ITERATOR: u32 = 1000;

/// An attribute value begins with `$` but does not read a variable.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum VariableError {
    /// A character that names do not have, or text before `[`.
    #[error("a variable's name has only letters, digits and `_`, and only `[` may follow it")]
    Name,
    /// Neither a number nor `@` and a number.
    #[error("between `[` and `]` stands a number, or `@` and a number")]
    Selector,
    /// No `]`.
    #[error("the `[` is not closed")]
    Unclosed,
    /// Iterator ids end at 1000.
    #[error("the largest iterator is `@1000`")]
    Iterator,
}

/// Reads an attribute value as a variable; `None` if it is none, that is, does not begin with `$`.
///
/// As in libvirt an empty name passes (and is missing later), blanks may stand next to the
/// brackets, and text after `]` is ignored.
pub fn parse_variable(text: &str) -> Option<Result<VariableAccess, VariableError>> {
    text.strip_prefix('$').map(access)
}

fn access(text: &str) -> Result<VariableAccess, VariableError> {
    let end = text
        .bytes()
        .position(|b| !b.is_ascii_alphanumeric() && b != b'_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let selector = if rest.is_empty() {
        Selector::Iterator {
            id: 0,
            written: false,
        }
    } else {
        selector(rest.strip_prefix('[').ok_or(VariableError::Name)?)?
    };
    Ok(VariableAccess {
        name: name.to_owned(),
        selector,
    })
}

/// Reads what follows the `[`.
fn selector(text: &str) -> Result<Selector, VariableError> {
    let (inside, _ignored) = text.split_once(']').ok_or(VariableError::Unclosed)?;
    let inside = inside.trim_matches(BLANKS);
    let Some(id) = inside.strip_prefix('@') else {
        return unsigned(inside, 10)
            .map(Selector::Element)
            .ok_or(VariableError::Selector);
    };
    let id = unsigned(id, 10).ok_or(VariableError::Selector)?;
    if id > MAX_ITERATOR {
        return Err(VariableError::Iterator);
    }
    Ok(Selector::Iterator {
        id: id as u16,
        written: true,
    })
}
