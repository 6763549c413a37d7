//! Times of the day and the week, in a time zone.

use std::{fmt, sync::Arc};

use crate::Time;

/// A cron expression of five fields in a time zone: the minutes at which something is on.
#[derive(Clone)]
pub struct Timetable(Arc<Inner>);

struct Inner {
    cron: String,
    zone: String,
}

impl Timetable {
    /// Whether the minute of `at` is one of its minutes.
    pub fn is_on(&self, _at: Time) -> bool {
        false
    }
}

impl PartialEq for Timetable {
    fn eq(&self, other: &Self) -> bool {
        (&self.0.cron, &self.0.zone) == (&other.0.cron, &other.0.zone)
    }
}

impl fmt::Debug for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timetable({:?} in {})", self.0.cron, self.0.zone)
    }
}
