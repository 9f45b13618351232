//! The judges side by side: one interface for all that decide frames, and what there is to compare.
//! Nothing here decides anything.

mod coverage;
mod engine;
mod kernel;
pub mod sets;

use std::fmt::{self, Write as _};

use anyhow::Result;

pub use self::{coverage::Coverage, engine::Engine, kernel::Kernel};
use crate::{
    generate::{Case, Sent},
    judge::{Decision, FrameDirection, Judge},
};

/// Somebody who decides the frames of one port, one after the other.
pub trait Decider {
    /// Who it is, for people.
    fn name(&self) -> &'static str;

    /// Whether it can be asked about a frame.
    fn takes(&self, _frame: &[u8]) -> bool {
        true
    }

    /// Decides one frame. `now` is in nanoseconds and never goes back.
    ///
    /// # Errors
    ///
    /// When there is no decision by a rule, a default or a missing header.
    fn decide(&mut self, direction: FrameDirection, frame: &[u8], now: u64) -> Result<Decision>;
}

impl Decider for Judge {
    fn name(&self) -> &'static str {
        "judge"
    }

    fn decide(&mut self, direction: FrameDirection, frame: &[u8], now: u64) -> Result<Decision> {
        Ok(Self::decide(self, direction, frame, now))
    }
}

/// A frame on which not everybody says the same.
pub struct Difference {
    /// Position in the case, from 0.
    pub frame: usize,
    /// The frame.
    pub sent: Sent,
    /// Who says what.
    pub said: Vec<(&'static str, Result<Decision>)>,
}

/// Has everybody decide all frames of a case. Calls `agreed` with each decision they agree on.
///
/// # Errors
///
/// The first frame on which they differ, or on which somebody has no decision.
pub fn compare(
    case: &Case,
    deciders: &mut [&mut dyn Decider],
    mut agreed: impl FnMut(&Sent, &Decision),
) -> Result<(), Box<Difference>> {
    for (frame, sent) in case.frames.iter().enumerate() {
        let said: Vec<_> = deciders
            .iter_mut()
            .filter(|decider| decider.takes(&sent.bytes))
            .map(|decider| {
                let decision = decider.decide(sent.direction, &sent.bytes, sent.now);
                (decider.name(), decision)
            })
            .collect();
        let decisions: Option<Vec<&Decision>> =
            said.iter().map(|(_, said)| said.as_ref().ok()).collect();
        match decisions.as_deref() {
            Some([first, rest @ ..]) if rest.iter().all(|other| other == first) => {
                agreed(sent, first);
            }
            _ => {
                return Err(Box::new(Difference {
                    frame,
                    sent: sent.clone(),
                    said,
                }));
            }
        }
    }
    Ok(())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = String::new();
        for byte in &self.sent.bytes {
            write!(hex, "{byte:02x}")?;
        }
        writeln!(f, "frame {}: {:?} {hex}", self.frame, self.sent.direction)?;
        for (name, said) in &self.said {
            match said {
                Ok(Decision {
                    verdict,
                    layer,
                    cause,
                }) => {
                    writeln!(
                        f,
                        "  {name:8} {verdict:?}, {layer:?} layer, because of {cause:?}"
                    )?;
                }
                Err(error) => writeln!(f, "  {name:8} no decision: {error:#}")?,
            }
        }
        Ok(())
    }
}
