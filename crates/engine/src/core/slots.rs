//! Slots: the workers of a pool. A slot has one instance at a time, for as long as that lives; its name, its id and its
//! rows stay.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{BuilderId, InstanceId, Results, Time, WorkerId};
use pools::{Event as PoolEvent, Identity, Login, Slot, State};
use storage::Write;

use super::{Action, Core, Deadline, SessionId, builders::GroupId, workers::Worker};

/// A pool of the configuration, as the dispatcher sees it.
#[derive(Debug)]
pub(super) struct Hirer {
    pub(super) config: Arc<config::Pool>,
    /// Groups whose builders name it.
    pub(super) groups: BTreeSet<GroupId>,
    /// Types of machines by offering.
    pub(super) types: BTreeMap<String, String>,
}

/// What makes a worker the slot of a pool.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) pool: Arc<str>,
    /// The instance that fills it.
    pub(super) instance: Option<InstanceId>,
    /// Whether that is in a state in which it gets builds.
    pub(super) open: bool,
    /// Why the pools let it have no more builds, if they do not.
    pub(super) closed: Option<String>,
    /// Where the connection comes from that wants to take the place of the one that is probed.
    pub(super) contender: String,
}

impl Place {
    fn new(pool: Arc<str>) -> Self {
        Self { pool, instance: None, open: false, closed: None, contender: String::new() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open && self.closed.is_none()
    }
}

impl Core {
    /// Somebody who knows the secret of an instance, or the password of a pool, wants to be its worker.
    pub(super) fn pool_logged_in(
        &mut self,
        now: Time,
        session: SessionId,
        pool: &str,
        instance: Option<InstanceId>,
        peer: &str,
    ) {
        if !self.hirers.contains_key(pool) {
            let why = format!("pool {pool} is no longer in the configuration");
            return self.act(Action::Refuse { session, why });
        }
        let (admission, batch) = self.pools.log_in(now, &Login { pool, instance, peer });
        self.fold(now, batch);
        let admission = match admission {
            Ok(admission) => admission,
            Err(refusal) => return self.act(Action::Refuse { session, why: refusal.to_string() }),
        };
        let Some(id) = self.slot_worker(&admission.slot) else {
            let why = format!("the name {} is that of a worker outside the pools", admission.slot);
            self.tell(now, PoolEvent::Disconnected { instance: admission.instance, why: why.clone() });
            return self.act(Action::Refuse { session, why });
        };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let is_same = worker.place.as_ref().is_some_and(|place| place.instance == Some(admission.instance));
        match worker.link.session() {
            None => {}
            Some(_) if is_same && worker.contender.is_some() => {
                let why = format!(
                    "another connection of instance {} is already waiting for the first one to answer",
                    admission.instance
                );
                return self.refuse_instance(now, session, pool, admission.instance, why);
            }
            Some(old) if is_same => {
                worker.contender = Some(session);
                if let Some(place) = &mut worker.place {
                    peer.clone_into(&mut place.contender);
                }
                self.sessions.insert(session, id);
                return self.act(Action::Probe { session: old });
            }
            Some(old) => {
                let why = format!("{} has another machine now", worker.name);
                self.act(Action::Disconnect { session: old, why: why.clone() });
                self.lost(now, old, &why);
            }
        }
        self.fill(now, id, admission.instance);
        self.admit(id, session);
    }

    /// A worker of an instance is not let in by the core itself: that is for the record.
    pub(super) fn refuse_instance(
        &mut self,
        now: Time,
        session: SessionId,
        pool: &str,
        instance: InstanceId,
        why: String,
    ) {
        self.act(Action::Refuse { session, why: why.clone() });
        let (pool, instance) = (pool.to_owned(), Some(instance));
        self.tell(now, PoolEvent::LoginRefused { pool, instance, why });
    }

    /// The worker that a slot is; made at its first use. `None` when a worker outside the pools has its name.
    fn slot_worker(&mut self, slot: &Slot) -> Option<WorkerId> {
        let hirer = self.hirers.get(&*slot.pool)?;
        let name = slot.to_string();
        let config = config_of(&hirer.config, &name);
        let (pool, groups) = (Arc::from(&*slot.pool), hirer.groups.clone());
        let id = match self.worker_ids.get(&name).map(|id| (*id, self.workers.get(id))) {
            Some((id, Some(worker))) if worker.place.is_some() && worker.config.is_some() => return Some(id),
            Some((_, Some(worker))) if worker.config.is_some() => return None,
            Some((id, _)) => id,
            None => {
                let (id, paused) =
                    self.known_slots.remove(&name).unwrap_or_else(|| (self.ids.next_worker(), None));
                self.worker_ids.insert(name.clone(), id);
                self.workers.insert(id, Worker { paused, ..Worker::new(name.clone()) });
                id
            }
        };
        let worker = self.workers.get_mut(&id)?;
        worker.config = Some(Arc::new(config));
        worker.groups = groups;
        worker.place.get_or_insert_with(|| Place::new(pool));
        let members = worker.groups.iter().filter_map(|group| self.groups.get(group));
        let mut builders: Vec<BuilderId> = members.flat_map(|group| &group.members).copied().collect();
        builders.sort_unstable();
        self.write(Write::Worker { id, name });
        self.write(Write::ConfiguredWorker { worker: id, builders });
        Some(id)
    }

    /// An instance takes a slot, or comes back to its own. It gets builds when the pools say that it is ready.
    fn fill(&mut self, now: Time, id: WorkerId, instance: InstanceId) {
        let came_before =
            self.pools.instance(instance).and_then(|row| row.connected_at).is_some_and(|at| at < now);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(place) = &mut worker.place else { return };
        let before = place.instance.replace(instance);
        place.open = false;
        place.closed = None;
        if before == Some(instance) {
            return;
        }
        if let Some(until) = worker.forget_machine() {
            self.deadlines.remove(&(until, Deadline::Quarantine(id)));
        }
        // What people decided about the machine that was here before is not about this one.
        let was_paused = !came_before && worker.paused.take().is_some();
        if let Some(before) = before {
            self.instances.remove(&before);
        }
        self.instances.insert(instance, id);
        if was_paused {
            self.worker_state_changed(id);
        }
    }

    /// The pools hear whether the worker of a slot is given builds, as far as they do not decide that themselves.
    pub(super) fn tell_whether_withheld(&mut self, now: Time, id: WorkerId) {
        let Some(instance) = self.instance_of(id) else { return };
        let Some(worker) = self.workers.get(&id) else { return };
        let why = match (&worker.paused, worker.quarantine.until, &worker.resting) {
            (Some(reason), ..) => Some(format!("somebody paused its worker: {reason}")),
            (None, Some(_), _) => {
                Some("its machinery failed a build; it is left alone for a while".to_owned())
            }
            (None, None, Some((_, why))) => Some(format!("its machine takes none for now: {why}")),
            (None, None, None) => None,
        };
        self.tell(now, PoolEvent::Withheld { instance, why });
    }

    /// The worker of a slot said what it is.
    pub(super) fn instance_attached(
        &mut self,
        now: Time,
        id: WorkerId,
        boot: Option<String>,
        version: Option<String>,
    ) {
        if let Some(instance) = self.instance_of(id) {
            let identity = Identity { boot, version, fault: None };
            self.tell(now, PoolEvent::Identified { instance, identity });
        }
    }

    /// The worker of a slot can build: whether it may is for the pools to say.
    pub(super) fn instance_ready(&mut self, now: Time, id: WorkerId) {
        if let Some(instance) = self.instance_of(id) {
            self.tell_whether_withheld(now, id);
            self.tell(now, PoolEvent::Ready { instance });
            if let Some(state) = self.pools.instance(instance).map(|row| row.state) {
                self.set_state(instance, state);
            }
        }
    }

    /// The connection of a slot's worker is gone.
    pub(super) fn instance_lost(&mut self, now: Time, id: WorkerId, session: SessionId, why: &str) {
        let Some(instance) = self.instance_of(id) else { return };
        self.tell(now, PoolEvent::Disconnected { instance, why: why.to_owned() });
        // Its builds are lost with it, however long they take to end.
        let running =
            self.workers.get(&id).map(|worker| worker.running.values().copied().collect::<Vec<_>>());
        for build in running.unwrap_or_default() {
            if let Some(running) = self.builds.get_mut(&build)
                && running.session == session
                && std::mem::take(&mut running.is_counted)
            {
                let (results, machinery_failed) = (Results::Retry, false);
                self.tell(now, PoolEvent::BuildEnded { instance, build, results, machinery_failed });
            }
        }
        if self.pools.instance(instance).is_none_or(|row| row.state == State::Gone) {
            self.vacate(id, instance);
        }
    }

    /// The instance that fills the slot that a worker is.
    pub(super) fn instance_of(&self, id: WorkerId) -> Option<InstanceId> {
        self.workers.get(&id)?.place.as_ref()?.instance
    }

    /// The connection of an instance's worker.
    pub(super) fn session_of(&self, instance: InstanceId) -> Option<SessionId> {
        self.workers.get(self.instances.get(&instance)?)?.link.session()
    }

    /// An instance is in this state now.
    pub(super) fn set_state(&mut self, instance: InstanceId, state: State) {
        let Some(&id) = self.instances.get(&instance) else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(place) = &mut worker.place else { return };
        let was_open = std::mem::replace(&mut place.open, matches!(state, State::Idle | State::Busy));
        if place.open && !was_open {
            self.reopened.push(id);
        }
        if state == State::Gone {
            match worker.link.session() {
                // It ends by itself, or here; then the slot is free.
                Some(session) => {
                    let why = format!("the machine of {} is gone", worker.name);
                    self.act(Action::Disconnect { session, why });
                }
                None => self.vacate(id, instance),
            }
        }
        self.refresh_worker(id);
    }

    /// The pools let an instance have no more builds, from now on.
    pub(super) fn close_instance(&mut self, instance: InstanceId, why: String) {
        let Some(&id) = self.instances.get(&instance) else { return };
        if let Some(place) = self.workers.get_mut(&id).and_then(|worker| worker.place.as_mut()) {
            place.closed = Some(why);
            self.refresh_worker(id);
        }
    }

    /// The pools let an instance have builds again; it gets them once all is told.
    pub(super) fn open_instance(&mut self, instance: InstanceId) {
        let Some(&id) = self.instances.get(&instance) else { return };
        if let Some(place) = self.workers.get_mut(&id).and_then(|worker| worker.place.as_mut()) {
            place.closed = None;
            self.refresh_worker(id);
            self.reopened.push(id);
        }
    }

    fn vacate(&mut self, id: WorkerId, instance: InstanceId) {
        self.instances.remove(&instance);
        if let Some(place) = self.workers.get_mut(&id).and_then(|worker| worker.place.as_mut()) {
            place.instance = None;
            place.open = false;
        }
    }
}

/// What a slot is, as a worker.
pub(super) fn config_of(pool: &config::Pool, name: &str) -> config::Worker {
    config::Worker {
        name: name.to_owned(),
        // Nobody logs in as a slot.
        password: None,
        local: None,
        max_builds: pool.spec.max_builds,
        keepalive_interval: pool.keepalive_interval,
        properties: pool.properties.clone(),
        default_properties: pool.default_properties.clone(),
    }
}
