//! What is to be built: handed over anew for each pass.

use std::sync::Arc;

use model::{BuildRequestId, BuilderId, Time};

/// Everything that waits for the pools, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    /// Builders that have requests and that some pool may build, each once. Requests name them by index.
    pub builders: Vec<DemandBuilder>,
    /// Requests that nobody has taken, the one that is to be built first first (Buildbot's order: builders by the
    /// priority and then the age of their first request, inside a builder by priority and then age).
    pub requests: Vec<Waiting>,
    /// Locks and limits that requests need a permit of. Requests name them by index.
    pub permits: Vec<Permit>,
    /// Workers that belong to no pool and serve builders of pools.
    pub elsewhere: Vec<Elsewhere>,
}

/// A builder that some pool may build.
#[derive(Clone, Debug, PartialEq)]
pub struct DemandBuilder {
    /// Its id.
    pub id: BuilderId,
    /// Names of its pools, in the builder's order.
    pub pools: Vec<Arc<str>>,
}

/// A request that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Its id.
    pub request: BuildRequestId,
    /// Its builder: an index into [`Demand::builders`].
    pub builder: usize,
    /// Higher is sooner.
    pub priority: i64,
    /// When it was asked for.
    pub submitted_at: Time,
    /// What it needs permits of, each once.
    pub needs: Vec<Need>,
    /// The request that it will be merged into when that is built.
    pub collapses_into: Option<BuildRequestId>,
    /// How often its build was lost with its machine.
    pub losses: u32,
    /// The offering that it was lost on last; not to be bought for it again.
    pub lost_on: Option<Arc<str>>,
}

/// Permits that a request needs, all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Of what: an index into [`Demand::permits`].
    pub permit: usize,
    /// How many.
    pub units: u32,
}

/// A lock or a limit, of which only so many requests can have a permit at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Permit {
    /// As people know it: `lock database`.
    pub name: Arc<str>,
    /// Whether it is a lock; else a limit on how much runs at once.
    pub is_lock: bool,
    /// Permits that are free now.
    pub free: u32,
}

/// A worker that belongs to no pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Elsewhere {
    /// Builders that it serves: indices into [`Demand::builders`], sorted.
    pub builders: Arc<[usize]>,
    /// What it runs: the builder (an index into [`Demand::builders`], `None` when no pool builds it) and since when.
    pub running: Vec<(Option<usize>, Time)>,
    /// How many more builds it could take if they were there.
    pub room: u32,
}
