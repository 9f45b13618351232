//! Tests of the attribute table and of the spellings of values.

mod values;
