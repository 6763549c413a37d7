//! The pure core: all scheduling state, and every decision about it.
//!
//! No I/O, no clock, no tasks, no randomness, no order of a hash map: the same events at the same times give the same
//! batches.

mod action;
mod event;

pub use action::{Action, Answer, Batch, BuildControl, BuildOrder, BuilderDir, Outcome, Refusal};
pub use event::{Event, Force, ReplyId, SessionId};
