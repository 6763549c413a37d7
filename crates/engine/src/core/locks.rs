//! Locks: who has them, who waits for them, and who gets them next.
//!
//! The rules are those of Buildbot 4.3.0 (`buildbot/locks.py`, `process/builder.py`, `process/buildstep.py`): a build is
//! started only where all locks of its builder are free, and has them until it ends; a step waits for its locks where it
//! is. Whoever waits, waits in line, and what is behind the line is not free. Three things are done better:
//!
//! - A build takes its locks in the event that starts it, so that it never waits for them on a worker.
//! - A step stands in the lines of all its locks at once, with one ticket: two steps that want the same two locks never
//!   wait for each other. It counts in line as many units as it wants, so that others do not slip past it for ever.
//! - Requests that only a lock keeps from a worker stand behind the steps, the most urgent first. One that wants a lock
//!   alone gets it, however many come after it that want a part.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeBounds,
    sync::Arc,
    time::Duration,
};

use config::{LockAccess, LockMode};
use model::{BuildId, StepId, Time, WorkerId};

use super::{
    Action, Core,
    builders::{GroupId, HeadKey},
};

/// One lock: its name, and of a lock of workers the worker.
pub(super) type LockKey = (Arc<str>, Option<WorkerId>);
/// A part of a lock that somebody has or wants.
pub(super) type Claim = (LockKey, LockMode);

/// One lock that somebody has or wants.
#[derive(Debug, Default)]
pub(super) struct Lock {
    max: u32,
    held: Load,
    holders: BTreeMap<BuildId, LockMode>,
    /// Steps in line, by their tickets.
    line: BTreeMap<u64, (BuildId, LockMode)>,
    queued: Load,
    /// Groups whose first request could start but for a lock, by that request.
    blocked: BTreeSet<(HeadKey, GroupId)>,
}

/// How much of a lock several have or want together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    units: u64,
    exclusive: u32,
}

/// What a running step has of locks, or waits for.
#[derive(Debug)]
pub(super) struct StepLocks {
    step: StepId,
    claims: Vec<Claim>,
    /// Its place in line; `None` when it has them.
    ticket: Option<u64>,
    since: Time,
}

/// What the builders of a group take, and whether that is what they wait for.
#[derive(Debug, Default)]
pub(super) struct GroupLocks {
    /// Locks that are the same on all workers.
    pub(super) master: Vec<(Arc<str>, LockMode)>,
    /// Locks that each worker has its own of.
    pub(super) worker: Vec<(Arc<str>, LockMode)>,
    /// Under which key the group is among the `blocked` of all its locks in `master`.
    pub(super) blocked: Option<HeadKey>,
}

impl Load {
    fn of(mode: LockMode) -> Self {
        match mode {
            LockMode::Counting(units) => Self { units: units.into(), exclusive: 0 },
            LockMode::Exclusive => Self { units: 0, exclusive: 1 },
        }
    }

    fn add(&mut self, mode: LockMode) {
        let Self { units, exclusive } = Self::of(mode);
        self.units += units;
        self.exclusive += exclusive;
    }

    fn remove(&mut self, mode: LockMode) {
        let Self { units, exclusive } = Self::of(mode);
        self.units = self.units.saturating_sub(units);
        self.exclusive = self.exclusive.saturating_sub(exclusive);
    }

    fn and(self, other: Self) -> Self {
        Self { units: self.units + other.units, exclusive: self.exclusive + other.exclusive }
    }

    /// Whether there is room beside it.
    fn admits(self, mode: LockMode, max: u32) -> bool {
        self.exclusive == 0
            && match mode {
                LockMode::Counting(units) => self.units + u64::from(units) <= max.into(),
                LockMode::Exclusive => self.units == 0,
            }
    }
}

impl Lock {
    fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.line.is_empty() && self.blocked.is_empty()
    }

    /// What a request finds in its way: who has it, and steps in line.
    fn load(&self) -> Load {
        self.held.and(self.queued)
    }

    /// How much may be taken by requests, as a number of units: 0 when somebody has it alone or wants to.
    pub(super) fn free(&self) -> u32 {
        let Load { units, exclusive } = self.load();
        let free = u64::from(self.max).saturating_sub(units);
        if exclusive > 0 { 0 } else { u32::try_from(free).unwrap_or(u32::MAX) }
    }

    /// Whoever has it.
    pub(super) fn holders(&self) -> impl Iterator<Item = BuildId> {
        self.holders.keys().copied()
    }
}

impl Core {
    /// How many units a lock has; `None` when it is not in the configuration.
    pub(super) fn lock_max(&self, (name, worker): &LockKey) -> Option<u32> {
        let lock = self.lock_configs.get(&**name)?;
        let Some(worker) = worker else { return Some(lock.max_count) };
        let worker = self.workers.get(worker)?;
        Some(lock.max_on(&worker.name, worker.place.as_ref().map(|place| &*place.pool)))
    }

    /// Which locks these are for a build on a worker.
    pub(super) fn claims(&self, accesses: &[LockAccess], worker: WorkerId) -> Vec<Claim> {
        let claim = |access: &LockAccess| {
            let (name, lock) = self.lock_configs.get_key_value(&*access.lock)?;
            let is_of_worker = matches!(lock.scope, config::LockScope::Worker { .. });
            Some(((Arc::clone(name), is_of_worker.then_some(worker)), access.mode))
        };
        accesses.iter().filter_map(claim).collect()
    }

    /// How many units of a lock an access takes.
    pub(super) fn units(&self, key: &LockKey, mode: LockMode) -> u32 {
        match mode {
            LockMode::Counting(units) => units,
            LockMode::Exclusive => self.lock_max(key).unwrap_or(0),
        }
    }

    fn lock(&mut self, key: &LockKey) -> &mut Lock {
        let max = self.lock_max(key);
        let lock = self.locks.entry(key.clone()).or_default();
        // One that is gone from the configuration keeps its size while somebody has it.
        lock.max = max.unwrap_or(lock.max);
        lock
    }

    fn drop_if_idle(&mut self, key: &LockKey) {
        if self.locks.get(key).is_some_and(Lock::is_idle) {
            self.locks.remove(key);
        }
    }

    /// Whether a request finds room for this, whatever other requests want.
    fn fits(&self, key: &LockKey, mode: LockMode) -> bool {
        self.look();
        match self.locks.get(key) {
            Some(lock) => lock.load().admits(mode, lock.max),
            None => Load::default().admits(mode, self.lock_max(key).unwrap_or(0)),
        }
    }

    /// Gives a build what it wants; the room was there.
    pub(super) fn claim(&mut self, build: BuildId, claims: &[Claim]) {
        for (key, mode) in claims {
            let lock = self.lock(key);
            lock.held.add(*mode);
            lock.holders.insert(build, *mode);
        }
    }

    /// A build has no use for these any more. Who comes next is to be told by [`Self::locks_freed`].
    pub(super) fn release(&mut self, build: BuildId, claims: &[Claim]) {
        for (key, _) in claims {
            let Some(lock) = self.locks.get_mut(key) else { continue };
            if let Some(mode) = lock.holders.remove(&build) {
                lock.held.remove(mode);
            }
        }
    }

    /// Steps in line get what is free now; requests get the rest when the event is settled.
    pub(super) fn locks_freed(&mut self, now: Time, claims: &[Claim]) {
        for (key, _) in claims {
            self.grant(now, key);
            match key.1 {
                None => drop(self.freed.insert(Arc::clone(&key.0))),
                Some(worker) => self.refresh_worker(worker),
            }
            self.drop_if_idle(key);
        }
    }

    /// A step is to have locks before it runs.
    pub(super) fn take_locks(&mut self, now: Time, build: BuildId, step: StepId, accesses: &[LockAccess]) {
        let Some(worker) = self.builds.get(&build).map(|running| running.worker) else { return };
        if let Some(before) = self.builds.get_mut(&build).and_then(|running| running.step.take()) {
            self.give_back(now, build, &before);
        }
        let claims = self.claims(accesses, worker);
        let is_free = claims.iter().all(|(key, mode)| self.fits(key, *mode));
        let ticket = if is_free {
            self.claim(build, &claims);
            self.act(Action::Locks { build, step, wait: None });
            None
        } else {
            let names =
                claims.iter().filter(|(key, mode)| !self.fits(key, *mode)).map(|((name, _), _)| &**name);
            let wait = Some(waiting_for(names));
            self.act(Action::Locks { build, step, wait });
            self.last_ticket += 1;
            let ticket = self.last_ticket;
            for (key, mode) in &claims {
                let lock = self.lock(key);
                lock.queued.add(*mode);
                lock.line.insert(ticket, (build, *mode));
            }
            Some(ticket)
        };
        for worker in claims.iter().filter_map(|((_, worker), _)| *worker).take(1) {
            self.refresh_worker(worker);
        }
        if let Some(running) = self.builds.get_mut(&build) {
            running.step = Some(StepLocks { step, claims, ticket, since: now });
        }
    }

    /// A step is done with its locks, or does not wait for them any longer.
    pub(super) fn return_locks(&mut self, now: Time, build: BuildId, step: StepId) {
        let Some(running) = self.builds.get_mut(&build) else { return };
        if let Some(locks) = running.step.take_if(|locks| locks.step == step) {
            let worker = running.worker;
            self.give_back(now, build, &locks);
            self.offer_worker(now, worker);
        }
    }

    pub(super) fn give_back(&mut self, now: Time, build: BuildId, locks: &StepLocks) {
        match locks.ticket {
            None => self.release(build, &locks.claims),
            Some(ticket) => self.leave_line(ticket, &locks.claims),
        }
        self.locks_freed(now, &locks.claims);
    }

    fn leave_line(&mut self, ticket: u64, claims: &[Claim]) {
        for (key, mode) in claims {
            let Some(lock) = self.locks.get_mut(key) else { continue };
            if lock.line.remove(&ticket).is_some() {
                lock.queued.remove(*mode);
            }
        }
    }

    /// Gives a lock to the first steps in line. Looks at no more of them than it has units for, and one.
    fn grant(&mut self, now: Time, key: &LockKey) {
        let Some(lock) = self.locks.get(key) else { return };
        let mut ahead = lock.held;
        let mut first = Vec::new();
        for (ticket, (build, mode)) in &lock.line {
            self.look();
            if !ahead.admits(*mode, lock.max) {
                break;
            }
            ahead.add(*mode);
            first.push((*ticket, *build));
        }
        for (ticket, build) in first {
            self.grant_step(now, build, ticket);
        }
    }

    /// Gives a step its locks if all of them are free for it.
    fn grant_step(&mut self, now: Time, build: BuildId, ticket: u64) {
        let Some(running) = self.builds.get(&build) else { return };
        let Some(StepLocks { step, claims, since, .. }) =
            running.step.as_ref().filter(|locks| locks.ticket == Some(ticket))
        else {
            return;
        };
        let is_next = |(key, mode): &Claim| {
            let Some(lock) = self.locks.get(key) else { return false };
            let mut ahead = lock.held;
            for (_, (_, mode)) in lock.line.range(..ticket) {
                self.look();
                ahead.add(*mode);
                if !ahead.admits(LockMode::Counting(0), lock.max) {
                    return false;
                }
            }
            ahead.admits(*mode, lock.max)
        };
        if !claims.iter().all(is_next) {
            return;
        }
        let (step, claims, waited) = (*step, claims.clone(), seconds_between(*since, now));
        self.leave_line(ticket, &claims);
        self.claim(build, &claims);
        if let Some(running) = self.builds.get_mut(&build) {
            running.locks_wait += waited;
            if let Some(locks) = &mut running.step {
                locks.ticket = None;
            }
        }
        self.act(Action::Locks { build, step, wait: None });
    }

    /// Whether a group's locks of workers are free on a worker, whatever other requests want.
    pub(super) fn worker_locks_fit(&self, worker: WorkerId, locks: &GroupLocks) -> bool {
        locks.worker.iter().all(|(name, mode)| self.fits(&(Arc::clone(name), Some(worker)), *mode))
    }

    /// Whether two groups cannot both have their locks on a worker.
    pub(super) fn worker_locks_clash(&self, worker: WorkerId, one: &GroupLocks, other: &GroupLocks) -> bool {
        one.worker.iter().any(|(name, mode)| {
            let theirs = other.worker.iter().find(|(other, _)| other == name);
            theirs.is_some_and(|(_, theirs)| {
                let key = (Arc::clone(name), Some(worker));
                let lock = self.locks.get(&key);
                let load = lock.map(Lock::load).unwrap_or_default().and(Load::of(*theirs));
                !load.admits(*mode, lock.map_or_else(|| self.lock_max(&key).unwrap_or(0), |lock| lock.max))
            })
        })
    }

    /// Whether the request under `head` may have its group's locks now: they are free, also with what more urgent
    /// requests wait for.
    pub(super) fn master_locks_admit(&self, group: GroupId, head: HeadKey) -> bool {
        let Some(locks) = self.groups.get(&group).map(|group| &group.locks) else { return false };
        locks.master.iter().all(|(name, mode)| {
            let key = (Arc::clone(name), None);
            if !self.fits(&key, *mode) {
                return false;
            }
            self.locks.get(&key).is_none_or(|lock| self.has_room(lock, name, ..(head, group), *mode))
        })
    }

    /// Has a group wait for its locks, for the sake of the request under `head`.
    pub(super) fn block(&mut self, id: GroupId, head: HeadKey) {
        let Some(group) = self.groups.get(&id) else { return };
        if group.locks.blocked.is_some_and(|before| before <= head) {
            return;
        }
        self.unblock(id);
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.locks.blocked = Some(head);
        for (name, _) in group.locks.master.clone() {
            self.lock(&(name, None)).blocked.insert((head, id));
        }
    }

    /// A group waits for its locks no longer.
    fn unblock(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let Some(before) = group.locks.blocked.take() else { return };
        for (name, _) in group.locks.master.clone() {
            let key = (name, None);
            if let Some(lock) = self.locks.get_mut(&key) {
                lock.blocked.remove(&(before, id));
            }
            self.drop_if_idle(&key);
        }
    }

    /// What stood in the way of others may not do so any more: looked into when the event is settled.
    pub(super) fn recheck_blocked(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get(&id)
            && group.locks.blocked.is_some()
        {
            self.freed.extend(group.locks.master.iter().map(|(name, _)| Arc::clone(name)));
        }
    }

    /// Starts what waits for locks that came free in the event at hand, and what stood back for requests that are gone.
    pub(super) fn settle_locks(&mut self, now: Time) {
        loop {
            if let Some(name) = self.freed.pop_first() {
                self.offer_lock(now, &(name, None));
            } else if let Some(worker) = self.left.pop_first() {
                self.offer_worker(now, worker);
            } else {
                return;
            }
        }
    }

    /// Goes through those that wait for a lock, the most urgent first, until nothing is left of it.
    fn offer_lock(&mut self, now: Time, key: &LockKey) {
        let mut from = None;
        loop {
            let Some(lock) = self.locks.get(key) else { return };
            let Some(&(head, group)) = lock
                .blocked
                .range((
                    from.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded),
                    std::ops::Bound::Unbounded,
                ))
                .next()
            else {
                break;
            };
            self.look();
            from = Some((head, group));
            // Whether it still waits, and for which request, is found out anew.
            self.unblock(group);
            let mut started = false;
            while self.offer_group(now, group) {
                started = true;
            }
            let is_blocked = self.groups.get(&group).and_then(|group| group.locks.blocked);
            if started || is_blocked != Some(head) {
                // Others of its locks may have got room.
                let names =
                    self.groups.get(&group).map(|group| group.locks.master.clone()).unwrap_or_default();
                self.freed.extend(names.into_iter().map(|(name, _)| name).filter(|name| *name != key.0));
            }
            if started {
                from = None;
            } else if is_blocked.is_some() && !self.leaves_room(key, (head, group)) {
                break;
            }
        }
        self.drop_if_idle(key);
    }

    /// Whether those up to and with `last` would leave anything of a lock.
    fn leaves_room(&self, (name, worker): &LockKey, last: (HeadKey, GroupId)) -> bool {
        let Some(lock) = self.locks.get(&(Arc::clone(name), *worker)) else { return true };
        self.has_room(lock, name, ..=last, LockMode::Counting(1))
    }

    /// Whether requests that wait for a lock, in this part of their order, leave room for this.
    fn has_room(
        &self,
        lock: &Lock,
        name: &str,
        waiting: impl RangeBounds<(HeadKey, GroupId)>,
        mode: LockMode,
    ) -> bool {
        let mut ahead = lock.load();
        lock.blocked.range(waiting).all(|(_, group)| {
            self.look();
            let theirs = self.groups.get(group).and_then(|group| group.locks.mode_of(name));
            ahead = ahead.and(theirs.map(Load::of).unwrap_or_default());
            ahead.admits(mode, lock.max)
        })
    }

    /// A configuration has come into force: sizes are those that it says, and all who wait are looked at again.
    pub(super) fn resize_locks(&mut self, now: Time) {
        for key in self.locks.keys().cloned().collect::<Vec<_>>() {
            self.lock(&key);
            self.grant(now, &key);
            if let Some(worker) = key.1 {
                self.refresh_worker(worker);
            }
            self.drop_if_idle(&key);
        }
    }

    /// Groups are about to be made anew.
    pub(super) fn forget_blocked(&mut self) {
        self.reserved.get_mut().clear();
        for lock in self.locks.values_mut() {
            lock.blocked.clear();
        }
        self.locks.retain(|_, lock| !lock.is_idle());
    }
}

impl GroupLocks {
    fn mode_of(&self, lock: &str) -> Option<LockMode> {
        self.master.iter().find(|(name, _)| &**name == lock).map(|(_, mode)| *mode)
    }
}

/// `waiting for lock a`, `waiting for locks a, b`.
fn waiting_for<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    format!("waiting for {} {}", if names.len() == 1 { "lock" } else { "locks" }, names.join(", "))
}

/// Buildbot's tables count whole seconds of the clock.
fn seconds_between(from: Time, to: Time) -> Duration {
    Duration::from_secs(u64::try_from(to.epoch_seconds() - from.epoch_seconds()).unwrap_or(0))
}
