//! `binding-create`, `binding-delete`, `binding-list` and `binding-dumpxml`: bindings, by way of the
//! daemon.

use std::{io::Write, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{CliError, Global, Outcome, client, filter, table};
use crate::daemon::api::{BindingInfo, Call};

/// Filter a port
#[derive(Args, Clone, Debug)]
pub struct BindingCreateArgs {
    /// The binding's document
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Replace the binding that the port has, without a moment in which it has none
    #[arg(long)]
    pub replace: bool,
}

/// Filter a port no more
#[derive(Args, Clone, Debug)]
pub struct BindingDeleteArgs {
    /// Its device
    #[arg(value_name = "PORT")]
    pub port: String,
}

/// List all bindings
#[derive(Args, Clone, Debug)]
pub struct BindingListArgs {}

/// Print the document of a binding
#[derive(Args, Clone, Debug)]
pub struct BindingDumpxmlArgs {
    /// Its device
    #[arg(value_name = "PORT")]
    pub port: String,
}

/// Creates a binding.
///
/// # Errors
///
/// A file that cannot be read, or what the daemon says.
pub fn create(
    args: &BindingCreateArgs,
    global: &Global,
    out: &mut impl Write,
) -> Result<Outcome, CliError> {
    let call = Call::BindingCreate {
        xml: filter::read(&args.file)?,
        replace: args.replace,
    };
    let info: BindingInfo = client::call(global, &call).map_err(filter::in_file(&args.file))?;
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "binding": info }))?;
    } else {
        let state = info.state.as_str();
        writeln!(
            out,
            "{} bound from {}: {state}",
            info.port,
            args.file.display()
        )?;
    }
    Ok(Outcome::Done)
}

/// Deletes a binding.
///
/// # Errors
///
/// What the daemon says.
pub fn delete(
    args: &BindingDeleteArgs,
    global: &Global,
    out: &mut impl Write,
) -> Result<Outcome, CliError> {
    let port = args.port.clone();
    client::call::<()>(global, &Call::BindingDelete { port })?;
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "deleted": args.port }))?;
    } else {
        writeln!(out, "{} is filtered no more", args.port)?;
    }
    Ok(Outcome::Done)
}

/// Lists bindings.
///
/// # Errors
///
/// What the daemon says.
pub fn list(global: &Global, out: &mut impl Write) -> Result<Outcome, CliError> {
    let bindings: Vec<BindingInfo> = client::call(global, &Call::BindingList)?;
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "bindings": bindings }))?;
    } else {
        print(&bindings, out)?;
    }
    Ok(Outcome::Done)
}

/// Addresses that were learned.
fn addresses(binding: &BindingInfo) -> String {
    let addresses = binding.addresses.iter();
    let addresses: Vec<&str> = addresses.map(|known| known.address.as_str()).collect();
    if addresses.is_empty() {
        return "-".into();
    }
    addresses.join(" ")
}

/// Bindings as a table.
pub(super) fn print(bindings: &[BindingInfo], out: &mut impl Write) -> Result<(), CliError> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    let rows = bindings.iter().map(|binding| {
        vec![
            binding.port.clone(),
            text(&binding.filter),
            text(&binding.mac),
            binding.state.as_str().to_owned(),
            addresses(binding),
            binding.problem.clone().unwrap_or_default(),
        ]
    });
    table::print(
        &["Port", "Filter", "MAC", "State", "Learned", ""],
        rows,
        out,
    )?;
    Ok(())
}

/// Prints a binding.
///
/// # Errors
///
/// What the daemon says.
pub fn dumpxml(
    args: &BindingDumpxmlArgs,
    global: &Global,
    out: &mut impl Write,
) -> Result<Outcome, CliError> {
    let port = args.port.clone();
    let xml: String = client::call(global, &Call::BindingDumpxml { port })?;
    filter::print_xml(&xml, global, out)?;
    Ok(Outcome::Done)
}
