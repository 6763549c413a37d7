//! A machine, as the cloud knows it.

use std::{sync::Arc, time::Duration};

use model::{
    InstanceId, Time,
    pool::{Billing, Money},
};

use crate::{Token, provider::MachineStatus};

/// A machine of the cloud, for ever.
#[derive(Clone, Debug)]
pub struct CloudMachine {
    /// Its pool, by index.
    pub pool: usize,
    /// The row that it was started for.
    pub member: InstanceId,
    /// The call.
    pub token: Token,
    /// What it is.
    pub offering: Arc<str>,
    /// What shares its quota.
    pub family: Arc<str>,
    /// What an hour costs.
    pub price: Money,
    /// What it was made from.
    pub template: String,
    /// What it booted.
    pub image: String,
    /// When it was asked for.
    pub called_at: Time,
    /// When its worker connects; `None` is never.
    pub connects_at: Option<Time>,
    /// Whether it ends by itself rather than connect.
    pub dies: bool,
    /// Whether it runs.
    pub status: MachineStatus,
    /// When it was gone.
    pub ended_at: Option<Time>,
    /// Whether terminations of it fail.
    pub protected: bool,
    /// Whether it ever built anything.
    pub used: bool,
    /// How long it has run builds, without the one that may run now.
    pub busy: Duration,
    /// How many builds run on it, and since when there are any.
    pub running: (usize, Time),
    /// When the market takes it, once that is known.
    pub notice: Option<Time>,
    /// Whether an order to end it was given.
    pub ordered_end: bool,
    /// How often it was booted.
    pub boots: u32,
    /// How long it was stopped, and since when it is.
    pub stopped: (Duration, Option<Time>),
}

impl CloudMachine {
    /// The cloud's name of it.
    pub fn provider_id(index: usize) -> String {
        format!("m-{index:06}")
    }

    /// Which machine has a name.
    pub fn index(provider_id: &str) -> Option<usize> {
        provider_id.strip_prefix("m-")?.parse().ok()
    }

    /// Whether it is there or coming.
    pub fn is_live(&self) -> bool {
        self.ended_at.is_none()
    }

    /// How long it was paid for until `now`.
    pub fn lifetime(&self, now: Time) -> Duration {
        let stopped = self.stopped.0 + self.stopped.1.map_or(Duration::ZERO, |since| now.since(since));
        self.ended_at.unwrap_or(now).since(self.called_at).saturating_sub(stopped)
    }

    /// What it has cost until `now`.
    pub fn cost(&self, now: Time, billing: Billing) -> Money {
        let lifetime = self.lifetime(now);
        match billing {
            Billing::Second => self.price.for_time(lifetime),
            Billing::Hour => {
                let hours = i64::try_from(lifetime.as_secs().div_ceil(3600)).unwrap_or(i64::MAX);
                Money(self.price.0.saturating_mul(hours))
            }
        }
    }
}
