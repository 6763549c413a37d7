//! Builds that begin and end on instances.

use std::{sync::Arc, time::Duration};

use model::{BuildId, BuildRequestId, BuilderId, InstanceId, Results, Time};

use super::{
    Pools,
    entry::{Entry, Run},
};
use crate::{Drain, ReasonCode, State, learn::Arrivals};

/// So many failures of machinery in a row, of different builders, are the machine's fault.
const FAILURES: u32 = 3;

/// A build that was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Started {
    pub(super) build: BuildId,
    pub(super) builder: BuilderId,
    pub(super) request: BuildRequestId,
    pub(super) priority: i64,
    pub(super) waited: Duration,
}

impl Pools {
    /// How many more builds an instance may begin; `None` is any number.
    pub(super) fn builds_left(&self, entry: &Entry) -> Option<u32> {
        let most = self.pools[entry.pool].spec.builds_per_instance?.get();
        let running = u32::try_from(entry.running.len()).unwrap_or(u32::MAX);
        Some(most.saturating_sub(entry.row.builds.saturating_add(running)))
    }

    /// A build was started on an instance.
    pub(super) fn build_started(&mut self, now: Time, id: InstanceId, started: &Started) {
        let Started { build, builder, request, priority, waited } = *started;
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.state().is_live()) else { return };
        if entry.running.contains_key(&build) {
            return;
        }
        let pool = &mut self.pools[entry.pool];
        let class = &pool.spec.class(priority).name;
        match pool.totals.queue_wait.get_mut(class) {
            Some(histogram) => histogram.add(waited),
            None => pool.totals.queue_wait.entry(class.clone()).or_default().add(waited),
        }
        entry.running.insert(build, Run { builder, request, priority, since: now, waits: false, at: None });
        match entry.state() {
            State::Idle | State::ReadyCheck => self.set(now, id, State::Busy),
            State::Busy => {
                self.count_run(id, build);
                self.retime(now, id);
            }
            _ => self.retime(now, id),
        }
        let last = self.get(id).is_some_and(|entry| self.builds_left(entry) == Some(0));
        if last && self.state_of(id) == State::Busy {
            let builds = self.get(id).map_or(0, |entry| entry.row.builds) + 1;
            let text = match builds {
                1 => "it runs one build, and no second one".to_owned(),
                n => format!("it runs its {n}th build, and no more"),
            };
            self.drain(now, id, ReasonCode::MaxBuilds, text, None);
        }
        self.kick(now);
    }

    /// A build on an instance waits for others, or no longer does: nobody knows when it ends while it does.
    pub(super) fn build_waits(&mut self, now: Time, id: InstanceId, build: BuildId, waits: bool) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let is_busy = entry.state() == State::Busy;
        let Some(run) = entry.running.get_mut(&build) else { return };
        run.waits = waits;
        if waits {
            self.uncount_run(id, build);
        } else if is_busy {
            self.count_run(id, build);
        }
        self.kick(now);
    }

    /// A build on an instance is over.
    pub(super) fn build_ended(
        &mut self,
        now: Time,
        id: InstanceId,
        build: BuildId,
        results: Results,
        machinery_failed: bool,
    ) {
        let Some(run) = self.end_run(id, build) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let lost = results == Results::Retry && !machinery_failed;
        let (at, guest, image) = (entry.pool, entry.is_guest(), entry.row.image.clone());
        if results != Results::Retry {
            entry.row.builds = entry.row.builds.saturating_add(1);
        }
        if machinery_failed {
            if !entry.failing.contains(&run.builder) {
                entry.failing.push(run.builder);
                entry.row.failures = entry.row.failures.saturating_add(1);
            }
        } else if !lost {
            entry.failing.clear();
            entry.row.failures = 0;
        }
        let failures = entry.row.failures;
        let pool = &mut self.pools[at];
        pool.totals.lost_builds += u64::from(results == Results::Retry);
        let ended_by_itself = matches!(results, Results::Success | Results::Warnings | Results::Failure);
        if ended_by_itself && !machinery_failed {
            pool.state.learned.durations.took(now.since(run.since));
        }
        if !guest && !lost && results != Results::Cancelled {
            let verdict = pool.state.learned.canary.built(&image, machinery_failed);
            pool.unsaved = true;
            self.image_verdict(now, at, verdict);
        }
        let Some(entry) = self.entries.get(&id) else { return };
        match entry.state() {
            State::Busy if failures >= FAILURES => self.quarantine(now, id, failures),
            State::Busy if entry.running.is_empty() => {
                self.set(now, id, State::Idle);
                self.went_idle(now, id);
            }
            State::Busy => self.touch(now, id),
            State::Draining if entry.running.is_empty() => self.settle_drain(now, id),
            State::Gone => {}
            _ => self.touch(now, id),
        }
        self.kick(now);
    }

    /// An instance has no build: whether it may have another one.
    fn went_idle(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.get(id) else { return };
        if let Some(since) = entry.impaired
            && now.since(since) >= Duration::from_secs(180)
        {
            self.drain(now, id, ReasonCode::Impaired, "its status checks fail".to_owned(), None);
        } else if self.builds_left(entry) == Some(0) {
            let text = format!("it has run {} builds", entry.row.builds);
            self.drain(now, id, ReasonCode::MaxBuilds, text, None);
        }
    }

    /// The machinery of several builds in a row failed on it: it is the machine.
    fn quarantine(&mut self, now: Time, id: InstanceId, failures: u32) {
        let text =
            format!("the machinery of {failures} builds in a row, of different builders, failed on it");
        self.change(now, id, |entry| {
            entry.row.state = State::Quarantined;
            entry.row.since = now;
            entry.row.drain = Some(Drain { code: ReasonCode::Unhealthy, text: text.clone(), deadline: None });
        });
        self.close(id, &text);
        self.note(now, id, ReasonCode::Unhealthy, text);
        self.ask_console(now, id);
        self.retime(now, id);
    }

    /// A build of a builder took so long.
    pub(super) fn build_took(&mut self, builder: BuilderId, duration: Duration) {
        self.jobs.took(builder, duration);
    }

    /// Work came in.
    pub(super) fn requested(&mut self, now: Time, pools: &[Arc<str>]) {
        self.count_arrival(pools, |arrivals, share| arrivals.requested(now, share));
        self.kick(now);
    }

    /// Work that came in needs no build any more.
    pub(super) fn withdrawn(&mut self, now: Time, pools: &[Arc<str>], submitted_at: Time) {
        self.count_arrival(pools, |arrivals, share| arrivals.withdrawn(submitted_at, share));
        self.kick(now);
    }

    fn count_arrival(&mut self, pools: &[Arc<str>], count: impl Fn(&mut Arrivals, f64)) {
        let share = 1.0 / f64::from(u32::try_from(pools.len()).unwrap_or(u32::MAX).max(1));
        for at in pools.iter().filter_map(|name| self.names.get(&**name)) {
            count(&mut self.pools[*at].state.learned.arrivals, share);
        }
    }
}
