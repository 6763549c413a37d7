//! Decisions: a code for programs, a sentence for people.

use model::{BuildRequestId, InstanceId, Time};
use serde::{Deserialize, Serialize};

/// Kinds of reasons. New ones are added at need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReasonCode {
    /// Requests wait longer than a new machine would take.
    Demand,
    /// Requests are expected.
    Forecast,
    /// The pool's minimum.
    Minimum,
    /// Machines are kept ready.
    Warm,
    /// Somebody asked for so many.
    Scaled,
    /// A machine that is about to be lost is replaced.
    Replacement,
    /// It logged in by itself.
    Guest,
    /// The ledger found it after a restart, or by its tag.
    Adopted,
    /// The provider has a machine for it.
    Launched,
    /// Its machine has proved what it is, and was told who its worker is.
    Enrolled,
    /// Its worker is connected.
    Connected,
    /// It was stopped, to be started again.
    Stopped,
    /// It was stopped, and is started again.
    Resumed,
    /// The call was not answered, or was refused for now: it is made again.
    Retried,
    /// The provider failed.
    ProviderError,

    /// The pool's maximum.
    PoolMax,
    /// The maximum of all pools.
    GlobalMax,
    /// The budget of an hour, a day or a month.
    Budget,
    /// No offering is as cheap as it must be.
    MaxPrice,
    /// The provider's quota.
    Quota,
    /// The provider takes no more calls for now.
    ApiTokens,
    /// Too many machines failed to boot.
    Breaker,
    /// A new image is being tried.
    Canary,
    /// The provider has no capacity.
    NoCapacity,
    /// The provider refuses what is configured.
    ConfigError,
    /// The ledger was not yet compared with a complete listing.
    NotListed,
    /// Another master has the pool.
    NotOwner,
    /// Somebody paused the pool.
    Paused,
    /// The master starts no more builds, as it is about to end.
    Ending,
    /// The request needs a lock.
    Lock,
    /// The request will be merged into another one.
    Collapsed,
    /// Its builder (or a limit of the user) runs as much as it may.
    Limit,
    /// Machines that are there or on their way will take it in time.
    Covered,
    /// There is nothing to do.
    NoDemand,

    /// It had no work for long enough.
    IdleTimeout,
    /// There are more than needed.
    Surplus,
    /// It has run as many builds as it may.
    MaxBuilds,
    /// It is as old as it may be.
    MaxAge,
    /// It was made from an old template.
    OldTemplate,
    /// The pool is no longer in the configuration.
    PoolGone,
    /// Somebody asked for it.
    Operator,
    /// The market takes it back.
    Interrupted,
    /// The market may take it back soon.
    Rebalance,
    /// The provider says that it is unwell.
    Impaired,
    /// Its machinery failed several builds in a row.
    Unhealthy,
    /// It did not connect in time.
    BootTimeout,
    /// It died while it booted.
    DiedBooting,
    /// Its connection was lost, and it did not come back.
    ConnectionLost,
    /// It was not what it should be.
    WrongIdentity,
    /// The provider no longer has it.
    Vanished,
    /// The provider would not start it.
    LaunchFailed,
    /// Demand was gone before the provider was asked.
    Cancelled,
    /// The provider has a machine that no row knows.
    Unknown,
    /// It left by itself.
    Left,
    /// A login was refused.
    LoginRefused,
    /// It was held for as long as it could be.
    HoldExpired,
    /// It was stopped for as long as it could be.
    StoppedExpired,
    /// The provider would not end it (so far).
    NotEnded,
    /// The provider's clock and this master's differ.
    ClockSkew,
}

/// Whom a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A pool as a whole.
    Pool,
    /// An instance of it.
    Instance(InstanceId),
    /// A request.
    Request(BuildRequestId),
}

/// Something that was decided, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Time,
    /// Of which pool.
    pub pool: String,
    /// About whom.
    pub subject: Subject,
    /// Why.
    pub code: ReasonCode,
    /// What and why: a sentence without a full stop.
    pub text: String,
}
