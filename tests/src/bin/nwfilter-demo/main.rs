//! The demonstration behind `cargo xtask run`: a network of its own in network namespaces, a filter
//! on each VM's port, real frames, and what becomes of them on the other side of the wire.
//!
//! Nothing has a name outside this process: whatever ends it, the kernel takes the network and the
//! filters down with it.

mod backend;
mod cases;
mod network;
mod report;
mod signals;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;

use self::{
    backend::Backend,
    cases::Outcome,
    network::Network,
    report::{live, table},
    signals::Signals,
};

/// Shows a filter at work: real frames between namespaces, and what becomes of them.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Exit after the table: 0 if every frame fared as expected, 1 if not
    #[arg(long)]
    once: bool,

    /// Bind this filter instead of clean-traffic; expected is then what the engine in userspace says
    #[arg(long, value_name = "FILE", conflicts_with = "no_filter")]
    filter: Option<PathBuf>,

    /// Bind no filter at all: every frame must arrive, which shows that it is the filter that drops
    #[arg(long)]
    no_filter: bool,

    /// One JSON document per table instead of text
    #[arg(long)]
    json: bool,
}

/// How often the live counters are renewed.
const PERIOD: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let result = Signals::take().and_then(|signals| run(&Options::parse(), &signals));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything fared as expected.
fn run(options: &Options, signals: &Signals) -> Result<bool> {
    let network = Network::new().context("build the demo network")?;
    let mut backend: Box<dyn Backend> = if options.no_filter {
        Box::new(backend::Open)
    } else {
        backend::connect(options.filter.as_deref())?
    };
    for port in network.ports() {
        backend
            .bind(&network.lan.host, port)
            .with_context(|| format!("bind the filter to {}", port.vm.port))?;
    }

    let mut outcomes = Vec::new();
    for case in cases::all(&network) {
        if signals.arrived()? {
            anyhow::bail!("interrupted");
        }
        // The fixed expectations are those of clean-traffic.
        let expected = match (&options.filter, options.no_filter) {
            (Some(_), _) => None,
            (None, true) => Some(true),
            (None, false) => Some(case.clean_traffic_passes),
        };
        outcomes.push(cases::run(&case, &network, &mut *backend, expected)?);
    }
    show(options, &network, &outcomes)?;
    let as_expected = outcomes.iter().all(Outcome::is_as_expected);
    if !options.once {
        watch(options, signals, &network, &mut *backend)?;
    }
    Ok(as_expected)
}

fn show(options: &Options, network: &Network, outcomes: &[Outcome]) -> Result<()> {
    let mut out = io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, &report::document(network, outcomes))?;
        writeln!(out)?;
    } else {
        table(&mut out, network, outcomes)?;
    }
    Ok(out.flush()?)
}

/// Keeps the network talking and shows the counters until a signal comes.
fn watch(
    options: &Options,
    signals: &Signals,
    network: &Network,
    backend: &mut dyn Backend,
) -> Result<()> {
    let redraw = !options.json && io::stdout().is_terminal();
    while !signals.wait(PERIOD)? {
        for case in cases::all(network) {
            cases::send(&case, network)?;
        }
        let mut out = io::stdout().lock();
        if options.json {
            serde_json::to_writer(&mut out, &report::counters(network, backend)?)?;
            writeln!(out)?;
        } else {
            live(&mut out, network, backend, redraw)?;
        }
        out.flush()?;
    }
    Ok(())
}
