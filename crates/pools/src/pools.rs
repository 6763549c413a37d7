//! The manager: keeps the ledger, follows each machine through its life, and carries out what the planner says.
//!
//! Time is what the owner says it is. An event about something unknown, late or repeated changes nothing.

mod histogram;
mod login;
mod state;
mod status;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use model::{
    BuildRequestId, BuilderId, InstanceId, Time,
    pool::{PoolLimits, PoolSpec},
};
use secrecy::SecretString;

pub use self::{
    histogram::{BOUNDS, Histogram},
    login::{Admission, Login, LoginRefusal},
    state::PoolState,
    status::{
        BootStatus, BreakerStatus, ClosedOffering, InstanceStatus, PoolStatus, Reason, Spend, Totals,
    },
};
use crate::{
    Batch, Demand, Event, Instance, Token, Verifier,
    plan::{Expectation, PoolPlan},
};

/// What the pools begin with.
#[derive(Debug, Default)]
pub struct Setup {
    /// Names this installation; machines of another one are never touched.
    pub deployment: String,
    /// What is configured.
    pub pools: Vec<Arc<PoolSpec>>,
    /// What all pools together may use.
    pub limits: PoolLimits,
    /// All rows that are not gone, and of those that are gone the ones that ended in the current month or are among the
    /// last 200 of their pool.
    pub instances: Vec<Instance>,
    /// What was kept of each pool.
    pub states: BTreeMap<String, PoolState>,
    /// How long recent builds took, oldest first, at most 50 of a builder.
    pub durations: Vec<(BuilderId, Vec<Duration>)>,
}

/// Makes what must be new each time, and what nobody may guess.
pub trait Mint: fmt::Debug + Send {
    /// An id that no row has or had.
    fn next_instance(&mut self) -> InstanceId;
    /// A token that no call has or had.
    fn token(&mut self) -> Token;
    /// A secret that nobody can guess: 256 random bits.
    fn secret(&mut self) -> SecretString;
    /// What it takes to check a secret.
    fn verifier(&self, secret: &SecretString) -> Verifier;
}

/// The manager of all pools.
#[derive(Debug)]
pub struct Pools {
    pools: Vec<Arc<PoolSpec>>,
    mint: Box<dyn Mint>,
}

impl Pools {
    /// Begins with what is configured and what was kept.
    pub fn new(setup: Setup, mint: Box<dyn Mint>, now: Time) -> (Self, Batch) {
        let _ = now;
        (Self { pools: setup.pools, mint }, Batch::default())
    }

    /// Something happened.
    pub fn handle(&mut self, now: Time, event: Event) -> Batch {
        let _ = (now, event, &mut self.mint);
        Batch::default()
    }

    /// A worker that has proved its secret wants in.
    ///
    /// # Errors
    /// When it may not. That is on record then.
    pub fn log_in(&mut self, now: Time, login: &Login<'_>) -> (Result<Admission, LoginRefusal>, Batch) {
        let _ = now;
        (Err(LoginRefusal::NoSuchPool(login.pool.to_owned())), Batch::default())
    }

    /// The configuration is another one.
    pub fn reconfigure(&mut self, now: Time, pools: Vec<Arc<PoolSpec>>, limits: PoolLimits) -> Batch {
        let _ = (now, limits);
        self.pools = pools;
        Batch::default()
    }

    /// When the next timer or pass is due.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Timers that are due. Passes are not among them.
    pub fn handle_timeout(&mut self, now: Time) -> Batch {
        let _ = now;
        Batch::default()
    }

    /// Whether it is time for [`Self::pass`].
    pub fn pass_due(&self, now: Time) -> bool {
        let _ = now;
        false
    }

    /// Compares what is wanted with what is there, and acts.
    pub fn pass(&mut self, now: Time, demand: &Demand) -> Batch {
        let _ = (now, demand);
        Batch::default()
    }

    /// Something changed that the pools are not told otherwise: a pass within a second.
    pub fn kick(&mut self, now: Time) {
        let _ = now;
    }

    /// What a pass would do now, and why.
    pub fn plan(&self, now: Time, demand: &Demand) -> Vec<PoolPlan> {
        let _ = (now, demand);
        Vec::new()
    }

    /// All there is to see.
    pub fn status(&self, now: Time) -> Vec<PoolStatus> {
        let _ = now;
        Vec::new()
    }

    /// What a waiting request can expect, by the last pass.
    pub fn why_request(&self, request: BuildRequestId) -> Option<Expectation> {
        let _ = request;
        None
    }

    /// A row, also one that is gone but not for long.
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        let _ = id;
        None
    }

    /// What is to be kept of a pool.
    pub fn state(&self, pool: &str) -> Option<PoolState> {
        let _ = pool;
        None
    }

    /// The number of the lease of a pool, if this master has it.
    pub fn fence(&self, pool: &str) -> Option<u64> {
        let _ = pool;
        None
    }

    /// Looks for what must never be.
    ///
    /// # Errors
    /// What it found, in a sentence.
    pub fn check(&self, now: Time) -> Result<(), String> {
        let _ = now;
        Ok(())
    }
}
