//! What is wrong, or surprising, in a document, and where: data for the CLI and the daemon to show.
//! No rendering: that is the CLI's work.

mod codes;
mod findings;
mod source;

pub use codes::{Code, page};
pub(crate) use findings::Findings;
pub use findings::MAX_FINDINGS;
pub use source::{Position, SourceFile};
pub(crate) use source::{line_index, line_starts};

use crate::model::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Accepted, but likely not what was meant.
    Warning,
    /// The document is refused.
    Error,
}

impl Severity {
    /// `warning` or `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A range of a document and a remark on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Label {
    /// Bytes of the document.
    pub span: Span,
    /// Empty if the message says it all.
    pub text: String,
}

/// One finding in one document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// Which one of the registry's.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// One line without a full stop.
    pub message: String,
    /// Where.
    pub primary: Label,
    /// What else is concerned.
    pub secondary: Vec<Label>,
    /// What would have been right, to follow "expected".
    pub expected: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding of the registry's usual severity, without labels' texts.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            primary: Label {
                span,
                text: String::new(),
            },
            secondary: Vec::new(),
            expected: None,
            help: None,
        }
    }

    /// With a remark at the primary label.
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// With another place.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// With what would have been right.
    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = Some(text.into());
        self
    }

    /// With a hint.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Refuses the document.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// True if one of them refuses the document.
pub fn any_error(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// The name of `known` that is closest to `name`, if it is close enough to be what was meant:
/// at most a third of the characters differ (insertions, deletions, replacements, swaps).
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| {
            (
                distance(&name.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Damerau-Levenshtein distance, restricted to swaps of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    // Only names are compared; nobody means a name by a text of this length.
    if left.len() > 64 || right.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = vec![0; right.len() + 1];
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1; right.len() + 1];
        for (j, r) in right.iter().enumerate() {
            let replaced = above[j] + usize::from(l != r);
            row[j + 1] = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests;
