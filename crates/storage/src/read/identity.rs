//! Masters, builders, workers, schedulers.

use std::collections::HashMap;

use model::{BuilderId, MasterId, SchedulerId, WorkerId};

use super::{Parsed, Read, all, first, json, time, truth};
use crate::{
    database::{self, Connection, Row, Values, params},
    hash::fitting,
    rows::{BuilderRow, MasterRow, ObjectStates, SchedulerRow, WorkerRow},
    sql::{identity as sql, state},
};

pub(crate) fn masters(connection: &Connection) -> Read<Vec<MasterRow>> {
    all(connection, sql::MASTERS, params![], |row| {
        Ok(Ok(MasterRow {
            id: MasterId(row.get(0)?),
            name: row.get(1)?,
            active: truth(row, 2)?,
            last_active: time(row, 3)?,
        }))
    })
}

pub(crate) fn builders(connection: &Connection) -> Read<Vec<BuilderRow>> {
    let mut rows = all(connection, sql::BUILDERS, params![], parse_builder)?;
    let mut tags = by_id(connection, sql::ALL_BUILDER_TAGS, params![], |row| row.get(1))?;
    let mut masters = by_id(connection, sql::ALL_BUILDER_MASTERS, params![], |row| row.get(1).map(MasterId))?;
    for row in &mut rows {
        row.tags = tags.remove(&row.id.0).unwrap_or_default();
        row.masters = masters.remove(&row.id.0).unwrap_or_default();
    }
    Ok(rows)
}

pub(crate) fn builder(connection: &Connection, id: BuilderId) -> Read<Option<BuilderRow>> {
    let Some(mut row) = first(connection, sql::BUILDER, params![id.0], parse_builder)? else {
        return Ok(None);
    };
    row.tags = all(connection, sql::BUILDER_TAGS, params![id.0], |row| Ok(Ok(row.get(1)?)))?;
    row.masters = all(connection, sql::BUILDER_MASTERS, params![id.0], |row| Ok(Ok(MasterId(row.get(1)?))))?;
    Ok(Some(row))
}

fn parse_builder(row: &Row<'_>) -> Parsed<BuilderRow> {
    Ok(Ok(BuilderRow {
        id: BuilderId(row.get(0)?),
        name: row.get(1)?,
        description: row.get(2)?,
        description_format: row.get(3)?,
        description_html: row.get(4)?,
        project: row.get(5)?,
        tags: Vec::new(),
        masters: Vec::new(),
    }))
}

pub(crate) fn workers(connection: &Connection) -> Read<Vec<WorkerRow>> {
    let mut rows = all(connection, sql::WORKERS, params![], parse_worker)?;
    let mut configured = by_id(connection, sql::ALL_CONFIGURED_WORKERS, params![], configured_on)?;
    let mut connected =
        by_id(connection, sql::ALL_CONNECTED_WORKERS, params![], |row| row.get(1).map(MasterId))?;
    for row in &mut rows {
        row.configured_on = configured.remove(&row.id.0).unwrap_or_default();
        row.connected_to = connected.remove(&row.id.0).unwrap_or_default();
    }
    Ok(rows)
}

pub(crate) fn worker(connection: &Connection, id: WorkerId) -> Read<Option<WorkerRow>> {
    let Some(mut row) = first(connection, sql::WORKER, params![id.0], parse_worker)? else { return Ok(None) };
    row.configured_on =
        all(connection, sql::CONFIGURED_WORKER, params![id.0], |row| Ok(Ok(configured_on(row)?)))?;
    row.connected_to =
        all(connection, sql::CONNECTED_WORKER, params![id.0], |row| Ok(Ok(MasterId(row.get(1)?))))?;
    Ok(Some(row))
}

fn configured_on(row: &Row<'_>) -> Result<(MasterId, BuilderId), database::Error> {
    Ok((MasterId(row.get(1)?), BuilderId(row.get(2)?)))
}

fn parse_worker(row: &Row<'_>) -> Parsed<WorkerRow> {
    let id = WorkerId(row.get(0)?);
    let info: String = row.get(2)?;
    let (name, paused, pause_reason, graceful) = (row.get(1)?, truth(row, 3)?, row.get(4)?, truth(row, 5)?);
    Ok(json(&info, || format!("what worker {id} said about itself")).map(|info| WorkerRow {
        id,
        name,
        info,
        paused,
        pause_reason,
        graceful,
        configured_on: Vec::new(),
        connected_to: Vec::new(),
    }))
}

pub(crate) fn schedulers(connection: &Connection) -> Read<Vec<SchedulerRow>> {
    all(connection, sql::SCHEDULERS, params![], |row| {
        Ok(Ok(SchedulerRow {
            id: SchedulerId(row.get(0)?),
            name: row.get(1)?,
            // The column may be null, and its default is 1.
            enabled: row.get::<Option<i64>>(2)? != Some(0),
            master: row.get::<Option<i64>>(3)?.map(MasterId),
        }))
    })
}

/// What components of a name keep: by class and key.
pub(crate) fn object_states(connection: &Connection, object: &str) -> Read<ObjectStates> {
    let object = fitting(object, state::OBJECT_LENGTH);
    let rows = all(connection, state::STATES, params![&*object], |row| {
        let (class, key, text): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(json(&text, || format!("state {key:?} of {object:?}")).map(|value| ((class, key), value)))
    })?;
    Ok(rows.into_iter().collect())
}

/// Groups rows by the id in their first column, in their order.
fn by_id<T>(
    connection: &Connection,
    sql: &str,
    values: Values<'_>,
    parse: impl Fn(&Row<'_>) -> Result<T, database::Error>,
) -> Read<HashMap<i64, Vec<T>>> {
    let mut groups: HashMap<i64, Vec<T>> = HashMap::new();
    for (id, value) in all(connection, sql, values, |row| Ok(Ok((row.get(0)?, parse(row)?))))? {
        groups.entry(id).or_default().push(value);
    }
    Ok(groups)
}
