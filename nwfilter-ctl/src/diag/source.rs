//! Documents by name, and the lines and columns of their bytes.

use std::ops::Range;

use crate::model::Span;

/// A place in a document as people count.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

/// A document and its name.
#[derive(Clone, Debug)]
pub struct SourceFile {
    name: String,
    text: String,
    /// Offsets of the first bytes of all lines.
    lines: Vec<usize>,
}

impl SourceFile {
    /// A document by its name, usually its path.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = line_starts(&text);
        Self {
            name: name.into(),
            text,
            lines,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte; of the end of the document for a byte beyond it.
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset);
        let line = line_index(&self.lines, offset);
        let column = self.text[self.lines[line]..offset].chars().count();
        Position {
            line: line as u32 + 1,
            column: column as u32 + 1,
        }
    }

    /// The range of a span, fitted to the document's length and to whole characters.
    pub fn range(&self, span: Span) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        start
            ..self
                .text
                .ceil_char_boundary(span.end.min(self.text.len()))
                .max(start)
    }
}

/// Offsets of the first bytes of all lines.
pub(crate) fn line_starts(text: &str) -> Vec<usize> {
    let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    std::iter::once(0)
        .chain(newlines.map(|(index, _)| index + 1))
        .collect()
}

/// Index of the line that holds a byte.
pub(crate) fn line_index(lines: &[usize], offset: usize) -> usize {
    lines
        .partition_point(|start| *start <= offset)
        .saturating_sub(1)
}
