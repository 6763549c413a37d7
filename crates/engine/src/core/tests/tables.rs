//! A model of the tables: takes the core's rows, finds contradictions, and says what a restart finds.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, Change, ChangeId, Json, Results,
    SchedulerId, Time, WorkerId,
};
use storage::{
    BuildsetRow, Classified, PendingChange, Restored, RestoredBuildset, RestoredRequest, WorkerRow, Write,
};

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) builders: BTreeMap<String, BuilderId>,
    workers: BTreeMap<String, WorkerId>,
    paused: BTreeMap<WorkerId, bool>,
    schedulers: BTreeMap<String, SchedulerId>,
    pub(super) requests: BTreeMap<BuildRequestId, Request>,
    pub(super) buildsets: BTreeMap<BuildsetId, Buildset>,
    pub(super) builds: BTreeMap<BuildId, Build>,
    changes: BTreeMap<ChangeId, Arc<Change>>,
    pub(super) pending: BTreeMap<(SchedulerId, ChangeId), bool>,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) row: RestoredRequest,
    pub(super) claimed: bool,
    pub(super) results: Option<Results>,
}

#[derive(Debug)]
pub(super) struct Buildset {
    restored: RestoredBuildset,
    pub(super) results: Option<Results>,
}

#[derive(Debug)]
pub(super) struct Build {
    number: BuildNumber,
    pub(super) builder: BuilderId,
    pub(super) request: BuildRequestId,
    pub(super) results: Option<Results>,
}

impl Tables {
    pub(super) fn apply(&mut self, write: &Write) {
        match write.clone() {
            Write::Builder { id, name, .. } => {
                assert_eq!(*self.builders.entry(name).or_insert(id), id);
            }
            Write::Worker { id, name } => assert_eq!(*self.workers.entry(name).or_insert(id), id),
            Write::Scheduler { id, name } => assert_eq!(*self.schedulers.entry(name).or_insert(id), id),
            Write::WorkerState { worker, paused, .. } => {
                self.paused.insert(worker, paused);
            }
            Write::Change { id, change, .. } => assert!(self.changes.insert(id, change).is_none()),
            Write::SchedulerChange { scheduler, change, important } => {
                assert!(self.changes.contains_key(&change));
                self.pending.insert((scheduler, change), important);
            }
            Write::SchedulerChangesDone { scheduler, changes: Classified::These(changes) } => {
                for change in changes {
                    assert!(
                        self.pending.remove(&(scheduler, change)).is_some(),
                        "{change} was not remembered"
                    );
                }
            }
            Write::Buildset { id, reason, submitted_at, sourcestamps, properties, .. } => {
                assert!(!sourcestamps.is_empty());
                let row = BuildsetRow {
                    id,
                    external_id: None,
                    reason: Some(reason),
                    submitted_at,
                    complete: false,
                    complete_at: None,
                    results: None,
                    parent: None,
                    rebuilt_build: None,
                    sourcestamps: Vec::new(),
                };
                let restored = RestoredBuildset { row, sourcestamps, properties, finished: Vec::new() };
                assert!(self.buildsets.insert(id, Buildset { restored, results: None }).is_none());
            }
            Write::Request { id, buildset, builder, priority, submitted_at, waited_for } => {
                assert!(self.buildsets[&buildset].results.is_none());
                assert!(
                    self.builders.values().any(|known| *known == builder),
                    "no row for builder {builder}"
                );
                let row = RestoredRequest { id, buildset, builder, priority, submitted_at, waited_for };
                assert!(self.requests.insert(id, Request { row, claimed: false, results: None }).is_none());
            }
            Write::Claim { request, .. } => {
                let request = self.open(request);
                assert!(!std::mem::replace(&mut request.claimed, true), "claimed twice: {request:?}");
            }
            Write::Unclaim { request } => {
                let request = self.open(request);
                assert!(std::mem::replace(&mut request.claimed, false), "not claimed: {request:?}");
            }
            Write::CompleteRequest { request: id, results, .. } => {
                assert_ne!(results, Results::Retry);
                let request = self.open(id);
                assert!(request.claimed);
                request.results = Some(results);
                let buildset = request.row.buildset;
                self.buildsets.get_mut(&buildset).unwrap().restored.finished.push((id, results));
            }
            Write::CompleteBuildset { buildset, results, .. } => {
                let requests = self.requests.values().filter(|request| request.row.buildset == buildset);
                let worst =
                    requests.fold(Results::Success, |worst, request| worst.worst(request.results.unwrap()));
                assert_eq!(results, worst);
                assert!(self.buildsets.get_mut(&buildset).unwrap().results.replace(results).is_none());
            }
            Write::Build { id, number, builder, request, .. } => {
                assert!(self.open(request).claimed);
                assert!(self.builds.values().all(|build| (build.builder, build.number) != (builder, number)));
                let running = self.builds.values().filter(|build| build.results.is_none());
                assert!(
                    running.into_iter().all(|build| build.request != request),
                    "{request} is built twice at once"
                );
                self.builds.insert(id, Build { number, builder, request, results: None });
            }
            Write::BuildFinished { build, results, .. } => {
                assert!(self.builds.get_mut(&build).unwrap().results.replace(results).is_none());
            }
            _ => {}
        }
    }

    fn open(&mut self, id: BuildRequestId) -> &mut Request {
        let request = self.requests.get_mut(&id).expect("a row");
        assert!(request.results.is_none(), "complete already: {request:?}");
        request
    }

    /// What the next life of the master finds. Builds that ran are closed.
    pub(super) fn restart(&mut self) -> (Restored, BTreeMap<BuildsetId, Vec<Arc<Change>>>) {
        for build in self.builds.values_mut().filter(|build| build.results.is_none()) {
            build.results = Some(Results::Retry);
            self.requests.get_mut(&build.request).unwrap().claimed = false;
        }
        let number = |id: BuilderId| {
            let of_it = self.builds.values().filter(|build| build.builder == id);
            BuildNumber(of_it.map(|build| build.number.0).max().unwrap_or(0) + 1)
        };
        let worker = |name: &String, id: WorkerId| WorkerRow {
            id,
            name: name.clone(),
            info: Json::Null,
            paused: self.paused.get(&id).copied().unwrap_or(false),
            pause_reason: None,
            graceful: false,
            configured_on: Vec::new(),
            connected_to: Vec::new(),
        };
        let open = self.requests.values().filter(|request| request.results.is_none() && !request.claimed);
        let sets = self.buildsets.iter().filter(|(_, buildset)| buildset.results.is_none());
        let restored = Restored {
            builders: self.builders.iter().map(|(name, id)| (name.clone(), (*id, number(*id)))).collect(),
            workers: self.workers.iter().map(|(name, id)| (name.clone(), worker(name, *id))).collect(),
            schedulers: self.schedulers.iter().map(|(name, id)| (name.clone(), (*id, true))).collect(),
            buildsets: sets.map(|(id, buildset)| (*id, buildset.restored.clone())).collect(),
            // Whole seconds, as the tables have them.
            requests: open
                .map(|request| RestoredRequest {
                    submitted_at: Time::from_epoch_seconds(request.row.submitted_at.epoch_seconds()),
                    ..request.row.clone()
                })
                .collect(),
            pending_changes: self
                .pending
                .iter()
                .map(|(&(scheduler, id), &important)| {
                    let change = Change::clone(&self.changes[&id]);
                    PendingChange { scheduler, id, change, important }
                })
                .collect(),
            ..Restored::default()
        };
        (restored, BTreeMap::new())
    }
}
