//! What the core knows, for people and programs to look at.

use std::collections::BTreeSet;

use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, Results, SchedulerId, Time, WorkerId,
};
use serde::Serialize;

use super::{Core, Drain, Reason, SessionId, workers::Link};
use crate::notice::CurrentStep;

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// Whether no more builds are started.
    pub draining: bool,
    /// Workers, by name.
    pub workers: Vec<WorkerStatus>,
    /// Builders, in the order of the configuration.
    pub builders: Vec<BuilderStatus>,
    /// Schedulers, in the order of the configuration.
    pub schedulers: Vec<SchedulerStatus>,
    /// Requests that wait, the most urgent of each builder first, builders in their order.
    pub pending: Vec<PendingStatus>,
    /// Builds that run, oldest first.
    pub running: Vec<BuildStatus>,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerStatus {
    /// Its id.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// How far its connection has come.
    pub link: LinkStatus,
    /// Its connection, if it has one.
    #[serde(skip)]
    pub session: Option<SessionId>,
    /// Whether it is in the configuration. One that is not finishes its builds and is let go.
    pub configured: bool,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
    /// Whether it shuts down once its builds are done.
    pub graceful: bool,
    /// Until when it is left alone after a failure of its machinery.
    pub quarantined_until: Option<Time>,
    /// How many builds it may run at once; `None` is as many as there are builders.
    pub max_builds: Option<u32>,
    /// What it runs.
    pub running: Vec<BuildId>,
}

/// How far a worker's connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    /// There is none.
    Disconnected,
    /// It has logged in and is being set up.
    Connecting,
    /// It can build.
    Connected,
}

/// A builder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BuilderStatus {
    /// Its id.
    pub id: BuilderId,
    /// Its name.
    pub name: String,
    /// Shown to users.
    pub description: Option<String>,
    /// Words to filter by.
    pub tags: Vec<String>,
    /// Names of its workers.
    pub workers: Vec<String>,
    /// Requests that wait.
    pub pending: usize,
    /// What runs of it.
    pub running: Vec<BuildId>,
    /// The number of its last build; 0 when there was none.
    pub last_number: BuildNumber,
}

/// A scheduler.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SchedulerStatus {
    /// Its id.
    pub id: SchedulerId,
    /// Its name.
    pub name: String,
    /// Buildbot's name of its class.
    pub class: &'static str,
    /// Names of its builders.
    pub builders: Vec<String>,
    /// Whether it acts on changes.
    pub enabled: bool,
    /// Changes that wait for the tree to be stable.
    pub waiting_changes: usize,
    /// When it builds next, if nothing comes in between.
    pub due: Option<Time>,
}

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PendingStatus {
    /// Its id.
    pub request: BuildRequestId,
    /// Its set.
    pub buildset: BuildsetId,
    /// Its builder.
    pub builder: String,
    /// Higher is sooner.
    pub priority: i64,
    /// When it was asked for.
    pub submitted_at: Time,
    /// Why it was asked for.
    pub reason: String,
    /// Why it waits.
    pub why: Reason,
}

/// A build that runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BuildStatus {
    /// Its id.
    pub build: BuildId,
    /// Its number within the builder.
    pub number: BuildNumber,
    /// Its builder.
    pub builder: String,
    /// Its worker.
    pub worker: String,
    /// Its requests.
    pub requests: Vec<BuildRequestId>,
    /// Why it was asked for.
    pub reason: String,
    /// When it started.
    pub started_at: Time,
    /// What it was told to end as, if it was.
    pub stopping: Option<Results>,
    /// The step it is at, if that is known.
    pub step: Option<CurrentStep>,
}

impl Core {
    /// Everything at once. Grows with all that there is: for people, not for every event.
    pub fn status(&self) -> Status {
        Status {
            draining: self.drain != Drain::Off,
            workers: self.workers(),
            builders: self.builders(),
            schedulers: self.schedulers(),
            pending: self.pending(),
            running: self.running(),
        }
    }

    /// All workers that are configured or connected, by name.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let all = self.worker_ids.values().filter_map(|id| Some((*id, self.workers.get(id)?)));
        let shown = all.filter(|(_, worker)| worker.config.is_some() || worker.link != Link::Gone);
        let status = shown.map(|(id, worker)| WorkerStatus {
            id,
            name: worker.name.clone(),
            link: match worker.link {
                Link::Gone => LinkStatus::Disconnected,
                Link::Admitted(_) | Link::Attached(_) => LinkStatus::Connecting,
                Link::Ready(_) => LinkStatus::Connected,
            },
            session: worker.link.session(),
            configured: worker.config.is_some(),
            paused: worker.paused.clone(),
            graceful: worker.graceful,
            quarantined_until: worker.quarantine.until,
            max_builds: worker.config.as_ref().and_then(|config| config.max_builds).map(Into::into),
            running: worker.running.values().copied().collect(),
        });
        status.collect()
    }

    /// All builders of the configuration, in its order, and then those that are not in it but have requests or builds:
    /// they were once, or are virtual.
    pub fn builders(&self) -> Vec<BuilderStatus> {
        let ids = self.config.builders.iter().filter_map(|config| self.builder_ids.get(&config.name));
        let all = ids.filter_map(|id| Some((*id, self.builders.get(id)?)));
        let recorded: BTreeSet<BuilderId> = self.builds.values().map(|running| running.recorded).collect();
        let gone = self.builders.iter().map(|(id, builder)| (*id, builder)).filter(|(id, builder)| {
            let is_busy = !builder.pending.is_empty() || !builder.running.is_empty() || recorded.contains(id);
            builder.config.is_none() && is_busy
        });
        let status = all.chain(gone).map(|(id, builder)| {
            let config = builder.config.as_ref();
            BuilderStatus {
                id,
                name: builder.name.to_string(),
                description: config.and_then(|config| config.description.clone()),
                tags: config.map(|config| config.tags.clone()).unwrap_or_default(),
                workers: config.map(|config| config.workers.clone()).unwrap_or_default(),
                pending: builder.pending.len(),
                running: builder.running.keys().copied().collect(),
                last_number: builder.last_number,
            }
        });
        status.collect()
    }

    /// All schedulers of the configuration, in its order.
    pub fn schedulers(&self) -> Vec<SchedulerStatus> {
        let ids = self.config.schedulers.iter().filter_map(|config| self.scheduler_ids.get(&config.name));
        let all = ids.filter_map(|id| Some((*id, self.schedulers.get(id)?)));
        let status = all.filter_map(|(id, scheduler)| {
            let config = scheduler.config.as_ref()?;
            Some(SchedulerStatus {
                id,
                name: scheduler.name.clone(),
                class: config.kind.class(),
                builders: config.builder_names.clone(),
                enabled: scheduler.enabled,
                waiting_changes: self.waiting_changes(id),
                due: scheduler.timers.values().filter_map(|timer| timer.due).chain(scheduler.due).min(),
            })
        });
        status.collect()
    }

    /// All requests that wait, with why; of builders in the order of their ids, the most urgent of each first.
    pub fn pending(&self) -> Vec<PendingStatus> {
        let mut all = Vec::new();
        for (id, builder) in self.builders.iter().filter(|(_, builder)| !builder.pending.is_empty()) {
            let why = self.why_builder(*id);
            for (ahead, key) in builder.pending.iter().enumerate() {
                let Some(request) = self.requests.get(&key.2) else { continue };
                let buildset = self.buildsets.get(&request.buildset);
                all.push(PendingStatus {
                    request: key.2,
                    buildset: request.buildset,
                    builder: builder.name.to_string(),
                    priority: request.priority,
                    submitted_at: request.submitted_at,
                    reason: buildset.map_or_else(String::new, |buildset| buildset.reason.clone()),
                    why: self
                        .expected(key.2, &why)
                        .unwrap_or_else(|| why.clone().behind(ahead, &builder.name)),
                });
            }
        }
        all
    }

    /// All builds that run, oldest first. Their steps are not known here.
    pub fn running(&self) -> Vec<BuildStatus> {
        let status = self.builds.iter().map(|(&build, running)| {
            let request = running.requests.first().and_then(|request| self.requests.get(request));
            let buildset = request.and_then(|request| self.buildsets.get(&request.buildset));
            let builder = self.builders.get(&running.recorded);
            let worker = self.workers.get(&running.worker);
            BuildStatus {
                build,
                number: running.number,
                builder: builder.map_or_else(String::new, |builder| builder.name.to_string()),
                worker: worker.map_or_else(String::new, |worker| worker.name.clone()),
                requests: running.requests.clone(),
                reason: buildset.map_or_else(String::new, |buildset| buildset.reason.clone()),
                started_at: running.started_at,
                stopping: running.stopping,
                step: None,
            }
        });
        status.collect()
    }
}
