//! What a plan is made from: each pool as it is at one moment.

use model::{
    BuilderId, Time,
    pool::{Money, PoolLimits, PoolSpec},
};

use crate::{
    Offering, ReasonCode,
    learn::{BootTimes, Learned},
};

/// A pool at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What is configured.
    pub spec: &'a PoolSpec,
    /// What was learned.
    pub learned: &'a Learned,
    /// The image that new machines are to boot, unless it is being tried or bad.
    pub image: &'a str,
    /// What its provider sells; closed ones are left out by the planner.
    pub offerings: &'a [Offering],
    /// Its machines.
    pub supply: Supply<'a>,
    /// How many machines somebody asked for by hand: a minimum.
    pub scaled: Option<u32>,
    /// Limits that the planner cannot know by itself, in this order: nothing may be started at all (paused, not listed,
    /// not the owner: `more` is 0), the provider's quota, its API tokens.
    pub rooms: &'a [Room],
    /// What it costs and has cost.
    pub spend: Spend,
}

/// A limit on how many more machines are started now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Which limit.
    pub code: ReasonCode,
    /// How many more it allows.
    pub more: u32,
    /// What is said of it when it binds: a sentence without a full stop.
    pub text: String,
}

/// What is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// The sum of the hourly prices of all live machines.
    pub rate: Money,
    /// Spent since midnight UTC.
    pub day: Money,
    /// Spent since the first of the month UTC.
    pub month: Money,
}

/// What all pools share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// What all pools together may use.
    pub limits: PoolLimits,
    /// Live machines of all pools.
    pub live: u32,
    /// What all pools together cost and have cost.
    pub spend: Spend,
}

/// The machines of a pool. Each live machine that will get builds is in exactly one of `idle`, `partly`, `full` and
/// `coming`; suspect, draining, quarantined, held, lost and terminating ones are in none and count in `live` only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Supply<'a> {
    /// Machines that count towards the maximum.
    pub live: u32,
    /// Machines in state `Idle` that get builds.
    pub idle: u32,
    /// Machines that run builds and have room for more.
    pub partly: &'a [Partly],
    /// Machines that run as many builds as they may.
    pub full: u32,
    /// Builds on `partly` and `full` machines whose place is free again when they are over (so none of a machine that
    /// has had its last build then).
    pub running: &'a [Running],
    /// Machines in state `Planned`, `Requested`, `Booting` and `ReadyCheck`.
    pub coming: &'a [Coming],
    /// How many of `coming` could still be called off: planned and not yet asked for, or an open spot request.
    pub open: u32,
    /// Machines in state `Stopped`.
    pub stopped: u32,
}

/// A machine that runs builds and has room for more.
#[derive(Clone, Debug, Default)]
pub struct Partly {
    /// Builders that it runs a build of.
    pub runs: Vec<BuilderId>,
    /// How many more builds it can take.
    pub room: u32,
}

/// A build that runs.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Its builder.
    pub builder: BuilderId,
    /// When it began.
    pub since: Time,
}

/// A machine that is on its way.
#[derive(Clone, Copy, Debug)]
pub struct Coming {
    /// When it was asked for; `None` when it was not yet.
    pub since: Option<Time>,
    /// How long machines of its image and offering take ([`crate::learn::Boots::times`]).
    pub boot: BootTimes,
}
