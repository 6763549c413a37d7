//! Which request is built where.
//!
//! Builders go by the priority, then the age of their first request; a builder builds at most once at a time on a
//! worker, a worker at most `max_builds` builds. Of the workers that can, the one with the fewest builds is taken, then
//! the one that rested longest; then, of the machines of pools, the one with the most builds, then the one that was free
//! last: the others stay without work, and are let go.

use std::collections::btree_map::Entry;

use model::{BuilderId, Time, WorkerId};

use super::{Core, Drain, builders::QueueKey};

impl Core {
    /// `builder` has got a request, or may run where it could not before: starts what can be started of it.
    ///
    /// Looks at no more workers than run this very builder, and one.
    pub(super) fn offer_builder(&mut self, now: Time, builder: BuilderId) {
        while let Some(worker) = self.worker_for(builder) {
            self.start(now, builder, worker);
        }
    }

    /// `worker` has got room: gives it the builds that it can take, the most urgent first.
    ///
    /// Looks at the groups the worker is in, and in each at no more builders than the worker runs, and one.
    pub(super) fn offer_worker(&mut self, now: Time, worker: WorkerId) {
        while let Some(builder) = self.builder_for(worker) {
            self.start(now, builder, worker);
        }
    }

    fn worker_for(&mut self, builder: BuilderId) -> Option<WorkerId> {
        if self.drain != Drain::Off {
            return None;
        }
        let state = self.builders.get(&builder)?;
        if state.pending.is_empty() || state.config.is_none() {
            return None;
        }
        let group = self.groups.get(&state.group?)?;
        for (_, _, _, worker) in &group.free {
            self.looked_at += 1;
            if !self.workers.get(worker)?.running.contains_key(&builder) {
                return Some(*worker);
            }
        }
        None
    }

    fn builder_for(&mut self, worker: WorkerId) -> Option<BuilderId> {
        if self.drain != Drain::Off {
            return None;
        }
        let state = self.workers.get(&worker)?;
        state.free_key?;
        let mut best: Option<(QueueKey, BuilderId)> = None;
        for group in &state.groups {
            self.looked_at += 1;
            let Some(group) = self.groups.get(group) else { continue };
            for &(key, builder) in &group.heads {
                self.looked_at += 1;
                if best.is_some_and(|(best, _)| best <= key) {
                    break;
                }
                if !state.running.contains_key(&builder) {
                    best = Some((key, builder));
                    break;
                }
            }
        }
        best.map(|(_, builder)| builder)
    }

    /// Brings the groups of a worker in line with whether it can take a build now.
    pub(super) fn refresh_worker(&mut self, id: WorkerId) {
        let draining = self.drain != Drain::Off;
        let Entry::Occupied(mut entry) = self.workers.entry(id) else { return };
        let worker = entry.get_mut();
        let now_free = (worker.can_build() && !draining).then(|| worker.key(id));
        let before = std::mem::replace(&mut worker.free_key, now_free);
        if before == now_free {
            return;
        }
        for group in &worker.groups {
            self.looked_at += 1;
            let Some(group) = self.groups.get_mut(group) else { continue };
            if let Some(before) = before {
                group.free.remove(&before);
            }
            if let Some(now_free) = now_free {
                group.free.insert(now_free);
            }
        }
    }
}
