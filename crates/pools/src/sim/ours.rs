//! Our own pools as a policy: the same that run in the master, with a database that is not there.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use model::{
    BuilderId, InstanceId, Time,
    pool::{PoolLimits, PoolSpec},
};
use secrecy::SecretString;

use super::{farm::Farm, policy::Policy, random::Random, run::Setting};
use crate::{
    Batch, Capabilities, Demand, Event, Instance, Login, Mint, PoolState, Pools, Setup, State, Token,
    Verifier,
};

/// How many rows of machines that are gone are kept for a restart.
const KEPT: usize = 5000;
/// How many durations of a builder are kept for a restart.
const DURATIONS: usize = 50;

/// Our own pools.
#[derive(Debug)]
pub struct Ours {
    /// The pools.
    pub pools: Pools,
    /// What is durable.
    pub database: Database,
    /// Whether what is written reaches the database: not when another master has taken the lease.
    pub fenced_off: bool,
    name: String,
    specs: Vec<Arc<PoolSpec>>,
    limits: PoolLimits,
    offers: Vec<(String, Capabilities)>,
    demand: Demand,
    ids: Arc<AtomicI64>,
    random: Random,
    /// Logins that were refused, the first hundred: when, which instance, and why.
    pub refusals: Vec<(Time, InstanceId, String)>,
}

/// What is durable.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// Rows that are not gone.
    pub rows: BTreeMap<InstanceId, Instance>,
    /// Rows that are gone, the latest last.
    pub gone: VecDeque<Instance>,
    /// What was kept of each pool.
    pub states: BTreeMap<String, PoolState>,
    /// How long builds took.
    pub durations: BTreeMap<BuilderId, VecDeque<Duration>>,
    /// The number of the lease.
    pub fence: u64,
    /// Decisions, the latest last; only when they are kept.
    pub decisions: Option<Vec<crate::Decision>>,
}

/// Ids and tokens that can be replayed, and secrets that keep none.
#[derive(Debug)]
struct SeededMint {
    ids: Arc<AtomicI64>,
    random: Random,
}

impl Mint for SeededMint {
    fn next_instance(&mut self) -> InstanceId {
        InstanceId(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    fn token(&mut self) -> Token {
        Token(format!("{:016x}{:016x}", self.random.next_u64(), self.random.next_u64()))
    }

    fn secret(&mut self) -> SecretString {
        SecretString::from(format!("{:016x}", self.random.next_u64()))
    }

    fn verifier(&self, secret: &SecretString) -> Verifier {
        Verifier(secrecy::ExposeSecret::expose_secret(secret).to_owned())
    }

    fn ticket(&self, pool: &str, token: &Token, expires: Time) -> SecretString {
        SecretString::from(format!("{pool}.{}.{token}", expires.epoch_seconds()))
    }
}

impl Ours {
    /// The pools of a setting, with nothing learned and no machines.
    pub fn new(setting: &Setting, limits: PoolLimits) -> Self {
        Self::with(setting, limits, Database::default())
    }

    /// The pools of a setting, with what an earlier life has left.
    pub fn with(setting: &Setting, limits: PoolLimits, database: Database) -> Self {
        let ids = Arc::new(AtomicI64::new(1));
        let mut random = Random::stream(setting.seed, 7);
        let offers = setting.pools.iter().zip(&setting.clouds);
        // Filled when the simulation begins.
        let (pools, _nothing) = Pools::new(
            Setup::default(),
            Box::new(SeededMint { ids: ids.clone(), random: Random::new(random.next_u64()) }),
            Time::default(),
        );
        Self {
            pools,
            database,
            fenced_off: false,
            name: "ganger".to_owned(),
            specs: setting.pools.clone(),
            limits,
            offers: offers.map(|(pool, cloud)| (pool.name.clone(), cloud.capabilities())).collect(),
            demand: Demand::default(),
            ids,
            random,
            refusals: Vec::new(),
        }
    }

    /// Gives it another name, for tables.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Keeps all decisions.
    #[must_use]
    pub fn keeping_decisions(mut self) -> Self {
        self.database.decisions = Some(Vec::new());
        self
    }

    /// Another configuration.
    pub fn reconfigure(&mut self, now: Time, specs: Vec<Arc<PoolSpec>>, limits: PoolLimits) -> Batch {
        self.specs = specs;
        self.limits = limits;
        self.pools.reconfigure(now, self.specs.clone(), limits)
    }

    /// What the provider sells from now on.
    pub fn offer(&mut self, now: Time, pool: &str, capabilities: Capabilities) -> Batch {
        for (name, offered) in &mut self.offers {
            if name == pool {
                *offered = capabilities.clone();
            }
        }
        self.pools.handle(now, Event::Offers { pool: pool.to_owned(), capabilities })
    }

    fn open(&mut self, now: Time) -> Batch {
        let database = &self.database;
        let setup = Setup {
            deployment: "simulation".to_owned(),
            pools: self.specs.clone(),
            limits: self.limits,
            instances: database.rows.values().chain(&database.gone).cloned().collect(),
            states: database.states.clone(),
            durations: database
                .durations
                .iter()
                .map(|(builder, durations)| (*builder, durations.iter().copied().collect()))
                .collect(),
            ..Setup::default()
        };
        let mint = SeededMint { ids: self.ids.clone(), random: Random::new(self.random.next_u64()) };
        let (pools, mut batch) = Pools::new(setup, Box::new(mint), now);
        self.pools = pools;
        self.database.fence += 1;
        let fence = self.database.fence;
        for (pool, capabilities) in self.offers.clone() {
            fold(&mut batch, self.pools.handle(now, Event::Offers { pool: pool.clone(), capabilities }));
            fold(&mut batch, self.pools.handle(now, Event::Lease { pool, fence: Some(fence) }));
        }
        batch
    }
}

/// Adds one batch to another.
fn fold(batch: &mut Batch, more: Batch) {
    batch.rows.extend(more.rows);
    batch.pools.extend(more.pools);
    batch.decisions.extend(more.decisions);
    batch.orders.extend(more.orders);
}

impl Policy for Ours {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn begin(&mut self, now: Time, _farm: &mut Farm) -> Batch {
        self.open(now)
    }

    fn handle(&mut self, now: Time, event: Event) -> Batch {
        if let Event::BuildTook { builder, duration } = &event {
            let durations = self.database.durations.entry(*builder).or_default();
            durations.push_back(*duration);
            if durations.len() > DURATIONS {
                durations.pop_front();
            }
        }
        self.pools.handle(now, event)
    }

    fn log_in(&mut self, now: Time, pool: &str, instance: InstanceId, _boot: u32) -> (bool, Batch) {
        let login = Login { pool, instance: Some(instance), peer: "fake" };
        let (answer, batch) = self.pools.log_in(now, &login);
        if let Err(refusal) = &answer
            && self.refusals.len() < 100
        {
            self.refusals.push((now, instance, refusal.to_string()));
        }
        (answer.is_ok(), batch)
    }

    fn next(&self) -> Option<Time> {
        self.pools.next_deadline()
    }

    fn wake(&mut self, now: Time, farm: &mut Farm) -> Batch {
        let mut batch = self.pools.handle_timeout(now);
        if self.pools.pass_due(now) {
            farm.demand(&mut self.demand);
            fold(&mut batch, self.pools.pass(now, &self.demand));
        }
        batch
    }

    fn commit(&mut self, batch: &mut Batch) {
        let decisions = std::mem::take(&mut batch.decisions);
        if self.fenced_off {
            return;
        }
        if let Some(kept) = &mut self.database.decisions {
            kept.extend(decisions);
        }
        for row in batch.rows.drain(..) {
            if row.state == State::Gone {
                self.database.rows.remove(&row.id);
                self.database.gone.push_back(row);
                if self.database.gone.len() > KEPT {
                    self.database.gone.pop_front();
                }
            } else {
                self.database.rows.insert(row.id, row);
            }
        }
        for pool in batch.pools.drain(..) {
            if let Some(state) = self.pools.state(&pool) {
                self.database.states.insert(pool, state);
            }
        }
    }

    fn restart(&mut self, now: Time) -> Batch {
        self.open(now)
    }

    fn knows(&self, instance: InstanceId) -> bool {
        self.pools.instance(instance).is_some_and(|row| row.state != State::Gone)
    }

    fn check(&self, now: Time) -> Option<String> {
        self.pools.check(now).err()
    }
}
