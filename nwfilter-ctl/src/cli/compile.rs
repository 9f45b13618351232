//! `nwfilter-ctl compile`: what a binding comes down to. The same input gives the same output.

use std::io::Write;

use clap::Args;
use nwfilter_common::{Field, FrameDirection, LeafVerdict, Slot, TableLayer};
use serde_json::{Value, json};

use super::{
    CliError, Global, Outcome, condition,
    load::{self, BindingArgs, Loaded},
    place,
};
use crate::{
    compile::{Compiled, Condition, Entry, FlatRule, Outcome as RuleOutcome},
    model::Semantics,
};

/// Resolve and compile a binding; print the flattened rules and the size of the tables
#[derive(Args, Clone, Debug)]
pub struct CompileArgs {
    /// What to compile.
    #[command(flatten)]
    pub source: BindingArgs,
}

/// Prints the rules.
///
/// # Errors
///
/// See [`CliError`].
pub fn run(
    args: &CompileArgs,
    global: &Global,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> Result<Outcome, CliError> {
    let Some(loaded) = load::load(&args.source, global, out, errors)? else {
        return Ok(Outcome::Findings);
    };
    if global.json {
        writeln!(out, "{:#}", document(&loaded))?;
    } else {
        human(&loaded, out)?;
    }
    Ok(Outcome::Done)
}

/// A verdict for machines and people.
pub(super) const fn verdict(verdict: LeafVerdict) -> &'static str {
    match verdict {
        LeafVerdict::Accept | LeafVerdict::NoLayer => "accept",
        LeafVerdict::Drop => "drop",
        LeafVerdict::Reject => "reject",
    }
}

/// A direction for machines and people.
pub(super) const fn direction(direction: FrameDirection) -> &'static str {
    match direction {
        FrameDirection::In => "in",
        FrameDirection::Out => "out",
    }
}

const fn semantics(semantics: Semantics) -> &'static str {
    match semantics {
        Semantics::Strict => "strict",
        Semantics::Libvirt => "libvirt",
    }
}

fn human(loaded: &Loaded, out: &mut impl Write) -> Result<(), CliError> {
    let Compiled {
        image,
        steps,
        slots,
        entries,
        lists,
        sources: _,
    } = &loaded.prepared.compiled;
    let resolved = &loaded.prepared.resolved;
    let binding = &loaded.binding;
    writeln!(
        out,
        "port {}, MAC {}, filter {}, semantics {}",
        binding.port,
        binding.mac,
        binding.filter,
        semantics(loaded.semantics)
    )?;
    for (&(frames, layer), rules) in lists {
        let title = place::layer_title(layer);
        writeln!(out, "\nframes {}, {title} layer", direction(frames))?;
        for (index, rule) in rules.iter().enumerate() {
            let action = match rule.outcome {
                RuleOutcome::Decide(leaf) => verdict(leaf).to_owned(),
                RuleOutcome::Skip(target) => format!("skip to {target}"),
            };
            let conditions = conditions(rule, slots).join(", ");
            let conditions = if conditions.is_empty() {
                "any frame"
            } else {
                &conditions
            };
            writeln!(
                out,
                "{index:5}  {action:<10}  {conditions}  [{}]",
                rule.entry
            )?;
        }
    }
    writeln!(out, "\nentries")?;
    for (number, entry) in entries.iter().enumerate() {
        writeln!(out, "{number:5}  {}", place::of_entry(entry, resolved))?;
    }
    writeln!(out, "\nslots")?;
    let mut number = 0;
    while number < slots.len() {
        let (field, uses) = uses(&loaded.prepared.compiled, number);
        let stride = 1 + usize::from(field.is_some_and(|field| field.low_half().is_some()));
        let value = match field {
            Some(field) => condition::slot(field, number, slots),
            None => format!("{:#x}/{:#x}", slots[number].value, slots[number].mask),
        };
        writeln!(out, "{number:5}  {value}  {}", uses.join(", "))?;
        number += stride;
    }
    writeln!(
        out,
        "\nimage: {} words, {} bytes, {} of 16384 bytes, longest way {} nodes",
        image.used_words(),
        image.used_words() * 4,
        match image.pages().len() {
            1 => "1 page".into(),
            pages => format!("{pages} pages"),
        },
        *steps
    )?;
    Ok(())
}

fn conditions(rule: &FlatRule, slots: &[Slot]) -> Vec<String> {
    let described = rule.conditions.iter();
    described
        .map(|test| condition::condition(test, slots))
        .collect()
}

/// What a slot is compared with.
fn uses(compiled: &Compiled, number: usize) -> (Option<Field>, Vec<&'static str>) {
    let mut fields: Vec<Field> = Vec::new();
    for test in compiled
        .lists
        .values()
        .flatten()
        .flat_map(|rule| &rule.conditions)
    {
        if let Condition::Slots(test, _) = test {
            let first = usize::from(test.first);
            let length = usize::from(test.count) * usize::from(test.stride());
            if (first..first + length).contains(&number) {
                fields.push(test.field);
            }
        }
    }
    fields.sort_unstable();
    fields.dedup();
    let names = fields.iter().map(|field| condition::subject(*field));
    (fields.first().copied(), names.collect())
}

fn document(loaded: &Loaded) -> Value {
    let Compiled {
        image,
        steps,
        slots,
        entries,
        lists,
        sources: _,
    } = &loaded.prepared.compiled;
    let lists: Vec<Value> = lists
        .iter()
        .map(|(&(frames, layer), rules)| {
            let rules: Vec<Value> = rules.iter().map(|rule| json_rule(rule, slots)).collect();
            json!({ "direction": direction(frames), "layer": place::layer(layer), "rules": rules })
        })
        .collect();
    let entries: Vec<Value> = entries
        .iter()
        .map(|entry| json_entry(entry, loaded))
        .collect();
    let slots: Vec<Value> = slots
        .iter()
        .map(|slot| {
            json!({ "value": format!("{:#x}", slot.value), "mask": format!("{:#x}", slot.mask) })
        })
        .collect();
    json!({
        "schema": 1,
        "port": loaded.binding.port,
        "mac": loaded.binding.mac.to_string(),
        "filter": loaded.binding.filter,
        "semantics": semantics(loaded.semantics),
        "lists": lists,
        "entries": entries,
        "slots": slots,
        "image": {
            "words": image.used_words(),
            "bytes": image.used_words() * 4,
            "pages": image.pages().len(),
            "longest_way": *steps,
        },
    })
}

fn json_rule(rule: &FlatRule, slots: &[Slot]) -> Value {
    let (action, target) = match rule.outcome {
        RuleOutcome::Decide(leaf) => (verdict(leaf), None),
        RuleOutcome::Skip(target) => ("skip", Some(target)),
    };
    json!({
        "action": action,
        "target": target,
        "conditions": conditions(rule, slots),
        "entry": rule.entry,
    })
}

fn json_entry(entry: &Entry, loaded: &Loaded) -> Value {
    let resolved = &loaded.prepared.resolved;
    let reason = place::reason(entry);
    let layer = |layer: TableLayer| place::layer(layer);
    match entry {
        Entry::EndOfLayer(of) | Entry::Missing(of) => {
            json!({ "reason": reason, "layer": layer(*of) })
        }
        Entry::EndOfChain(chain) => json!({ "reason": reason, "chain": chain.as_ref() }),
        Entry::Rule(origin) => json!({
            "reason": reason,
            "filter": origin.filter.as_ref(),
            "rule": origin.rule,
            "line": origin.line,
            "file": resolved.filters.get(&origin.filter).map(|filter| place::file(filter)),
        }),
    }
}
