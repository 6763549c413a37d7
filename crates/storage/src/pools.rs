//! What pools keep: rows of the `ganger_*` tables. What is in them is the pools' affair; here they are columns to search
//! by, and JSON.

use std::{collections::BTreeMap, time::Duration};

use model::{BuildRequestId, BuilderId, InstanceId, Json, Time, pool::Money};

use crate::rows::WorkerRow;

/// A row of `ganger_instances`: a machine that a pool means to have, has or had.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceRow {
    /// Its id, from [`crate::Ids::next_instance`].
    pub id: InstanceId,
    /// Its pool.
    pub pool: String,
    /// The number of its slot in the pool.
    pub slot: u32,
    /// Where it is in its life. The row is restored at every start until this is [`Self::GONE`].
    pub state: String,
    /// The call to the provider that it came from.
    pub token: String,
    /// What was bought.
    pub offering: String,
    /// The provider's own name of it.
    pub provider_id: Option<String>,
    /// What an hour of it costs.
    pub price: Money,
    /// When its row was written first.
    pub planned_at: Time,
    /// When its worker was first accepted.
    pub connected_at: Option<Time>,
    /// When it was gone.
    pub ended_at: Option<Time>,
    /// Why it is gone, as a code.
    pub end_code: Option<String>,
    /// What it has cost.
    pub cost: Option<Money>,
    /// All that is known of it: the truth, of which the other fields are parts to search by.
    pub data: Json,
    /// The lease of the pool under which it is written, from [`crate::Store::lease`].
    pub fence: u64,
}

impl InstanceRow {
    /// The state in which a machine is gone for good. Such rows are kept for the current month and the one before (UTC),
    /// and the last 1000 of a pool for longer.
    pub const GONE: &'static str = "gone";
}

/// A row of `ganger_decisions`: something that a pool decided, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRow {
    /// Its number, later ones having higher ones. What is written gets the next one, whatever stands here.
    pub id: i64,
    /// When.
    pub at: Time,
    /// Of which pool.
    pub pool: String,
    /// The instance that it is about, if it is about one.
    pub instance: Option<InstanceId>,
    /// The request that it is about, if it is about one.
    pub request: Option<BuildRequestId>,
    /// Why, as a code.
    pub code: String,
    /// What and why, in a sentence.
    pub text: String,
}

/// Which instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceFilter {
    /// Only this one.
    pub id: Option<InstanceId>,
    /// Only of this pool.
    pub pool: Option<String>,
    /// Only in this state.
    pub state: Option<String>,
    /// Only those that are not gone, or only those that are.
    pub gone: Option<bool>,
    /// At most so many, the newest first.
    pub limit: u32,
}

impl Default for InstanceFilter {
    /// The newest 1000 of all.
    fn default() -> Self {
        Self { id: None, pool: None, state: None, gone: None, limit: 1000 }
    }
}

/// Which decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionFilter {
    /// Only of this pool.
    pub pool: Option<String>,
    /// Only about this instance.
    pub instance: Option<InstanceId>,
    /// Only about this request.
    pub request: Option<BuildRequestId>,
    /// Only those before this number.
    pub before: Option<i64>,
    /// At most so many, the newest first.
    pub limit: u32,
}

impl Default for DecisionFilter {
    /// The newest 100 of all.
    fn default() -> Self {
        Self { pool: None, instance: None, request: None, before: None, limit: 100 }
    }
}

/// Who has a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lease {
    /// This master, under this number. Every later lease of the pool has a higher one, and writes under a lower one are
    /// refused.
    Ours(u64),
    /// Another master.
    Other {
        /// Its name.
        master: String,
        /// When its lease ends unless it is renewed.
        expires_at: Time,
    },
}

impl Lease {
    /// The number, if this master has the pool.
    pub fn fence(&self) -> Option<u64> {
        match self {
            Self::Ours(fence) => Some(*fence),
            Self::Other { .. } => None,
        }
    }
}

/// What pools have to know when their master starts. See [`crate::Store::restore_pools`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RestoredPools {
    /// All instances that are not gone, of whatever pool, and of each pool the last 200 that are; in the order of their ids.
    pub instances: Vec<InstanceRow>,
    /// What each pool has kept under [`crate::Write::PoolState`], also of pools that are no longer in the configuration.
    pub states: BTreeMap<String, Json>,
    /// How long builds took lately that ended with SUCCESS, WARNINGS or FAILURE: for each builder at most 50, oldest first.
    /// At least a second each, as the tables hold whole seconds.
    pub durations: Vec<(BuilderId, Vec<Duration>)>,
    /// Workers that are slots: named `POOL-N`, of the pools asked for and of those that have instances.
    pub slots: BTreeMap<String, WorkerRow>,
}
