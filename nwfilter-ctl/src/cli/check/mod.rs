//! `nwfilter-ctl check`: every finding of every document, without a daemon and without root.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{
    Outcome, document,
    render::{self, Checked},
};
use crate::{
    diag::{SourceFile, any_error},
    lint::{lint_filter, lint_set},
    model::{Filter, Semantics},
    parse::{Document, parse_document},
};

/// Check filters and bindings, and warn of what libvirt would silently read differently
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Files, or directories whose `*.xml` files are checked
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Treat warnings as findings: exit with 1 if there are any
    #[arg(long)]
    pub deny_warnings: bool,

    /// Which reading applies where libvirt's differs from what a rule says
    #[arg(long, value_enum, default_value = "strict")]
    pub semantics: SemanticsArg,

    /// How findings are printed
    #[arg(long, value_enum, default_value = "human")]
    pub format: Format,

    /// Print with colours; set by the caller, who knows the terminal.
    #[arg(skip)]
    pub color: bool,
}

/// `--semantics`
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum SemanticsArg {
    /// A rule means what it says
    Strict,
    /// As libvirt's ebtables and iptables backend reads it, bug for bug
    Libvirt,
}

impl From<SemanticsArg> for Semantics {
    fn from(value: SemanticsArg) -> Self {
        match value {
            SemanticsArg::Strict => Self::Strict,
            SemanticsArg::Libvirt => Self::Libvirt,
        }
    }
}

/// `--format`
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// With the source and carets below it
    Human,
    /// One line for each finding: `FILE:LINE:COLUMN: SEVERITY[CODE]: MESSAGE`
    Short,
    /// One JSON document
    Json,
}

/// Checks all documents and prints what was found. Files that cannot be read are reported on
/// `errors`, and the others are checked all the same.
///
/// # Errors
/// `out` or `errors` cannot be written to.
pub fn run(args: &CheckArgs, out: &mut impl Write, errors: &mut impl Write) -> io::Result<Outcome> {
    let mut files = Vec::new();
    let mut failed = false;
    for path in &args.paths {
        if let Err((path, error)) = collect(path, &mut files) {
            writeln!(errors, "error: {}: {error}", path.display())?;
            failed = true;
        }
    }
    let mut checked = Vec::new();
    let mut filters: Vec<(usize, Filter)> = Vec::new();
    for path in files {
        match check_file(&path, args.semantics.into()) {
            Ok((file, document)) => {
                if let Some(Document::Filter(filter)) = document {
                    filters.push((checked.len(), filter));
                }
                checked.push(file);
            }
            Err(error) => {
                writeln!(errors, "error: {}: {error}", path.display())?;
                failed = true;
            }
        }
    }
    let together: Vec<_> = filters.iter().map(|(_, filter)| filter).collect();
    for (index, found) in lint_set(&together) {
        checked[filters[index].0].found.push(found);
    }
    for file in &mut checked {
        file.found
            .sort_by_key(|found| (found.primary.span.start, found.primary.span.end));
    }
    match args.format {
        Format::Human => render::human(&checked, args.color, out)?,
        Format::Short => render::short(&checked, out)?,
        Format::Json => render::json(&checked, out)?,
    }
    let errors = checked.iter().any(|file| any_error(&file.found));
    let warnings = checked.iter().any(|file| !file.found.is_empty());
    Ok(match failed {
        true => Outcome::Failed,
        false if errors || args.deny_warnings && warnings => Outcome::Findings,
        false => Outcome::Done,
    })
}

/// The files that a path stands for, directories in the order of names.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (path.to_owned(), error);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        entries.push((entry.path(), entry.file_type().map_err(failed)?));
    }
    entries.sort_by(|left, right| left.0.cmp(&right.0));
    for (entry, kind) in entries {
        // Links to directories could lead back here.
        if kind.is_dir() {
            collect(&entry, files)?;
        } else if entry
            .extension()
            .is_some_and(|extension| extension == "xml")
        {
            files.push(entry);
        }
    }
    Ok(())
}

fn check_file(path: &Path, semantics: Semantics) -> io::Result<(Checked, Option<Document>)> {
    Ok(match document::read(path)? {
        Err(unusable) => (unusable, None),
        Ok(text) => {
            let (document, mut found) = parse_document(&text, semantics);
            if let Some(Document::Filter(filter)) = &document {
                found.extend(lint_filter(filter, semantics));
            }
            let source = SourceFile::new(path.display().to_string(), text);
            (Checked { source, found }, document)
        }
    })
}

#[cfg(test)]
mod tests;
