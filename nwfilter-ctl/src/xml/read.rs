//! From text to the tree: quick-xml splits the text into events, this checks what quick-xml does
//! not, and goes on after errors where it can.

use std::collections::BTreeSet;

use quick_xml::{
    Error, Reader,
    events::{BytesStart, Event, attributes::AttrError},
};

use super::{
    Attribute, Element,
    text::{is_xml_char, reference, unknown_reference, value},
};
use crate::{
    diag::{Code, Diagnostic, Findings},
    model::Span,
};

/// What XML calls white space.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// What a document may cost. A filter of 10,000 rules has some 2 MB and 100,000 nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Size in bytes.
    pub bytes: usize,
    /// Elements inside each other; the root is at depth 1.
    pub depth: usize,
    /// Elements and attributes together.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            depth: 32,
            nodes: 500_000,
        }
    }
}

/// Reads a document. The root element is there as soon as its start tag could be read, whatever
/// else is wrong; spans count from the start of `text`, byte order mark included.
pub fn read(text: &str, limits: Limits) -> (Option<Element<'_>>, Vec<Diagnostic>) {
    let (root, found) = read_into(text, limits);
    (root, found.into_sorted())
}

/// As [`read`], with findings to which others can be added.
pub(crate) fn read_into(text: &str, limits: Limits) -> (Option<Element<'_>>, Findings) {
    let mut builder = Builder {
        text,
        limits,
        nodes: 0,
        open: Vec::new(),
        root: None,
        found: Findings::default(),
    };
    if text.len() > limits.bytes {
        let end = text.ceil_char_boundary(limits.bytes + 1);
        let span = Span {
            start: limits.bytes,
            end: end.max(limits.bytes + 1),
        };
        builder
            .found
            .push(too_large(text.len() as u64, limits.bytes, span));
        return (None, builder.found);
    }
    builder.check_characters();
    builder.run();
    (builder.root, builder.found)
}

/// The error for a document of `size` bytes.
fn too_large(size: u64, limit: usize, span: Span) -> Diagnostic {
    let message = format!("the document has {size} bytes, more than the limit of {limit}");
    Diagnostic::new(Code::DocumentTooLarge, span, message)
}

struct Builder<'t> {
    text: &'t str,
    limits: Limits,
    nodes: usize,
    /// Elements whose end tags are still to come, outermost first.
    open: Vec<Element<'t>>,
    root: Option<Element<'t>>,
    found: Findings,
}

impl<'t> Builder<'t> {
    fn run(&mut self) {
        let text = self.text;
        let content = text.strip_prefix('\u{feff}').unwrap_or(text);
        let skipped = text.len() - content.len();
        let mut reader = Reader::from_str(content);
        let config = reader.config_mut();
        // Ends are matched here, with both places in the message.
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.check_comments = true;
        let place = |reader: &Reader<&[u8]>| {
            skipped + usize::try_from(reader.buffer_position()).unwrap_or(content.len())
        };
        let mut failed_at = None;
        loop {
            let start = place(&reader);
            let event = reader.read_event();
            let span = Span {
                start,
                end: place(&reader),
            };
            match event {
                Ok(Event::Eof) => break,
                Ok(Event::Start(tag)) => {
                    if !self.start(&tag, span, false) {
                        return self.finish(false);
                    }
                }
                Ok(Event::Empty(tag)) => {
                    if !self.start(&tag, span, true) {
                        return self.finish(false);
                    }
                }
                Ok(Event::End(tag)) => self.end(tag.name().as_ref(), span),
                Ok(Event::Text(raw)) => {
                    if let Some(at) = raw.find("]]>") {
                        let at = start + at;
                        self.malformed(
                            Span {
                                start: at,
                                end: at + 3,
                            },
                            "`]]>` outside of CDATA",
                        );
                    }
                    self.push_text(&raw, span);
                }
                Ok(Event::CData(raw)) => self.push_text(&raw, span),
                Ok(Event::GeneralRef(name)) => match reference(&name) {
                    Some(c) => self.push_text(c.encode_utf8(&mut [0; 4]), span),
                    None => self.found.push(unknown_reference(Some(&name), span)),
                },
                Ok(Event::DocType(_)) => self.found.push(
                    Diagnostic::new(
                        Code::DoctypeRefused,
                        Span {
                            end: start + 9,
                            ..span
                        },
                        "document type declarations are refused",
                    )
                    .help("filters need none: remove it, and write out its entities"),
                ),
                Ok(Event::Decl(declaration)) => self.declaration(&declaration, span, skipped),
                Ok(Event::PI(_) | Event::Comment(_)) => {}
                Err(error) => {
                    let at =
                        skipped + usize::try_from(reader.error_position()).unwrap_or(content.len());
                    self.error(&error, at);
                    // Without progress there would be no end.
                    if failed_at == Some(span.end) {
                        break;
                    }
                    failed_at = Some(span.end);
                }
            }
        }
        self.finish(true);
    }

    /// Closes what is open; says so if the document ended too early.
    fn finish(&mut self, report: bool) {
        while let Some(element) = self.open.pop() {
            if report {
                let message = format!("`<{}>` is not closed", element.name);
                self.found.push(
                    Diagnostic::new(Code::MalformedXml, element.tag, message)
                        .expected(format!("`</{}>`", element.name)),
                );
            }
            self.close(element);
        }
        let no_syntax_error = self
            .found
            .as_slice()
            .iter()
            .all(|found| found.code != Code::MalformedXml);
        if report && self.root.is_none() && no_syntax_error {
            let end = Span {
                start: self.text.len(),
                end: self.text.len(),
            };
            self.malformed(end, "the document has no element");
        }
    }

    fn malformed(&mut self, span: Span, message: &str) {
        self.found
            .push(Diagnostic::new(Code::MalformedXml, span, message));
    }

    fn error(&mut self, error: &Error, at: usize) {
        let end = self.text.ceil_char_boundary(at + 1);
        let message = match error {
            Error::Syntax(error) => error.to_string(),
            Error::IllFormed(error) => error.to_string(),
            other => other.to_string(),
        };
        self.malformed(Span { start: at, end }, &message);
    }

    /// The document's bytes that a slice borrows.
    fn span_of(&self, slice: &str) -> Span {
        let start = slice.as_ptr() as usize - self.text.as_ptr() as usize;
        Span {
            start,
            end: start + slice.len(),
        }
    }

    /// The document's text of a span, borrowed from the document.
    fn slice(&self, span: Span) -> &'t str {
        &self.text[span.start..span.end]
    }

    /// Takes a start tag; false if the limits are exceeded.
    fn start(&mut self, tag: &BytesStart<'t>, span: Span, empty: bool) -> bool {
        let name_span = self.span_of(tag.name().as_ref());
        self.check_name(name_span);
        if self.open.is_empty() && self.root.is_some() {
            self.malformed(name_span, "an element after the document's root element");
        }
        if self.open.len() == self.limits.depth {
            self.found.push(Diagnostic::new(
                Code::NestedTooDeeply,
                name_span,
                format!(
                    "elements are nested deeper than the limit of {}",
                    self.limits.depth
                ),
            ));
            return false;
        }
        self.nodes += 1;
        let attributes = self.attributes(tag);
        if self.nodes > self.limits.nodes {
            self.found.push(Diagnostic::new(
                Code::TooManyElements,
                name_span,
                format!(
                    "the document has more elements and attributes than the limit of {}",
                    self.limits.nodes
                ),
            ));
            return false;
        }
        let element = Element {
            name: local(self.slice(name_span)),
            name_span,
            tag: span,
            attributes,
            ..Element::default()
        };
        if empty {
            self.close(element);
        } else {
            self.open.push(element);
        }
        true
    }

    fn attributes(&mut self, tag: &BytesStart<'t>) -> Vec<Attribute<'t>> {
        let base = self.span_of(tag.name().as_ref()).start;
        let mut attributes: Vec<Attribute<'t>> = Vec::new();
        // Only for tags whose attributes are too many to compare each with each.
        let mut seen = BTreeSet::new();
        for attribute in tag.attributes().with_checks(false) {
            self.nodes += 1;
            if self.nodes > self.limits.nodes {
                break;
            }
            let attribute = match attribute {
                Ok(attribute) => attribute,
                Err(error) => {
                    self.attribute_error(&error, base);
                    continue;
                }
            };
            let name_span = self.span_of(attribute.key.as_ref());
            let span = self.span_of(&attribute.value);
            self.check_name(name_span);
            if !self.text[..name_span.start].ends_with(BLANKS) {
                self.malformed(name_span, "no blank before an attribute");
            }
            let name = self.slice(name_span);
            if name == "xmlns" || name.starts_with("xmlns:") {
                continue;
            }
            let name = local(name);
            let is_new = if attributes.len() < 32 {
                attributes.iter().all(|other| other.name != name)
            } else {
                if seen.is_empty() {
                    seen.extend(attributes.iter().map(|other| other.name));
                }
                seen.insert(name)
            };
            if !is_new {
                let first = attributes.iter().find(|other| other.name == name);
                let first = first.map_or(name_span, |other| other.name_span);
                let message = format!("attribute `{name}` appears twice");
                self.found.push(
                    Diagnostic::new(Code::RepeatedXmlAttribute, name_span, message)
                        .also(first, "first here"),
                );
                continue;
            }
            let value = value(self.slice(span), span.start, &mut self.found);
            attributes.push(Attribute {
                name,
                name_span,
                value,
                span,
            });
        }
        attributes
    }

    fn attribute_error(&mut self, error: &AttrError, base: usize) {
        let (at, message, expected) = match error {
            AttrError::ExpectedEq(at) => (
                *at,
                "an attribute without a value",
                "`='VALUE'` after the name",
            ),
            AttrError::ExpectedValue(at) => {
                (*at, "an attribute without a value", "a value in quotes")
            }
            AttrError::UnquotedValue(at) => (
                *at,
                "an attribute's value without quotes",
                "a value in quotes",
            ),
            AttrError::ExpectedQuote(at, _) => {
                (*at, "an attribute's value does not end", "a closing quote")
            }
            AttrError::Duplicated(at, _) => (
                *at,
                "an attribute appears twice",
                "each attribute at most once",
            ),
        };
        let start = self.text.floor_char_boundary(base + at);
        let end = self.text.ceil_char_boundary(start + 1);
        self.found.push(
            Diagnostic::new(Code::MalformedXml, Span { start, end }, message).expected(expected),
        );
    }

    fn end(&mut self, name: &str, span: Span) {
        let matching = self
            .open
            .iter()
            .rposition(|open| self.slice(open.name_span) == name);
        let Some(index) = matching else {
            let message = format!("`</{name}>` closes nothing");
            let mut found = Diagnostic::new(Code::MalformedXml, span, message);
            if let Some(open) = self.open.last() {
                let expected = format!("`</{}>`", self.slice(open.name_span));
                found = found.also(open.tag, "this is open").expected(expected);
            }
            self.found.push(found);
            return;
        };
        while self.open.len() > index + 1 {
            let Some(element) = self.open.pop() else {
                return;
            };
            let message = format!("`<{}>` is not closed", element.name);
            self.found.push(
                Diagnostic::new(Code::MalformedXml, element.tag, message)
                    .also(span, "another element ends here")
                    .expected(format!("`</{}>`", element.name)),
            );
            self.close(element);
        }
        if let Some(element) = self.open.pop() {
            self.close(element);
        }
    }

    /// Puts a complete element where it belongs.
    fn close(&mut self, element: Element<'t>) {
        if let Some(parent) = self.open.last_mut() {
            parent.children.push(element);
        } else if self.root.is_none() {
            self.root = Some(element);
        }
    }

    /// Takes text that stands at `span`, literally or decoded.
    fn push_text(&mut self, text: &str, span: Span) {
        let content = text.trim_matches(BLANKS);
        let place = if text.len() == span.end - span.start {
            let start = span.start + (text.len() - text.trim_start_matches(BLANKS).len());
            Span {
                start,
                end: start + content.len(),
            }
        } else {
            span
        };
        let Some(element) = self.open.last_mut() else {
            if !content.is_empty() {
                self.malformed(place, "text outside of the document's root element");
            }
            return;
        };
        element.text.push_str(text);
        if !content.is_empty() {
            let start = element.text_span.map_or(place.start, |before| before.start);
            element.text_span = Some(Span {
                start,
                end: place.end,
            });
        }
    }

    fn declaration(
        &mut self,
        declaration: &quick_xml::events::BytesDecl<'_>,
        span: Span,
        content_start: usize,
    ) {
        if span.start != content_start {
            self.malformed(
                span,
                "an XML declaration that is not at the document's start",
            );
        }
        if let Some(Ok(encoding)) = declaration.encoding() {
            let known = ["utf-8", "utf8", "us-ascii", "ascii"];
            let utf8 = known
                .iter()
                .any(|known| encoding.eq_ignore_ascii_case(known));
            // Whatever it is called, text of ASCII characters is what it looks like.
            if !utf8 && !self.text[content_start..].is_ascii() {
                self.found.push(
                    Diagnostic::new(
                        Code::NotUtf8,
                        span,
                        format!("the document says that it is in the encoding `{encoding}`"),
                    )
                    .expected("UTF-8"),
                );
            }
        }
    }

    /// Names begin with a letter, `_` or `:`; the ASCII characters in them are letters, digits and
    /// `_:.-`.
    fn check_name(&mut self, span: Span) {
        let name = self.slice(span);
        let inner = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "_:.-".contains(c);
        let first = |c: char| !c.is_ascii() || c.is_ascii_alphabetic() || "_:".contains(c);
        if !(name.starts_with(first) && name.chars().all(inner)) {
            let message = if name.is_empty() {
                "a name is missing".to_owned()
            } else {
                format!("`{name}` is no name that XML allows")
            };
            self.found
                .push(Diagnostic::new(Code::MalformedXml, span, message));
        }
    }

    /// Reports the first character that no XML document may have.
    fn check_characters(&mut self) {
        // All of them contain one of these bytes, and hardly any document does.
        let suspect = |b: u8| b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r') || b == 0xef;
        if !self.text.bytes().any(suspect) {
            return;
        }
        if let Some((start, c)) = self.text.char_indices().find(|(_, c)| !is_xml_char(*c)) {
            let span = Span {
                start,
                end: start + c.len_utf8(),
            };
            let message = format!("the character U+{:04X} is not allowed in XML", u32::from(c));
            self.malformed(span, &message);
        }
    }
}

/// A name without its namespace prefix.
fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}
