//! The wall clock: when a machine was started is for people and for the next master, never for measuring.

use std::time::SystemTime;

use model::Time;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock here")]
pub(crate) fn now() -> Time {
    SystemTime::now().into()
}
