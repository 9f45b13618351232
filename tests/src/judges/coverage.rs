//! placeholder
#[derive(Default)]
pub struct Coverage;
