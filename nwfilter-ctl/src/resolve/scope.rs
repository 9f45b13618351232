//! Which values a variable has at one place of the tree of filters: parameters given further out
//! win over those of a filterref.

use std::rc::Rc;

use crate::model::Parameters;

/// The parameters that a filter sees.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    outer: Option<Rc<Self>>,
    own: &'a Parameters,
}

impl<'a> Scope<'a> {
    /// The scope of a binding's own filter.
    pub(super) fn new(own: &'a Parameters) -> Rc<Self> {
        Rc::new(Self { outer: None, own })
    }

    /// The scope inside a filterref with these parameters.
    pub(super) fn inside(self: &Rc<Self>, own: &'a Parameters) -> Rc<Self> {
        if own.0.is_empty() {
            return Rc::clone(self);
        }
        Rc::new(Self {
            outer: Some(Rc::clone(self)),
            own,
        })
    }

    /// The values of a variable, at least one.
    pub(super) fn get(&self, name: &str) -> Option<&'a [String]> {
        if let Some(values) = self.outer.as_ref().and_then(|outer| outer.get(name)) {
            return Some(values);
        }
        let values = self.own.0.get(name)?;
        (!values.is_empty()).then_some(values)
    }
}
