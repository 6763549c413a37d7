//! What requests mean: each is translated to the engine or to a query.

use std::{path::PathBuf, sync::Arc};

use config::{Config, nearest};
use engine::{
    Clock, Refusal as CoreRefusal,
    master::{Master, MasterError},
    worker::Credentials,
};
use model::{BuildRequestId, Json, Properties, Time};
use serde::Serialize;
use storage::Store;
use tokio::{io::AsyncWrite, sync::watch};

use super::{
    BuildStop, ChangeAdded, NewChange, Nothing, Prune, Pruned, Refusal, Reloaded, Request, RequestCancel,
    WorkerPause, follow, force, pool,
    server::{Answers, internal},
    view,
};

use crate::{janitor, local_workers::LocalWorkers};

/// The longest reason that somebody gives, in characters.
const MAX_REASON: usize = 500;

/// How the master is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// Not at all.
    #[default]
    Not,
    /// When no build runs any more.
    Drain,
    /// At once.
    Now,
}

/// Everything that requests can be about.
#[derive(Debug)]
pub(crate) struct House {
    /// The engine.
    pub(crate) master: Master,
    /// The database.
    pub(crate) store: Store,
    /// What is in force.
    pub(crate) config: watch::Sender<Arc<Config>>,
    /// Who may log in.
    pub(crate) credentials: watch::Sender<Arc<Credentials>>,
    /// What workers log in with that the master runs itself.
    pub(crate) local_workers: LocalWorkers,
    /// Tells the time.
    pub(crate) clock: Arc<dyn Clock>,
    /// The file that `reload` reads again.
    pub(crate) file: PathBuf,
    /// The addresses that are bound.
    pub(crate) listen: Vec<String>,
    /// Where HTTP is served, if it is.
    pub(crate) web: Option<String>,
    /// When the master was started.
    pub(crate) started_at: Time,
    /// How the master is to end; only ever gets more urgent.
    pub(crate) ending: watch::Sender<Ending>,
}

impl House {
    /// The version of the program.
    pub(crate) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Does what is asked.
    pub(super) async fn answer<W: AsyncWrite + Unpin>(
        &self,
        request: Request,
        answers: &mut Answers<W>,
    ) -> Result<Json, Refusal> {
        match request {
            Request::Hello(_) => Err(Refusal::new(Refusal::INVALID_REQUEST, "hello was said before")),
            Request::Status(_) => json(view::status(self).await?),
            Request::Builds(filter) => json(view::builds(self, filter).await?),
            Request::Build(selector) => json(view::detail(self, &selector).await?),
            Request::Force(force) => json(force::run(self, force, answers).await?),
            Request::ForceSchedulers(_) => json(force::schedulers(&self.config.borrow())),
            Request::ChangeAdd(change) => json(self.add_change(*change).await?),
            Request::Log(selector) => json(follow::run(self, selector, answers).await?),
            Request::BuildStop(stop) => json(self.stop_build(stop).await?),
            Request::RequestCancel(cancel) => json(self.cancel_request(cancel).await?),
            Request::WorkerPause(pause) => json(self.pause_worker(pause).await?),
            Request::WorkerUnpause(name) => json(self.unpause_worker(&name.worker).await?),
            Request::PoolList(_) => json(pool::list(self).await?),
            Request::PoolShow(name) => json(pool::show(self, &name.pool).await?),
            Request::PoolWhy(filter) => json(pool::why(self, filter).await?),
            Request::PoolPlan(filter) => json(pool::plan(self, filter).await?),
            Request::PoolDecisions(filter) => json(pool::decisions(self, filter, answers).await?),
            Request::PoolDrain(name) => json(pool::drain(self, name).await?),
            Request::PoolHold(hold) => json(pool::hold(self, hold).await?),
            Request::PoolRelease(name) => json(pool::release(self, name).await?),
            Request::PoolPause(pause) => json(pool::pause(self, pause).await?),
            Request::PoolResume(name) => json(pool::resume(self, name).await?),
            Request::PoolScale(scale) => json(pool::scale(self, scale).await?),
            Request::PoolTrust(name) => json(pool::trust(self, name).await?),
            Request::Prune(prune) => json(self.prune(prune).await?),
            Request::Reload(_) => json(self.reload().await?),
            Request::Shutdown(shutdown) => {
                self.end(if shutdown.now { Ending::Now } else { Ending::Drain });
                json(Nothing {})
            }
        }
    }

    /// Lets the master end; nothing makes that less urgent again.
    pub(crate) fn end(&self, how: Ending) {
        self.ending.send_if_modified(|ending| {
            let more = how > *ending;
            *ending = (*ending).max(how);
            more
        });
    }

    /// Reads the configuration again and puts it in force.
    pub(crate) async fn reload(&self) -> Result<Reloaded, Refusal> {
        let file = self.file.clone();
        let loaded = tokio::task::spawn_blocking(move || config::load(&file)).await.map_err(internal)?;
        let loaded = loaded.map_err(|errors| {
            Refusal::new(
                Refusal::CONFIGURATION,
                format!(
                    "{errors}; the master keeps the configuration that it has\n{}",
                    errors.render(false).trim_end()
                ),
            )
        })?;
        let warnings = loaded.warnings.render(false).trim_end().to_owned();
        let mut config = loaded.config;
        self.local_workers.let_in(&mut config).map_err(internal)?;
        let config = Arc::new(config);
        // A worker that is new must not be refused because it was quicker than the core.
        let before = self.credentials.send_replace(Arc::new(Credentials::new(&config)));
        match self.master.reload(Arc::clone(&config)).await {
            Ok(changes) => {
                self.config.send_replace(config);
                Ok(Reloaded { changes, warnings })
            }
            Err(error) => {
                self.credentials.send_replace(before);
                Err(not_done(error))
            }
        }
    }

    async fn add_change(&self, new: NewChange) -> Result<ChangeAdded, Refusal> {
        let mut properties = Properties::new();
        for (name, value) in new.properties {
            properties.set(name, value, "Change");
        }
        let change = model::Change {
            author: new.author,
            committer: new.committer,
            comments: new.comments,
            files: new.files,
            branch: new.branch,
            revision: new.revision,
            revlink: new.revlink,
            when: new.when_timestamp.map_or_else(|| self.clock.now(), Time::from_epoch_seconds),
            category: new.category,
            repository: new.repository,
            codebase: new.codebase,
            project: new.project,
            properties,
        };
        let id = self.master.add_change(change).await.map_err(not_done)?;
        Ok(ChangeAdded { changeid: id.0 })
    }

    async fn cancel_request(&self, cancel: RequestCancel) -> Result<Nothing, Refusal> {
        let id = BuildRequestId(cancel.buildrequestid);
        is_reason(&cancel.reason)?;
        match self.master.cancel_request(id, cancel.reason).await {
            Ok(()) => Ok(Nothing {}),
            Err(error @ MasterError::Refused(_)) => {
                match self.store.request(id).await.map_err(view::unreadable)? {
                    Some(row) if row.complete => {
                        Err(Refusal::not_found(format!("build request {id} is complete already")))
                    }
                    Some(_) => Err(not_done(error)),
                    None => Err(Refusal::not_found(format!("no build request has the number {id}"))),
                }
            }
            Err(error) => Err(not_done(error)),
        }
    }

    async fn pause_worker(&self, pause: WorkerPause) -> Result<Nothing, Refusal> {
        is_reason(&pause.reason)?;
        let paused = self.master.pause_worker(&pause.worker, pause.reason).await;
        self.of_worker(&pause.worker, paused).await
    }

    async fn unpause_worker(&self, worker: &str) -> Result<Nothing, Refusal> {
        let unpaused = self.master.unpause_worker(worker).await;
        self.of_worker(worker, unpaused).await
    }

    /// The answer about a worker; when there is none of that name, with the one that was probably meant.
    async fn of_worker(&self, name: &str, done: Result<(), MasterError>) -> Result<Nothing, Refusal> {
        let Err(error) = done else { return Ok(Nothing {}) };
        let MasterError::Refused(CoreRefusal::NoSuchWorker(_)) = &error else { return Err(not_done(error)) };
        let workers = self.master.status().await.map_err(not_done)?.workers;
        let near = nearest(name, workers.iter().map(|worker| worker.name.as_str()));
        let meant = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        Err(Refusal::not_found(format!("{error}{meant}")))
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned, Refusal> {
        let Some(janitor) = self.config.borrow().janitor.clone() else {
            let message = "the configuration has no `[janitor]`, so everything is kept";
            return Err(Refusal::new(Refusal::NOT_FOUND, message));
        };
        let (horizons, now) = (janitor::horizons(&janitor), self.clock.now());
        let pruned = if prune.dry_run {
            self.store.prunable(&horizons, now).await
        } else {
            self.store.prune(&horizons, now).await
        };
        let storage::Pruned { logs, build_data, builds, changes } = pruned.map_err(internal)?;
        Ok(Pruned { logs, build_data, builds, changes })
    }

    async fn stop_build(&self, stop: BuildStop) -> Result<Nothing, Refusal> {
        let build = view::find_build(self, &stop.build).await?;
        is_reason(&stop.reason)?;
        if build.complete_at.is_some() {
            return Err(Refusal::not_found(format!(
                "{} is complete already",
                view::name_of(self, &build).await?
            )));
        }
        self.master.stop_build(build.id, stop.reason).await.map_err(not_done)?;
        Ok(Nothing {})
    }
}

/// Whether a reason says anything, and no more than fits into a line about what it is the reason for.
pub(super) fn is_reason(text: &str) -> Result<(), Refusal> {
    let length = text.chars().count();
    let wrong = match length {
        _ if text.trim().is_empty() => "the reason is empty: others want to know why".to_owned(),
        0..=MAX_REASON => return Ok(()),
        _ => format!("the reason has {length} characters; {MAX_REASON} are the most"),
    };
    Err(Refusal::new(Refusal::INVALID_PARAMS, wrong))
}

/// Why the master does not do what is asked.
pub(super) fn not_done(error: MasterError) -> Refusal {
    let code = match &error {
        MasterError::Refused(
            CoreRefusal::Form(_) | CoreRefusal::NotAForceScheduler(_) | CoreRefusal::NotABuilderOf { .. },
        ) => Refusal::INVALID_PARAMS,
        MasterError::Refused(_) => Refusal::NOT_FOUND,
        MasterError::Provider(_) => Refusal::CONFIGURATION,
        MasterError::Stalled | MasterError::Unconfirmed | MasterError::Ending => Refusal::TRY_AGAIN,
        _ => Refusal::INTERNAL,
    };
    Refusal::new(code, format!("{:#}", anyhow::Error::new(error)))
}

fn json(answer: impl Serialize) -> Result<Json, Refusal> {
    serde_json::to_value(answer).map_err(internal)
}
