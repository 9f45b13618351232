//! What it takes to read a long filter and to expand it for a binding, in userspace and without I/O.

use std::{collections::BTreeMap, fmt::Write as _, hint::black_box, sync::Arc};

use anyhow::{Result, anyhow};
use nwfilter_ctl::{
    compile::compile,
    model::Semantics,
    parse::parse_filter,
    resolve::{LoadedFilter, resolve},
};
use nwfilter_tests::bind::binding;

use super::{
    filters::{self, MAC, Shape},
    measure::{cpu_time, interleaved},
    report::kept,
};

const RULES: u32 = 10_000;
/// Milliseconds.
const BUDGET: f64 = 100.0;
/// Measurements of which the median is taken.
const ROUNDS: usize = 15;
/// The same of what takes seconds.
const COMPILE_ROUNDS: usize = 3;

/// All measurements of the language.
pub(crate) const SECTIONS: &[super::Section] = &[|_| long_filters()];

fn long_filters() -> Result<String> {
    let mut report = format!(
        "## Reading a filter of {RULES} rules\n\n\
         From text to the model with all findings of the parser, and from the model to the concrete rules of a \
         binding (CPU time, median of {ROUNDS}). Budget: at most {BUDGET} ms together. Match tables are made of the \
         rules once for all ports that share them (median of {COMPILE_ROUNDS}, no budget).\n\n\
         | rules | size | parse | resolve | together | budget | match tables |\n|---|--:|--:|--:|--:|---|--:|\n"
    );
    for (name, shape) in [
        ("one network and one port each", Shape::Sparse),
        ("two networks and two ranges of ports each", Shape::Dense),
    ] {
        let text = filters::long(shape, RULES);
        let filter = load(&text)?;
        let binding = binding("vnet0", MAC, filter.name(), &[]);
        let filters = BTreeMap::from([(filter.name().to_string(), filter)]);
        let [parse, resolved] = interleaved(ROUNDS, 2, |thing| match thing {
            0 => time(|| load(&text)),
            _ => time(|| Ok(resolve(&binding, &filters, Semantics::Strict)?)),
        })?
        .medians()[..] else {
            return Err(anyhow!("two things were measured"));
        };
        let rules = resolve(&binding, &filters, Semantics::Strict)?.instances;
        let compile = interleaved(COMPILE_ROUNDS, 1, |_| {
            time(|| Ok(compile(&rules, Semantics::Strict)?))
        })?
        .median(0);
        // Tenths of a megabyte.
        let size = (text.len() + 50_000) / 100_000;
        writeln!(
            report,
            "| {name} | {}.{} MB | {parse:.1} ms | {resolved:.1} ms | {:.1} ms | {} | {compile:.0} ms |",
            size / 10,
            size % 10,
            parse + resolved,
            kept(parse + resolved <= BUDGET)
        )?;
    }
    report.push('\n');
    Ok(report)
}

fn load(text: &str) -> Result<Arc<LoadedFilter>> {
    let (filter, findings) = parse_filter(text, Semantics::Strict);
    let filter = filter.ok_or_else(|| anyhow!("{findings:?}"))?;
    Ok(Arc::new(LoadedFilter::new(filter, text, None)))
}

/// Milliseconds that it takes to make something; not to drop it.
fn time<T>(make: impl FnOnce() -> Result<T>) -> Result<f64> {
    let start = cpu_time()?;
    let made = black_box(make()?);
    let taken = cpu_time()?.saturating_sub(start);
    drop(made);
    Ok(taken.as_secs_f64() * 1e3)
}
