//! The tree. Comments and processing instructions are not in it.

use std::borrow::Cow;

use crate::model::Span;

/// An element.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Element<'t> {
    /// Name without namespace prefix.
    pub name: &'t str,
    /// Bytes of the name, with its prefix.
    pub name_span: Span,
    /// Bytes of the start tag, from `<` to `>`.
    pub tag: Span,
    /// In document order; of several of the same name only the first.
    pub attributes: Vec<Attribute<'t>>,
    /// Child elements in document order.
    pub children: Vec<Element<'t>>,
    /// All text directly inside, decoded, blanks kept.
    pub text: String,
    /// From the first to the last byte of text that is not blank.
    pub text_span: Option<Span>,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute<'t> {
    /// Name without namespace prefix.
    pub name: &'t str,
    /// Bytes of the name, with its prefix.
    pub name_span: Span,
    /// Decoded.
    pub value: Cow<'t, str>,
    /// Bytes of the value, without quotes, not decoded.
    pub span: Span,
}

impl<'t> Element<'t> {
    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute<'t>> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }
}
