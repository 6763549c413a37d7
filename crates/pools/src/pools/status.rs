//! Everything there is to see of a pool.

use std::collections::BTreeMap;

use model::{
    BuildId, BuildRequestId, InstanceId, Time,
    pool::{Budget, Money},
};
use serde::Serialize;

use super::Histogram;
use crate::{Decision, Market, Origin, ReasonCode, State};

/// A pool as it is now. Durations are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// How many machines it may have.
    pub max: u32,
    /// How many it has at least, now: what is configured, scheduled or asked for by somebody.
    pub min: u32,
    /// How many the last pass wanted.
    pub wanted: u32,
    /// How many count towards the maximum.
    pub live: u32,
    /// How many instances are in each state. What is gone is not counted.
    pub by_state: BTreeMap<State, u32>,
    /// Instances that are not gone, by id.
    pub instances: Vec<InstanceStatus>,
    /// Requests that wait for it, at the last pass.
    pub pending: u32,
    /// Why somebody paused it.
    pub paused: Option<String>,
    /// The minimum that somebody asked for.
    pub scaled: Option<u32>,
    /// Whether this master decides about it.
    pub owner: bool,
    /// The number of its lease.
    pub fence: Option<u64>,
    /// Whether the ledger was compared with a complete listing since the start.
    pub listed: bool,
    /// Whether it is no longer in the configuration, and on its way out.
    pub removed: bool,
    /// Why nothing much is started: too many machines failed to boot, or the provider refuses what is configured.
    pub breaker: Option<BreakerStatus>,
    /// What is not bought for now.
    pub closed: Vec<ClosedOffering>,
    /// What it costs.
    pub spend: Spend,
    /// What it may cost.
    pub budget: Budget,
    /// What was learned about the time from the call to the connection.
    pub boot: BootStatus,
    /// How long a machine without work is kept now; `None` is for ever.
    pub idle_timeout_s: Option<f64>,
    /// What the last pass came to, with a code.
    pub last: Option<Reason>,
    /// The last decisions, the latest last.
    pub decisions: Vec<Decision>,
    /// Counted since the start of the master.
    pub totals: Totals,
}

/// Why, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Why.
    pub code: ReasonCode,
    /// Why, in a sentence.
    pub text: String,
}

/// An instance as it is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceStatus {
    /// Its id.
    pub id: InstanceId,
    /// Its slot, which is the name of its worker.
    pub slot: String,
    /// Where it is in its life.
    pub state: State,
    /// Who started it.
    pub origin: Origin,
    /// What was bought.
    pub offering: String,
    /// How it is paid for.
    pub market: Market,
    /// What an hour of it costs.
    pub price: Money,
    /// What it has cost so far.
    pub cost: Money,
    /// The provider's name of it.
    pub provider_id: Option<String>,
    /// The image that it booted.
    pub image: String,
    /// Whether it was made from another template than the pool has now.
    pub old_template: bool,
    /// Builds that it has finished.
    pub builds: u32,
    /// Builds that run on it.
    pub running: Vec<BuildId>,
    /// Some of the requests that it was started for.
    pub causes: Vec<BuildRequestId>,
    /// When its row was written.
    pub planned_at: Time,
    /// When there was a machine.
    pub launched_at: Option<Time>,
    /// When its worker was first accepted.
    pub connected_at: Option<Time>,
    /// Since when it is in its state.
    pub since: Time,
    /// Until when somebody keeps it.
    pub held_until: Option<Time>,
    /// When it goes at the latest, if something set a time.
    pub deadline: Option<Time>,
    /// Why it was started.
    pub started: Reason,
    /// Why it gets no more builds, if it does not.
    pub drain: Option<Reason>,
    /// Why it is kept and what comes next, in a sentence.
    pub why: String,
}

/// Nothing much is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BreakerStatus {
    /// Since when.
    pub since: Time,
    /// Why.
    pub code: ReasonCode,
    /// Why, in a sentence.
    pub text: String,
}

/// An offering that is not bought for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClosedOffering {
    /// Its name, or the name of its family.
    pub name: String,
    /// Until when.
    pub until: Time,
    /// Why.
    pub code: ReasonCode,
}

/// What a pool costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spend {
    /// The sum of the hourly prices of what is live.
    pub hour_rate: Money,
    /// So far today, UTC.
    pub day: Money,
    /// So far in this calendar month, UTC.
    pub month: Money,
}

/// What was learned about booting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BootStatus {
    /// Half of the boots take so long.
    pub p50_s: f64,
    /// 19 of 20 take so long.
    pub p95_s: f64,
    /// From how many boots this is known.
    pub samples: u32,
    /// The share of machines that connect at all.
    pub connect_rate: f64,
}

/// What has happened since the start of the master.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Passes that planned it.
    pub passes: u64,
    /// Instances that the provider was asked for, by reason.
    pub launches: BTreeMap<ReasonCode, u64>,
    /// Instances that ended, by reason.
    pub ends: BTreeMap<ReasonCode, u64>,
    /// Instances that ended without one build.
    pub never_used: u64,
    /// Guests that were let in.
    pub guests: u64,
    /// Logins that were refused.
    pub refused: u64,
    /// Builds that were lost with their machine.
    pub lost_builds: u64,
    /// Calls to the provider, by what was asked: `launch`, `list`, `terminate`, …
    pub calls: BTreeMap<&'static str, u64>,
    /// Calls that failed, by what was asked.
    pub failed_calls: BTreeMap<&'static str, u64>,
    /// What instances that are gone have cost.
    pub cost: Money,
    /// How long requests waited until their build began, by class.
    pub queue_wait: BTreeMap<String, Histogram>,
    /// How long instances took from the call to the connection.
    pub boot: Histogram,
}
