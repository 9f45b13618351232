//! `<rule>`: its own attributes and the choice of its protocol element.

use super::{
    document::{Reader, integer, quoted},
    element::RuleAttributes,
    filter::PRIORITIES,
};
use crate::{
    diag::{Code, Diagnostic, closest},
    model::{Action, Direction, Protocol, Rule, Semantics},
    xml::Element,
};

/// Priority of rules that give none, or none that can be used.
const DEFAULT_PRIORITY: i32 = 500;

/// The spellings of actions.
pub const ACTIONS: [(&str, Action); 5] = [
    ("drop", Action::Drop),
    ("accept", Action::Accept),
    ("reject", Action::Reject),
    ("return", Action::Return),
    ("continue", Action::Continue),
];

/// The spellings of directions.
pub const DIRECTIONS: [(&str, Direction); 3] = [
    ("in", Direction::In),
    ("out", Direction::Out),
    ("inout", Direction::InOut),
];

/// Reads a `<rule>`; `None` after an error.
pub(super) fn rule(reader: &mut Reader, element: &Element<'_>) -> Option<Rule> {
    reader.unknown_attributes(element, &["action", "direction", "priority", "statematch"]);
    reader.stray_text(element);
    let action = keyword(reader, element, "action", &ACTIONS);
    let direction = keyword(reader, element, "direction", &DIRECTIONS);
    let priority = priority(reader, element);
    let statematch = statematch(reader, element);
    let (protocol, attributes) = protocol(reader, element);
    Some(Rule {
        action: action?,
        direction: direction?,
        priority,
        statematch,
        protocol,
        attributes: attributes?,
        span: element.tag,
        line: reader.line(element.tag.start),
    })
}

/// Reads a required attribute that takes one of a few words.
fn keyword<T: Copy>(
    reader: &mut Reader,
    element: &Element<'_>,
    name: &str,
    words: &[(&str, T)],
) -> Option<T> {
    let quoted_words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    let expected = format!("one of {}", quoted_words.join(", "));
    let Some(attribute) = element.attribute(name) else {
        reader.missing(element, name, &expected);
        return None;
    };
    let known = words.iter().find(|(word, _)| *word == attribute.value);
    if known.is_none() {
        let message = format!("`{}` is no {name}", attribute.value);
        let mut found =
            Diagnostic::new(Code::IllegalValue, quoted(attribute.span), message).expected(expected);
        if let Some(word) = closest(&attribute.value, words.iter().map(|(word, _)| *word)) {
            found = found.help(format!("did you mean `{word}`?"));
        }
        reader.report(found);
    }
    known.map(|(_, value)| *value)
}

fn priority(reader: &mut Reader, element: &Element<'_>) -> i32 {
    let Some(attribute) = element.attribute("priority") else {
        return DEFAULT_PRIORITY;
    };
    let parsed = integer(&attribute.value);
    parsed
        .filter(|priority| PRIORITIES.contains(priority))
        .unwrap_or_else(|| {
            let message = format!("`{}` is no priority of a rule", attribute.value);
            reader.report(
                Diagnostic::new(Code::RulePriorityReplaced, quoted(attribute.span), message)
                    .label("libvirt takes 500 instead")
                    .expected("a decimal number from -1000 to 1000"),
            );
            DEFAULT_PRIORITY
        })
}

fn statematch(reader: &mut Reader, element: &Element<'_>) -> bool {
    let Some(attribute) = element.attribute("statematch") else {
        return true;
    };
    let value = &*attribute.value;
    if value == "0" || value.eq_ignore_ascii_case("false") {
        return false;
    }
    if value != "1" && !value.eq_ignore_ascii_case("true") {
        let message = format!("`statematch='{value}'` leaves state matching on");
        reader.report(
            Diagnostic::new(Code::OddKeyword, quoted(attribute.span), message)
                .expected("`true` or `false`"),
        );
    }
    true
}

/// The protocol of the first known child, and the attributes of all children of that name; no
/// attributes after an error.
fn protocol(
    reader: &mut Reader,
    rule: &Element<'_>,
) -> (Protocol, Option<Vec<crate::model::Attribute>>) {
    let mut chosen: Option<(Protocol, &Element<'_>, RuleAttributes)> = None;
    for child in &rule.children {
        let Some(protocol) =
            Protocol::from_name(child.name).filter(|protocol| *protocol != Protocol::None)
        else {
            let known = Protocol::ALL.iter().map(|protocol| protocol.as_str());
            reader.unknown_element(rule, child, known.filter(|name| *name != "none"));
            continue;
        };
        if protocol == Protocol::IgmpIpv6 {
            let strict = reader.semantics == Semantics::Strict;
            let message = "libvirt does not know the element `<igmp-ipv6>`, which it documents";
            reader.report(
                Diagnostic::new(Code::NotRead, child.name_span, message).label(if strict {
                    "it ignores the element, and the rule then applies to every frame"
                } else {
                    "ignored; without another element the rule applies to every frame"
                }),
            );
            if !strict {
                continue;
            }
        }
        match &mut chosen {
            None => {
                let mut attributes = RuleAttributes::new(protocol);
                attributes.element(reader, child);
                chosen = Some((protocol, child, attributes));
            }
            Some((first, _, attributes)) if *first == protocol => attributes.element(reader, child),
            Some((first, element, _)) => {
                let message = format!("`<{protocol}>` is ignored in a rule of `<{first}>`");
                reader.report(
                    Diagnostic::new(Code::ElementIgnored, child.name_span, message)
                        .also(
                            element.name_span,
                            "the first element decides what the rule is about",
                        )
                        .help(format!("write a rule of its own for `<{protocol}>`")),
                );
            }
        }
    }
    match chosen {
        None => (Protocol::None, Some(Vec::new())),
        Some((protocol, _, attributes)) => (protocol, attributes.finish(reader)),
    }
}
