//! From a binding's file to its tables, for `compile` and `explain`. Whatever is wrong is printed
//! here, with the lines it is about.

use std::io::{IsTerminal as _, Write};
use std::{
    io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{
    CliError, Global,
    check::SemanticsArg,
    diagnose, document,
    render::{self, Checked},
};
use crate::{
    builtin::Flavour,
    diag::{SourceFile, any_error},
    model::{Binding, Semantics},
    parse::parse_binding,
    prepare::{Prepared, prepare},
    resolve::FilterDir,
};

/// A binding and where its filters are.
#[derive(Args, Clone, Debug)]
pub struct BindingArgs {
    /// File with a `<filterbinding>`
    #[arg(value_name = "BINDING.xml")]
    pub binding: PathBuf,

    /// Directory of filters, each in a file NAME.xml; the built-in filters need none
    #[arg(long, value_name = "DIR")]
    pub filter_dir: Option<PathBuf>,

    /// How filters are read, and which are built in
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// How filters are read, and which are built in.
#[derive(Args, Clone, Copy, Debug)]
pub struct ReadingArgs {
    /// Which reading applies where libvirt's differs from what a rule says
    #[arg(long, value_enum, default_value = "strict")]
    pub semantics: SemanticsArg,

    /// Which libvirt's `clean-traffic` and `clean-traffic-gateway` are built in
    #[arg(long, value_enum, default_value = "11")]
    pub builtins: BuiltinsArg,
}

/// `--builtins`
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum BuiltinsArg {
    /// Those of libvirt up to 11.x
    #[value(name = "11")]
    V11,
    /// Those of libvirt 12.8, which no longer drop unknown RARP
    #[value(name = "12.8")]
    V12_8,
}

impl ReadingArgs {
    /// The filters of a directory over the built-in ones.
    pub(super) fn filters(self, directory: Option<&Path>) -> Result<FilterDir, CliError> {
        let flavour = match self.builtins {
            BuiltinsArg::V11 => Flavour::V11,
            BuiltinsArg::V12_8 => Flavour::V12_8,
        };
        let semantics = self.semantics.into();
        let Some(directory) = directory else {
            return Ok(FilterDir::builtin(flavour, semantics));
        };
        FilterDir::load(directory, flavour, semantics).map_err(|source| CliError::File {
            path: directory.to_owned(),
            source,
        })
    }
}

/// A binding that can be enforced.
pub(super) struct Loaded {
    pub(super) binding: Binding,
    pub(super) semantics: Semantics,
    pub(super) prepared: Prepared,
}

/// Reads, resolves and compiles. `None` when something is wrong with the documents, which has been
/// printed.
pub(super) fn load(
    args: &BindingArgs,
    global: &Global,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> Result<Option<Loaded>, CliError> {
    let color = io::stderr().is_terminal();
    let semantics = Semantics::from(args.reading.semantics);
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |source| CliError::File { path, source }
    };
    let refused = |found: &[Checked], out: &mut _, errors: &mut _| {
        if global.json {
            render::json(found, out)?;
        } else {
            render::findings(found, color, errors)?;
        }
        Ok(None)
    };

    let text = match document::read(&args.binding).map_err(failed(&args.binding))? {
        Ok(text) => text,
        Err(unusable) => return refused(&[unusable], out, errors),
    };
    let (binding, found) = parse_binding(&text);
    let checked = Checked {
        source: SourceFile::new(args.binding.display().to_string(), text),
        found,
    };
    let Some(binding) = binding.filter(|_| !any_error(&checked.found)) else {
        return refused(&[checked], out, errors);
    };
    render::findings(std::slice::from_ref(&checked), color, errors)?;

    let filters = args.reading.filters(args.filter_dir.as_deref())?;
    match prepare(&binding, &filters, semantics) {
        Ok(prepared) => {
            let warnings = diagnose::warnings(&prepared.resolved);
            render::findings(&warnings, color, errors)?;
            Ok(Some(Loaded {
                binding,
                semantics,
                prepared,
            }))
        }
        Err(error) => {
            let found = diagnose::prepare_error(&error, &checked.source, &binding, &filters)?;
            refused(&found, out, errors)
        }
    }
}
