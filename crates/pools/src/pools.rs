//! The manager: keeps the ledger, follows each machine through its life, and carries out what the planner says.
//!
//! Time is what the owner says it is. An event about something unknown, late or repeated changes nothing.
//!
//! Events cost no more than a look-up, whatever the number of machines; [`Pools::pass`] may look at all of them.

mod answers;
mod beginning;
mod books;
mod booting;
mod bucket;
mod building;
mod calling;
mod change;
mod check;
mod connecting;
mod draining;
mod ending;
mod enrolling;
mod entry;
mod explaining;
mod histogram;
mod launching;
mod listing;
mod login;
mod money;
mod operating;
mod passing;
mod pool;
mod sharing;
mod slots;
mod state;
mod status;
mod stopping;
mod surplus;
#[cfg(test)]
mod tests;
mod timers;
mod waiting;
mod withholding;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use model::{
    BuildRequestId, BuilderId, InstanceId, Time,
    pool::{PoolLimits, PoolSpec},
};
use secrecy::SecretString;

use self::{
    bucket::Bucket, building::Started, calling::Call, change::Out, entry::Entry, pool::Pool, timers::Timers,
};
pub use self::{
    enrolling::{Applicant, EnrollError, EnrollRefusal, Papers, Proof},
    histogram::{BOUNDS, Histogram},
    login::{Admission, Login, LoginRefusal},
    state::PoolState,
    status::{BootStatus, BreakerStatus, ClosedOffering, InstanceStatus, PoolStatus, Reason, Spend, Totals},
};
use crate::{
    Batch, Demand, Event, Instance, Token, Verifier,
    learn::Jobs,
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
    /// All rows that are not gone, and of those that are gone the last 200 of each pool.
    pub instances: Vec<Instance>,
    /// Pools that another master had when the rows were read: what it has written since is not known.
    pub others: BTreeSet<String>,
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
    /// What proves until `expires` that a machine came from a call of a pool. Always the same for the same; nobody else
    /// can make it. Ends with the time in seconds since the epoch and a point before what cannot be made:
    /// `….1764500000.MAC`.
    fn ticket(&self, pool: &str, token: &Token, expires: Time) -> SecretString;
}

/// The manager of all pools.
#[derive(Debug)]
pub struct Pools {
    deployment: String,
    limits: PoolLimits,
    mint: Box<dyn Mint>,
    started_at: Time,
    /// By place; places are never used again.
    pools: Vec<Pool>,
    /// Places by name.
    names: BTreeMap<String, usize>,
    /// What is stored of pools that are not there (any more): they may come back.
    absent: BTreeMap<String, PoolState>,
    /// All instances, and the last ones that are gone.
    entries: BTreeMap<InstanceId, Entry>,
    /// Calls to launch that are not settled.
    calls: BTreeMap<Token, Call>,
    timers: Timers,
    /// How long builds take.
    jobs: Jobs,
    /// What the last pass planned.
    plans: Vec<PoolPlan>,
    /// Whether no more machines are started.
    ending: bool,
    last_pass: Option<Time>,
    next_pass: Option<Time>,
    /// What the call in progress leads to.
    out: Out,
    /// Pools that know more instances that are gone than they should.
    overfull: BTreeSet<usize>,
    /// Those who name pools that are not there, and are worth a line each.
    strangers: Bucket,
}

impl Pools {
    /// Begins with what is configured and what was kept. Until [`Event::Lease`] says that this master has a pool,
    /// nothing is written, started or ended of it.
    pub fn new(setup: Setup, mint: Box<dyn Mint>, now: Time) -> (Self, Batch) {
        let mut pools = Self {
            deployment: setup.deployment.clone(),
            limits: setup.limits,
            mint,
            started_at: now,
            pools: Vec::new(),
            names: BTreeMap::new(),
            absent: BTreeMap::new(),
            entries: BTreeMap::new(),
            calls: BTreeMap::new(),
            timers: Timers::default(),
            jobs: Jobs::default(),
            plans: Vec::new(),
            ending: false,
            last_pass: None,
            next_pass: None,
            out: Out::default(),
            overfull: BTreeSet::new(),
            strangers: Bucket::new(10, 0.1, now),
        };
        pools.begin(now, setup);
        let batch = pools.take();
        (pools, batch)
    }

    /// Something happened.
    pub fn handle(&mut self, now: Time, event: Event) -> Batch {
        match event {
            Event::Requested { pools } => self.requested(now, &pools),
            Event::Withdrawn { pools, submitted_at } => self.withdrawn(now, &pools, submitted_at),
            Event::BuildStarted { instance, build, builder, request, priority, waited } => {
                self.build_started(now, instance, &Started { build, builder, request, priority, waited });
            }
            Event::BuildWaits { instance, build, waits } => self.build_waits(now, instance, build, waits),
            Event::BuildEnded { instance, build, results, machinery_failed } => {
                self.build_ended(now, instance, build, results, machinery_failed);
            }
            Event::BuildTook { builder, duration } => self.build_took(builder, duration),
            Event::Identified { instance, identity } => self.identified(now, instance, &identity),
            Event::Ready { instance } => self.ready(now, instance),
            Event::Disconnected { instance, why } => self.disconnected(now, instance, &why),
            Event::Leaving { instance } => self.leaving(now, instance),
            Event::Withheld { instance, why } => self.withheld(now, instance, why),
            Event::LoginRefused { pool, instance, why } => match self.names.get(&pool) {
                Some(at) => self.refused(now, *at, instance, &why),
                None => self.stranger(now, pool, format!("a login was refused: {why}")),
            },
            Event::Launched { token, result } => self.launched(now, &token, result),
            Event::Listed { pool, asked_at, result } => {
                if let Some(at) = self.names.get(&pool) {
                    self.listed(now, *at, asked_at, result);
                }
            }
            Event::Terminated { instance, result } => self.terminated(now, instance, result),
            Event::Stopped { instance, result } => self.stopped(now, instance, result),
            Event::Resumed { instance, result } => self.resumed(now, instance, result),
            Event::Console { instance, result } => self.console(now, instance, result),
            Event::Offers { pool, capabilities } => {
                if let Some(at) = self.names.get(&pool) {
                    self.offers(now, *at, capabilities);
                }
            }
            Event::Warned { instance, warning } => self.warned(now, instance, warning),
            Event::Foretold { pool, provider_id, warning } => {
                let at = self.names.get(&pool).map(|at| &self.pools[*at]);
                if let Some(instance) = at.and_then(|pool| pool.by_provider_id.get(&provider_id)) {
                    self.warned(now, *instance, warning);
                }
            }
            Event::Lease { pool, fence } => {
                if let Some(at) = self.names.get(&pool) {
                    self.leased(now, *at, fence);
                }
            }
            Event::Operator(operator) => self.operate(now, operator),
        }
        self.take()
    }

    /// A worker that has proved its secret wants in.
    ///
    /// # Errors
    /// When it may not. That is on record then.
    pub fn log_in(&mut self, now: Time, login: &Login<'_>) -> (Result<Admission, LoginRefusal>, Batch) {
        let result = self.admit(now, login);
        (result, self.take())
    }

    /// A machine asks who its worker is. From now on that is proved by what `verifier` checks. Who asks again with the same
    /// verifier before its worker was there is told again: the answer was lost.
    ///
    /// # Errors
    /// When it is not told, or not yet. The former is on record then.
    pub fn enroll(
        &mut self,
        now: Time,
        applicant: &Applicant,
        verifier: Verifier,
    ) -> (Result<InstanceId, EnrollError>, Batch) {
        let result = self.admit_machine(now, applicant, verifier);
        (result, self.take())
    }

    /// The configuration is another one.
    pub fn reconfigure(&mut self, now: Time, pools: Vec<Arc<PoolSpec>>, limits: PoolLimits) -> Batch {
        self.configure(now, pools, limits);
        self.take()
    }

    /// When the next timer or pass is due.
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.first().into_iter().chain(self.next_pass).min()
    }

    /// Timers that are due. Passes are not among them.
    pub fn handle_timeout(&mut self, now: Time) -> Batch {
        self.fire(now);
        self.take()
    }

    /// Whether it is time for [`Self::pass`].
    pub fn pass_due(&self, now: Time) -> bool {
        self.next_pass.is_some_and(|at| at <= now)
    }

    /// Compares what is wanted with what is there, and acts.
    pub fn pass(&mut self, now: Time, demand: &Demand) -> Batch {
        self.run_pass(now, demand);
        self.take()
    }

    /// From now on a pass starts no more machines. Those that have nothing to do go on being let go.
    pub fn start_none(&mut self) {
        self.ending = true;
    }

    /// Something changed that the pools are not told otherwise: a pass within a second.
    pub fn kick(&mut self, now: Time) {
        self.kick_at(now);
    }

    /// What a pass would do now, and why.
    pub fn plan(&self, now: Time, demand: &Demand) -> Vec<PoolPlan> {
        self.plans(now, demand)
    }

    /// All there is to see, by the name of the pool.
    pub fn status(&self, now: Time) -> Vec<PoolStatus> {
        let shown = |at: &&usize| !self.pools[**at].removed || !self.pools[**at].members.is_empty();
        self.names.values().filter(shown).map(|at| self.pool_status(now, *at)).collect()
    }

    /// What a waiting request can expect, by the last pass.
    pub fn why_request(&self, request: BuildRequestId) -> Option<Expectation> {
        self.plans.iter().find_map(|plan| plan.expectation(request))
    }

    /// A row, also one that is gone but not for long.
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.entries.get(&id).map(|entry| &entry.row)
    }

    /// What is to be kept of a pool.
    pub fn state(&self, pool: &str) -> Option<PoolState> {
        let pool = &self.pools[*self.names.get(pool)?];
        Some(PoolState { books: Some(pool.books), ..pool.state.clone() })
    }

    /// The number of the lease of a pool, if this master has it and knows its rows.
    pub fn fence(&self, pool: &str) -> Option<u64> {
        let pool = self.names.get(pool).map(|at| &self.pools[*at]);
        pool.filter(|pool| pool.owned()).and_then(|pool| pool.lease.fence)
    }

    /// Looks for what must never be. Looks at everything: for tests.
    ///
    /// # Errors
    /// What it found, in a sentence.
    pub fn check(&self, now: Time) -> Result<(), String> {
        self.find_fault(now).map_or(Ok(()), Err)
    }
}
