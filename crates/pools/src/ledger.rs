//! The ledger: one row for each machine that is meant to be, is on its way, is there, or was.

use std::fmt;

use model::{BuildRequestId, InstanceId, Time, pool::Money};
use serde::{Deserialize, Serialize};

use crate::ReasonCode;

/// Where an instance is in its life. See `ARCHITECTURE.md` for the way from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its row is written; the provider is about to be asked.
    Planned,
    /// The provider was asked, and has not said what became of it.
    Requested,
    /// The provider has a machine; no worker is connected.
    Booting,
    /// It takes so long that it hardly comes any more. No supply, but it still counts and costs.
    Suspect,
    /// A worker is connected; who it is is being checked.
    ReadyCheck,
    /// It has no build.
    Idle,
    /// It has at least one build.
    Busy,
    /// It gets no more builds, and goes when the last one is done.
    Draining,
    /// The provider was asked to stop it.
    Stopping,
    /// It is stopped, and can be started again.
    Stopped,
    /// Its worker's connection is gone.
    Lost,
    /// The machinery of several builds in a row failed on it: it gets no more.
    Quarantined,
    /// Somebody keeps it to look at it.
    Held,
    /// The provider is asked to end it, for as long as it takes.
    Terminating,
    /// It is gone; the row stays for the books.
    Gone,
}

/// Who started a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The pool.
    Hired,
    /// Somebody else: it logged in with the pool's own password. It is never terminated from here.
    Guest,
}

/// How a machine is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// At a fixed price, for as long as one likes.
    OnDemand,
    /// At the market's price; it may be taken away.
    Spot,
}

/// Names one call to a provider for ever: the call is idempotent by it (EC2's `ClientToken`), and machines carry it as
/// a tag. All rows of one call share it, and no other call has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What it takes to check a login: the MD5 digest of the secret, as Twisted's challenge needs it
/// (`twisted/spread/pb.py`, 24.11.0: `respond`). The secret itself is never kept, but that is no help against whoever reads
/// the database: the challenge is answered from the digest, so whoever has it can log in as the instance for as long as
/// that is not gone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verifier(pub String);

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// A place in a pool with a stable name, for Buildbot's tables and its users: `POOL-NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// The pool.
    pub pool: String,
    /// From 1 on.
    pub number: u32,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pool, self.number)
    }
}

/// Why and until when a machine gets no more builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Why.
    pub code: ReasonCode,
    /// Why, in a sentence.
    pub text: String,
    /// When it goes at the latest, whatever still runs on it.
    pub deadline: Option<Time>,
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Why.
    pub code: ReasonCode,
    /// Why, in a sentence.
    pub text: String,
}

/// Whether a machine has to ask who its worker is before that can log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enrolled {
    /// It was told when it was made.
    #[default]
    Never,
    /// It has to, and has not yet. What [`Instance::verifier`] checks is good for that alone, and once.
    Awaited,
    /// It has, at this time. It cannot again.
    At(Time),
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id; a worker on it logs in as `POOL@ID`.
    pub id: InstanceId,
    /// Its slot. A slot has one instance at a time; rows that are gone have given theirs back.
    pub slot: Slot,
    /// Who started it.
    pub origin: Origin,
    /// Where it is in its life.
    pub state: State,
    /// The call that it came from, or is to come from.
    pub token: Token,
    /// What was bought: an [`crate::Offering`]'s name. Empty for guests.
    pub offering: String,
    /// How it is paid for.
    pub market: Market,
    /// What an hour of it costs, as known at launch.
    pub price: Money,
    /// The provider's own name of the machine: `i-0abc…`.
    pub provider_id: Option<String>,
    /// A digest of what it was made from ([`model::pool::PoolSpec::template`]).
    pub template: String,
    /// The image that it booted.
    pub image: String,
    /// What its worker must prove; `None` when nothing can log in (any more).
    pub verifier: Option<Verifier>,
    /// Whether it has to enroll, or has.
    #[serde(default)]
    pub enrolled: Enrolled,
    /// What the first worker that logged in said of the boot that it belongs to; later ones must say the same.
    pub boot: Option<String>,
    /// Some of the requests that it was started for; only an explanation, they are bound to nothing.
    pub causes: Vec<BuildRequestId>,
    /// Why it was started.
    pub code: ReasonCode,
    /// Why it was started, in a sentence.
    pub text: String,
    /// When its row was written.
    pub planned_at: Time,
    /// When the provider was asked (first).
    pub requested_at: Option<Time>,
    /// When the provider said that there is a machine, or began to start it again.
    pub launched_at: Option<Time>,
    /// When its worker was first accepted.
    pub connected_at: Option<Time>,
    /// Since when it is in its state.
    pub since: Time,
    /// Why it gets no more builds, if it does not.
    pub drain: Option<Drain>,
    /// Until when somebody keeps it.
    pub held_until: Option<Time>,
    /// Builds that it has finished.
    pub builds: u32,
    /// Builds in a row, of different builders, whose machinery failed.
    pub failures: u32,
    /// How it ended.
    pub ended: Option<Ended>,
    /// When it was gone.
    pub ended_at: Option<Time>,
    /// What it has cost, once it is gone.
    pub cost: Option<Money>,
    /// What it said while it booted in vain, its end.
    pub console: Option<String>,
}

impl Instance {
    /// What its worker must prove at a login; `None` when it cannot log in (yet, or any more).
    pub fn credential(&self) -> Option<&Verifier> {
        self.verifier.as_ref().filter(|_| self.enrolled != Enrolled::Awaited)
    }
}

impl State {
    /// As it is written in tables, metrics and sentences.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Requested => "requested",
            Self::Booting => "booting",
            Self::Suspect => "suspect",
            Self::ReadyCheck => "ready_check",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
            Self::Quarantined => "quarantined",
            Self::Held => "held",
            Self::Terminating => "terminating",
            Self::Gone => "gone",
        }
    }

    /// Whether a machine counts towards maxima: it is there, is coming, or may be.
    pub fn is_live(self) -> bool {
        !matches!(self, Self::Gone | Self::Stopped)
    }

    /// Whether its worker may be connected and building.
    pub fn is_connected(self) -> bool {
        matches!(
            self,
            Self::ReadyCheck | Self::Idle | Self::Busy | Self::Draining | Self::Quarantined | Self::Held
        )
    }
}
