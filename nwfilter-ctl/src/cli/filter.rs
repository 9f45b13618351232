//! `define`, `undefine`, `list`, `dumpxml` and `edit`: filters, by way of the daemon; `list` and
//! `dumpxml` also without one.

use std::{
    env,
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, BufRead, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Arc,
};

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::{CliError, ClientError, Global, Outcome, client, load::ReadingArgs, table};
use crate::{
    daemon::{
        Known,
        api::{ApiError, Call, ErrorKind, FilterInfo},
        info, uuid_of,
    },
    format::format_filter,
};

/// Add a filter, or change the one with its name and UUID for all ports that use it
#[derive(Args, Clone, Debug)]
pub struct DefineArgs {
    /// The filter's document
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Remove a filter that no port uses
#[derive(Args, Clone, Debug)]
pub struct UndefineArgs {
    /// Its name or UUID
    #[arg(value_name = "NAME|UUID")]
    pub filter: String,
}

/// List all filters, and say which are built in
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Of a directory instead of the daemon's.
    #[command(flatten)]
    pub offline: OfflineArgs,
}

/// Print the document of a filter
#[derive(Args, Clone, Debug)]
pub struct DumpxmlArgs {
    /// Its name or UUID
    #[arg(value_name = "NAME|UUID")]
    pub filter: String,

    /// From a directory instead of the daemon's.
    #[command(flatten)]
    pub offline: OfflineArgs,
}

/// A directory of filters to look into without a daemon.
#[derive(Args, Clone, Debug)]
pub struct OfflineArgs {
    /// Ask no daemon: the filters of this directory, and the built-in ones
    #[arg(long, value_name = "DIR")]
    pub filter_dir: Option<PathBuf>,

    /// How they are read, and which are built in.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

impl OfflineArgs {
    /// The filters of the directory and what they are, if there is one.
    fn filters(&self) -> Result<Option<Vec<(FilterInfo, Known)>>, CliError> {
        let Some(directory) = &self.filter_dir else {
            return Ok(None);
        };
        let filters = self.reading.filters(Some(directory))?;
        let known = filters.list().map(|listed| {
            let known = listed.filter.map(Arc::clone).map_err(Clone::clone);
            (info(listed.name, &known), known)
        });
        Ok(Some(known.collect()))
    }
}

/// Change a filter in $VISUAL or $EDITOR
#[derive(Args, Clone, Debug)]
pub struct EditArgs {
    /// Its name or UUID
    #[arg(value_name = "NAME|UUID")]
    pub filter: String,
}

/// Defines a filter.
///
/// # Errors
///
/// A file that cannot be read, or what the daemon says.
pub fn define(
    args: &DefineArgs,
    global: &Global,
    out: &mut impl Write,
) -> Result<Outcome, CliError> {
    let xml = read(&args.file)?;
    let info: FilterInfo =
        client::call(global, &Call::Define { xml }).map_err(in_file(&args.file))?;
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "filter": info }))?;
    } else {
        writeln!(
            out,
            "filter {} defined from {}",
            info.name,
            args.file.display()
        )?;
    }
    Ok(Outcome::Done)
}

/// Removes a filter.
///
/// # Errors
///
/// What the daemon says.
pub fn undefine(
    args: &UndefineArgs,
    global: &Global,
    out: &mut impl Write,
) -> Result<Outcome, CliError> {
    let filter = args.filter.clone();
    client::call::<()>(global, &Call::Undefine { filter })?;
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "undefined": args.filter }))?;
    } else {
        writeln!(out, "filter {} undefined", args.filter)?;
    }
    Ok(Outcome::Done)
}

/// Lists filters.
///
/// # Errors
///
/// What the daemon says.
pub fn list(args: &ListArgs, global: &Global, out: &mut impl Write) -> Result<Outcome, CliError> {
    let filters: Vec<FilterInfo> = match args.offline.filters()? {
        Some(filters) => filters.into_iter().map(|(info, _)| info).collect(),
        None => client::call(global, &Call::List)?,
    };
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "filters": filters }))?;
        return Ok(Outcome::Done);
    }
    let rows = filters.iter().map(|filter| {
        let remark = match (&filter.problem, filter.builtin) {
            (Some(problem), _) => problem.as_str(),
            (None, true) => "built in",
            (None, false) => "",
        };
        vec![
            filter.uuid.clone().unwrap_or_else(|| "-".into()),
            filter.name.clone(),
            remark.to_owned(),
        ]
    });
    table::print(&["UUID", "Name", ""], rows, out)?;
    Ok(Outcome::Done)
}

/// Prints a filter.
///
/// # Errors
///
/// What the daemon says.
pub fn dumpxml(
    args: &DumpxmlArgs,
    global: &Global,
    out: &mut impl Write,
) -> Result<Outcome, CliError> {
    let filter = args.filter.clone();
    let xml: String = match args.offline.filters()? {
        Some(filters) => dump(&filter, filters)?,
        None => client::call(global, &Call::Dumpxml { filter })?,
    };
    print_xml(&xml, global, out)?;
    Ok(Outcome::Done)
}

/// As the daemon answers.
fn dump(name_or_uuid: &str, filters: Vec<(FilterInfo, Known)>) -> Result<String, ClientError> {
    let uuid = Uuid::try_parse(name_or_uuid)
        .ok()
        .map(|uuid| uuid.to_string());
    let wanted =
        |info: &FilterInfo| info.name == name_or_uuid || uuid.is_some() && info.uuid == uuid;
    let (_, known) = filters
        .into_iter()
        .find(|(info, _)| wanted(info))
        .ok_or_else(|| {
            let message = format!("there is no filter `{name_or_uuid}`");
            ApiError::new(ErrorKind::NotFound, message)
        })?;
    let filter = known.map_err(|error| ApiError::new(ErrorKind::Invalid, error.to_string()))?;
    let mut filter = filter.filter().clone();
    filter.uuid = Some(uuid_of(&filter));
    Ok(format_filter(&filter))
}

/// A document as it is, or in JSON.
pub(super) fn print_xml(xml: &str, global: &Global, out: &mut impl Write) -> io::Result<()> {
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "xml": xml }))
    } else {
        out.write_all(xml.as_bytes())
    }
}

/// A document of a file.
pub(super) fn read(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|source| CliError::File {
        path: path.to_owned(),
        source,
    })
}

/// Puts the file's name before what the daemon found in its text.
pub(super) fn in_file(path: &Path) -> impl FnOnce(ClientError) -> ClientError {
    move |error| match error {
        ClientError::Refused(mut refused) => {
            let name = path.display();
            let errors = refused.findings.iter();
            let lines: Vec<String> = errors
                .filter(|finding| finding.severity == "error")
                .map(|finding| {
                    format!(
                        "{name}:{}:{}: {} [{}]",
                        finding.line, finding.column, finding.message, finding.code
                    )
                })
                .collect();
            refused.message = match lines.as_slice() {
                [] => format!("{name}: {}", refused.message),
                lines => lines.join("\n       "),
            };
            refused.into()
        }
        other => other,
    }
}

/// Lets the user edit a filter until the daemon takes it or the user gives up.
///
/// # Errors
///
/// No editor, one that fails, or what the daemon says to somebody who gives up.
pub fn edit(
    args: &EditArgs,
    global: &Global,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> Result<Outcome, CliError> {
    let filter = args.filter.clone();
    let before: String = client::call(global, &Call::Dumpxml { filter })?;
    let draft = Draft::new(&before)?;
    loop {
        run_editor(&draft.0)?;
        let xml = read(&draft.0)?;
        if xml == before {
            writeln!(out, "filter {} is as it was", args.filter)?;
            return Ok(Outcome::Done);
        }
        let defined = client::call::<FilterInfo>(global, &Call::Define { xml });
        match defined.map_err(in_file(&draft.0)) {
            Ok(info) => {
                writeln!(out, "filter {} changed", info.name)?;
                return Ok(Outcome::Done);
            }
            Err(ClientError::Refused(error)) if again(&error, errors)? => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the user wants another try.
fn again(error: &ApiError, errors: &mut impl Write) -> io::Result<bool> {
    let stdin = io::stdin();
    if !matches!(error.kind, ErrorKind::Invalid | ErrorKind::Exists) || !stdin.is_terminal() {
        return Ok(false);
    }
    write!(errors, "error: {}\nedit again? [Y/n] ", error.message)?;
    errors.flush()?;
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer)?;
    Ok(read > 0 && !answer.trim_start().to_lowercase().starts_with('n'))
}

/// Runs the user's editor, which may have arguments, on a file.
fn run_editor(path: &Path) -> Result<(), CliError> {
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(env::var_os)
        .find(|editor| !editor.is_empty());
    let editor = editor.unwrap_or_else(|| OsString::from("vi"));
    let failed = |source| CliError::Editor {
        editor: editor.to_string_lossy().into_owned(),
        source,
    };
    // By way of the shell, as everybody does it: the variable may hold arguments.
    let mut script = editor.clone();
    script.push(" \"$0\"");
    let status = Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(path)
        .status()
        .map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(failed(io::Error::other(status.to_string())))
}

/// A temporary file of its user alone; removed when dropped.
struct Draft(PathBuf);

impl Draft {
    fn new(text: &str) -> Result<Self, CliError> {
        let name = format!("nwfilter-{}-{}.xml", process::id(), Uuid::new_v4());
        let path = env::temp_dir().join(name);
        let mut options = OpenOptions::new();
        let write = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        let draft = Self(path);
        write.map_err(|source| CliError::File {
            path: draft.0.clone(),
            source,
        })?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // In a directory for things that nobody needs.
        let _ = fs::remove_file(&self.0);
    }
}
