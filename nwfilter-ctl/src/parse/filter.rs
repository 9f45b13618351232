//! `<filter>` and what stands in it, but for the protocol elements of rules. Section 1 of the
//! semantics reference.

use super::{
    document::{Reader, integer, quoted, uuid},
    rule,
};
use crate::{
    diag::{Code, Diagnostic, closest},
    model::{Entry, Filter, Reference},
    xml::{Attribute, Element},
};

/// Longest name of a chain.
const MAX_CHAIN: usize = 12;

/// Priorities of rules and chains lie in here.
pub(super) const PRIORITIES: std::ops::RangeInclusive<i32> = -1000..=1000;

/// Prefixes of chain names and the priorities of chains that give none. Libvirt's documentation
/// says -810 for `stp`, its code forgets it.
pub const CHAINS: [(&str, i32); 8] = [
    ("root", 0),
    ("mac", -800),
    ("stp", 0),
    ("vlan", -750),
    ("ipv4", -700),
    ("ipv6", -600),
    ("arp", -500),
    ("rarp", -400),
];

/// The priority of a chain that gives none; `None` if no chain can have this name.
pub fn default_chain_priority(chain: &str) -> Option<i32> {
    CHAINS
        .iter()
        .find(|(prefix, _)| {
            if *prefix == "root" {
                chain == "root"
            } else {
                chain.starts_with(prefix)
            }
        })
        .map(|(_, priority)| *priority)
}

/// Reads the root element `<filter>`.
pub(super) fn filter(reader: &mut Reader, root: &Element<'_>) -> Option<Filter> {
    reader.unknown_attributes(root, &["name", "chain", "priority"]);
    reader.stray_text(root);
    let name = name(reader, root);
    let chain = chain(reader, root);
    let mut filter = Filter {
        name: name.clone().unwrap_or_default(),
        uuid: None,
        chain: String::new(),
        priority: 0,
        entries: Vec::with_capacity(root.children.len()),
    };
    let mut uuid_seen = None;
    for child in &root.children {
        match child.name {
            "rule" => filter
                .entries
                .extend(rule::rule(reader, child).map(Entry::Rule)),
            "filterref" => {
                filter
                    .entries
                    .extend(reference(reader, child, &filter.name).map(Entry::Reference));
            }
            "uuid" => {
                reader.unknown_attributes(child, &[]);
                if let Some(first) = uuid_seen {
                    let message = "only the first `<uuid>` counts";
                    reader.report(
                        Diagnostic::new(Code::ElementIgnored, child.name_span, message)
                            .also(first, "this one"),
                    );
                    continue;
                }
                uuid_seen = Some(child.name_span);
                filter.uuid = uuid_of(reader, child);
            }
            _ => reader.unknown_element(root, child, ["rule", "filterref", "uuid"]),
        }
    }
    (filter.chain, filter.priority) = chain?;
    name.map(|_| filter)
}

fn name(reader: &mut Reader, root: &Element<'_>) -> Option<String> {
    let Some(name) = root.attribute("name").filter(|name| !name.value.is_empty()) else {
        reader.missing(root, "name", "a name for the filter");
        return None;
    };
    if name.value.contains('/') {
        let message = format!("`{}` cannot be the name of a file", name.value);
        reader.report(
            Diagnostic::new(Code::IllegalValue, name.span, message).expected("a name without `/`"),
        );
        return None;
    }
    Some(name.value.to_string())
}

/// The `<uuid>` of a filter; an empty one counts as absent.
fn uuid_of(reader: &mut Reader, element: &Element<'_>) -> Option<uuid::Uuid> {
    if element.text.is_empty() {
        return None;
    }
    let parsed = uuid(&element.text);
    if parsed.is_none() {
        let message = format!("`{}` is no UUID", element.text.trim());
        reader.report(
            Diagnostic::new(
                Code::MalformedUuid,
                element.text_span.unwrap_or(element.tag),
                message,
            )
            .expected("32 hexadecimal digits, such as `fce8ae33-e69e-83bf-262e-30786c1f8072`"),
        );
    }
    parsed
}

/// Name and priority of the filter's chain.
fn chain(reader: &mut Reader, root: &Element<'_>) -> Option<(String, i32)> {
    let given = |name| root.attribute(name).filter(|given| !given.value.is_empty());
    let (chain, priority) = (given("chain"), given("priority"));
    let Some(chain) = chain else {
        if let Some(priority) = priority {
            // Libvirt looks at it before it forgets it.
            chain_priority(reader, priority)?;
            let message = "the priority is ignored because the filter names no chain";
            reader.report(
                Diagnostic::new(Code::ChainPriorityIgnored, priority.span, message)
                    .help("name the chain: `chain='root'`"),
            );
        }
        return Some(("root".into(), 0));
    };
    let default = check_chain(reader, chain);
    let priority = match priority {
        None => {
            if chain.value.starts_with("stp") && default.is_some() {
                let message = format!("chain `{}` gets priority 0", chain.value);
                reader.report(
                    Diagnostic::new(Code::StpPriority, chain.span, message)
                        .label("libvirt's documentation promises -810")
                        .help("write `priority='-810'`, or `priority='0'` to keep it so"),
                );
            }
            default
        }
        Some(priority) => chain_priority(reader, priority),
    };
    Some((chain.value.to_string(), default.and(priority)?))
}

/// The default priority of a chain; an error and `None` if it cannot have this name.
fn check_chain(reader: &mut Reader, chain: &Attribute<'_>) -> Option<i32> {
    let value = &*chain.value;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    let prefixes = CHAINS.map(|(prefix, _)| prefix);
    let found = |message: String| Diagnostic::new(Code::BadChain, chain.span, message);
    let Some(priority) = default_chain_priority(value) else {
        let expected = "`root`, or a name that begins with `mac`, `vlan`, `stp`, `arp`, `rarp`, \
                        `ipv4` or `ipv6`";
        let mut found = found(format!("no chain can have the name `{value}`")).expected(expected);
        if let Some(name) = closest(value, prefixes) {
            found = found.help(format!("did you mean `{name}`?"));
        }
        reader.report(found);
        return None;
    };
    if value.len() > MAX_CHAIN {
        let message = format!("the chain's name `{value}` has {} characters", value.len());
        reader.report(found(message).expected(format!("at most {MAX_CHAIN} characters")));
        return None;
    }
    if !value.chars().all(allowed) {
        let message = format!("the chain's name `{value}` has characters that it cannot have");
        reader.report(found(message).expected("letters, digits and any of `_-.:`"));
        return None;
    }
    Some(priority)
}

fn chain_priority(reader: &mut Reader, priority: &Attribute<'_>) -> Option<i32> {
    let parsed = integer(&priority.value).filter(|number| PRIORITIES.contains(number));
    if parsed.is_none() {
        let message = format!("`{}` is no priority of a chain", priority.value);
        reader.report(
            Diagnostic::new(Code::BadChainPriority, priority.span, message)
                .expected("a decimal number from -1000 to 1000"),
        );
    }
    parsed
}

/// Reads a `<filterref>` of the filter `own`.
fn reference(reader: &mut Reader, element: &Element<'_>, own: &str) -> Option<Reference> {
    reader.unknown_attributes(element, &["filter"]);
    let parameters = reader.parameters(element);
    let Some(filter) = element.attribute("filter") else {
        reader.missing(element, "filter", "the name of a filter");
        return None;
    };
    if filter.value.is_empty() {
        let message = "no filter has an empty name";
        reader.report(Diagnostic::new(
            Code::CannotBind,
            quoted(filter.span),
            message,
        ));
    } else if filter.value == own {
        let message = format!("filter `{own}` refers to itself");
        reader.report(Diagnostic::new(Code::FilterLoop, filter.span, message));
    }
    Some(Reference {
        filter: filter.value.to_string(),
        parameters,
        span: element.tag,
    })
}
