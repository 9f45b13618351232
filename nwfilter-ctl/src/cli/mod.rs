//! The command line: what `nwfilter-ctl`'s commands print, and how they end.

pub mod check;
pub mod daemon;
pub mod detach;
pub mod explain_code;
mod render;

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Done, nothing found.
    Done,
    /// Something was found: an invalid filter, a difference.
    Findings,
    /// Usage or operational error.
    Failed,
}

impl Outcome {
    /// The exit status: 0, 1 or 2.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Findings => 1,
            Self::Failed => 2,
        }
    }
}
