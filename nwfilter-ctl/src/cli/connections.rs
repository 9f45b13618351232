//! `show --connections` and `flush`: the connections of a port, by way of the daemon.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::{CliError, Global, Outcome, client, table};
use crate::daemon::api::{Call, ConnectionList, End, TrackingInfo};

/// Forget the connections of a port: what its rules allow only as an answer needs a new question
#[derive(Args, Clone, Debug)]
pub struct FlushArgs {
    /// Its device
    #[arg(value_name = "PORT")]
    pub port: String,
}

/// Shows the connections of a port.
///
/// # Errors
///
/// What the daemon says.
pub(super) fn show(
    port: String,
    global: &Global,
    out: &mut impl Write,
) -> Result<Outcome, CliError> {
    let list: ConnectionList = client::call(global, &Call::Connections { port })?;
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "connections": list }))?;
        return Ok(Outcome::Done);
    }
    let rows = list.connections.iter().map(|connection| {
        vec![
            connection.protocol.clone(),
            connection.direction.clone(),
            end(&connection.source),
            end(&connection.destination),
            connection.state.clone(),
            format!("{} s", connection.expires),
        ]
    });
    let heading = [
        "Protocol",
        "Direction",
        "Source",
        "Destination",
        "State",
        "Expires",
    ];
    table::print(&heading, rows, out)?;
    if let Some(tracking) = &list.tracking {
        let TrackingInfo {
            quota,
            entries,
            created,
            over_quota,
            table_full,
            invalid,
            expired,
            evicted,
            answers,
            answers_suppressed,
        } = tracking;
        writeln!(
            out,
            "\n{entries} stored of at most {quota}; since the port exists: {created} stored, \
             {expired} expired, {evicted} evicted, {over_quota} over the quota, {table_full} without \
             room, {invalid} invalid frames; {answers} answers to rejected frames, {answers_suppressed} \
             suppressed"
        )?;
    }
    Ok(Outcome::Done)
}

fn end(end: &End) -> String {
    match (end.port, end.address.contains(':')) {
        (None, _) => end.address.clone(),
        (Some(port), false) => format!("{}:{port}", end.address),
        (Some(port), true) => format!("[{}]:{port}", end.address),
    }
}

/// Forgets the connections of a port.
///
/// # Errors
///
/// What the daemon says.
pub fn flush(args: &FlushArgs, global: &Global, out: &mut impl Write) -> Result<Outcome, CliError> {
    let port = args.port.clone();
    client::call::<()>(global, &Call::Flush { port })?;
    if global.json {
        writeln!(out, "{}", json!({ "schema": 1, "flushed": args.port }))?;
    } else {
        writeln!(out, "Connections of {} forgotten", args.port)?;
    }
    Ok(Outcome::Done)
}
