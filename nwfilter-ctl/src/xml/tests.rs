//! Tests of the XML reader: spans, decoding, errors with their positions, limits.

use proptest::prelude::*;

use super::{Element, Limits, decode, escape, read};
use crate::{
    diag::{Code, Diagnostic, MAX_FINDINGS, Severity},
    model::Span,
};

fn parse(text: &str) -> (Option<Element<'_>>, Vec<Diagnostic>) {
    read(text, Limits::default())
}

fn at(text: &str, span: Span) -> &str {
    &text[span.start..span.end]
}

/// Codes, and the bytes that they point at.
fn found<'t>(text: &'t str, found: &[Diagnostic]) -> Vec<(Code, &'t str)> {
    found
        .iter()
        .map(|found| (found.code, at(text, found.primary.span)))
        .collect()
}

#[test]
fn spans_are_exact() {
    let text = "\u{feff}<?xml version='1.0' encoding='utf-8'?>\n<a:r é='1'\n  b = \"x&amp;y\">\n \
                <k/> t&#x41;<![CDATA[<]]> </a:r >\n";
    let (root, errors) = parse(text);
    assert_eq!(errors, []);
    let root = root.unwrap();
    assert_eq!((root.name, at(text, root.name_span)), ("r", "a:r"));
    assert_eq!(at(text, root.tag), "<a:r é='1'\n  b = \"x&amp;y\">");
    let [first, second] = &root.attributes[..] else {
        panic!()
    };
    assert_eq!(
        (first.name, at(text, first.name_span), at(text, first.span)),
        ("é", "é", "1")
    );
    assert_eq!((second.name, at(text, second.name_span)), ("b", "b"));
    assert_eq!((&*second.value, at(text, second.span)), ("x&y", "x&amp;y"));
    assert_eq!(at(text, root.children[0].tag), "<k/>");
    assert_eq!(root.text.trim(), "tA<");
    assert_eq!(at(text, root.text_span.unwrap()), "t&#x41;<![CDATA[<]]>");
}

#[test]
fn text_that_is_blank_only_elsewhere_has_a_place() {
    let text = "<a> \u{a0}<b/>\u{85} </a>";
    let root = parse(text).0.unwrap();
    assert_eq!(at(text, root.text_span.unwrap()), "\u{a0}<b/>\u{85}");
}

#[test]
fn values_are_decoded() {
    let text = "<a b='&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600; \r\n\t.&#10;'/>";
    assert_eq!(
        &*parse(text).0.unwrap().attributes[0].value,
        "<>&\"'A\u{1f600}   .\n"
    );
}

#[test]
fn escaped_text_comes_back() {
    proptest!(|(text in "\\PC*|[<>&'\"\t\n\r ]*")| {
        let document = format!("<a b='{0}'>{0}</a>", escape(&text));
        let (root, errors) = parse(&document);
        prop_assert_eq!(errors, []);
        let root = root.unwrap();
        prop_assert_eq!(&*root.attributes[0].value, &text);
        prop_assert_eq!(&root.text, &text);
    });
}

/// A document, the codes found and what they point at, the names of the root's children.
type Case = (
    &'static str,
    &'static [(Code, &'static str)],
    &'static [&'static str],
);

#[test]
fn errors_have_positions_and_the_rest_is_read() {
    use Code as C;
    let cases: &[Case] = &[
        ("", &[(C::MalformedXml, "")], &[]),
        ("text", &[(C::MalformedXml, "text")], &[]),
        ("<a><b></a>", &[(C::MalformedXml, "<b>")], &["b"]),
        ("<a></c><b/></a>", &[(C::MalformedXml, "</c>")], &["b"]),
        ("<a><b/>", &[(C::MalformedXml, "<a>")], &["b"]),
        ("<a><b/></a><c/>", &[(C::MalformedXml, "c")], &["b"]),
        ("<a><b/></a> junk ", &[(C::MalformedXml, "junk")], &["b"]),
        ("<a x=1 y='2'><b/></a>", &[(C::MalformedXml, "1")], &["b"]),
        ("<a x y='2'><b/></a>", &[(C::MalformedXml, "y")], &["b"]),
        ("<a x='1'y='2'><b/></a>", &[(C::MalformedXml, "y")], &["b"]),
        ("<a x='<'><b/></a>", &[(C::MalformedXml, "<")], &["b"]),
        ("<a x='a&b'><b/></a>", &[(C::MalformedXml, "&")], &["b"]),
        (
            "<a x='&y;'>&z;<b/></a>",
            &[(C::UnknownEntity, "&y;"), (C::UnknownEntity, "&z;")],
            &["b"],
        ),
        (
            "<a x='&#0;&#xd800;'/>",
            &[(C::UnknownEntity, "&#0;"), (C::UnknownEntity, "&#xd800;")],
            &[],
        ),
        (
            "<a x='1' x='2'><b/></a>",
            &[(C::RepeatedXmlAttribute, "x")],
            &["b"],
        ),
        // Blanks elsewhere, but not in XML; and decoded text is longer or shorter than it looks.
        (
            "<a/>\u{85}\u{a0}",
            &[(Code::MalformedXml, "\u{85}\u{a0}")],
            &[],
        ),
        (
            "<a/><![CDATA[ éé ]]>",
            &[(Code::MalformedXml, "<![CDATA[ éé ]]>")],
            &[],
        ),
        ("<a/>&#233;", &[(Code::MalformedXml, "&#233;")], &[]),
        ("<a>]]><b/></a>", &[(C::MalformedXml, "]]>")], &["b"]),
        ("<a><1/><b/></a>", &[(C::MalformedXml, "1")], &["1", "b"]),
        ("<a>\u{1}<b/></a>", &[(C::MalformedXml, "\u{1}")], &["b"]),
        (
            "<!DOCTYPE a><a><b/></a>",
            &[(C::DoctypeRefused, "<!DOCTYPE")],
            &["b"],
        ),
        (
            " <?xml version='1.0'?><a/>",
            &[(C::MalformedXml, "<?xml version='1.0'?>")],
            &[],
        ),
        ("<?xml version='1.0' encoding='iso-8859-1'?><a/>", &[], &[]),
    ];
    for (text, expected, children) in cases {
        let (root, errors) = parse(text);
        assert_eq!(found(text, &errors), *expected, "{text}");
        let names: Vec<_> = root
            .iter()
            .flat_map(|root| &root.children)
            .map(|c| c.name)
            .collect();
        assert_eq!(names, *children, "{text}");
    }
}

#[test]
fn malformed_documents_are_errors() {
    for text in [
        "<a",
        "<a x='1",
        "<a><!-- b</a>",
        "<a><![CDATA[b</a>",
        "<a><!-- b -- c --></a>",
        "<a><?pi</a>",
        "<a><!b></a>",
        "<>",
        "</a>",
        "<a>&</a>",
        "<a>&b</a>",
        "<a =''/>",
        "<a x=''=''/>",
        "<a/>&amp;",
    ] {
        let (_, errors) = parse(text);
        assert!(errors.iter().any(Diagnostic::is_error), "{text}");
    }
}

#[test]
fn other_encodings_are_refused() {
    assert!(decode("<a b='é'/>".as_bytes()).is_ok());
    let error = decode(b"<a b='\xe9'/>").unwrap_err();
    assert_eq!((error.code, error.primary.span.start), (Code::NotUtf8, 6));
    assert!(error.message.contains("byte 6"), "{}", error.message);
    let error = decode(b"\xff\xfe<\0a\0").unwrap_err();
    assert!(error.primary.text.contains("UTF-16"));
    // Said to be in another encoding, and it makes a difference.
    let (_, errors) = parse("<?xml version='1.0' encoding='iso-8859-1'?><a b='é'/>");
    assert_eq!(errors[0].code, Code::NotUtf8);
}

#[test]
fn the_list_of_findings_ends() {
    let text = format!("<a>{}</a>", "</b>".repeat(MAX_FINDINGS + 5));
    let (_, errors) = parse(&text);
    assert_eq!(errors.len(), MAX_FINDINGS + 1);
    let last = &errors[MAX_FINDINGS];
    assert_eq!(
        (last.code, last.severity),
        (Code::TooManyFindings, Severity::Error)
    );
    assert_eq!(last.message, "5 more findings are not listed");
}

#[test]
fn limits_are_errors_that_name_the_limit() {
    let limits = Limits {
        bytes: 100,
        depth: 3,
        nodes: 6,
    };
    let fine = "<a><b><c x='1' y='2'/></b></a>";
    assert_eq!(read(fine, limits).1, []);
    let deep = "<a><b><c><d/></c></b></a>";
    let many = "<a><b/><b/><b/><b/><b/><b/></a>";
    let attributes = "<a a='' b='' c='' d='' e='' f=''/>";
    let large = format!("<a>{}</a>", " ".repeat(100));
    for (text, code, limit) in [
        (deep, Code::NestedTooDeeply, "3"),
        (many, Code::TooManyElements, "6"),
        (attributes, Code::TooManyElements, "6"),
        (&large, Code::DocumentTooLarge, "100"),
    ] {
        let (_, errors) = read(text, limits);
        assert_eq!(
            errors.iter().map(|found| found.code).collect::<Vec<_>>(),
            [code],
            "{text}"
        );
        assert!(errors[0].message.contains(limit), "{}", errors[0].message);
    }
}

#[test]
fn a_tag_with_many_attributes_still_knows_repeated_ones() {
    let names: Vec<_> = (0..100).map(|number| format!("a{number}=''")).collect();
    let text = format!("<a {} a99=''/>", names.join(" "));
    let (root, errors) = parse(&text);
    assert_eq!(root.unwrap().attributes.len(), 100);
    assert_eq!(found(&text, &errors), [(Code::RepeatedXmlAttribute, "a99")]);
}

proptest! {
    /// Nothing panics, and every finding points into the document.
    #[test]
    fn any_text_is_read(text in "(<|>|/|'|=|&|;|!|-|\\[|\\]|\\?|[a-c]| |é|#|x|1|\"){0,60}") {
        let (_, errors) = parse(&text);
        for error in errors {
            let span = error.primary.span;
            prop_assert!(text.get(span.start..span.end).is_some(), "{:?}", error);
        }
    }
}
