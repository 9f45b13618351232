//! Learning a VM's addresses from its frames: what a frame says ([`observe`]), and what is known of
//! a VM ([`Learner`]). Pure: no kernel, no files, and the clock is an argument. Which frames are
//! looked at is the datapath's affair, what becomes of the addresses the daemon's.

mod dhcp;
mod dhcp6;
mod filter;
mod learner;
mod mode;
mod observation;
mod prepare;

#[cfg(test)]
mod tests;

pub use dhcp::{Kind, Message};
pub use dhcp6::{Kind6, Message6, Offered};
pub use learner::{Learner, Lease, MAX_ADDRESSES, Outcome, Source};
pub use mode::{Mode, ModeError, Modes};
pub use observation::{Observation, observe};
pub use prepare::{Learning, LearningError, Plan, plan};
