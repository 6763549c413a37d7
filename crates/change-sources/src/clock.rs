//! The wall clock: when a change was made that does not say so itself.

use std::time::SystemTime;

use model::Time;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock here")]
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
