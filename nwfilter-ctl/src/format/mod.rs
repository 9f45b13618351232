//! From the model to XML in libvirt's normal form: what `virsh nwfilter-dumpxml` and
//! `nwfilter-binding-dumpxml` print for the same definition, so that `parse` reads it back as the
//! same model. Where libvirt's own output would be read back as something else (a priority of 0, a
//! line break in a comment, markup in a name), this writes what keeps the meaning.

mod value;

use std::fmt::Write;

pub use value::{datum, variable};

use crate::{
    model::{Binding, Entry, Filter, Parameters, Protocol, Rule},
    parse::{ACTIONS, DIRECTIONS, attributes, default_chain_priority},
    xml::escape,
};

/// A filter, with a line break at the end. Without a UUID if it has none.
pub fn format_filter(filter: &Filter) -> String {
    let mut out = String::with_capacity(128 + 128 * filter.entries.len());
    // Writing to a string cannot fail.
    let _ = write_filter(&mut out, filter);
    out
}

/// A binding, with a line break at the end.
pub fn format_binding(binding: &Binding) -> String {
    let mut out = String::new();
    let _ = write_binding(&mut out, binding);
    out
}

/// A rule as it is in [`format_filter`]: equal for rules that mean the same and are written alike.
pub fn format_rule(rule: &Rule) -> String {
    let mut out = String::new();
    let _ = write_rule(&mut out, rule);
    out
}

fn write_filter(out: &mut String, filter: &Filter) -> std::fmt::Result {
    write!(
        out,
        "<filter name='{}' chain='{}'",
        escape(&filter.name),
        escape(&filter.chain)
    )?;
    // Libvirt leaves out a 0, and then reads the chain's default.
    if filter.priority != 0 || default_chain_priority(&filter.chain) != Some(0) {
        write!(out, " priority='{}'", filter.priority)?;
    }
    out.push_str(">\n");
    if let Some(uuid) = filter.uuid {
        writeln!(out, "  <uuid>{uuid}</uuid>")?;
    }
    for entry in &filter.entries {
        match entry {
            Entry::Rule(rule) => write_rule(out, rule)?,
            Entry::Reference(reference) => {
                write_reference(out, &reference.filter, &reference.parameters)?;
            }
        }
    }
    out.push_str("</filter>\n");
    Ok(())
}

fn write_reference(out: &mut String, filter: &str, parameters: &Parameters) -> std::fmt::Result {
    write!(out, "  <filterref filter='{}'", escape(filter))?;
    if parameters.0.is_empty() {
        out.push_str("/>\n");
        return Ok(());
    }
    out.push_str(">\n");
    for (name, values) in &parameters.0 {
        for value in values {
            writeln!(
                out,
                "    <parameter name='{}' value='{}'/>",
                escape(name),
                escape(value)
            )?;
        }
    }
    out.push_str("  </filterref>\n");
    Ok(())
}

fn write_rule(out: &mut String, rule: &Rule) -> std::fmt::Result {
    write!(
        out,
        "  <rule action='{}' direction='{}' priority='{}'",
        spelling(&ACTIONS, rule.action),
        spelling(&DIRECTIONS, rule.direction),
        rule.priority
    )?;
    if !rule.statematch {
        out.push_str(" statematch='false'");
    }
    if rule.protocol == Protocol::None {
        out.push_str("/>\n");
        return Ok(());
    }
    out.push_str(">\n");
    write_elements(out, rule)?;
    out.push_str("  </rule>\n");
    Ok(())
}

/// The protocol elements: one for each run of attributes of the same sign.
fn write_elements(out: &mut String, rule: &Rule) -> std::fmt::Result {
    let in_order = attributes(rule.protocol)
        .iter()
        .filter_map(|spec| rule.attributes.iter().find(|given| given.attr == spec.attr));
    let mut sign = None;
    for attribute in in_order {
        if sign != Some(attribute.negated) {
            if sign.is_some() {
                out.push_str("/>\n");
            }
            write!(out, "    <{}", rule.protocol)?;
            if attribute.negated {
                out.push_str(" match='no'");
            }
            sign = Some(attribute.negated);
        }
        let value = value::value(rule.protocol, attribute);
        write!(out, " {}='{}'", attribute.attr, escape(&value))?;
    }
    if sign.is_none() {
        write!(out, "    <{}", rule.protocol)?;
    }
    out.push_str("/>\n");
    Ok(())
}

fn write_binding(out: &mut String, binding: &Binding) -> std::fmt::Result {
    out.push_str("<filterbinding>\n  <owner>\n");
    writeln!(out, "    <name>{}</name>", escape(&binding.owner_name))?;
    writeln!(out, "    <uuid>{}</uuid>", binding.owner_uuid)?;
    out.push_str("  </owner>\n");
    writeln!(out, "  <portdev name='{}'/>", escape(&binding.port))?;
    if let Some(link) = &binding.link {
        writeln!(out, "  <linkdev name='{}'/>", escape(link))?;
    }
    writeln!(out, "  <mac address='{}'/>", binding.mac)?;
    write_reference(out, &binding.filter, &binding.parameters)?;
    out.push_str("</filterbinding>\n");
    Ok(())
}

/// The word that stands for a value.
fn spelling<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words
        .iter()
        .find(|(_, word)| *word == value)
        .map_or("", |(word, _)| word)
}

#[cfg(test)]
pub(crate) mod tests;
