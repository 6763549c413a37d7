//! What instances cost: from the moment that there is a machine until it is gone.

use std::time::Duration;

use model::{
    Time,
    pool::{Billing, Money},
};
use serde::{Deserialize, Serialize};

use crate::{Instance, Origin, State};

/// What ended instances have cost in the current day and month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Books {
    day: Time,
    in_day: Money,
    month: Time,
    in_month: Money,
}

/// What is spent in the current day and month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spent {
    /// Since midnight.
    pub(super) day: Money,
    /// Since the first of the month.
    pub(super) month: Money,
}

const HOUR: Duration = Duration::from_secs(3600);

/// What a machine that runs from `start` to `end` costs between two times.
pub(super) fn cost(price: Money, billing: Billing, start: Time, end: Time, from: Time, to: Time) -> Money {
    match billing {
        Billing::Second => price.for_time(end.min(to).since(start.max(from))),
        Billing::Hour => {
            // Each hour is paid when it begins.
            let begun =
                |at: Time| i64::try_from(at.min(end).since(start).as_micros().div_ceil(HOUR.as_micros()));
            let hours = begun(to).unwrap_or(i64::MAX).saturating_sub(begun(from).unwrap_or(i64::MAX));
            Money(price.0.saturating_mul(hours.max(0)))
        }
    }
}

/// What the present run of an instance has cost until now; earlier ones, before it was stopped, are in its row.
pub(super) fn cost_of_run(row: &Instance, billing: Billing, now: Time) -> Money {
    between(row, billing, Time::from_micros(i64::MIN), now)
}

/// What an instance has cost so far.
pub(super) fn cost_so_far(row: &Instance, billing: Billing, now: Time) -> Money {
    let before = row.cost.unwrap_or_default();
    if row.state == State::Gone { before } else { plus(before, cost_of_run(row, billing, now)) }
}

/// What the present run of an instance has cost since a time.
pub(super) fn between(row: &Instance, billing: Billing, from: Time, now: Time) -> Money {
    if row.origin == Origin::Guest || row.state == State::Stopped {
        return Money::default();
    }
    match row.launched_at {
        Some(start) => cost(row.price, billing, start, row.ended_at.unwrap_or(now), from, now),
        None => Money::default(),
    }
}

/// The sum of two amounts.
pub(super) fn plus(a: Money, b: Money) -> Money {
    Money(a.0.saturating_add(b.0))
}

impl Books {
    /// A run of an instance is over (it is gone, or is stopped): what it has cost is settled.
    pub(super) fn settle(&mut self, row: &Instance, billing: Billing, now: Time) {
        self.turn(now);
        self.in_day = plus(self.in_day, between(row, billing, self.day, now));
        self.in_month = plus(self.in_month, between(row, billing, self.month, now));
    }

    /// What is settled of the current day and month.
    pub(super) fn settled(&self, now: Time) -> Spent {
        Spent {
            day: if now.start_of_day() == self.day { self.in_day } else { Money::default() },
            month: if now.start_of_month() == self.month { self.in_month } else { Money::default() },
        }
    }

    fn turn(&mut self, now: Time) {
        let settled = self.settled(now);
        (self.day, self.in_day) = (now.start_of_day(), settled.day);
        (self.month, self.in_month) = (now.start_of_month(), settled.month);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Time {
        Time::from_epoch_seconds(minutes * 60)
    }

    #[test]
    fn seconds_are_paid_as_they_pass() {
        let price = Money(6_000_000);
        assert_eq!(cost(price, Billing::Second, at(0), at(90), at(0), at(60)), Money(6_000_000));
        assert_eq!(cost(price, Billing::Second, at(0), at(90), at(60), at(600)), Money(3_000_000));
        assert_eq!(cost(price, Billing::Second, at(0), at(90), at(100), at(600)), Money(0));
    }

    #[test]
    fn hours_are_paid_when_they_begin() {
        let price = Money(1_000_000);
        assert_eq!(cost(price, Billing::Hour, at(0), at(61), at(-100), at(1)), Money(1_000_000));
        assert_eq!(cost(price, Billing::Hour, at(0), at(61), at(-100), at(600)), Money(2_000_000));
        assert_eq!(cost(price, Billing::Hour, at(0), at(61), at(30), at(600)), Money(1_000_000));
        assert_eq!(cost(price, Billing::Hour, at(0), at(61), at(61), at(600)), Money(0));
    }
}
