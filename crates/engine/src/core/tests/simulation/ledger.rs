//! Who has which lock, as a farm in a simulation sees it.

use std::{collections::BTreeMap, sync::Arc};

use config::{Config, LockAccess, LockMode, LockScope};
use model::{BuildId, StepId};

/// A lock; of one of workers, on which.
type Key = (String, Option<String>);

/// What builds and their steps have of locks, and what steps wait for.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) config: Arc<Config>,
    held: BTreeMap<Key, BTreeMap<(BuildId, bool), LockMode>>,
    asked: BTreeMap<BuildId, (StepId, String, Vec<LockAccess>, bool)>,
}

impl Ledger {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { config, held: BTreeMap::new(), asked: BTreeMap::new() }
    }

    fn key(&self, access: &LockAccess, worker: &str) -> Key {
        let lock = self.config.locks.get(&access.lock);
        let of_worker = lock.is_some_and(|lock| matches!(lock.scope, LockScope::Worker { .. }));
        (access.lock.clone(), of_worker.then(|| worker.to_owned()))
    }

    /// Somebody gets locks: there has to be room.
    fn claim(&mut self, build: BuildId, is_step: bool, worker: &str, accesses: &[LockAccess]) {
        for access in accesses {
            let Some(lock) = self.config.locks.get(&access.lock) else { continue };
            let max = lock.max_on(worker, None);
            let key = self.key(access, worker);
            let held = self.held.entry(key).or_default();
            let alone = held.values().any(|mode| *mode == LockMode::Exclusive);
            let units: u32 =
                held.values().map(|mode| if let LockMode::Counting(units) = mode { *units } else { 0 }).sum();
            let fits = match access.mode {
                LockMode::Exclusive => held.is_empty(),
                LockMode::Counting(more) => !alone && units + more <= max,
            };
            assert!(fits, "{access:?} does not fit beside {held:?} of {max}");
            held.insert((build, is_step), access.mode);
        }
    }

    pub(super) fn started(&mut self, build: BuildId, worker: &str, locks: &[LockAccess]) {
        self.claim(build, false, worker, locks);
    }

    /// A step asks; the answer comes with [`Self::granted`].
    pub(super) fn ask(&mut self, build: BuildId, step: StepId, worker: &str, locks: Vec<LockAccess>) {
        self.asked.insert(build, (step, worker.to_owned(), locks, false));
    }

    pub(super) fn granted(&mut self, build: BuildId, step: StepId) {
        let Some((asked, worker, locks, has)) = self.asked.get_mut(&build) else {
            panic!("step {step} of build {build} never asked for locks");
        };
        assert_eq!((*asked, *has), (step, false), "locks are given once, to who asks");
        *has = true;
        let (worker, locks) = (worker.clone(), locks.clone());
        self.claim(build, true, &worker, &locks);
    }

    /// The step that has locks, or waits for them.
    pub(super) fn step_of(&self, build: BuildId) -> Option<StepId> {
        self.asked.get(&build).map(|(step, ..)| *step)
    }

    pub(super) fn returned(&mut self, build: BuildId) {
        self.asked.remove(&build);
        self.release(|(holder, is_step)| holder == build && is_step);
    }

    pub(super) fn ended(&mut self, build: BuildId) {
        self.asked.remove(&build);
        self.release(|(holder, _)| holder == build);
    }

    fn release(&mut self, done: impl Fn((BuildId, bool)) -> bool) {
        for held in self.held.values_mut() {
            held.retain(|holder, _| !done(*holder));
        }
        self.held.retain(|_, held| !held.is_empty());
    }

    /// Whether nobody has or waits for any of a builder's locks on a worker.
    pub(super) fn is_idle(&self, builder: &str, worker: &str) -> bool {
        self.locks_of(builder).iter().all(|access| {
            let key = self.key(access, worker);
            let wanted = |(_, on, locks, has): &(StepId, String, Vec<LockAccess>, bool)| {
                !has && locks.iter().any(|access| self.key(access, on) == key)
            };
            !self.held.contains_key(&key) && !self.asked.values().any(wanted)
        })
    }

    /// Whether two builders take some lock in common.
    pub(super) fn share(&self, one: &str, other: &str) -> bool {
        let theirs = self.locks_of(other);
        self.locks_of(one).iter().any(|access| theirs.iter().any(|theirs| theirs.lock == access.lock))
    }

    /// Whether everybody has what they asked for.
    pub(super) fn nobody_waits(&self) -> bool {
        self.asked.values().all(|(.., has)| *has)
    }

    fn locks_of(&self, builder: &str) -> &[LockAccess] {
        let found = self.config.builders.iter().find(|config| config.name == builder);
        found.map_or(&[], |config| &config.locks)
    }
}
