//! What the demonstration prints.

use std::io::Write;

use anyhow::Result;
use nwfilter_tests::frame::describe;
use serde_json::{Value, json};
use tabwriter::TabWriter;

use super::{backend::Backend, cases::Outcome, network::Network};

/// The addresses of everybody, then a line per frame.
pub(crate) fn table(out: &mut dyn Write, network: &Network, outcomes: &[Outcome]) -> Result<()> {
    for port in network.ports() {
        writeln!(out, "{}: {} {}", port.vm.port, port.vm.mac, port.address)?;
    }
    writeln!(out)?;
    let mut columns = TabWriter::new(&mut *out);
    writeln!(columns, "WAY\tFRAME\tEXPECTED\tSEEN\t\tRULE\tCOUNTED")?;
    for outcome in outcomes {
        let counted: Vec<String> = outcome
            .moved
            .iter()
            .map(|(port, counter)| format!("{port} {} +{}", counter.rule, counter.packets))
            .collect();
        writeln!(
            columns,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}",
            way(outcome),
            outcome.name,
            verdict(outcome.expected),
            verdict(outcome.arrived),
            if outcome.is_as_expected() {
                ""
            } else {
                "WRONG"
            },
            outcome.rule,
            counted.join(", "),
        )?;
    }
    columns.flush()?;

    let wrong: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| !outcome.is_as_expected())
        .collect();
    for outcome in &wrong {
        writeln!(out, "wrong: {}: {}", way(outcome), describe(&outcome.frame))?;
    }
    writeln!(
        out,
        "\n{} frames, {} arrived, {} dropped, {} not as expected",
        outcomes.len(),
        outcomes.iter().filter(|outcome| outcome.arrived).count(),
        outcomes.iter().filter(|outcome| !outcome.arrived).count(),
        wrong.len(),
    )?;
    Ok(())
}

/// The same for programs.
pub(crate) fn document(network: &Network, outcomes: &[Outcome]) -> Value {
    let ports: Vec<Value> = network
        .ports()
        .iter()
        .map(|port| {
            json!({
                "port": port.vm.port,
                "mac": port.vm.mac.to_string(),
                "ip": port.address,
            })
        })
        .collect();
    let frames: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let way: Vec<Value> = outcome
                .way
                .iter()
                .map(
                    |(port, direction)| json!({ "port": port, "direction": direction.to_string() }),
                )
                .collect();
            let moved: Vec<Value> = outcome
                .moved
                .iter()
                .map(|(port, counter)| json!({ "port": port, "counter": counter }))
                .collect();
            json!({
                "name": outcome.name,
                "way": way,
                "frame": describe(&outcome.frame),
                "expected": verdict(outcome.expected),
                "seen": verdict(outcome.arrived),
                "rule": outcome.rule,
                "counted": moved,
            })
        })
        .collect();
    json!({ "schema": 1, "ports": ports, "frames": frames })
}

/// All counters, for programs.
pub(crate) fn counters(network: &Network, backend: &dyn Backend) -> Result<Value> {
    let mut ports = Vec::new();
    for port in network.ports() {
        ports.push(json!({ "port": port.vm.port, "counters": backend.counters(port)? }));
    }
    Ok(json!({ "schema": 1, "ports": ports }))
}

/// All counters, for people; on a terminal always in the same place.
pub(crate) fn live(
    out: &mut dyn Write,
    network: &Network,
    backend: &dyn Backend,
    redraw: bool,
) -> Result<()> {
    if redraw {
        // Home, and clear what is below (ECMA-48).
        write!(out, "\x1b[H\x1b[J")?;
    }
    let mut columns = TabWriter::new(&mut *out);
    writeln!(columns, "PORT\tRULE\tPACKETS\tBYTES")?;
    for port in network.ports() {
        for counter in backend.counters(port)? {
            let (packets, bytes) = (counter.packets, counter.bytes);
            writeln!(
                columns,
                "{}\t{}\t{packets}\t{bytes}",
                port.vm.port, counter.rule
            )?;
        }
    }
    columns.flush()?;
    writeln!(
        out,
        "(the frames above are sent again every second; Ctrl-C ends)"
    )?;
    Ok(())
}

fn way(outcome: &Outcome) -> String {
    match &outcome.way[..] {
        [(port, direction)] => format!("{port} {direction}"),
        [(from, _), (to, _), ..] => format!("{from} to {to}"),
        [] => String::new(),
    }
}

fn verdict(passes: bool) -> &'static str {
    if passes { "accept" } else { "drop" }
}
