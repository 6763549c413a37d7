//! `Dependent`: builds what another scheduler has built, once that has succeeded (`buildbot/schedulers/dependent.py`,
//! 4.3.0).

use std::sync::Arc;

use config::SchedulerKind;
use model::{BuildsetId, Change, Json, Results, SchedulerId, SourceStamp, Time};
use storage::UPSTREAM;

use super::asking::Wish;
use crate::core::Core;

/// A buildset that is complete, and that others depend on.
#[derive(Debug)]
pub(in crate::core) struct Upstream {
    pub(in crate::core) buildset: BuildsetId,
    pub(in crate::core) results: Results,
    pub(in crate::core) sourcestamps: Arc<[SourceStamp]>,
    /// The changes that its source stamps are, oldest first.
    pub(in crate::core) changes: Arc<[Arc<Change>]>,
}

impl Core {
    /// A scheduler has asked for a buildset: those that depend on it wait for that.
    pub(in crate::core) fn await_upstream(&mut self, scheduler: &str, buildset: BuildsetId) {
        for id in self.dependents.get(scheduler).cloned().unwrap_or_default() {
            let mut waits_for = self.upstream_of(id);
            if !waits_for.contains(&buildset) {
                waits_for.push(buildset);
                self.keep_upstream(id, &waits_for);
                self.downstream.entry(buildset).or_default().insert(id);
            }
        }
    }

    /// A buildset is complete: once all else that follows from this is done, what depends on it is built.
    pub(in crate::core) fn upstream_done(&mut self, done: Upstream) {
        if self.downstream.contains_key(&done.buildset) {
            self.upstream.push_back(done);
        }
    }

    /// Builds what depends on buildsets that are complete, if they have succeeded.
    pub(in crate::core) fn build_downstream(&mut self, now: Time) {
        while let Some(done) = self.upstream.pop_front() {
            self.build_after(now, done);
        }
    }

    fn build_after(&mut self, now: Time, done: Upstream) {
        let Upstream { buildset, results, sourcestamps, changes } = done;
        for id in self.downstream.remove(&buildset).unwrap_or_default() {
            let Some(scheduler) = self.schedulers.get(&id) else { continue };
            let Some(config) = scheduler.config.clone() else { continue };
            let mut waits_for = self.upstream_of(id);
            waits_for.retain(|waits_for| *waits_for != buildset);
            self.keep_upstream(id, &waits_for);
            if matches!(results, Results::Success | Results::Warnings) {
                let wish = Wish {
                    changes: changes.to_vec(),
                    about: changes.to_vec(),
                    ..Wish::of("downstream".to_owned(), sourcestamps.to_vec())
                };
                let new = self.wished(&config, wish);
                self.add_buildset(now, new);
            }
        }
    }

    /// Nobody waits for buildsets that are not there any more.
    pub(in crate::core) fn forget_upstream(&mut self) {
        let gone = self.downstream.keys().filter(|id| !self.buildsets.contains_key(id));
        for id in gone.copied().collect::<Vec<_>>() {
            let (sourcestamps, changes) = (Arc::default(), Arc::default());
            self.upstream_done(Upstream { buildset: id, results: Results::Failure, sourcestamps, changes });
        }
    }

    /// Takes up what a scheduler waits for, as the tables have it.
    pub(in crate::core) fn index_upstream(&mut self, id: SchedulerId) {
        for buildset in self.upstream_of(id) {
            self.downstream.entry(buildset).or_default().insert(id);
        }
    }

    fn upstream_of(&self, id: SchedulerId) -> Vec<BuildsetId> {
        let ids = self.kept(id, UPSTREAM.1).and_then(Json::as_array).into_iter().flatten();
        ids.filter_map(Json::as_i64).map(BuildsetId).collect()
    }

    fn keep_upstream(&mut self, id: SchedulerId, buildsets: &[BuildsetId]) {
        let ids: Vec<i64> = buildsets.iter().map(|buildset| buildset.0).collect();
        self.keep(id, UPSTREAM.1, ids.into());
    }
}

/// The scheduler that another one depends on.
pub(super) fn upstream(config: &config::Scheduler) -> Option<&str> {
    match &config.kind {
        SchedulerKind::Dependent { upstream } => Some(upstream),
        _ => None,
    }
}
