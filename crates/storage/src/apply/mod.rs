//! How each write changes the tables.

mod builds;
mod changes;
mod identity;
mod logs;
pub(crate) mod pools;
mod requests;
mod state;

pub(crate) use identity::{add_builder, add_scheduler, add_worker};
use model::{MasterId, Time};
pub(crate) use state::object_state;

use crate::{
    database::{Connection, Values, params},
    error::ApplyError,
    hash::name_hash,
    restore, sql,
    write::Write,
};

type Applied<T = ()> = Result<T, ApplyError>;

/// Applies one write inside the caller's transaction, on behalf of `master`.
pub(crate) fn apply(connection: &Connection, master: MasterId, write: &Write) -> Applied {
    let tables = Tables { connection, master };
    match write {
        Write::MasterActive { at } => {
            // Its builds and requests are no longer its own, so it cannot go on.
            tables.one(sql::identity::MASTER_STILL_ACTIVE, params![seconds(*at), master.0], || {
                "another master has cleaned up after this one: are the clocks right? start again".into()
            })?;
            restore::expire_masters(connection, master, *at)
        }
        Write::MasterStopped { at } => {
            tables.run(sql::identity::MASTER_INACTIVE, params![master.0])?;
            restore::clean_up_after(connection, master, *at).map(drop)
        }

        Write::Builder { id, name, description, tags } => {
            identity::builder(&tables, *id, name, description.as_deref(), tags)
        }
        Write::VirtualBuilder { id, name, description, project, tags } => {
            identity::virtual_builder(&tables, *id, name, description.as_deref(), project.as_deref(), tags)
        }
        Write::BuilderGone { builder } => identity::builder_gone(&tables, *builder),
        Write::Worker { id, name } => identity::worker(&tables, *id, name),
        Write::ConfiguredWorker { worker, builders } => {
            identity::configured_worker(&tables, *worker, builders)
        }
        Write::WorkerConnected { worker, info } => identity::worker_connected(&tables, *worker, info),
        Write::WorkerDisconnected { worker } => {
            tables.run(sql::identity::DISCONNECT_WORKER, params![master.0, worker.0])
        }
        Write::WorkerState { worker, paused, pause_reason, graceful } => tables.one(
            sql::identity::WORKER_STATE,
            params![i64::from(*paused), pause_reason, i64::from(*graceful), worker.0],
            || format!("there is no worker {worker}"),
        ),
        Write::Scheduler { id, name } => identity::scheduler(&tables, *id, name),
        Write::SchedulerGone { scheduler } => {
            tables.run(sql::identity::LEAVE_SCHEDULER, params![scheduler.0, master.0])
        }
        Write::SchedulerEnabled { scheduler, enabled } => {
            tables.one(sql::identity::ENABLE_SCHEDULER, params![i64::from(*enabled), scheduler.0], || {
                format!("there is no scheduler {scheduler}")
            })
        }

        Write::Change { id, change, at } => changes::change(&tables, *id, change, *at),
        Write::SchedulerChange { scheduler, change, important } => {
            tables.run(sql::changes::CLASSIFY_CHANGE, params![scheduler.0, change.0, i64::from(*important)])
        }
        Write::SchedulerChangesDone { scheduler, changes } => changes::forget(&tables, *scheduler, changes),

        Write::Buildset { .. } => requests::buildset(&tables, write),
        Write::Request { id, buildset, builder, priority, submitted_at, waited_for } => tables.run(
            sql::requests::ADD_REQUEST,
            params![id.0, buildset.0, builder.0, priority, seconds(*submitted_at), i64::from(*waited_for)],
        ),
        Write::RequestPriority { request, priority } => {
            tables.one(sql::requests::PRIORITIZE_REQUEST, params![priority, request.0], || {
                format!("there is no build request {request} that is not complete")
            })
        }
        Write::Claim { request, at } => requests::claim(&tables, *request, *at),
        Write::Unclaim { request } => {
            tables.one(sql::requests::UNCLAIM, params![request.0, master.0], || {
                format!("this master has not taken build request {request}")
            })
        }
        Write::CompleteRequest { request, results, at } => {
            requests::complete(&tables, *request, *results, *at)
        }
        Write::CompleteBuildset { buildset, results, at } => {
            let values = params![results.code(), seconds(*at), buildset.0];
            tables.one(sql::requests::COMPLETE_BUILDSET, values, || {
                format!("there is no buildset {buildset} that is not complete")
            })
        }

        Write::Build { .. }
        | Write::BuildState { .. }
        | Write::BuildProperty { .. }
        | Write::BuildFinished { .. } => builds::build(&tables, write),
        Write::Step { .. }
        | Write::StepStarted { .. }
        | Write::StepLocksAcquired { .. }
        | Write::StepState { .. }
        | Write::StepUrl { .. }
        | Write::StepFinished { .. } => builds::step(&tables, write),

        Write::Log { id, step, name, slug, kind } => {
            tables.run(sql::logs::ADD_LOG, params![id.0, name, slug, step.0, kind.letter()])
        }
        Write::LogChunk { log, first_line, last_line, content, compression } => {
            logs::chunk(&tables, *log, (*first_line, *last_line), content, *compression)
        }
        Write::MergedChunks { log, first_line, last_line, chunks, content, compression } => {
            logs::merged(&tables, *log, (*first_line, *last_line), *chunks, content, *compression)
        }
        Write::LogFinished { log, num_lines } => logs::finished(&tables, *log, *num_lines),

        Write::ObjectState { object, class, key, value } => object_state(&tables, object, class, key, value),

        Write::Instance(row) => pools::instance(&tables, row),
        Write::PoolState { pool, data, fence } => pools::state(&tables, pool, data, *fence),
        Write::Decision(row) => pools::decision(&tables, row),
    }
}

/// A connection inside a transaction, and whose rows are written.
pub(crate) struct Tables<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) master: MasterId,
}

impl Tables<'_> {
    /// Runs a statement.
    pub(crate) fn run(&self, statement: &str, values: Values<'_>) -> Applied {
        self.connection.execute(statement, values)?;
        Ok(())
    }

    /// Runs a statement that has to change one row; `otherwise` says what it means if it does not.
    pub(crate) fn one(
        &self,
        statement: &str,
        values: Values<'_>,
        otherwise: impl FnOnce() -> String,
    ) -> Applied {
        match self.connection.execute(statement, values)? {
            1 => Ok(()),
            _ => Err(ApplyError::Refused(otherwise())),
        }
    }

    /// The number that a query answers with, if it finds a row.
    pub(crate) fn find(&self, statement: &str, values: Values<'_>) -> Applied<Option<i64>> {
        Ok(self.connection.value(statement, values)?)
    }

    /// The id of the row that a statement adds.
    pub(crate) fn add(&self, statement: &str, values: Values<'_>) -> Applied<i64> {
        self.find(statement, values)?.ok_or_else(|| ApplyError::Refused("no row was added".to_owned()))
    }

    /// Finds the row of a name by its hash, or adds it.
    pub(crate) fn find_or_add_name(&self, find: &str, add: &str, name: &str) -> Applied<i64> {
        let hash = name_hash(name);
        match self.find(find, params![hash])? {
            Some(id) => Ok(id),
            None => self.add(add, params![name, hash]),
        }
    }
}

/// Whole seconds, as the tables hold them.
pub(crate) fn seconds(time: Time) -> i64 {
    time.epoch_seconds()
}
