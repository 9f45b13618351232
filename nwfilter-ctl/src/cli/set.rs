//! `set`: address sets, by way of the daemon.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, Global, Outcome, client, table};
use crate::{
    address_set::parse_ipset_save,
    daemon::api::{Call, SetInfo},
};

/// Keep the address sets that `ipset` attributes name
#[derive(Args, Clone, Debug)]
pub struct SetArgs {
    #[command(subcommand)]
    command: SetCommand,
}

/// What to do with address sets.
#[derive(Clone, Debug, Subcommand)]
enum SetCommand {
    /// Make a set
    Create(Elements),
    /// Remove a set; rules that name it match nothing then
    Destroy(Name),
    /// Add elements, all at the same instant
    Add(Elements),
    /// Remove elements, all at the same instant
    Del(Elements),
    /// List all sets
    List,
    /// Print the elements of a set
    Show(Name),
    /// Make or replace sets as `ipset save` prints them; from the kernel if no file is named
    Import {
        /// Output of `ipset save`; `-` for standard input
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// A set.
#[derive(Args, Clone, Debug)]
struct Name {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

/// A set and elements.
#[derive(Args, Clone, Debug)]
struct Elements {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,

    /// Elements: `10.0.0.0/8`, `fd00::1`, `10.0.0.1,tcp:80`, `'10.0.0.2 nomatch'`
    #[arg(value_name = "ELEMENT")]
    elements: Vec<String>,

    /// File with one element per line; `-` for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Elements {
    fn read(&self) -> Result<Vec<String>, CliError> {
        let mut elements = self.elements.clone();
        if let Some(path) = &self.file {
            let text = read(path)?;
            let lines = text.lines().map(str::trim);
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            elements.extend(lines.map(str::to_owned));
        }
        Ok(elements)
    }
}

fn read(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::File {
        path: path.to_owned(),
        source,
    };
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    fs::read_to_string(path).map_err(failed)
}

/// What `ipset save` prints.
fn saved() -> Result<String, CliError> {
    let failed = |source| CliError::File {
        path: "ipset".into(),
        source,
    };
    let output = Command::new("ipset").arg("save").output().map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(io::Error::other(said)));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(io::Error::other(error)))
}

/// Does what is asked for.
///
/// # Errors
///
/// A file that cannot be read, or what the daemon says.
pub fn run(args: &SetArgs, global: &Global, out: &mut impl Write) -> Result<Outcome, CliError> {
    match &args.command {
        SetCommand::Create(set) => {
            let call = Call::SetCreate {
                name: set.name.clone(),
                elements: set.read()?,
            };
            print(&[client::call(global, &call)?], global, out)
        }
        SetCommand::Add(set) => {
            let call = Call::SetAdd {
                name: set.name.clone(),
                elements: set.read()?,
            };
            print(&[client::call(global, &call)?], global, out)
        }
        SetCommand::Del(set) => {
            let call = Call::SetDel {
                name: set.name.clone(),
                elements: set.read()?,
            };
            print(&[client::call(global, &call)?], global, out)
        }
        SetCommand::Destroy(Name { name }) => {
            let name = name.clone();
            client::call::<()>(global, &Call::SetDestroy { name: name.clone() })?;
            if global.json {
                writeln!(out, "{}", json!({ "schema": 1, "destroyed": name }))?;
            } else {
                writeln!(out, "set {name} destroyed")?;
            }
            Ok(Outcome::Done)
        }
        SetCommand::List => {
            let sets: Vec<SetInfo> = client::call(global, &Call::SetList)?;
            print(&sets, global, out)
        }
        SetCommand::Show(Name { name }) => {
            let name = name.clone();
            let call = Call::SetShow { name: name.clone() };
            let elements: Vec<String> = client::call(global, &call)?;
            if global.json {
                let set = json!({ "name": name, "elements": elements });
                writeln!(out, "{}", json!({ "schema": 1, "set": set }))?;
            } else {
                for element in elements {
                    writeln!(out, "{element}")?;
                }
            }
            Ok(Outcome::Done)
        }
        SetCommand::Import { file } => {
            let (path, text) = match file {
                Some(path) => (path.clone(), read(path)?),
                None => ("ipset save".into(), saved()?),
            };
            let sets = parse_ipset_save(&text).map_err(|error| CliError::File {
                path,
                source: io::Error::new(io::ErrorKind::InvalidData, error),
            })?;
            let sets: BTreeMap<String, Vec<String>> = sets
                .iter()
                .map(|(name, set)| (name.clone(), set.lines().collect()))
                .collect();
            let sets: Vec<SetInfo> = client::call(global, &Call::SetImport { sets })?;
            print(&sets, global, out)
        }
    }
}

fn print(sets: &[SetInfo], global: &Global, out: &mut impl Write) -> Result<Outcome, CliError> {
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "sets": sets }))?;
    } else {
        let rows = sets.iter();
        let rows = rows.map(|set| {
            let elements = match &set.problem {
                Some(problem) => format!("cannot be used: {problem}"),
                None => set.elements.to_string(),
            };
            vec![set.name.clone(), elements]
        });
        table::print(&["Name", "Elements"], rows, out)?;
    }
    Ok(Outcome::Done)
}
