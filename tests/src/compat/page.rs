//! `docs/compatibility.md`.

use std::fmt::{self, Write as _};

use nwfilter_ctl::model::{Attr, Protocol};

use super::{
    Reason, Report,
    report::{Count, Explained},
    run::Versions,
};

/// The page.
pub fn page(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut text, report);
    text
}

fn write(text: &mut String, report: &Report) -> fmt::Result {
    let Versions {
        libvirt,
        ebtables,
        iptables,
        kernel,
    } = &report.versions;
    let Count {
        rules,
        verdicts,
        judge,
        asked,
        engine,
        ..
    } = report.all;
    writeln!(
        text,
        "# Compatibility with libvirt\n\n\
         Written by `cargo xtask compatibility`; do not edit.\n\n\
         libvirt's own daemon enforces filters on a port, and frames through it are compared with what \
         `semantics = libvirt` makes of them: with the naive judge of the tests, and with the compiler \
         and the engine. Asked was {libvirt} with {ebtables} and {iptables} on Linux {kernel}.\n\n\
         **{verdicts} verdicts** on {rules} rules. The judge agrees with {judge} of them; the engine, \
         asked for {asked}, with {engine}. The differences are explained [below](#differences); one \
         without an explanation fails the command, and the test.\n\n\
         Not compared: what the host itself sends and routes to a VM, which libvirt's inet layer does \
         not see (semantics, 4.5) and we filter like everything else; time, after which connections end; the order of chains of \
         equal priority, which libvirt leaves to chance; and rules that libvirt or its tools refuse."
    )?;
    if !report.refused.is_empty() {
        writeln!(text, "\nThe compiler refuses some of the rules:\n")?;
        for (why, frames) in &report.refused {
            writeln!(text, "* {why} ({frames} verdicts)")?;
        }
    }
    differences(text, report)?;
    matrix(text, report)?;
    groups(text, report)?;
    elements(text, report)
}

fn differences(text: &mut String, report: &Report) -> fmt::Result {
    writeln!(
        text,
        "\n## Differences\n\n| difference | verdicts |\n|---|--:|"
    )?;
    let explained = || {
        Reason::ALL
            .into_iter()
            .filter_map(|reason| Some((reason, report.explained.get(&reason)?)))
    };
    for (reason, Explained { count, .. }) in explained() {
        writeln!(text, "| {} | {count} |", reason.title())?;
    }
    for (reason, Explained { example, .. }) in explained() {
        let (title, why) = (reason.title(), reason.why());
        writeln!(text, "\n### {title}\n\n{why}\n\n```text\n{example}```")?;
    }
    Ok(())
}

fn matrix(text: &mut String, report: &Report) -> fmt::Result {
    writeln!(
        text,
        "\n## The matrix of the inet layer\n\n\
         Every action and direction, each with `statematch` on and off and with nine lists of states \
         (four with a connection limit, and to the host), for each kind of rule: verdicts, and how many of them the \
         judge and the engine agree with.\n\n\
         | rules | action | direction | rules | verdicts | passed | judge | engine |\n\
         |---|---|---|--:|--:|--:|--:|--:|"
    )?;
    for ((name, action, direction), count) in &report.matrix {
        let name = name.trim_start_matches("matrix: ");
        writeln!(text, "| {name} | {action} | {direction} | {}", row(count))?;
    }
    Ok(())
}

fn groups(text: &mut String, report: &Report) -> fmt::Result {
    writeln!(
        text,
        "\n## By filter\n\n\
         | filter | rules | verdicts | passed | judge | engine |\n|---|--:|--:|--:|--:|--:|"
    )?;
    for (name, count) in &report.batches {
        writeln!(text, "| {name} | {}", row(count))?;
    }
    Ok(())
}

fn elements(text: &mut String, report: &Report) -> fmt::Result {
    writeln!(
        text,
        "\n## By element and attribute\n\n\
         A verdict counts for every element and attribute of the rules that it is about.\n\n\
         | element | attribute | rules | verdicts | passed | judge | engine |\n\
         |---|---|--:|--:|--:|--:|--:|"
    )?;
    for ((element, attribute), count) in &report.elements {
        let element = match element {
            Protocol::None => "no element",
            element => element.as_str(),
        };
        let attribute = attribute.as_ref().map_or("", |attr: &Attr| attr.as_str());
        writeln!(text, "| {element} | {attribute} | {}", row(count))?;
    }
    Ok(())
}

/// The rest of a row of a table.
fn row(count: &Count) -> String {
    let Count {
        rules,
        verdicts,
        passed,
        judge,
        asked,
        engine,
    } = count;
    let engine = match asked {
        0 => "not asked".to_owned(),
        _ => engine.to_string(),
    };
    format!("{rules} | {verdicts} | {passed} | {judge} | {engine} |")
}
