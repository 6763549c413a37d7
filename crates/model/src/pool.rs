//! What a pool is, as it is configured: the words that the configuration fills in and the pools decide by.

use std::{fmt, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Timetable;

/// A pool: one template of machines, and how many of them there may be.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSpec {
    /// Its name; its slots are called `NAME-1`, `NAME-2`, …
    pub name: String,
    /// How many machines there are at most, those that are on their way and those that are leaving counted.
    pub max: u32,
    /// How many there are at least, whatever the demand.
    pub min: u32,
    /// How many machines without work are kept ready.
    pub warm: Warm,
    /// Other minima at other times; the last entry that is on counts.
    pub schedule: Vec<Scheduled>,
    /// How urgent requests are, the least urgent first; the first one begins at [`i64::MIN`]. Never empty.
    pub classes: Vec<Class>,
    /// How many builds a machine runs at once; `None` is as many as it has builders.
    pub max_builds: Option<NonZeroU32>,
    /// How long a machine without work is kept.
    pub idle: Idle,
    /// How long a machine may take from the call until it is connected; `None` is learned.
    pub boot_timeout: Option<Duration>,
    /// A machine that has run so many builds gets no more.
    pub builds_per_instance: Option<NonZeroU32>,
    /// A machine that is older gets no more builds.
    pub max_age: Option<Duration>,
    /// The longest that a machine can be held for debugging.
    pub max_hold: Duration,
    /// Whether machines are started for requests that are expected and not there yet.
    pub forecast: bool,
    /// What the pool may cost.
    pub budget: Budget,
    /// Its share when pools compete for a common limit.
    pub weight: NonZeroU32,
    /// Whether machines without work are stopped, to be started again, rather than terminated.
    pub stopped: Option<Stopped>,
    /// What the provider charges by.
    pub billing: Billing,
    /// Names the image that machines boot; a new one is tried with a few machines first.
    pub image: String,
    /// A digest of all that a machine is made from. Machines of another template finish their builds and go.
    pub template: String,
    /// The most that an hour of a machine may cost.
    pub max_price: Option<Money>,
    /// Whether its machines have to enroll: what they are told when they are made lets no worker in.
    pub enrolls: bool,
}

/// How urgent requests of some priorities are.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name, for people and metrics.
    pub name: String,
    /// The lowest priority that belongs to it.
    pub from: i64,
    /// How many seconds of a machine a second of waiting is worth. From 20 on nothing waits to be packed with others.
    pub lambda: f64,
    /// From which wait on (or after the first loss to the market) machines are bought on demand; `None` is never.
    pub on_demand_after: Option<Duration>,
    /// How many machines beyond the pool's maximum its requests may have started.
    pub overflow: u32,
    /// Whether it may spend the last tenth of the budget.
    pub reserve: bool,
}

/// How many machines without work are kept ready.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Warm {
    /// So many.
    Fixed(u32),
    /// So many for each busy one.
    Share(f64),
}

/// How long a machine without work is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// As long as it is cheaper than to start another one: follows from the time to boot and λ.
    Derived,
    /// So long.
    For(Duration),
    /// Until something else ends it.
    Forever,
}

/// Another minimum at some times.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// When: each minute that matches.
    pub on: Timetable,
    /// How many machines there are then at least.
    pub min: u32,
}

/// What a pool may cost. Nothing is started that could exceed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// In any hour: the sum of the hourly prices of all machines.
    pub hour: Option<Money>,
    /// In a day, UTC.
    pub day: Option<Money>,
    /// In a calendar month, UTC.
    pub month: Option<Money>,
}

/// Machines that are stopped, not terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// How many at most.
    pub max: u32,
    /// How long each at most.
    pub age: Duration,
}

/// What a provider charges by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Billing {
    /// Seconds.
    #[default]
    Second,
    /// Hours that have begun.
    Hour,
}

/// What all pools together may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolLimits {
    /// Machines of all pools.
    pub max: Option<u32>,
    /// What all pools may cost.
    pub budget: Budget,
}

/// An amount of money in millionths of the unit that prices are in (US dollars at AWS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(pub i64);

impl Money {
    /// From whole units and parts of one; what does not fit is cut off at the largest amount.
    #[expect(clippy::cast_possible_truncation, reason = "a cast from float to integer saturates")]
    pub fn from_units(units: f64) -> Self {
        Self((units * 1e6).round() as i64)
    }

    /// In units.
    #[expect(clippy::cast_precision_loss, reason = "shown to people, and compared within a millionth")]
    pub fn units(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// What a time costs at this price for an hour.
    pub fn for_time(self, time: Duration) -> Self {
        let micros =
            i128::from(self.0) * i128::try_from(time.as_micros()).unwrap_or(i128::MAX) / 3_600_000_000;
        Self(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", self.units())
    }
}

impl PoolSpec {
    /// The class of a priority.
    ///
    /// # Panics
    /// When there are no classes, which no configuration leads to.
    pub fn class(&self, priority: i64) -> &Class {
        let at = self.classes.partition_point(|class| class.from <= priority);
        &self.classes[at.saturating_sub(1)]
    }
}
