//! Generated filters: what is written is read back, and nothing panics.

use proptest::{prelude::*, sample::select};

use crate::{
    diag::any_error,
    format::{format_filter, tests::bare},
    lint::lint_filter,
    model::{Family, Protocol, Semantics},
    parse::{Kind, attributes, parse_binding, parse_document, parse_filter},
};

/// Values of a type, right and wrong ones.
fn values(kind: Kind) -> Vec<&'static str> {
    let mut values = match kind {
        Kind::Number { .. } => vec![
            "0", "1", "0x1f", "0600", "63", "64", "4095", "65535", "65536", "-1",
        ],
        Kind::Mac => vec![
            "52:54:0:1:2:3",
            "FF:ff:FF:ff:FF:ff",
            "1:2:3 4",
            "1:2:3:4:5:6 x",
        ],
        Kind::MacMask => vec!["ff:ff:ff:0:0:0", "0:0:0:0:0:0", "ff:0:ff:0:0:0"],
        Kind::Address(Family::V4) => vec!["10.1", "192.0.2.1", "010.0.0.1", "1.2.3.256"],
        Kind::Address(Family::V6) => vec![
            "::1",
            "2001:DB8::1",
            "::1.2.3.4",
            "::ffff:1.2.3.4",
            "1.2.3.4",
        ],
        Kind::Mask(Family::V4) => vec!["0", "24", "255.255.0.0", "33"],
        Kind::Mask(Family::V6) => vec!["0", "64", "ffff::", "129"],
        Kind::Bool => vec!["true", "1", "no", "TRUE"],
        Kind::States => vec!["NEW", "new,ESTABLISHED", "NONE", "", "OLD"],
        Kind::TcpFlags => vec!["SYN/ALL", "ALL/NONE", "syn ack/SYN", "/", "SYN"],
        Kind::SetName => vec!["a set", "set.1", "a/b"],
        Kind::SetDirections => vec!["src", "dst,SRC", "src,,dst"],
        Kind::Comment => vec!["a 'b' &lt;c&gt; &amp; \"d\"", "", "&#10;"],
    };
    values.extend(kind.names().iter().map(|(name, _)| *name));
    values.extend(["$V", "$V[@0]", "$V[@3]", "$V[7]", "$V[", "$"]);
    values
}

fn element(protocol: Protocol) -> impl Strategy<Value = String> {
    let attribute = select(attributes(protocol)).prop_flat_map(|spec| {
        select(values(spec.kind)).prop_map(move |value| {
            let quoted = value.replace('\'', "&apos;");
            (spec.attr.as_str(), format!(" {}='{quoted}'", spec.attr))
        })
    });
    let matches = select(vec!["", " match='no'", " match='yes'", " match='NO'"]);
    (prop::collection::vec(attribute, 0..5), matches).prop_map(move |(mut attributes, matches)| {
        attributes.sort();
        attributes.dedup_by_key(|(name, _)| *name);
        let attributes: String = attributes.into_iter().map(|(_, text)| text).collect();
        format!("<{protocol}{matches}{attributes}/>")
    })
}

fn rule() -> impl Strategy<Value = String> {
    let actions = select(vec![
        "accept", "drop", "reject", "return", "continue", "drp",
    ]);
    let directions = select(vec!["in", "out", "inout"]);
    let more = select(vec![
        "",
        " priority='-7'",
        " priority='1001'",
        " statematch='false'",
    ]);
    let protocol = select(&Protocol::ALL[1..]);
    let elements =
        protocol.prop_flat_map(|protocol| prop::collection::vec(element(protocol), 0..4));
    (actions, directions, more, elements).prop_map(|(action, direction, more, elements)| {
        let elements = elements.concat();
        format!("<rule action='{action}' direction='{direction}'{more}>{elements}</rule>")
    })
}

fn document() -> impl Strategy<Value = String> {
    let starts = select(vec![
        "",
        " chain='root'",
        " chain='ipv4' priority='0'",
        " chain='stp-x'",
        " chain='arp' priority='5'",
    ]);
    let reference = "<filterref filter='other'><parameter name='A' value='1'/></filterref>";
    let entry = prop_oneof![5 => rule(), 1 => Just(reference.to_owned())];
    (starts, prop::collection::vec(entry, 0..4)).prop_map(|(start, entries)| {
        format!("<filter name='t'{start}>{}</filter>", entries.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn written_filters_are_read_back(text in document(), strict: bool) {
        let semantics = if strict { Semantics::Strict } else { Semantics::Libvirt };
        let (filter, found) = parse_filter(&text, semantics);
        prop_assert_eq!(filter.is_none(), any_error(&found));
        for found in &found {
            let span = found.primary.span;
            prop_assert!(text.get(span.start..span.end).is_some(), "{:?}", found);
        }
        let Some(filter) = filter else { return Ok(()) };
        lint_filter(&filter, semantics);
        // Libvirt makes up flags, and forgets the set when it reads them.
        prop_assume!(strict || !text.contains("ipset="));
        let written = format_filter(&filter);
        let (again, found) = parse_filter(&written, semantics);
        prop_assert!(again.is_some(), "{}\n{:?}", written, found);
        let again = again.unwrap();
        prop_assert_eq!(&written, &format_filter(&again));
        prop_assert_eq!(bare(filter), bare(again), "{}", written);
    }

    /// Damaged documents get findings, not panics.
    #[test]
    fn damaged_documents(text in document(), cut: prop::sample::Index, insert in "\\PC{0,3}") {
        let at = text.floor_char_boundary(cut.index(text.len()));
        let damaged = format!("{}{insert}{}", &text[..at], &text[text.ceil_char_boundary(at + 1)..]);
        let (document, found) = parse_document(&damaged, Semantics::Strict);
        prop_assert_eq!(document.is_none(), any_error(&found));
        parse_binding(&damaged);
    }
}
