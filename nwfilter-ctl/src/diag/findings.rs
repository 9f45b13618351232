//! A list of findings that does not grow without bound.

use super::{Code, Diagnostic, Severity};

/// Findings kept of one document. Nobody reads more, and a document of 16 MiB can have millions.
pub const MAX_FINDINGS: usize = 10_000;

/// The findings of one document, as far as they are kept.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Diagnostic>,
    /// How many were dropped.
    dropped: usize,
    /// One of those refuses the document.
    dropped_error: bool,
}

impl Findings {
    /// Adds a finding, or counts it.
    pub(crate) fn push(&mut self, found: Diagnostic) {
        if self.is_full() {
            self.drop_one(found.severity);
        } else {
            self.list.push(found);
        }
    }

    /// Counts a finding that need not even be made.
    pub(crate) fn drop_one(&mut self, severity: Severity) {
        self.dropped += 1;
        self.dropped_error |= severity == Severity::Error;
    }

    /// Nothing more is kept.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MAX_FINDINGS
    }

    /// Those that are kept.
    pub(crate) fn as_slice(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The last one, if it is kept.
    pub(crate) fn last_mut(&mut self) -> Option<&mut Diagnostic> {
        if self.dropped == 0 {
            self.list.last_mut()
        } else {
            None
        }
    }

    /// All in document order, and at the end how many are missing.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list
            .sort_by_key(|found| (found.primary.span.start, found.primary.span.end));
        if let (Some(last), true) = (self.list.last(), self.dropped > 0) {
            let message = format!("{} more findings are not listed", self.dropped);
            let mut more = Diagnostic::new(Code::TooManyFindings, last.primary.span, message);
            if self.dropped_error {
                more.severity = Severity::Error;
            }
            self.list.push(more);
        }
        self.list
    }
}
