//! Builders, workers and schedulers of the configuration.

use model::{BuilderId, Json, SchedulerId, WorkerId};

use super::{Applied, Tables};
use crate::{database::params, error::ApplyError, hash::name_hash, json, sql::identity as sql};

pub(super) fn builder(
    tables: &Tables<'_>,
    id: BuilderId,
    name: &str,
    description: Option<&str>,
    tags: &[String],
) -> Applied {
    describe_builder(tables, id, name, description, tags)?;
    tables.run(sql::ADD_BUILDER_MASTER, params![id.0, tables.master.0])
}

/// One that is in no configuration, and so is no master's.
pub(super) fn virtual_builder(
    tables: &Tables<'_>,
    id: BuilderId,
    name: &str,
    description: Option<&str>,
    project: Option<&str>,
    tags: &[String],
) -> Applied {
    describe_builder(tables, id, name, description, tags)?;
    let project = match project {
        Some(project) => Some(tables.find_or_add_name(sql::FIND_PROJECT, sql::ADD_PROJECT, project)?),
        None => None,
    };
    tables.run(sql::ASSIGN_BUILDER, params![project, id.0])
}

fn describe_builder(
    tables: &Tables<'_>,
    id: BuilderId,
    name: &str,
    description: Option<&str>,
    tags: &[String],
) -> Applied {
    add_builder(tables, id, name)?;
    tables.run(sql::DESCRIBE_BUILDER, params![description, id.0])?;
    tables.run(sql::CLEAR_BUILDER_TAGS, params![id.0])?;
    for tag in tags {
        let tag = tables.find_or_add_name(sql::FIND_TAG, sql::ADD_TAG, tag)?;
        tables.run(sql::TAG_BUILDER, params![id.0, tag])?;
    }
    Ok(())
}

/// Adds the row of a builder unless it is there.
pub(crate) fn add_builder(tables: &Tables<'_>, id: BuilderId, name: &str) -> Applied {
    let hash = name_hash(name);
    match tables.find(sql::FIND_BUILDER, params![hash])? {
        Some(known) => same("builder", name, known, id.0),
        None => tables.run(sql::ADD_BUILDER, params![id.0, name, hash]),
    }
}

pub(super) fn builder_gone(tables: &Tables<'_>, builder: BuilderId) -> Applied {
    // The foreign key takes the configured workers along.
    tables.run(sql::REMOVE_BUILDER_MASTER, params![builder.0, tables.master.0])
}

pub(super) fn worker(tables: &Tables<'_>, id: WorkerId, name: &str) -> Applied {
    add_worker(tables, id, name)
}

/// Adds the row of a worker unless it is there.
pub(crate) fn add_worker(tables: &Tables<'_>, id: WorkerId, name: &str) -> Applied {
    match tables.find(sql::FIND_WORKER, params![name])? {
        Some(known) => same("worker", name, known, id.0),
        None => tables.run(sql::ADD_WORKER, params![id.0, name]),
    }
}

pub(super) fn configured_worker(tables: &Tables<'_>, worker: WorkerId, builders: &[BuilderId]) -> Applied {
    tables.run(sql::DECONFIGURE_WORKER, params![worker.0, tables.master.0])?;
    for builder in builders {
        let values = params![worker.0, builder.0, tables.master.0];
        tables.one(sql::CONFIGURE_WORKER, values, || {
            format!("builder {builder} is named twice, or is not in this master's configuration")
        })?;
    }
    Ok(())
}

pub(super) fn worker_connected(tables: &Tables<'_>, worker: WorkerId, info: &Json) -> Applied {
    tables.one(sql::WORKER_INFO, params![json::text(info), worker.0], || {
        format!("there is no worker {worker}")
    })?;
    tables.run(sql::CONNECT_WORKER, params![tables.master.0, worker.0])
}

pub(super) fn scheduler(tables: &Tables<'_>, id: SchedulerId, name: &str) -> Applied {
    add_scheduler(tables, id, name)?;
    tables.run(sql::TAKE_SCHEDULER, params![id.0, tables.master.0])?;
    match tables.find(sql::SCHEDULER_MASTER, params![id.0])? {
        Some(master) if master != tables.master.0 => {
            Err(ApplyError::Refused(format!("master {master} runs the scheduler")))
        }
        _ => Ok(()),
    }
}

/// Adds the row of a scheduler unless it is there.
pub(crate) fn add_scheduler(tables: &Tables<'_>, id: SchedulerId, name: &str) -> Applied {
    let hash = name_hash(name);
    match tables.find(sql::FIND_SCHEDULER, params![hash])? {
        Some(known) => same("scheduler", name, known, id.0),
        None => tables.run(sql::ADD_SCHEDULER, params![id.0, name, hash]),
    }
}

fn same(what: &str, name: &str, known: i64, given: i64) -> Applied {
    if known == given {
        Ok(())
    } else {
        Err(ApplyError::Refused(format!("the {what} {name:?} has the id {known} already")))
    }
}
