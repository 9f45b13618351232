//! Tests of the parser: values, documents, every kind of finding, and any text at all.

mod any;
mod bindings;
mod findings;
mod values;
