//! Findings as text: with the source below them, one line each, or JSON.

use std::{
    io::{self, Write},
    ops::Range,
};

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, renderer::DecorStyle,
};
use serde_json::{Value, json};

use crate::diag::{Diagnostic, Label, Position, Severity, SourceFile};

/// A document and what was found in it.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) source: SourceFile,
    pub(super) found: Vec<Diagnostic>,
}

/// Lines longer than this are not shown: nobody reads them, and there may be many findings in one.
const MAX_SNIPPET: usize = 2000;
/// Places further apart than this are shown apart.
const MAX_LINES: u32 = 12;

/// With the source and carets below it, and a summary at the end.
pub(super) fn human(files: &[Checked], color: bool, out: &mut impl Write) -> io::Result<()> {
    findings(files, color, out)?;
    let (errors, warnings) = totals(files);
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    writeln!(
        out,
        "{}, {} in {}",
        count(errors, "error"),
        count(warnings, "warning"),
        count(files.len(), "file")
    )
}

/// With the source and carets below it.
pub(super) fn findings(files: &[Checked], color: bool, out: &mut impl Write) -> io::Result<()> {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    for file in files {
        for found in &file.found {
            writeln!(out, "{}\n", finding(&file.source, found, &renderer))?;
        }
    }
    Ok(())
}

/// `FILE:LINE:COLUMN: SEVERITY[CODE]: MESSAGE`
pub(super) fn short(files: &[Checked], out: &mut impl Write) -> io::Result<()> {
    for file in files {
        for found in &file.found {
            let Position { line, column } = file.source.position(found.primary.span.start);
            write!(
                out,
                "{}:{line}:{column}: {}[{}]: {}",
                file.source.name(),
                found.severity.as_str(),
                found.code,
                found.message
            )?;
            if let Some(expected) = &found.expected {
                write!(out, ", expected {expected}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// One document.
pub(super) fn json(files: &[Checked], out: &mut impl Write) -> io::Result<()> {
    let findings: Vec<Value> = files
        .iter()
        .flat_map(|file| {
            file.found
                .iter()
                .map(|found| json_finding(&file.source, found))
        })
        .collect();
    let (errors, warnings) = totals(files);
    let document = json!({
        "schema": 1,
        "files": files.len(),
        "errors": errors,
        "warnings": warnings,
        "diagnostics": findings,
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn totals(files: &[Checked]) -> (usize, usize) {
    let all = || files.iter().flat_map(|file| &file.found);
    let errors = all().filter(|found| found.is_error()).count();
    (errors, all().count() - errors)
}

fn json_finding(source: &SourceFile, found: &Diagnostic) -> Value {
    let secondary: Vec<Value> = found
        .secondary
        .iter()
        .map(|label| json_label(source, label))
        .collect();
    json!({
        "code": found.code.id(),
        "name": found.code.name(),
        "severity": found.severity.as_str(),
        "message": found.message,
        "file": source.name(),
        "primary": json_label(source, &found.primary),
        "secondary": secondary,
        "expected": found.expected,
        "help": found.help,
    })
}

fn json_label(source: &SourceFile, label: &Label) -> Value {
    let range = source.range(label.span);
    let (start, end) = (source.position(range.start), source.position(range.end));
    json!({
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
        "text": label.text,
    })
}

/// One finding as `rustc` would show it.
fn finding(source: &SourceFile, found: &Diagnostic, renderer: &Renderer) -> String {
    let level = match found.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let id = found.code.id();
    let mut group = Group::with_title(level.primary_title(&found.message).id(&id));
    let chunks = chunks(source, found);
    for chunk in &chunks {
        group = match chunk {
            Chunk::Text { text, line, labels } => {
                let annotations = labels.iter().map(|(kind, range, label)| {
                    let annotation = kind.span(range.clone());
                    if label.is_empty() {
                        annotation
                    } else {
                        annotation.label(*label)
                    }
                });
                group.element(
                    Snippet::source(*text)
                        .path(source.name())
                        .line_start(*line as usize)
                        .annotations(annotations),
                )
            }
            Chunk::Place(position) => group.element(
                Origin::path(source.name())
                    .line(position.line as usize)
                    .char_column(position.column as usize),
            ),
        };
    }
    if let Some(expected) = &found.expected {
        group = group.element(Level::NOTE.message(format!("expected {expected}")));
    }
    if let Some(help) = &found.help {
        group = group.element(Level::HELP.message(help));
    }
    renderer.render(&[group])
}

/// A part of the source and what there is to say about it.
enum Chunk<'a> {
    /// Whole lines from `line`.
    Text {
        text: &'a str,
        line: u32,
        labels: Vec<(AnnotationKind, Range<usize>, &'a str)>,
    },
    /// Too long to show.
    Place(Position),
}

/// The lines around all labels, those close to each other in one piece; the primary label's first.
fn chunks<'a>(source: &'a SourceFile, found: &'a Diagnostic) -> Vec<Chunk<'a>> {
    let mut groups: Vec<Vec<(AnnotationKind, &Label)>> =
        vec![vec![(AnnotationKind::Primary, &found.primary)]];
    let line = |label: &Label| source.position(label.span.start).line;
    for label in &found.secondary {
        let near = groups.iter_mut().find(|group| {
            group
                .iter()
                .all(|(_, other)| line(other).abs_diff(line(label)) < MAX_LINES)
        });
        match near {
            Some(group) => group.push((AnnotationKind::Context, label)),
            None => groups.push(vec![(AnnotationKind::Context, label)]),
        }
    }
    groups.iter().map(|group| chunk(source, group)).collect()
}

fn chunk<'a>(source: &'a SourceFile, group: &[(AnnotationKind, &'a Label)]) -> Chunk<'a> {
    let text = source.text();
    let range = |label: &Label| {
        let range = source.range(label.span);
        // Of what goes over several lines, the first one will do.
        let first_line = text[range.clone()]
            .find('\n')
            .map_or(range.end, |at| range.start + at);
        range.start..first_line
    };
    let starts = group
        .iter()
        .map(|(_, label)| range(label).start)
        .min()
        .unwrap_or_default();
    let ends = group
        .iter()
        .map(|(_, label)| range(label).end)
        .max()
        .unwrap_or_default();
    let Range { start, end } = source.lines_of(&(starts..ends));
    if end - start > MAX_SNIPPET {
        return Chunk::Place(source.position(starts));
    }
    let labels = group
        .iter()
        .map(|(kind, label)| {
            let range = range(label);
            (
                *kind,
                range.start - start..range.end - start,
                label.text.as_str(),
            )
        })
        .collect();
    Chunk::Text {
        text: &text[start..end],
        line: source.position(start).line,
        labels,
    }
}
