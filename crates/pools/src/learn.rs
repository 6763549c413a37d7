//! What pools learn from what happened: how long machines take to boot and builds to run, how much work comes in, and
//! what failed.

mod arrivals;
mod boots;
mod breaker;
mod canary;
mod jobs;
mod offerings;

use serde::{Deserialize, Serialize};

pub use arrivals::Arrivals;
pub use boots::{BootTimes, Boots};
pub use breaker::{Breaker, BreakerChange};
pub use canary::{Canary, Verdict};
pub use jobs::{Durations, Jobs, LogNormal};
pub use offerings::{Closed, Offerings};

/// What one pool has learned; survives restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learned {
    /// How long its machines take until they are connected.
    pub boots: Boots,
    /// How long builds take that ran on its machines: what is assumed of builders that nobody knows yet.
    pub durations: Durations,
    /// How much work comes in.
    pub arrivals: Arrivals,
    /// Whether its machines come up at all.
    pub breaker: Breaker,
    /// Which image it trusts.
    pub canary: Canary,
    /// Where nothing is to be had for now.
    pub offerings: Offerings,
}

#[cfg(test)]
mod tests;
