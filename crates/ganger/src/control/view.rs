//! What is in the tables, as it is shown.

use std::collections::{BTreeSet, HashMap};

use engine::{
    core::{BuildStatus, LinkStatus},
    master::Health,
};
use model::{BuildId, BuildNumber, BuilderId, Json, WorkerId};
use pools::PoolStatus;
use storage::{BuildFilter, BuildOrder, BuildRow, BuilderRow, StorageError};

use super::{
    Build, BuildDetail, BuildSelector, BuilderStatus, Builds, BuildsFilter, Log, MasterStatus, Refusal,
    Status, Step, Waiting, WorkerStatus,
    house::{Ending, House, not_done},
    pool,
    server::internal,
};

/// The longest list of builds.
const MAX_BUILDS: u32 = 1000;

/// How many of the requests that wait for one builder are shown.
const MAX_WAITING: usize = 20;

/// Names by id, each looked up once.
pub(super) struct Names<'a> {
    house: &'a House,
    builders: HashMap<BuilderId, String>,
    workers: HashMap<WorkerId, String>,
}

impl<'a> Names<'a> {
    pub(super) fn new(house: &'a House) -> Self {
        Self { house, builders: HashMap::new(), workers: HashMap::new() }
    }

    pub(super) async fn builder(&mut self, id: BuilderId) -> Result<String, Refusal> {
        if let Some(name) = self.builders.get(&id) {
            return Ok(name.clone());
        }
        let row = self.house.store.builder(id).await.map_err(unreadable)?;
        let name = row.map_or_else(|| format!("builder {id}"), |row| row.name);
        self.builders.insert(id, name.clone());
        Ok(name)
    }

    async fn worker(&mut self, id: WorkerId) -> Result<String, Refusal> {
        if let Some(name) = self.workers.get(&id) {
            return Ok(name.clone());
        }
        let row = self.house.store.worker(id).await.map_err(unreadable)?;
        let name = row.map_or_else(|| format!("worker {id}"), |row| row.name);
        self.workers.insert(id, name.clone());
        Ok(name)
    }

    /// A row as it is shown.
    pub(super) async fn build(&mut self, row: BuildRow) -> Result<Build, Refusal> {
        Ok(Build {
            buildid: row.id.0,
            number: row.number.0,
            builder: self.builder(row.builder).await?,
            worker: match row.worker {
                Some(id) => Some(self.worker(id).await?),
                None => None,
            },
            started_at: row.started_at.epoch_seconds(),
            complete_at: row.complete_at.map(|at| at.epoch_seconds()),
            results: row.results.map(|results| results.code()),
            state_string: row.state_string,
        })
    }
}

/// The name of a build for people.
pub(super) async fn name_of(house: &House, build: &BuildRow) -> Result<String, Refusal> {
    Ok(format!("{}/{}", Names::new(house).builder(build.builder).await?, build.number))
}

/// The build that somebody means.
pub(super) async fn find_build(house: &House, selector: &BuildSelector) -> Result<BuildRow, Refusal> {
    let store = &house.store;
    let (found, what) = match selector {
        BuildSelector::Id(id) => {
            (store.build(BuildId(*id)).await.map_err(unreadable)?, format!("no build has the id {id}"))
        }
        BuildSelector::Number(name, number) => {
            let builder = find_builder(house, name).await?;
            let row = store.build_by_number(builder.id, BuildNumber(*number)).await.map_err(unreadable)?;
            (row, format!("builder {name:?} has no build {number}"))
        }
        BuildSelector::Newest(name) => {
            let builder = find_builder(house, name).await?;
            (newest(house, builder.id, None).await?, format!("builder {name:?} has built nothing yet"))
        }
    };
    found.ok_or_else(|| Refusal::not_found(what))
}

/// The newest build of a builder, or the newest of those that are complete or not.
async fn newest(
    house: &House,
    builder: BuilderId,
    complete: Option<bool>,
) -> Result<Option<BuildRow>, Refusal> {
    let newest = BuildFilter {
        builder: Some(builder),
        complete,
        order: BuildOrder::NumberDescending,
        limit: 1,
        ..BuildFilter::default()
    };
    Ok(house.store.builds(newest).await.map_err(unreadable)?.into_iter().next())
}

async fn find_builder(house: &House, name: &str) -> Result<BuilderRow, Refusal> {
    let builders = house.store.builders().await.map_err(unreadable)?;
    builders.into_iter().find(|builder| builder.name == name).ok_or_else(|| {
        Refusal::not_found(format!("no builder is called {name:?}; `ganger status` shows all"))
    })
}

/// Answers `builds`.
pub(super) async fn builds(house: &House, filter: BuildsFilter) -> Result<Builds, Refusal> {
    let builder = match &filter.builder {
        Some(name) => Some(find_builder(house, name).await?.id),
        None => None,
    };
    let wanted = BuildFilter {
        builder,
        complete: filter.complete,
        order: BuildOrder::IdDescending,
        limit: filter.limit.min(MAX_BUILDS),
        ..BuildFilter::default()
    };
    let mut names = Names::new(house);
    let mut builds = Vec::new();
    for row in house.store.builds(wanted).await.map_err(unreadable)? {
        builds.push(names.build(row).await?);
    }
    Ok(Builds { now: now(house), builds })
}

/// Answers `build`.
pub(super) async fn detail(house: &House, selector: &BuildSelector) -> Result<BuildDetail, Refusal> {
    let row = find_build(house, selector).await?;
    let id = row.id;
    let mut steps = Vec::new();
    for step in house.store.steps(id).await.map_err(unreadable)? {
        let logs = house.store.logs(step.id).await.map_err(unreadable)?;
        let logs = logs.into_iter().map(|log| Log {
            logid: log.id.0,
            name: log.name,
            slug: log.slug,
            num_lines: log.num_lines,
            complete: log.complete,
        });
        steps.push(Step {
            stepid: step.id.0,
            number: step.number,
            name: step.name,
            started_at: step.started_at.map(|at| at.epoch_seconds()),
            complete_at: step.complete_at.map(|at| at.epoch_seconds()),
            results: step.results.map(|results| results.code()),
            state_string: step.state_string,
            logs: logs.collect(),
        });
    }
    let properties = house.store.build_properties(id).await.map_err(unreadable)?;
    let build = Names::new(house).build(row).await?;
    Ok(BuildDetail { now: now(house), build, steps, properties })
}

/// Answers `status`.
pub(super) async fn status(house: &House) -> Result<Status, Refusal> {
    let core = house.master.status().await.map_err(not_done)?;
    let pools = house.master.pools().await.map_err(not_done)?;
    let mut names = Names::new(house);
    let mut builders = Vec::new();
    let mut pending: HashMap<&str, Vec<_>> = HashMap::new();
    for request in &core.pending {
        pending.entry(&request.builder).or_default().push(request);
    }
    let mut running: HashMap<&str, Vec<_>> = HashMap::new();
    for build in &core.running {
        running.entry(&build.builder).or_default().push(running_build(build));
    }
    for builder in core.builders {
        names.builders.insert(builder.id, builder.name.clone());
        let last = match newest(house, builder.id, Some(true)).await? {
            Some(row) => Some(names.build(row).await?),
            None => None,
        };
        let waiting = pending.get(&*builder.name).into_iter().flatten().map(|request| Waiting {
            buildrequestid: request.request.0,
            priority: request.priority,
            submitted_at: request.submitted_at.epoch_seconds(),
            reason: request.reason.clone(),
            why: request.why.text.clone(),
            code: serde_json::to_value(request.why.code).unwrap_or_default(),
            pool: request.why.pool.as_ref().map(|expected| expected.pool.clone()),
            expected_at: request.why.pool.as_ref().and_then(|expected| Some(expected.start?.epoch_seconds())),
        });
        builders.push(BuilderStatus {
            builderid: builder.id.0,
            pending: builder.pending,
            waiting: waiting.take(MAX_WAITING).collect(),
            running: running.remove(&*builder.name).unwrap_or_default(),
            last,
            name: builder.name,
            tags: builder.tags,
        });
    }

    let mut infos: HashMap<WorkerId, Json> =
        house.store.workers().await.map_err(unreadable)?.into_iter().map(|row| (row.id, row.info)).collect();
    let config = house.config.borrow().clone();
    let ordinary: BTreeSet<&str> = config.workers.iter().map(|worker| worker.name.as_str()).collect();
    let workers = core.workers.into_iter().map(|worker| WorkerStatus {
        workerid: worker.id.0,
        pool: slot_of(&worker.name, &pools).filter(|_| !ordinary.contains(&*worker.name)),
        connected: worker.link == LinkStatus::Connected,
        paused: worker.paused,
        graceful: worker.graceful,
        running: worker.running.len(),
        info: infos.remove(&worker.id).unwrap_or_default(),
        name: worker.name,
    });

    let master = MasterStatus {
        title: config.master.title.clone(),
        version: house.version().to_owned(),
        pid: std::process::id(),
        started_at: house.started_at.epoch_seconds(),
        directory: config.base_dir.display().to_string(),
        listen: house.listen.clone(),
        web: house.web.clone(),
        draining: core.draining || *house.ending.borrow() != Ending::Not,
        health: match house.master.health() {
            Health::Good => "good",
            Health::Stalled => "stalled",
            Health::Ending => "ending",
        }
        .to_owned(),
    };
    let workers = workers.collect();
    Ok(Status {
        now: now(house),
        master,
        workers,
        builders,
        pools: pools.iter().map(pool::of_status).collect(),
    })
}

/// The pool that a worker of this name is a slot of.
fn slot_of(worker: &str, pools: &[PoolStatus]) -> Option<String> {
    let (pool, number) = worker.rsplit_once('-')?;
    number.parse::<u32>().ok()?;
    pools.iter().find(|one| one.name == pool).map(|one| one.name.clone())
}

/// A build that runs: its state is that of its step, which the tables are not asked for.
fn running_build(build: &BuildStatus) -> Build {
    let state_string = match &build.step {
        None => "starting",
        Some(step) if step.state_string.is_empty() => &step.name,
        Some(step) => &step.state_string,
    };
    Build {
        buildid: build.build.0,
        number: build.number.0,
        builder: build.builder.clone(),
        worker: Some(build.worker.clone()),
        started_at: build.started_at.epoch_seconds(),
        complete_at: None,
        results: None,
        state_string: state_string.to_owned(),
    }
}

pub(super) fn now(house: &House) -> i64 {
    house.clock.now().epoch_seconds()
}

pub(super) fn unreadable(error: StorageError) -> Refusal {
    internal(format_args!("cannot read the database: {:#}", anyhow::Error::new(error)))
}
