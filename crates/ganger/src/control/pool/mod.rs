//! What is said about pools, and their answers.
//!
//! Money is in whole units of the prices' currency, spans are in seconds, words are those of the tables.

mod explain;
mod find;
mod operate;
mod plan;
mod view;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Build;

pub(super) use self::{
    explain::why,
    operate::{drain, hold, pause, release, resume, scale, trust},
    plan::plan,
    view::{decisions, list, of_status, show},
};

/// A pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolName {
    /// Its name.
    pub(crate) pool: String,
}

/// An instance, by whatever somebody calls it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstanceName {
    /// Its id, its slot (`linux-3`), what it logs in as (`linux@12`), or the provider's name of it.
    pub(crate) instance: String,
}

/// What is to be explained.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhyFilter {
    /// The id of a build request, or any name of an instance. A number that is both is explained as both.
    pub(crate) what: String,
    /// Only a request.
    #[serde(default)]
    pub(crate) request: bool,
    /// Only an instance.
    #[serde(default)]
    pub(crate) instance: bool,
}

/// An instance to keep.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    /// Any name of it.
    pub(crate) instance: String,
    /// For how long.
    pub(crate) seconds: u64,
    /// Why.
    pub(crate) reason: String,
}

/// A pool to pause.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolPause {
    /// Its name.
    pub(crate) pool: String,
    /// Why.
    pub(crate) reason: String,
}

/// How many instances a pool is to have at least.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolScale {
    /// Its name.
    pub(crate) pool: String,
    /// How many; `None` is what is configured.
    pub(crate) min: Option<u32>,
}

/// Which pools to plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanFilter {
    /// Only this one.
    #[serde(default)]
    pub(crate) pool: Option<String>,
}

/// Which decisions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionsFilter {
    /// Only of this pool.
    #[serde(default)]
    pub(crate) pool: Option<String>,
    /// Only about this instance, by any of its names.
    #[serde(default)]
    pub(crate) instance: Option<String>,
    /// Only about this build request.
    #[serde(default)]
    pub(crate) request: Option<i64>,
    /// At most this many; at most 1000.
    pub(crate) limit: u32,
    /// Go on with those to come.
    #[serde(default)]
    pub(crate) follow: bool,
}

/// All pools.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PoolList {
    /// The time of this answer.
    pub(crate) now: i64,
    /// The pools, by name.
    pub(crate) pools: Vec<Pool>,
}

/// A pool as it is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pool {
    /// Its name.
    pub(crate) name: String,
    /// How many instances it may have.
    pub(crate) max: u32,
    /// How many it has at least, now.
    pub(crate) min: u32,
    /// How many the last pass wanted.
    pub(crate) wanted: u32,
    /// How many count towards the maximum.
    pub(crate) live: u32,
    /// How many are in each state; what is gone is not counted.
    pub(crate) by_state: BTreeMap<String, u32>,
    /// Requests that wait for it.
    pub(crate) pending: u32,
    /// Why somebody paused it.
    pub(crate) paused: Option<String>,
    /// The minimum that somebody asked for.
    pub(crate) scaled: Option<u32>,
    /// Whether this master decides about it.
    pub(crate) owner: bool,
    /// Whether the provider has listed its machines since the start.
    pub(crate) listed: bool,
    /// Whether it is no longer in the configuration.
    pub(crate) removed: bool,
    /// Why next to nothing is launched, if something is wrong with its machines.
    pub(crate) breaker: Option<Breaker>,
    /// What is not bought for now.
    pub(crate) closed: Vec<ClosedOffering>,
    /// What an hour of all live instances costs.
    pub(crate) price_per_hour: f64,
    /// What was spent.
    pub(crate) spent: Amounts,
    /// What may be spent.
    pub(crate) budget: Amounts,
    /// The time to boot that is reckoned with.
    pub(crate) boot: Boot,
    /// How long an instance without work is kept; `None` is for ever, and unknown before there is a `last`.
    pub(crate) idle_timeout_s: Option<f64>,
    /// What the last pass came to.
    pub(crate) last: Option<Reason>,
}

/// Why, for programs and for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reason {
    /// Why.
    pub(crate) code: String,
    /// Why, in a sentence.
    pub(crate) text: String,
}

/// Next to nothing is launched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Breaker {
    /// Since when.
    pub(crate) since: i64,
    /// Why.
    #[serde(flatten)]
    pub(crate) why: Reason,
}

/// Something that is not bought for now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClosedOffering {
    /// Its name, or that of its family.
    pub(crate) name: String,
    /// Until when.
    pub(crate) until: i64,
    /// What the provider said.
    pub(crate) code: String,
}

/// Money by the period that it is counted for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Amounts {
    /// An hour.
    pub(crate) hour: Option<f64>,
    /// This day, UTC.
    pub(crate) day: Option<f64>,
    /// This month, UTC.
    pub(crate) month: Option<f64>,
}

/// What is known about booting.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Boot {
    /// Half of the boots take so long.
    pub(crate) p50_s: f64,
    /// 19 of 20 take so long.
    pub(crate) p95_s: f64,
    /// From how many boots this is known.
    pub(crate) samples: u32,
    /// The share of machines that connect at all.
    pub(crate) connect_rate: f64,
}

/// A pool with all that belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PoolDetail {
    /// The time of this answer.
    pub(crate) now: i64,
    /// The pool.
    #[serde(flatten)]
    pub(crate) pool: Pool,
    /// Instances that are not gone, by slot.
    pub(crate) instances: Vec<Instance>,
    /// The last decisions, the latest last; of logins that were refused only the latest.
    pub(crate) decisions: Vec<Decision>,
    /// What has happened since the start of the master.
    pub(crate) totals: Totals,
}

/// What has happened since the start of the master.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Instances that the provider was asked for, by reason.
    pub(crate) launches: BTreeMap<String, u64>,
    /// Instances that ended, by reason.
    pub(crate) ends: BTreeMap<String, u64>,
    /// Instances that ended without one build.
    pub(crate) never_used: u64,
    /// Machines of somebody else that were let in.
    pub(crate) guests: u64,
    /// Logins that were refused.
    pub(crate) refused: u64,
    /// Builds that were lost with their machine.
    pub(crate) lost_builds: u64,
    /// What instances that are gone have cost.
    pub(crate) cost: f64,
}

/// An instance: a machine that a pool means to have, has, or had.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// `ganger_instances.id`.
    pub(crate) instanceid: i64,
    /// Its pool.
    pub(crate) pool: String,
    /// Its slot, which is the name of its worker.
    pub(crate) slot: String,
    /// Where it is in its life: `booting`, `idle`, …, `gone`.
    pub(crate) state: String,
    /// Who started it: `hired` (the pool) or `guest` (somebody else).
    pub(crate) origin: String,
    /// What was bought.
    pub(crate) offering: String,
    /// How it is paid for: `on-demand` or `spot`.
    pub(crate) market: String,
    /// What an hour of it costs.
    pub(crate) price: f64,
    /// What it has cost so far.
    pub(crate) cost: Option<f64>,
    /// The provider's name of it.
    pub(crate) provider_id: Option<String>,
    /// The image that it booted.
    pub(crate) image: String,
    /// Builds that it has finished.
    pub(crate) builds: u32,
    /// `builds.id` of what runs on it.
    pub(crate) running: Vec<i64>,
    /// `buildrequests.id` of some of the requests that it was started for.
    pub(crate) causes: Vec<i64>,
    /// When its row was written.
    pub(crate) planned_at: i64,
    /// When there was a machine.
    pub(crate) launched_at: Option<i64>,
    /// When its worker was first accepted.
    pub(crate) connected_at: Option<i64>,
    /// Since when it is in its state.
    pub(crate) since: i64,
    /// Until when somebody keeps it.
    pub(crate) held_until: Option<i64>,
    /// When it goes at the latest, if something set a time.
    pub(crate) deadline: Option<i64>,
    /// When it was gone.
    pub(crate) ended_at: Option<i64>,
    /// Why it was started.
    pub(crate) started: Reason,
    /// Why it gets no more builds, if it does not.
    pub(crate) drain: Option<Reason>,
    /// Why it is kept and what comes next; `None` when it is gone.
    pub(crate) why: Option<String>,
    /// Why it ended, once it has.
    pub(crate) ended: Option<Reason>,
    /// What its machine said while it booted in vain: the end of it.
    pub(crate) console: Option<String>,
}

/// Something that was decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// When.
    pub(crate) at: i64,
    /// Of which pool.
    pub(crate) pool: String,
    /// The instance that it is about, if it is about one.
    pub(crate) instanceid: Option<i64>,
    /// The request that it is about, if it is about one.
    pub(crate) buildrequestid: Option<i64>,
    /// Why.
    #[serde(flatten)]
    pub(crate) why: Reason,
}

/// Decisions, the latest last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Decisions {
    /// The time of this answer.
    pub(crate) now: i64,
    /// The decisions.
    pub(crate) decisions: Vec<Decision>,
}

/// Why something is as it is. At least one of the two is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Why {
    /// The time of this answer.
    pub(crate) now: i64,
    /// The request of that number.
    pub(crate) request: Option<RequestWhy>,
    /// The instance of that name.
    pub(crate) instance: Option<InstanceWhy>,
}

/// A build request, and why it waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RequestWhy {
    /// `buildrequests.id`.
    pub(crate) buildrequestid: i64,
    /// Its builder.
    pub(crate) builder: String,
    /// Higher is sooner.
    pub(crate) priority: i64,
    /// When it was asked for.
    pub(crate) submitted_at: i64,
    /// How it ended: Buildbot's number.
    pub(crate) results: Option<i64>,
    /// Why it waits, or that it does not.
    #[serde(flatten)]
    pub(crate) why: Reason,
    /// What it can expect of a pool, when it waits for one.
    pub(crate) expected: Option<Expected>,
    /// Its builds, the newest first.
    pub(crate) builds: Vec<Build>,
    /// What was decided about it, the latest last.
    pub(crate) decisions: Vec<Decision>,
}

/// What a request can expect of a pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// The pool.
    pub(crate) pool: String,
    /// When its build is expected to start; `None` when nobody can say.
    pub(crate) start: Option<i64>,
    /// What decides that.
    pub(crate) code: String,
}

/// An instance, and what was decided about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InstanceWhy {
    /// The instance.
    #[serde(flatten)]
    pub(crate) instance: Instance,
    /// What was decided about it, the latest last.
    pub(crate) decisions: Vec<Decision>,
}

/// What a pass would do now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plans {
    /// The time of this answer.
    pub(crate) now: i64,
    /// What it would do to each pool.
    pub(crate) plans: Vec<Plan>,
}

/// What a pass would do to a pool now, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The pool.
    pub(crate) pool: String,
    /// How many instances there should be.
    pub(crate) wanted: u32,
    /// How many there should be at least.
    pub(crate) min: u32,
    /// How many without work are kept ready.
    pub(crate) warm: u32,
    /// All of it in a sentence.
    pub(crate) text: String,
    /// What would be started.
    pub(crate) launches: Vec<PlannedLaunch>,
    /// What is wanted and would not be started.
    pub(crate) denied: Vec<Denied>,
    /// How many launches that are not made yet would be called off.
    pub(crate) cancel: u32,
    /// What requests that wait can expect, the first 1000.
    pub(crate) requests: Vec<Outlook>,
    /// How many requests wait.
    pub(crate) pending: usize,
}

/// Instances that would be started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlannedLaunch {
    /// How many.
    pub(crate) count: u32,
    /// Whether they are stopped ones that are started again.
    pub(crate) resume: bool,
    /// What would be bought, the best first.
    pub(crate) offerings: Vec<String>,
    /// Why.
    #[serde(flatten)]
    pub(crate) why: Reason,
    /// `buildrequests.id` of some of the requests that they are for.
    pub(crate) causes: Vec<i64>,
}

/// Instances that are wanted and would not be started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Denied {
    /// How many.
    pub(crate) count: u32,
    /// Why.
    #[serde(flatten)]
    pub(crate) why: Reason,
    /// When it is tried again, when that is known.
    pub(crate) next: Option<i64>,
}

/// What a request that waits can expect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outlook {
    /// `buildrequests.id`.
    pub(crate) buildrequestid: i64,
    /// When its build is expected to start; `None` when nobody can say.
    pub(crate) start: Option<i64>,
    /// What decides that.
    #[serde(flatten)]
    pub(crate) why: Reason,
}
