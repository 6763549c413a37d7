//! Changes of the ledger: each one keeps the counts, the timers and what is to be written in step.

use model::{BuildId, BuildRequestId, InstanceId, Time};

use super::{
    Pools,
    entry::{Entry, Run},
    pool::GONE_KEPT,
    timers::Timer,
};
use crate::{Batch, Decision, Order, ReasonCode, State, Subject, plan::Running};

/// What comes out of the events of one call.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// Instances whose rows are to be written.
    pub(super) rows: std::collections::BTreeSet<InstanceId>,
    /// What was decided.
    pub(super) decisions: Vec<Decision>,
    /// What is to be done.
    pub(super) orders: Vec<Order>,
    /// Pools whose state is to be written whatever the time.
    pub(super) pools: std::collections::BTreeSet<usize>,
}

impl Pools {
    /// Moves an instance to another state.
    pub(super) fn set(&mut self, now: Time, id: InstanceId, state: State) {
        self.change(now, id, |entry| {
            entry.row.state = state;
            entry.row.since = now;
        });
    }

    /// Changes an instance in a way that its pool's counts may depend on.
    pub(super) fn change(&mut self, now: Time, id: InstanceId, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let pool = &mut self.pools[entry.pool];
        let was_busy = entry.state() == State::Busy;
        pool.count_out(entry);
        change(entry);
        pool.count_in(entry);
        let busy = entry.state() == State::Busy;
        if was_busy != busy {
            self.count_runs(id, busy);
        }
        self.touch(now, id);
    }

    /// The row of an instance is to be written, and it may wait for something else.
    pub(super) fn touch(&mut self, now: Time, id: InstanceId) {
        self.out.rows.insert(id);
        self.retime(now, id);
    }

    /// What an instance waits for may have changed.
    pub(super) fn retime(&mut self, now: Time, id: InstanceId) {
        let at = self.entries.get(&id).and_then(|entry| self.due(now, entry));
        self.timers.set(Timer::Instance(id), at);
    }

    /// A new instance.
    pub(super) fn add(&mut self, now: Time, entry: Entry) {
        let id = entry.id();
        let pool = &mut self.pools[entry.pool];
        pool.members.insert(id);
        pool.count_in(&entry);
        if let Some(provider_id) = &entry.row.provider_id {
            pool.by_provider_id.insert(provider_id.clone(), id);
        }
        self.entries.insert(id, entry);
        self.touch(now, id);
    }

    /// Builds of an instance begin to count, or do not any more.
    fn count_runs(&mut self, id: InstanceId, count: bool) {
        let builds: Vec<BuildId> = match self.entries.get(&id) {
            Some(entry) => entry.running.keys().copied().collect(),
            None => return,
        };
        for build in builds {
            if count { self.count_run(id, build) } else { self.uncount_run(id, build) }
        }
    }

    /// A build of a busy instance counts.
    pub(super) fn count_run(&mut self, id: InstanceId, build: BuildId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let pool = &mut self.pools[entry.pool];
        if let Some(run) = entry.running.get_mut(&build).filter(|run| run.at.is_none() && !run.waits) {
            run.at = Some(pool.running.len());
            pool.running.push(Running { builder: run.builder, since: run.since });
            pool.running_of.push((id, build));
        }
    }

    /// A build counts no more; the last one takes its place.
    pub(super) fn uncount_run(&mut self, id: InstanceId, build: BuildId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let pool = &mut self.pools[entry.pool];
        let Some(at) = entry.running.get_mut(&build).and_then(|run| run.at.take()) else { return };
        pool.running.swap_remove(at);
        pool.running_of.swap_remove(at);
        let moved = pool.running_of.get(at).copied();
        let moved = moved.and_then(|(id, build)| self.entries.get_mut(&id)?.running.get_mut(&build));
        if let Some(run) = moved {
            run.at = Some(at);
        }
    }

    /// A build of an instance is over.
    pub(super) fn end_run(&mut self, id: InstanceId, build: BuildId) -> Option<Run> {
        self.uncount_run(id, build);
        self.entries.get_mut(&id)?.running.remove(&build)
    }

    /// Records what was decided about an instance.
    pub(super) fn note(&mut self, now: Time, id: InstanceId, code: ReasonCode, text: impl Into<String>) {
        if let Some(entry) = self.entries.get(&id) {
            self.note_of(now, entry.pool, Subject::Instance(id), code, text);
        }
    }

    /// Records what was decided about a pool.
    pub(super) fn note_pool(&mut self, now: Time, pool: usize, code: ReasonCode, text: impl Into<String>) {
        self.note_of(now, pool, Subject::Pool, code, text);
    }

    fn note_of(
        &mut self,
        at: Time,
        pool: usize,
        subject: Subject,
        code: ReasonCode,
        text: impl Into<String>,
    ) {
        let name = self.pools[pool].name().to_owned();
        let decision = Decision { at, pool: name, subject, code, text: text.into() };
        self.pools[pool].remember(decision.clone());
        self.out.decisions.push(decision);
    }

    /// Something is to be done.
    pub(super) fn order(&mut self, order: Order) {
        self.out.orders.push(order);
    }

    /// A call to a pool's provider goes out.
    pub(super) fn count_call(&mut self, pool: usize, what: &'static str) {
        *self.pools[pool].totals.calls.entry(what).or_default() += 1;
    }

    /// A call to a pool's provider failed.
    pub(super) fn count_failed_call(&mut self, pool: usize, what: &'static str) {
        *self.pools[pool].totals.failed_calls.entry(what).or_default() += 1;
    }

    /// A row's instance and pool.
    pub(super) fn get(&self, id: InstanceId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// In which state an instance is; one that nobody knows is gone.
    pub(super) fn state_of(&self, id: InstanceId) -> State {
        self.entries.get(&id).map_or(State::Gone, Entry::state)
    }

    /// Everything that has come together.
    pub(super) fn take(&mut self) -> Batch {
        let mut batch = Batch {
            decisions: std::mem::take(&mut self.out.decisions),
            orders: std::mem::take(&mut self.out.orders),
            ..Batch::default()
        };
        if !self.out.rows.is_empty() {
            let (entries, pools) = (&self.entries, &mut self.pools);
            // Rows are written under the lease; without it they wait for it. Those that another master knows better are
            // its to write.
            self.out.rows.retain(|id| {
                let Some(entry) = entries.get(id) else { return false };
                let pool = &mut pools[entry.pool];
                pool.allowance = pool.allowance.min(pool.live());
                pool.rate_allowance = pool.rate_allowance.min(pool.rate());
                if !pool.owned() {
                    return true;
                }
                // What it has cost is written with its last row, whatever becomes of that.
                if pool.written != pool.books {
                    self.out.pools.insert(entry.pool);
                }
                batch.rows.push(entry.row.clone());
                false
            });
        }
        for at in std::mem::take(&mut self.out.pools) {
            let pool = &mut self.pools[at];
            if !pool.owned() {
                self.out.pools.insert(at);
                continue;
            }
            (pool.unsaved, pool.written) = (false, pool.books);
            batch.pools.push(pool.name().to_owned());
        }
        for at in std::mem::take(&mut self.overfull) {
            while self.pools[at].gone.len() > GONE_KEPT {
                if let Some(id) = self.pools[at].gone.pop_front() {
                    if self.out.rows.contains(&id) {
                        // Its last row is not written yet.
                        self.pools[at].gone.push_front(id);
                        break;
                    }
                    self.entries.remove(&id);
                }
            }
        }
        batch
    }

    /// Builds that run and are likely to be lost with their machines: `(request, run)`.
    pub(super) fn endangered(&self) -> impl Iterator<Item = (BuildRequestId, &Run, &Entry)> {
        self.pools
            .iter()
            .flat_map(|pool| &pool.endangered)
            .filter_map(|id| self.entries.get(id))
            .flat_map(|entry| entry.running.values().map(move |run| (run.request, run, entry)))
    }
}
