//! The first configuration and every later one: what is new is made, what is gone is let go, the rest is left alone.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    mem,
    sync::Arc,
};

use config::{Config, LockAccess};
use model::{BuildNumber, BuilderId, BuildsetId, Change, ChangeId, SchedulerId, Time, WorkerId};
use secrecy::ExposeSecret;
use storage::{Identities, ObjectStates, Restored, RestoredBuildset, Write};

use super::{
    Action, Answer, BuilderDir, Core, ReplyId,
    builders::{Builder, Group, GroupId},
    facts::{self, Rank},
    locks::GroupLocks,
    requests::{Buildset, Request},
    schedulers::{Remembered, Scheduler, Upstream},
    slots::{self, Hirer},
    workers::Worker,
};

/// What the tables know about the names in a configuration that the core has not met yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// Builders by name, with the number of their last build (0 when there was none).
    pub builders: BTreeMap<String, (BuilderId, BuildNumber)>,
    /// Workers by name, with why they are paused (if they are).
    pub workers: BTreeMap<String, (WorkerId, Option<String>)>,
    /// Schedulers by name.
    pub schedulers: BTreeMap<String, KnownScheduler>,
    /// Slots of pools that are new, by name, with why they are paused (if they are).
    pub slots: BTreeMap<String, (WorkerId, Option<String>)>,
}

/// Names in a configuration that the core has not met yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Builders, workers, schedulers.
    pub identities: Identities,
    /// Pools.
    pub pools: Vec<String>,
}

/// What the builders of a group share: workers, pools and locks.
type Sharing = (BTreeSet<WorkerId>, BTreeSet<Arc<str>>, Vec<LockAccess>);

/// What the tables know about a scheduler that the core has not met yet.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownScheduler {
    /// Its id.
    pub id: SchedulerId,
    /// Whether it acts on changes.
    pub enabled: bool,
    /// Changes that it remembers, and whether each is important.
    pub changes: Vec<(ChangeId, Arc<Change>, bool)>,
    /// What it keeps between restarts.
    pub states: ObjectStates,
}

impl Core {
    /// Takes over what the tables hold, then the configuration.
    pub(super) fn restore(
        &mut self,
        config: Arc<Config>,
        mut restored: Restored,
        mut changes: BTreeMap<BuildsetId, Vec<Arc<Change>>>,
        now: Time,
    ) {
        for (name, (id, next)) in restored.builders {
            self.builder_ids.insert(name.clone(), id);
            self.builders.insert(id, Builder::new(&name, BuildNumber(next.0 - 1)));
        }
        for (name, row) in restored.workers {
            let mut worker = Worker::new(name.clone());
            worker.paused = row.paused.then(|| row.pause_reason.unwrap_or_default());
            self.worker_ids.insert(name, row.id);
            self.workers.insert(row.id, worker);
        }
        for (name, (id, enabled)) in restored.schedulers {
            self.scheduler_ids.insert(name.clone(), id);
            let states = restored.states.remove(&name).unwrap_or_default();
            self.schedulers.insert(id, Scheduler::new(name, enabled, states));
        }
        self.take_over(now, config, &Known::default());

        for (id, RestoredBuildset { row, sourcestamps, properties, finished }) in restored.buildsets {
            let results =
                finished.iter().fold(model::Results::Success, |worst, (_, results)| worst.worst(*results));
            let changes: Arc<[Arc<Change>]> = changes.remove(&id).unwrap_or_default().into();
            let buildset = Buildset {
                reason: row.reason.unwrap_or_default(),
                alike: facts::alike(&sourcestamps, &changes, &properties),
                sourcestamps: sourcestamps.into(),
                changes,
                properties: Arc::new(properties),
                open: BTreeSet::new(),
                results,
            };
            self.buildsets.insert(id, buildset);
        }
        for request in restored.requests {
            let Some(buildset) = self.buildsets.get_mut(&request.buildset) else { continue };
            buildset.open.insert(request.id);
            let storage::RestoredRequest { id, buildset, builder, priority, submitted_at, .. } = request;
            let (score, build, waiter, ended) = (Rank::NONE, None, None, Vec::new());
            let request = Request { buildset, builder, priority, submitted_at, score, build, waiter, ended };
            self.hold(id, request);
        }
        self.take_cancellers();
        for id in self.buildsets.keys().copied().collect::<Vec<_>>() {
            self.complete_buildset_if_done(now, id);
        }
        // What was complete before those who depend on it heard of it.
        for (id, RestoredBuildset { row, sourcestamps, .. }) in restored.upstream {
            let changes = changes.remove(&id).unwrap_or_default().into();
            let results = row.results.unwrap_or(model::Results::Failure);
            let sourcestamps = sourcestamps.into();
            self.upstream_done(Upstream { buildset: id, results, sourcestamps, changes });
        }
        self.forget_upstream();
        for pending in restored.pending_changes {
            let remembered = Remembered { change: Arc::new(pending.change), important: pending.important };
            self.remember(now, pending.scheduler, pending.id, remembered);
        }
    }

    /// A new configuration is to be in force.
    pub(super) fn reconfigure(&mut self, now: Time, config: Arc<Config>, known: &Known, reply: ReplyId) {
        let (pools, limits) =
            (config.pools.iter().map(|pool| Arc::clone(&pool.spec)).collect(), config.pool_limits);
        self.known_slots.extend(known.slots.clone());
        let before: BTreeMap<WorkerId, Vec<BuilderDir>> =
            self.connected().into_iter().map(|id| (id, self.builders_of(id))).collect();
        let changes = self.take_over(now, config, known);
        // What they close is closed before anything is started.
        self.forget_upstream();
        let batch = self.pools.reconfigure(now, pools, limits);
        self.fold(now, batch);
        self.resize_locks(now);
        for (id, before) in before {
            if self.workers.get(&id).is_some_and(|worker| worker.config.is_none()) {
                self.let_go_if_idle(id);
            } else if self.builders_of(id) != before {
                self.send_builders(id);
            }
            self.offer_worker(now, id);
        }
        self.reply(reply, Answer::Reconfigured { changes });
    }

    fn connected(&self) -> BTreeSet<WorkerId> {
        self.sessions.values().copied().collect()
    }

    fn take_over(&mut self, now: Time, config: Arc<Config>, known: &Known) -> Vec<String> {
        let mut changes = self.at_next_start(&config);
        let other_cancellers = self.config.old_build_cancellers != config.old_build_cancellers
            || self.config.failing_buildset_cancellers != config.failing_buildset_cancellers;
        let old_lists = self.configured_lists();
        self.take_builders(&config, known, &mut changes);
        self.take_workers(&config, known, &mut changes);
        self.take_pools(&config, &mut changes);
        self.lock_configs =
            config.locks.iter().map(|(name, lock)| (name.as_str().into(), lock.clone())).collect();
        self.config = Arc::clone(&config);
        self.rank_anew();
        self.regroup();
        let lists = self.configured_lists();
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            let builders = lists.get(&id).cloned().unwrap_or_default();
            let configured = self.workers.get(&id).is_some_and(|worker| worker.config.is_some());
            // A worker that has none any more needs to be told as well; one that never had any does not.
            if old_lists.get(&id) != Some(&builders) && (configured || old_lists.contains_key(&id)) {
                self.write(Write::ConfiguredWorker { worker: id, builders });
            }
        }
        self.take_schedulers(now, &config, known, &mut changes);
        if other_cancellers {
            changes.push("cancellers changed".to_owned());
            self.take_cancellers();
        }
        changes
    }

    /// What cannot change while the master runs.
    fn at_next_start(&self, config: &Config) -> Vec<String> {
        let (old, new) = (&self.config.master, &config.master);
        let fixed = [
            ("database", old.database != new.database),
            ("listen", old.listen != new.listen),
            ("web", old.web != new.web),
            ("control-socket", old.control_socket != new.control_socket),
        ];
        let changed = fixed.into_iter().filter(|(_, changed)| *changed);
        changed
            .map(|(name, _)| format!("master: {name} changed; it takes effect at the next start"))
            .collect()
    }

    fn take_builders(&mut self, config: &Config, known: &Known, changes: &mut Vec<String>) {
        let mut named = BTreeSet::new();
        for (position, new) in config.builders.iter().enumerate() {
            let (id, last) = match (self.builder_ids.get(&new.name), known.builders.get(&new.name)) {
                (Some(id), _) => (*id, BuildNumber(0)),
                (None, Some(known)) => *known,
                (None, None) => (self.ids.next_builder(), BuildNumber(0)),
            };
            named.insert(id);
            self.builder_ids.insert(new.name.clone(), id);
            let builder = self.builders.entry(id).or_insert_with(|| Builder::new(&new.name, last));
            builder.position = position;
            // Its row says what the configuration says from now on.
            builder.virtual_as = None;
            let old = builder.config.replace(Arc::clone(new));
            match &old {
                None => changes.push(format!("builder {} added", new.name)),
                Some(old) if old != new => changes.push(format!("builder {} changed", new.name)),
                Some(_) => {}
            }
            if old.is_none_or(|old| old.description != new.description || old.tags != new.tags) {
                let (name, description, tags) = (new.name.clone(), new.description.clone(), new.tags.clone());
                self.write(Write::Builder { id, name, description, tags });
            }
        }
        for (id, builder) in &mut self.builders {
            if !named.contains(id) && builder.config.take().is_some() {
                builder.position = usize::MAX;
                changes.push(format!("builder {} removed", builder.name));
                self.out.writes.push(Write::BuilderGone { builder: *id });
            }
        }
    }

    fn take_workers(&mut self, config: &Config, known: &Known, changes: &mut Vec<String>) {
        let mut named = BTreeSet::new();
        for new in &config.workers {
            let (id, paused) = match (self.worker_ids.get(&new.name), known.workers.get(&new.name)) {
                (Some(id), _) => (*id, None),
                (None, Some(known)) => known.clone(),
                (None, None) => (self.ids.next_worker(), None),
            };
            named.insert(id);
            self.worker_ids.insert(new.name.clone(), id);
            let worker = match self.workers.entry(id) {
                // The name was that of a slot.
                Entry::Occupied(entry) if entry.get().place.is_some() => {
                    let worker = entry.into_mut();
                    if let Some(instance) = worker.place.take().and_then(|place| place.instance) {
                        self.instances.remove(&instance);
                    }
                    if let Some(session) = worker.link.session() {
                        let why = format!("worker {} belongs to no pool any more", worker.name);
                        self.out.actions.push(Action::Disconnect { session, why });
                    }
                    worker.config = None;
                    worker
                }
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Worker { paused, ..Worker::new(new.name.clone()) }),
            };
            match worker.config.replace(Arc::clone(new)) {
                None => {
                    changes.push(format!("worker {} added", new.name));
                    self.write(Write::Worker { id, name: new.name.clone() });
                }
                Some(old) if !same_worker(&old, new) => changes.push(format!("worker {} changed", new.name)),
                Some(_) => {}
            }
        }
        for (id, worker) in &mut self.workers {
            if !named.contains(id) && worker.place.is_none() && worker.config.take().is_some() {
                changes.push(format!("worker {} removed", worker.name));
            }
        }
    }

    /// Pools, and those of their slots that were used.
    fn take_pools(&mut self, config: &Config, changes: &mut Vec<String>) {
        let mut gone: BTreeSet<Arc<str>> = self.hirers.keys().cloned().collect();
        for new in &config.pools {
            let name: Arc<str> = new.spec.name.as_str().into();
            gone.remove(&name);
            match self.hirers.entry(name) {
                Entry::Vacant(entry) => {
                    changes.push(format!("pool {} added", new.spec.name));
                    let config = Arc::clone(new);
                    entry.insert(Hirer { config, groups: BTreeSet::new(), types: BTreeMap::new() });
                }
                Entry::Occupied(mut entry) => {
                    let hirer = entry.get_mut();
                    if hirer.config != *new {
                        changes.push(format!("pool {} changed", new.spec.name));
                    }
                    hirer.config = Arc::clone(new);
                }
            }
        }
        for name in gone {
            changes.push(format!("pool {name} removed"));
            self.hirers.remove(&name);
        }
        for worker in self.workers.values_mut() {
            let Some(place) = &worker.place else { continue };
            let hirer = self.hirers.get(&place.pool);
            worker.config = hirer.map(|hirer| Arc::new(slots::config_of(&hirer.config, &worker.name)));
        }
    }

    /// Makes the groups anew, with who waits and who is free in them.
    fn regroup(&mut self) {
        let mut by_set: BTreeMap<Sharing, GroupId> = BTreeMap::new();
        self.groups.clear();
        self.forget_blocked();
        self.hiring_groups.clear();
        for hirer in self.hirers.values_mut() {
            hirer.groups.clear();
        }
        for worker in self.workers.values_mut() {
            worker.groups.clear();
            worker.free_key = None;
        }
        for (id, builder) in &mut self.builders {
            builder.group = None;
            builder.pools.clear();
            let Some(config) = &builder.config else { continue };
            let mut set = BTreeSet::new();
            for name in &config.workers {
                match (self.hirers.get_key_value(&**name), self.worker_ids.get(name)) {
                    (Some((pool, _)), _) => builder.pools.push(Arc::clone(pool)),
                    (None, Some(worker)) => {
                        set.insert(*worker);
                    }
                    (None, None) => {}
                }
            }
            let pools: BTreeSet<Arc<str>> = builder.pools.iter().cloned().collect();
            let next = GroupId(by_set.len());
            let group = *by_set.entry((set.clone(), pools, config.locks.clone())).or_insert(next);
            builder.group = Some(group);
            for pool in &builder.pools {
                self.hiring_groups.insert(group);
                if let Some(hirer) = self.hirers.get_mut(pool) {
                    hirer.groups.insert(group);
                }
            }
            let locks = || locks_of(&config.locks, &self.lock_configs);
            let group = self.groups.entry(group).or_insert_with(|| Group {
                workers: set,
                locks: locks(),
                ..Group::default()
            });
            group.members.insert(*id);
            if let Some(head) = builder.head {
                group.heads.insert((head, *id));
            }
        }
        for worker in self.workers.values_mut() {
            if let Some(hirer) = worker.place.as_ref().and_then(|place| self.hirers.get(&place.pool)) {
                worker.groups.clone_from(&hirer.groups);
            }
        }
        self.has_worker_locks = self.groups.values().any(|group| !group.locks.worker.is_empty());
        for ((set, ..), group) in by_set {
            for worker in set {
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.groups.insert(group);
                }
            }
        }
        for worker in self.connected() {
            self.refresh_worker(worker);
        }
    }

    /// The builders of each worker that is in the configuration.
    fn configured_lists(&self) -> BTreeMap<WorkerId, Vec<BuilderId>> {
        let workers = self.workers.iter().filter(|(_, worker)| worker.config.is_some());
        let lists = workers.map(|(id, worker)| {
            let members = worker
                .groups
                .iter()
                .filter_map(|group| self.groups.get(group))
                .flat_map(|group| &group.members);
            let mut list: Vec<BuilderId> = members.copied().collect();
            list.sort_unstable();
            (*id, list)
        });
        lists.collect()
    }

    fn take_schedulers(&mut self, now: Time, config: &Config, known: &Known, changes: &mut Vec<String>) {
        let mut named = BTreeSet::new();
        let mut moved = Vec::new();
        for (position, new) in config.schedulers.iter().enumerate() {
            let id = match (self.scheduler_ids.get(&new.name), known.schedulers.get(&new.name)) {
                (Some(id), _) => *id,
                (None, Some(known)) => {
                    let states = known.states.clone();
                    let scheduler = Scheduler::new(new.name.clone(), known.enabled, states);
                    self.schedulers.insert(known.id, scheduler);
                    for (change_id, change, important) in &known.changes {
                        let remembered = Remembered { change: Arc::clone(change), important: *important };
                        self.remember(now, known.id, *change_id, remembered);
                    }
                    known.id
                }
                (None, None) => self.ids.next_scheduler(),
            };
            named.insert(id);
            self.scheduler_ids.insert(new.name.clone(), id);
            let scheduler = self
                .schedulers
                .entry(id)
                .or_insert_with(|| Scheduler::new(new.name.clone(), true, ObjectStates::new()));
            scheduler.position = position;
            match scheduler.config.replace(Arc::clone(new)) {
                None => {
                    changes.push(format!("scheduler {} added", new.name));
                    moved.push(id);
                    self.write(Write::Scheduler { id, name: new.name.clone() });
                }
                Some(old) if old != *new => {
                    changes.push(format!("scheduler {} changed", new.name));
                    moved.push(id);
                }
                Some(_) => {}
            }
        }
        for (id, scheduler) in &mut self.schedulers {
            if !named.contains(id) && mem::take(&mut scheduler.config).is_some() {
                changes.push(format!("scheduler {} removed", scheduler.name));
                moved.push(*id);
                self.out.writes.push(Write::SchedulerGone { scheduler: *id });
            }
        }
        self.index_schedulers();
        for id in moved {
            self.sort_remembered(now, id);
            self.set_timer(now, id);
            self.index_upstream(id);
        }
    }
}

/// The locks of a group: those that are the same everywhere, and those that each worker has its own of.
fn locks_of(accesses: &[LockAccess], locks: &BTreeMap<Arc<str>, config::Lock>) -> GroupLocks {
    let mut all = GroupLocks::default();
    for access in accesses {
        let Some((name, lock)) = locks.get_key_value(&*access.lock) else { continue };
        let list = match lock.scope {
            config::LockScope::Master => &mut all.master,
            config::LockScope::Worker { .. } => &mut all.worker,
        };
        list.push((Arc::clone(name), access.mode));
    }
    all
}

fn password(worker: &config::Worker) -> Option<&str> {
    worker.password.as_ref().map(ExposeSecret::expose_secret)
}

fn same_worker(old: &config::Worker, new: &config::Worker) -> bool {
    old.max_builds == new.max_builds
        && old.local == new.local
        && old.keepalive_interval == new.keepalive_interval
        && old.properties == new.properties
        && old.default_properties == new.default_properties
        && password(old) == password(new)
}

impl Core {
    /// Names in `config` that the core has not met yet.
    pub fn unknown(&self, config: &Config) -> Unknown {
        let new = |known: &dyn Fn(&String) -> bool, names: &mut dyn Iterator<Item = &String>| {
            names.filter(|name| !known(name)).cloned().collect()
        };
        let identities = Identities {
            builders: new(
                &|n| self.builder_ids.contains_key(n),
                &mut config.builders.iter().map(|c| &c.name),
            ),
            workers: new(&|n| self.worker_ids.contains_key(n), &mut config.workers.iter().map(|c| &c.name)),
            schedulers: new(
                &|n| self.scheduler_ids.contains_key(n),
                &mut config.schedulers.iter().map(|c| &c.name),
            ),
        };
        let pools = config.pools.iter().map(|pool| &pool.spec.name);
        let pools = pools.filter(|name| !self.hirers.contains_key(name.as_str())).cloned().collect();
        Unknown { identities, pools }
    }
}
