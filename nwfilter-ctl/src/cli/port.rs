//! `show`, `monitor` and `status`: looking at ports, by way of the daemon.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::{CliError, Global, Outcome, binding, client, connections, table};
use crate::daemon::api::{Call, Dropped, PortInfo, Status};

/// Show the rules of a port with what they have counted
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Its device
    #[arg(value_name = "PORT")]
    pub port: String,

    /// Show the kernel's tables too
    #[arg(long)]
    pub raw: bool,

    /// Show the connections that the port's rules know of, and nothing else
    #[arg(long, conflicts_with = "raw")]
    pub connections: bool,
}

/// Print dropped frames as they are dropped
#[derive(Args, Clone, Debug)]
pub struct MonitorArgs {
    /// Devices; all of them if none is named
    #[arg(value_name = "PORT")]
    pub ports: Vec<String>,
}

/// Compare what should be enforced with what is; exit with 1 if they differ
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {}

/// Shows a port.
///
/// # Errors
///
/// What the daemon says.
pub fn show(args: &ShowArgs, global: &Global, out: &mut impl Write) -> Result<Outcome, CliError> {
    let port = args.port.clone();
    if args.connections {
        return connections::show(port, global, out);
    }
    let mut info: PortInfo = client::call(
        global,
        &Call::Show {
            port,
            raw: args.raw,
        },
    )?;
    if !args.raw {
        info.raw = None;
    }
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "port": info }))?;
        return Ok(Outcome::Done);
    }
    binding::print(std::slice::from_ref(&info.binding), out)?;
    for address in &info.binding.addresses {
        let server = address.server.as_ref();
        let from = server.map_or_else(String::new, |server| format!(" from {server}"));
        let until = match address.expires {
            Some(seconds) => format!(", {seconds} s left"),
            None => String::new(),
        };
        let source = address.source.as_str();
        writeln!(out, "address {} ({source}{from}{until})", address.address)?;
    }
    let attached = info.attached.as_deref().unwrap_or("not attached");
    let image = match &info.image {
        Some(image) => format!(
            "{} ({} words; ports that have it: {})",
            image.number, image.words, image.ports
        ),
        None => "none, nothing passes".to_owned(),
    };
    writeln!(
        out,
        "\nsemantics: {}, attached: {attached}, image: {image}\n",
        info.semantics
    )?;
    let rows = info.rules.iter().map(|rule| {
        vec![
            rule.packets.to_string(),
            rule.bytes.to_string(),
            rule.name.clone(),
        ]
    });
    table::print(&["Packets", "Bytes", "Decided by"], rows, out)?;
    if let Some(raw) = &info.raw {
        writeln!(
            out,
            "\ninterface index {}, port number {}, record {}\nimage {} ({} words), {}\ncounters {} to {}",
            raw.ifindex,
            raw.number,
            raw.side,
            raw.image,
            raw.image_words,
            if raw.ready { "ready" } else { "not to be used" },
            raw.counters,
            raw.counters + nwfilter_common::FAULT_COUNTERS + raw.entries - 1,
        )?;
        for (number, slot) in raw.slots.iter().enumerate() {
            writeln!(out, "slot {number}: {slot}")?;
        }
        writeln!(out)?;
        for line in &raw.tables {
            writeln!(out, "{line}")?;
        }
    }
    Ok(Outcome::Done)
}

/// Prints drops until interrupted.
///
/// # Errors
///
/// What the daemon says, or that it is gone.
pub fn monitor(
    args: &MonitorArgs,
    global: &Global,
    out: &mut impl Write,
) -> Result<Outcome, CliError> {
    let ports = args.ports.clone();
    client::stream(global, &Call::Monitor { ports }, |line| {
        let dropped: Dropped = serde_json::from_str(line).map_err(client::ClientError::Nonsense)?;
        if global.json {
            let mut line = json!(dropped);
            line["schema"] = Value::from(1);
            writeln!(out, "{line}")?;
        } else {
            if dropped.lost > 0 {
                writeln!(out, "({} drops not shown)", dropped.lost)?;
            }
            let Dropped {
                port,
                direction,
                rule,
                length,
                frame,
                ..
            } = dropped;
            writeln!(
                out,
                "{port} {direction} {length} bytes, dropped by {rule}: {frame}"
            )?;
        }
        Ok(out.flush()?)
    })?;
    Ok(Outcome::Done)
}

/// Compares desired and observed.
///
/// # Errors
///
/// What the daemon says.
pub fn status(global: &Global, out: &mut impl Write) -> Result<Outcome, CliError> {
    let status: Status = client::call(global, &Call::Status)?;
    let good = status.filters.is_empty()
        && status.sets.is_empty()
        && status.leases.is_empty()
        && status
            .bindings
            .iter()
            .all(|binding| binding.state.is_desired());
    if global.json {
        let document = json!({ "schema": 1, "as_desired": good, "status": status });
        writeln!(out, "{document}")?;
    } else {
        binding::print(&status.bindings, out)?;
        for filter in &status.filters {
            let problem = filter.problem.as_deref().unwrap_or_default();
            writeln!(out, "filter {}: {problem}", filter.name)?;
        }
        for set in &status.sets {
            let problem = set.problem.as_deref().unwrap_or_default();
            writeln!(out, "set {}: {problem}", set.name)?;
        }
        for problem in &status.leases {
            writeln!(out, "leases {problem}")?;
        }
        let verdict = if good { "as desired" } else { "not as desired" };
        writeln!(out, "\ndaemon {}: {verdict}", status.daemon)?;
        if status.lost_events > 0 {
            writeln!(out, "{} drop events lost", status.lost_events)?;
        }
        if status.lost_learning > 0 {
            let lost = status.lost_learning;
            writeln!(out, "{lost} frames to learn from lost")?;
        }
    }
    Ok(if good {
        Outcome::Done
    } else {
        Outcome::Findings
    })
}
