//! Bytes to text, references to characters, and back.

use std::borrow::Cow;

use crate::{
    diag::{Code, Diagnostic, Findings},
    model::Span,
};

/// A document's bytes as text.
///
/// # Errors
/// They are not UTF-8.
pub fn decode(bytes: &[u8]) -> Result<&str, Box<Diagnostic>> {
    std::str::from_utf8(bytes).map_err(|error| {
        let start = error.valid_up_to();
        let what = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it looks like UTF-16",
            _ => "text in another encoding, or damage",
        };
        let span = Span {
            start,
            end: start + 1,
        };
        let found = Diagnostic::new(
            Code::NotUtf8,
            span,
            format!(
                "byte {start} of the document, {:#04x}, does not belong to UTF-8",
                bytes[start]
            ),
        )
        .label(what)
        .expected("UTF-8")
        .help("convert the document to UTF-8, as `iconv -t UTF-8` does");
        Box::new(found)
    })
}

/// Text as the value of an attribute in single quotes, or between tags.
pub fn escape(text: &str) -> Cow<'_, str> {
    let special = |c: char| matches!(c, '<' | '>' | '&' | '\'' | '"' | '\t' | '\n' | '\r');
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\'' => escaped.push_str("&apos;"),
            '"' => escaped.push_str("&quot;"),
            // Unescaped they would come back as blanks.
            '\t' => escaped.push_str("&#9;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            _ => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// The character that stands between `&` and `;`.
pub(super) fn reference(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let (digits, base) = match number.strip_prefix('x') {
                Some(digits) => (digits, 16),
                None => (number, 10),
            };
            if !digits.starts_with(|c: char| c.is_digit(base)) {
                return None;
            }
            let code = u32::from_str_radix(digits, base).ok()?;
            char::from_u32(code).filter(|c| is_xml_char(*c))
        }
    }
}

/// The `Char` production of XML 1.0.
pub(super) fn is_xml_char(c: char) -> bool {
    !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

/// An attribute's value: references replaced, blanks of all kinds made spaces (XML 1.0 section
/// 3.3.3). `start` is the value's place in the document.
pub(super) fn value<'t>(raw: &'t str, start: usize, found: &mut Findings) -> Cow<'t, str> {
    if !raw.contains(['&', '\t', '\n', '\r', '<']) {
        return Cow::Borrowed(raw);
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find(['&', '\t', '\n', '\r', '<']) {
        value.push_str(&rest[..at]);
        let offset = start + raw.len() - rest.len() + at;
        rest = &rest[at..];
        match rest.as_bytes() {
            [b'&', ..] => {
                let name = rest[1..].split_once(';').map(|(name, _)| name);
                // An ampersand that stands for itself runs into other text before any `;`.
                let name = name.filter(|name| {
                    name.bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"#_-.:".contains(&b))
                });
                let length = name.map_or(1, |name| name.len() + 2);
                let span = Span {
                    start: offset,
                    end: offset + length,
                };
                if let Some(c) = name.and_then(reference) {
                    value.push(c);
                } else {
                    value.push_str(&rest[..length]);
                    found.push(unknown_reference(name, span));
                }
                rest = &rest[length..];
            }
            [b'<', ..] => {
                let span = Span {
                    start: offset,
                    end: offset + 1,
                };
                found.push(
                    Diagnostic::new(Code::MalformedXml, span, "`<` inside an attribute's value")
                        .expected("`&lt;`, or the closing quote before it"),
                );
                value.push('<');
                rest = &rest[1..];
            }
            [b'\r', b'\n', ..] => {
                value.push(' ');
                rest = &rest[2..];
            }
            _ => {
                value.push(' ');
                rest = &rest[1..];
            }
        }
    }
    value.push_str(rest);
    Cow::Owned(value)
}

/// A reference that stands for no character; `None` if it has no end.
pub(super) fn unknown_reference(name: Option<&str>, span: Span) -> Diagnostic {
    match name {
        None => Diagnostic::new(Code::MalformedXml, span, "`&` begins no reference")
            .expected("`&amp;` for the character itself"),
        Some(name) if name.starts_with('#') => Diagnostic::new(
            Code::UnknownEntity,
            span,
            format!("`&{name};` is no character that XML allows"),
        ),
        Some(name) => Diagnostic::new(
            Code::UnknownEntity,
            span,
            format!("unknown entity `&{name};`"),
        )
        .expected("one of `&amp;`, `&lt;`, `&gt;`, `&quot;`, `&apos;`, or `&#N;`"),
    }
}
