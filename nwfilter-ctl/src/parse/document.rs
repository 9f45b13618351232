//! What all documents have in common: the root element, parameters, unknown names, UUIDs.

use uuid::Uuid;

use super::{binding, filter, value::BLANKS};
use crate::{
    diag::{Code, Diagnostic, Findings, Severity, any_error, closest, line_index, line_starts},
    model::{Binding, Filter, Parameters, Semantics, Span},
    xml::{self, Attribute, Element, Limits},
};

/// What a document defines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Document {
    /// `<filter>`
    Filter(Filter),
    /// `<filterbinding>`
    Binding(Binding),
}

/// Reads a `<filter>`: the filter if nothing refuses it, and all findings in document order.
pub fn parse_filter(text: &str, semantics: Semantics) -> (Option<Filter>, Vec<Diagnostic>) {
    parse_root(text, semantics, &["filter"], |reader, root| {
        filter::filter(reader, root)
    })
}

/// Reads a `<filterbinding>`, or the `<filterbindingstatus>` around one: the binding if nothing
/// refuses it, and all findings in document order.
pub fn parse_binding(text: &str) -> (Option<Binding>, Vec<Diagnostic>) {
    let roots = ["filterbinding", "filterbindingstatus"];
    parse_root(text, Semantics::default(), &roots, |reader, root| {
        binding::binding(reader, root)
    })
}

/// Reads a document of either kind.
pub fn parse_document(text: &str, semantics: Semantics) -> (Option<Document>, Vec<Diagnostic>) {
    let roots = ["filter", "filterbinding", "filterbindingstatus"];
    parse_root(text, semantics, &roots, |reader, root| {
        if root.name == "filter" {
            filter::filter(reader, root).map(Document::Filter)
        } else {
            binding::binding(reader, root).map(Document::Binding)
        }
    })
}

fn parse_root<T>(
    text: &str,
    semantics: Semantics,
    roots: &[&str],
    parse: impl FnOnce(&mut Reader, &Element<'_>) -> Option<T>,
) -> (Option<T>, Vec<Diagnostic>) {
    let (root, found) = xml::read_into(text, Limits::default());
    let mut reader = Reader {
        semantics,
        // Of no use, and long, if the document is refused unread.
        lines: root.as_ref().map(|_| line_starts(text)).unwrap_or_default(),
        found,
    };
    let parsed = root.and_then(|root| {
        if roots.contains(&root.name) {
            return parse(&mut reader, &root);
        }
        let names: Vec<_> = roots.iter().map(|name| format!("`<{name}>`")).collect();
        reader.found.push(
            Diagnostic::new(
                Code::WrongRoot,
                root.name_span,
                format!("the document's root element is `<{}>`", root.name),
            )
            .expected(names.join(" or ")),
        );
        None
    });
    let found = reader.found.into_sorted();
    (parsed.filter(|_| !any_error(&found)), found)
}

/// What reading a document needs and yields.
pub(super) struct Reader {
    pub(super) semantics: Semantics,
    lines: Vec<usize>,
    pub(super) found: Findings,
}

impl Reader {
    /// The line of a byte, from 1.
    pub(super) fn line(&self, offset: usize) -> u32 {
        line_index(&self.lines, offset) as u32 + 1
    }

    /// Records a finding.
    pub(super) fn report(&mut self, found: Diagnostic) {
        self.found.push(found);
    }

    /// Records an error: a required attribute that is not there, or empty.
    pub(super) fn missing(&mut self, element: &Element<'_>, name: &str, expected: &str) {
        let empty = element.attribute(name).map(|attribute| attribute.span);
        let message = match empty {
            None => format!("`<{}>` has no attribute `{name}`", element.name),
            Some(_) => format!("attribute `{name}` of `<{}>` is empty", element.name),
        };
        let span = empty.unwrap_or(element.name_span);
        self.report(
            Diagnostic::new(Code::MissingAttribute, quoted(span), message).expected(expected),
        );
    }

    /// Warns of attributes that are not among the known ones.
    pub(super) fn unknown_attributes(&mut self, element: &Element<'_>, known: &[&str]) {
        for attribute in &element.attributes {
            if !known.contains(&attribute.name) {
                self.unknown_attribute(element, attribute, known.iter().copied());
            }
        }
    }

    /// Warns of an unknown attribute.
    pub(super) fn unknown_attribute<'a>(
        &mut self,
        element: &Element<'_>,
        attribute: &Attribute<'_>,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        // Guessing what was meant takes time.
        if self.found.is_full() {
            return self.found.drop_one(Severity::Warning);
        }
        let message = format!("`<{}>` has no attribute `{}`", element.name, attribute.name);
        let mut found = Diagnostic::new(Code::UnknownAttribute, attribute.name_span, message)
            .label("ignored, as libvirt does");
        if let Some(name) = closest(attribute.name, known) {
            found = found.help(format!("did you mean `{name}`?"));
        }
        self.report(found);
    }

    /// Warns of an unknown child element.
    pub(super) fn unknown_element<'a>(
        &mut self,
        parent: &Element<'_>,
        element: &Element<'_>,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        // Guessing what was meant takes time.
        if self.found.is_full() {
            return self.found.drop_one(Severity::Warning);
        }
        let message = format!(
            "unknown element `<{}>` in `<{}>`",
            element.name, parent.name
        );
        let mut found = Diagnostic::new(Code::UnknownElement, element.name_span, message)
            .label("ignored, as libvirt does");
        if let Some(name) = closest(element.name, known) {
            found = found.help(format!("did you mean `<{name}>`?"));
        }
        self.report(found);
    }

    /// Warns of text where there should be none.
    pub(super) fn stray_text(&mut self, element: &Element<'_>) {
        if let Some(span) = element.text_span {
            let message = format!("text in `<{}>` is ignored", element.name);
            self.report(Diagnostic::new(Code::TextIgnored, span, message));
        }
    }

    /// Warns of everything inside an element that should have nothing inside.
    pub(super) fn no_content(&mut self, element: &Element<'_>) {
        self.stray_text(element);
        for child in &element.children {
            self.unknown_element(element, child, []);
        }
    }

    /// Reads the parameters of a `<filterref>`.
    pub(super) fn parameters(&mut self, reference: &Element<'_>) -> Parameters {
        let mut parameters = Parameters::default();
        self.stray_text(reference);
        for child in &reference.children {
            if child.name != "parameter" {
                self.unknown_element(reference, child, ["parameter"]);
                continue;
            }
            self.unknown_attributes(child, &["name", "value"]);
            self.no_content(child);
            if let Some((name, value)) = self.parameter(child) {
                parameters.0.entry(name).or_default().push(value);
            }
        }
        parameters
    }

    fn parameter(&mut self, element: &Element<'_>) -> Option<(String, String)> {
        let name_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let value_byte = |b: u8| name_byte(b) || b == b'.' || b == b':';
        let dropped = |span, message: String| {
            Diagnostic::new(Code::ParameterDropped, span, message)
                .label("the parameter is dropped, as libvirt does")
        };
        let (Some(name), Some(value)) = (element.attribute("name"), element.attribute("value"))
        else {
            let message = "a parameter needs `name` and `value`";
            self.report(dropped(element.name_span, message.into()));
            return None;
        };
        if !name.value.bytes().all(name_byte) {
            let message = format!("`{}` is no name of a parameter", name.value);
            self.report(dropped(name.span, message).expected("letters, digits and `_`"));
            return None;
        }
        if value.value.is_empty() || !value.value.bytes().all(value_byte) {
            let message = format!("`{}` is no value of a parameter", value.value);
            let mut found = dropped(quoted(value.span), message)
                .expected("one or more letters, digits, `_`, `.` and `:`");
            if value.value.contains('/') {
                found = found.help("write the mask as a parameter of its own");
            } else if value.value.contains(',') {
                found = found.help("give each value of a list in a `<parameter>` of its own");
            } else if value.value.starts_with('$') {
                found = found.help("values are literal; a variable cannot refer to another one");
            }
            self.report(found);
            return None;
        }
        Some((name.value.to_string(), value.value.to_string()))
    }
}

/// A value's bytes; with its quotes if there is nothing between them.
pub(super) fn quoted(span: Span) -> Span {
    if span.start == span.end && span.start > 0 {
        Span {
            start: span.start - 1,
            end: span.end + 1,
        }
    } else {
        span
    }
}

/// Reads 16 pairs of hexadecimal digits with any `-` and blanks between them.
pub(super) fn uuid(text: &str) -> Option<Uuid> {
    let mut bytes = [0; 16];
    let mut rest = text.trim_ascii();
    for byte in &mut bytes {
        rest = rest.trim_start_matches(['-', ' ']);
        let pair = rest
            .get(..2)
            .filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
        rest = &rest[2..];
    }
    rest.is_empty().then(|| Uuid::from_bytes(bytes))
}

/// C's `strtol` for 32 bits: leading blanks and a sign pass, nothing may follow.
pub(super) fn integer(text: &str) -> Option<i32> {
    let text = text.trim_start_matches(BLANKS);
    text.parse().ok()
}
