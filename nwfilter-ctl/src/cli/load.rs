//! From a binding's file to its tables, for `compile` and `explain`. Whatever is wrong is printed
//! here, with the lines it is about.

use std::io::{IsTerminal as _, Write};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use nwfilter_common::SetName;

use super::{
    CliError, Global,
    check::SemanticsArg,
    diagnose, document,
    render::{self, Checked},
};
use crate::{
    address_set::{AddressSet, set_name},
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
    /// The address sets beside the filters.
    pub(super) sets: Vec<(SetName, AddressSet)>,
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
                sets: match &args.filter_dir {
                    Some(directory) => sets(&directory.join("sets"))?,
                    None => Vec::new(),
                },
            }))
        }
        Err(error) => {
            let found = diagnose::prepare_error(&error, &checked.source, &binding, &filters)?;
            refused(&found, out, errors)
        }
    }
}

/// The address sets in a directory, which need not be there.
fn sets(directory: &Path) -> Result<Vec<(SetName, AddressSet)>, CliError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::File { path, source }
    };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed(directory))?,
    };
    let mut sets = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed(directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.and_then(|name| name.strip_suffix(".set")) else {
            continue;
        };
        let Ok(name) = set_name(name) else { continue };
        let text = fs::read_to_string(&path).map_err(failed(&path))?;
        let set = AddressSet::parse(&text).map_err(io::Error::other);
        sets.push((name, set.map_err(failed(&path))?));
    }
    Ok(sets)
}
