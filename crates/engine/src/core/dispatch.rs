//! Which request is built where.
//!
//! Builders go by what `prioritizeBuilders` says, then by the priority, then the age of their first request; a builder
//! builds at most once at a time on a worker, a worker at most `max_builds` builds. Of the workers that can, the one with
//! the fewest builds is taken, then the one that rested longest; then, of the machines of pools, the one with the most
//! builds, then the one that was free last: the others stay without work, and are let go. `nextBuild`, `nextWorker` and
//! `canStartBuild` decide otherwise for their builder, at the price of looking at its requests and workers.
//!
//! A pair of builder and worker is startable when both have what it takes but for locks that are the same everywhere;
//! those are looked at last ([`super::locks`]).

use std::collections::{BTreeMap, btree_map::Entry};

use config::{NextBuild, NextWorker};
use model::{BuildRequestId, BuilderId, Time, WorkerId};

use super::{
    Core, Drain,
    builders::{Builder, Group, GroupId, HeadKey, QueueKey},
    workers::{FreeKey, Worker},
};

/// What could be started but for a lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    head: HeadKey,
    builder: BuilderId,
    group: GroupId,
    worker: WorkerId,
    request: QueueKey,
}

impl Core {
    /// `builder` has got a request, or may run where it could not before: starts what can be started of it.
    ///
    /// Looks at no more workers than run this very builder, and one; with locks of workers also at those that are kept for
    /// others, and at their groups.
    pub(super) fn offer_builder(&mut self, now: Time, builder: BuilderId) {
        while let Some(pair) = self.pair_of(builder) {
            if !self.start_pair(now, pair) {
                break;
            }
        }
    }

    /// `worker` has got room: gives it the builds that it can take, the most urgent first.
    ///
    /// Looks at the groups the worker is in, and in each at no more builders than the worker runs, and one; where groups
    /// want the same lock of it, at all of them for each.
    pub(super) fn offer_worker(&mut self, now: Time, worker: WorkerId) {
        while self.pairs_on(worker).into_iter().any(|pair| self.start_pair(now, pair)) {}
    }

    /// Starts the most urgent build of a group, or has it wait for a lock. Whether one was started.
    pub(super) fn offer_group(&mut self, now: Time, group: GroupId) -> bool {
        let group = self.groups.get(&group).filter(|group| !group.free.is_empty());
        let pair = group.and_then(|group| group.heads.iter().find_map(|(_, builder)| self.pair_of(*builder)));
        pair.is_some_and(|pair| self.start_pair(now, pair))
    }

    fn start_pair(&mut self, now: Time, pair: Pair) -> bool {
        let Pair { head, builder, group, worker, request } = pair;
        if self.master_locks_admit(group, head) {
            self.start(now, builder, worker, request);
            return true;
        }
        self.block(group, head);
        false
    }

    /// Counts something that was looked at.
    pub(in crate::core) fn look(&self) {
        self.looked_at.set(self.looked_at.get() + 1);
    }

    /// What of a builder could start, and where.
    pub(super) fn pair_of(&self, id: BuilderId) -> Option<Pair> {
        if self.drain != Drain::Off {
            return None;
        }
        let builder = self.builders.get(&id)?;
        let (group_id, head, config) = (builder.group?, builder.head?, builder.config.as_ref()?);
        let group = self.groups.get(&group_id)?;
        let is_open = |worker: &WorkerId| {
            self.look();
            self.workers.get(worker).is_some_and(|state| {
                !state.running.contains_key(&id) && !self.is_reserved(*worker, state, group_id, group, head)
            })
        };
        let free = || group.free.iter().map(|(_, _, _, worker)| *worker).filter(is_open);
        for request in self.in_turn(builder) {
            let can = |worker: &WorkerId| self.lets_start(id, request.2, *worker);
            let worker = match &config.next_worker {
                NextWorker::LeastLoaded => free().find(can),
                other => self.ranked(id, config, other, request.2, free().collect()).into_iter().find(can),
            };
            if let Some(worker) = worker {
                return Some(Pair { head, builder: id, group: group_id, worker, request });
            }
            if config.can_start_build.is_none() {
                break;
            }
        }
        None
    }

    /// Requests of a builder in the order in which they are to be built.
    fn in_turn<'a>(&'a self, builder: &'a Builder) -> Box<dyn Iterator<Item = QueueKey> + 'a> {
        let key = |id: &BuildRequestId| Some(self.requests.get(id)?.key(*id));
        match builder.config.as_ref().map(|config| &config.next_build) {
            Some(NextBuild::Oldest) => Box::new(builder.ages.iter().filter_map(key)),
            Some(NextBuild::Newest) => Box::new(builder.ages.iter().rev().filter_map(key)),
            Some(NextBuild::Score(_)) => Box::new(builder.scores.iter().map(|(_, key)| *key)),
            Some(NextBuild::Priority) | None => Box::new(builder.pending.iter().copied()),
        }
    }

    /// Free workers in the order in which a builder wants them.
    fn ranked(
        &self,
        id: BuilderId,
        config: &config::Builder,
        by: &NextWorker,
        request: BuildRequestId,
        mut workers: Vec<WorkerId>,
    ) -> Vec<WorkerId> {
        let in_order = || {
            let names = config.workers.iter().enumerate().rev();
            let places: BTreeMap<&str, usize> = names.map(|(place, name)| (name.as_str(), place)).collect();
            move |id: &WorkerId| {
                let worker = self.workers.get(id)?;
                let own = places.get(&*worker.name);
                let pool = worker.place.as_ref().and_then(|place| places.get(&*place.pool));
                own.into_iter().chain(pool).min().copied()
            }
        };
        match by {
            NextWorker::LeastLoaded => {}
            NextWorker::MostLoaded => workers.sort_by_key(|id| {
                std::cmp::Reverse(self.workers.get(id).map_or(0, |worker| worker.running.len()))
            }),
            NextWorker::InOrder => {
                let place = in_order();
                workers.sort_by_cached_key(|id| place(id).unwrap_or(usize::MAX));
            }
            NextWorker::Score(expression) => workers.sort_by_cached_key(|worker| {
                self.workers.get(worker).map(|worker| self.rank_of_worker(expression, id, request, worker))
            }),
        }
        workers
    }

    /// The most urgent request of each group that a worker could start, the most urgent of them first.
    fn pairs_on(&self, worker: WorkerId) -> Vec<Pair> {
        if self.drain != Drain::Off {
            return Vec::new();
        }
        let Some(state) = self.workers.get(&worker) else { return Vec::new() };
        let Some(free) = state.free_key else { return Vec::new() };
        let mut pairs = Vec::new();
        for id in &state.groups {
            self.look();
            let Some(group) = self.groups.get(id) else { continue };
            if !group.locks.worker.is_empty() && !group.free.contains(&free) {
                continue;
            }
            let Some((head, builder, request)) = self.first_on(worker, state, group) else { continue };
            if !self.is_reserved(worker, state, *id, group, head) {
                pairs.push(Pair { head, builder, group: *id, worker, request });
            }
        }
        pairs.sort_unstable_by_key(|pair| pair.head);
        pairs
    }

    /// The first builder of a group that a worker could build for, and the request.
    fn first_on(
        &self,
        id: WorkerId,
        worker: &Worker,
        group: &Group,
    ) -> Option<(HeadKey, BuilderId, QueueKey)> {
        group.heads.iter().find_map(|&(head, builder)| {
            self.look();
            if worker.running.contains_key(&builder) {
                return None;
            }
            let state = self.builders.get(&builder)?;
            let mut requests = self.in_turn(state);
            let request = match state.config.as_ref()?.can_start_build {
                None => requests.next(),
                Some(_) => requests.find(|request| self.lets_start(builder, request.2, id)),
            };
            Some((head, builder, request?))
        })
    }

    /// Whether a more urgent request waits for the same locks of a worker.
    fn is_reserved(&self, id: WorkerId, worker: &Worker, own: GroupId, group: &Group, head: HeadKey) -> bool {
        if group.locks.worker.is_empty() {
            return false;
        }
        let waits =
            |other: &Group, free: &FreeKey| !other.locks.worker.is_empty() && !other.free.contains(free);
        let comes_first = |other: &GroupId| {
            let Some(other) = self.groups.get(other) else { return false };
            self.look();
            worker.free_key.is_some_and(|free| waits(other, &free))
                && self.worker_locks_clash(id, &group.locks, &other.locks)
                && self.first_on(id, worker, other).is_some_and(|(theirs, ..)| theirs < head)
        };
        let first = worker.groups.iter().filter(|other| **other != own).find(|other| comes_first(other));
        if let Some(first) = first {
            self.reserved.borrow_mut().entry(*first).or_default().insert(id);
        }
        first.is_some()
    }

    /// Brings the groups of a worker in line with whether it can take a build now.
    pub(super) fn refresh_worker(&mut self, id: WorkerId) {
        let draining = self.drain != Drain::Off;
        let Entry::Occupied(mut entry) = self.workers.entry(id) else { return };
        let worker = entry.get_mut();
        let now_free = (worker.can_build() && !draining).then(|| worker.key(id));
        let before = std::mem::replace(&mut worker.free_key, now_free);
        if before == now_free && !self.has_worker_locks {
            return;
        }
        for group_id in worker.groups.clone() {
            self.look();
            let Some(group) = self.groups.get(&group_id) else { continue };
            if before == now_free && group.locks.worker.is_empty() {
                continue;
            }
            let wanted = now_free.filter(|_| self.worker_locks_fit(id, &group.locks));
            let Some(group) = self.groups.get_mut(&group_id) else { continue };
            let was_there = before.is_some_and(|before| group.free.remove(&before));
            if let Some(wanted) = wanted {
                group.free.insert(wanted);
            } else if was_there {
                self.recheck_blocked(group_id);
            }
        }
    }
}
