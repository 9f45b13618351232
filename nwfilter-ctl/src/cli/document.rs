//! Reads an XML document from a file, within bounds. Knows nothing of what is in it.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::render::Checked;
use crate::{
    diag::{Code, Diagnostic, SourceFile},
    model::Span,
    xml::{self, Limits},
};

/// The text of a document, or the finding that it is none.
pub(super) fn read(path: &Path) -> io::Result<Result<String, Checked>> {
    let name = path.display().to_string();
    let limit = Limits::default().bytes;
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    if size <= limit as u64 {
        // Not every file knows its size.
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    }
    if size > limit as u64 || bytes.len() > limit {
        let size = if size > limit as u64 {
            format!("{size} bytes")
        } else {
            "more".into()
        };
        let message = format!("the document has {size}, the limit is {limit} bytes");
        return Ok(Err(Checked {
            source: SourceFile::new(name, ""),
            found: vec![Diagnostic::new(
                Code::DocumentTooLarge,
                Span::default(),
                message,
            )],
        }));
    }
    Ok(match xml::decode(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(found) => {
            // As far as it is text, so that the finding has a line.
            let end = found.primary.span.start;
            let text = String::from_utf8_lossy(&bytes[..(end + 1).min(bytes.len())]);
            Err(Checked {
                source: SourceFile::new(name, text),
                found: vec![*found],
            })
        }
    })
}
