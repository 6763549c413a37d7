//! A point in time as a plain number, so that pure code can be given any time a test wants.

use std::{
    fmt,
    ops::{Add, Sub},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch, UTC. Tables hold whole seconds ([`Time::epoch_seconds`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the epoch, as the tables hold them.
    pub const fn from_epoch_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: what Buildbot's tables hold.
    pub const fn epoch_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The midnight before it, UTC.
    pub const fn start_of_day(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(DAY)))
    }

    /// The first midnight of its month, UTC.
    pub const fn start_of_month(self) -> Self {
        let days = self.0.div_euclid(DAY);
        Self(days.saturating_sub(day_of_month(days)).saturating_mul(DAY))
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// How many days of its month have passed before a day that is given in days since the epoch. Counts in years that begin
/// in March, so that the leap day is the last, and in eras of 400 years, after which the calendar repeats.
const fn day_of_month(days_since_epoch: i64) -> i64 {
    const ERA: i64 = 146_097;
    let day = (days_since_epoch + 719_468).rem_euclid(ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    day_of_year - (153 * month + 2) / 5
}

impl From<SystemTime> for Time {
    /// The epoch, when it is earlier.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_down_also_before_the_epoch() {
        assert_eq!(Time::from_micros(1_999_999).epoch_seconds(), 1);
        assert_eq!(Time::from_micros(-1).epoch_seconds(), -1);
    }

    #[test]
    fn time_does_not_run_backwards() {
        let (early, late) = (Time::from_epoch_seconds(1), Time::from_epoch_seconds(3));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
