//! Tests against outputs recorded from libvirt 9.0.0: each input was defined and its definition
//! dumped. Lines of the recordings are an input, a tab, and the output or `!` for a refused input.

use crate::{
    diag::{Code, any_error},
    format::format_filter,
    model::{Entry, Filter, Protocol, Selector, Semantics, Span, Value, VariableAccess},
    parse::{Kind, Support, attributes, parse_filter},
};

const ATTRIBUTES: &str = include_str!("../../tests/golden/attributes.tsv");
const RULES: &str = include_str!("../../tests/golden/rules.tsv");
/// Generated: several attributes, elements and signs.
const COMBINATIONS: &str = include_str!("../../tests/golden/combinations.tsv");
const DOCUMENTS: &str = include_str!("../../tests/golden/documents.tsv");

const HEAD: &str = "<filter name='t'><rule action='accept' direction='in'>";
const TAIL: &str = "</rule></filter>";

/// Undoes the escapes of the recordings.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(match chars.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            other => out.push(other),
        }
    }
    out
}

fn cases(recording: &str) -> impl Iterator<Item = (String, String)> {
    recording.lines().map(|line| {
        let (input, output) = line.split_once('\t').unwrap();
        (unescape(input), unescape(output))
    })
}

/// The elements inside the only rule of a formatted filter, on one line.
fn elements(formatted: &str) -> String {
    let lines = formatted
        .lines()
        .skip(1)
        .filter(|line| line.starts_with("    "));
    lines.map(str::trim_start).collect()
}

/// What the recording would say.
fn dump(text: &str, semantics: Semantics) -> String {
    let (filter, found) = parse_filter(text, semantics);
    assert_eq!(filter.is_none(), any_error(&found), "{text}");
    filter.map_or("!".to_owned(), |filter| format_filter(&filter))
}

/// Inputs that are read or written in another way on purpose, and what comes out.
const DELIBERATE: &[(&str, &str)] = &[
    // An address with a scope belongs to one link of one host; no frame carries it.
    ("<ipv6 srcipaddr='fe80::1%lo'/>", "!"),
    ("<ipv6 srcipaddr='fe80::1%1'/>", "!"),
    ("<ipv6 srcipaddr='::1%99'/>", "!"),
    // Said in the one way that has a meaning.
    ("<tcp state=''/>", "<tcp state='NONE'/>"),
    ("<tcp state=','/>", "<tcp state='NONE'/>"),
    // Libvirt would read its own output as blanks.
    (
        "<tcp comment='a&#10;b&#9;c&#13;d'/>",
        "<tcp comment='a&#10;b&#9;c&#13;d'/>",
    ),
    // Libvirt would read its own output as a priority of -700.
    (
        "<filter name='t' chain='ipv4' priority='0'>",
        "<filter name='t' chain='ipv4' priority='0'>",
    ),
    (
        "<filter name='t' chain='ipv4' priority='-0'>",
        "<filter name='t' chain='ipv4' priority='0'>",
    ),
    // Libvirt writes what it cannot read.
    (
        "<filter name='é&amp;&lt;'>",
        "<filter name='é&amp;&lt;' chain='root'>",
    ),
    (
        "<filter name='t'><uuid>11111111-2222-3333-4444-555555555555</uuid><filterref filter='a&lt;b'>",
        "<filter name='t' chain='root'>",
    ),
    // Libvirt misses the UUID of a document with a namespace.
    (
        "<filter xmlns='urn:x' name='t'>",
        "<filter name='t' chain='root'>",
    ),
    ("<!DOCTYPE filter", "!"),
];

/// Where our reading differs from the recording, but for the deliberate differences.
fn compare(recording: &str, wrap: bool, semantics: Semantics) -> Vec<(String, String)> {
    let mut differences = Vec::new();
    for (input, expected) in cases(recording) {
        let ours = if wrap {
            let ours = dump(&format!("{HEAD}{input}{TAIL}"), semantics);
            if ours == "!" { ours } else { elements(&ours) }
        } else {
            dump(&input, semantics)
        };
        if ours == expected.replace("  <uuid/>\n", "") {
            continue;
        }
        let deliberate = DELIBERATE
            .iter()
            .any(|(start, output)| input.starts_with(start) && ours.lines().next() == Some(output));
        if !deliberate {
            println!("{input}\n  libvirt {expected}\n  ours    {ours}\n");
            differences.push((input, ours));
        }
    }
    differences
}

/// Every attribute that libvirt reads is in the recordings: accepted, negated, as a variable, and
/// refused with a message that names it and says what is expected.
#[test]
fn recordings_cover_every_attribute() {
    let recorded: Vec<_> = cases(ATTRIBUTES).collect();
    for &protocol in Protocol::ALL {
        for spec in attributes(protocol)
            .iter()
            .filter(|spec| spec.support != Support::Ignored)
        {
            // Libvirt documents this element, and ignores it.
            if protocol == Protocol::IgmpIpv6 {
                continue;
            }
            let name = spec.attr.as_str();
            let concerns = |input: &str| {
                input.starts_with(&format!("<{protocol} ")) && input.contains(&format!(" {name}='"))
            };
            let of = |wanted: &dyn Fn(&str, &str) -> bool| {
                recorded
                    .iter()
                    .any(|(input, output)| concerns(input) && wanted(input, output))
            };
            assert!(of(&|_, output| output != "!"), "{protocol} {name} accepted");
            assert!(
                of(&|input, _| input.contains("match='no'")),
                "{protocol} {name} negated"
            );
            assert!(
                of(&|input, _| input.contains("'$V")),
                "{protocol} {name} variable"
            );
            let anything = matches!(spec.kind, Kind::Comment | Kind::Bool);
            assert!(
                anything || of(&|_, output| output == "!"),
                "{protocol} {name} refused"
            );
        }
    }
}

#[test]
fn refused_values_are_named_with_what_is_expected() {
    for (input, _) in cases(ATTRIBUTES).filter(|(_, output)| output == "!") {
        let (_, found) = parse_filter(&format!("{HEAD}{input}{TAIL}"), Semantics::Libvirt);
        let found = found.iter().find(|found| found.code == Code::IllegalValue);
        let found = found.unwrap_or_else(|| panic!("{input}"));
        let (name, value) = input.rsplit_once("='").unwrap();
        let name = name.rsplit_once(' ').unwrap().1;
        let value = value.trim_end_matches("'/>");
        let message = format!("`{name}` has the illegal value `{value}`");
        assert_eq!(found.message, message, "{input}");
        assert!(found.expected.is_some(), "{input}");
    }
}

#[test]
fn attributes_as_libvirt() {
    assert_eq!(compare(ATTRIBUTES, true, Semantics::Libvirt), []);
}

#[test]
fn rules_as_libvirt() {
    assert_eq!(compare(RULES, true, Semantics::Libvirt), []);
}

#[test]
fn combinations_as_libvirt() {
    assert_eq!(compare(COMBINATIONS, true, Semantics::Libvirt), []);
}

#[test]
fn documents_as_libvirt() {
    assert_eq!(compare(DOCUMENTS, false, Semantics::Libvirt), []);
}

#[test]
fn strict_warns_wherever_it_differs() {
    let told = [
        Code::CannotBind,
        Code::IllegalValue,
        Code::IpSetLost,
        Code::NotRead,
        Code::PortNegation,
        Code::RangeEndFamily,
        Code::SignChanged,
    ];
    let mut differences = compare(ATTRIBUTES, true, Semantics::Strict);
    differences.extend(compare(RULES, true, Semantics::Strict));
    differences.extend(compare(COMBINATIONS, true, Semantics::Strict));
    differences.extend(compare(DOCUMENTS, false, Semantics::Strict));
    assert!(!differences.is_empty());
    for (input, ours) in differences {
        let wrapped = format!("{HEAD}{input}{TAIL}");
        let text = if input.starts_with("<filter") {
            &input
        } else {
            &wrapped
        };
        let (_, found) = parse_filter(text, Semantics::Strict);
        assert!(
            found.iter().any(|found| told.contains(&found.code)),
            "{input}\n{ours}"
        );
    }
}

/// What is written is read back as the same, in both readings, spans and lines apart.
#[test]
fn written_is_read_back() {
    let wrapped = |text: String| format!("{HEAD}{text}{TAIL}");
    let inputs = cases(ATTRIBUTES)
        .chain(cases(RULES))
        .map(|(input, _)| wrapped(input));
    for input in inputs.chain(cases(DOCUMENTS).map(|(input, _)| input)) {
        for semantics in [Semantics::Strict, Semantics::Libvirt] {
            // Libvirt makes up flags, and forgets the set when it reads them.
            if semantics == Semantics::Libvirt && input.contains("ipset=") {
                continue;
            }
            let Some(first) = parse_filter(&input, semantics).0 else {
                continue;
            };
            let text = format_filter(&first);
            let (second, found) = parse_filter(&text, semantics);
            let second = second.unwrap_or_else(|| panic!("{input}\n{text}\n{found:?}"));
            assert_eq!(bare(first), bare(second), "{input}\n{text}");
        }
    }
}

/// A filter without places, and with iterator 0 as it is written.
pub(crate) fn bare(mut filter: Filter) -> Filter {
    for entry in &mut filter.entries {
        match entry {
            Entry::Reference(reference) => reference.span = Span::default(),
            Entry::Rule(rule) => {
                rule.span = Span::default();
                rule.line = 0;
                for attribute in &mut rule.attributes {
                    attribute.span = Span::default();
                    if let Value::Variable(VariableAccess {
                        selector: Selector::Iterator { id: 0, written },
                        ..
                    }) = &mut attribute.value
                    {
                        *written = false;
                    }
                }
            }
        }
    }
    filter
}
