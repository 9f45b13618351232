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
    /// Characters that begin before each [`STEP`]th byte.
    steps: Vec<usize>,
}

/// A line may be as long as the document; so far at most are characters counted one by one.
const STEP: usize = 1024;

impl SourceFile {
    /// A document by its name, usually its path.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = line_starts(&text);
        let mut steps = Vec::with_capacity(text.len() / STEP + 1);
        let mut characters = 0;
        for chunk in text.as_bytes().chunks(STEP) {
            steps.push(characters);
            characters += count(chunk);
        }
        Self {
            name: name.into(),
            text,
            lines,
            steps,
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
        let column = self.characters(offset) - self.characters(self.lines[line]);
        Position {
            line: line as u32 + 1,
            column: column as u32 + 1,
        }
    }

    /// Characters before a byte.
    fn characters(&self, offset: usize) -> usize {
        let step = (offset / STEP).min(self.steps.len().saturating_sub(1));
        let before = self.steps.get(step).copied().unwrap_or_default();
        before + count(&self.text.as_bytes()[step * STEP..offset])
    }

    /// The whole lines, without the last line break, that hold a range.
    pub fn lines_of(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.lines[line_index(&self.lines, range.start)];
        let next = self.lines.get(line_index(&self.lines, range.end) + 1);
        start..next.map_or(self.text.len(), |next| next - 1)
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

/// Characters that begin in these bytes of UTF-8.
fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
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
