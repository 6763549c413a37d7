//! Builds and steps.

use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, Json, MasterId, Properties, Property, StepId, WorkerId,
};

use super::{Conditions, Parsed, Read, all, first, json, maybe_time, results, time, truth};
use crate::{
    database::{Connection, Row, params},
    rows::{BuildFilter, BuildOrder, BuildRow, StepRow},
    sql::builds as sql,
};

pub(crate) fn build(connection: &Connection, id: BuildId) -> Read<Option<BuildRow>> {
    first(connection, &format!("{} WHERE id = $1", sql::BUILDS), params![id.0], parse_build)
}

pub(crate) fn build_by_number(
    connection: &Connection,
    builder: BuilderId,
    number: BuildNumber,
) -> Read<Option<BuildRow>> {
    let sql = format!("{} WHERE builderid = $1 AND number = $2", sql::BUILDS);
    first(connection, &sql, params![builder.0, number.0], parse_build)
}

pub(crate) fn builds(connection: &Connection, filter: &BuildFilter) -> Read<Vec<BuildRow>> {
    let mut conditions = conditions(filter);
    let order = match filter.order {
        BuildOrder::CompleteLast => "complete_at DESC, id DESC",
        BuildOrder::Id => "id",
        BuildOrder::IdDescending => "id DESC",
        BuildOrder::NumberDescending => "number DESC",
        BuildOrder::StartedLast => "started_at DESC, id DESC",
    };
    conditions.page(order, filter.limit, filter.offset);
    let sql = format!("{}{}", sql::BUILDS, conditions.text);
    all(connection, &sql, &conditions.values(), parse_build)
}

/// How many builds a filter lets through, without its limit and offset.
pub(crate) fn count_builds(connection: &Connection, filter: &BuildFilter) -> Read<i64> {
    let conditions = conditions(filter);
    let sql = format!("{}{}", sql::COUNT_BUILDS, conditions.text);
    let count = first(connection, &sql, &conditions.values(), |row| Ok(Ok(row.get(0)?)))?;
    Ok(count.unwrap_or(0))
}

fn conditions(filter: &BuildFilter) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.equal("builderid", filter.builder.map(|id| id.0));
    conditions.equal("workerid", filter.worker.map(|id| id.0));
    conditions.equal("buildrequestid", filter.request.map(|id| id.0));
    match filter.complete {
        Some(true) => conditions.condition("complete_at IS NOT NULL"),
        Some(false) => conditions.condition("complete_at IS NULL"),
        None => {}
    }
    conditions
}

fn parse_build(row: &Row<'_>) -> Parsed<BuildRow> {
    Ok(Ok(BuildRow {
        id: BuildId(row.get(0)?),
        number: BuildNumber(row.get(1)?),
        builder: BuilderId(row.get(2)?),
        request: BuildRequestId(row.get(3)?),
        worker: row.get::<Option<i64>>(4)?.map(WorkerId),
        master: MasterId(row.get(5)?),
        started_at: time(row, 6)?,
        complete_at: maybe_time(row, 7)?,
        locks_duration: row.get(8)?,
        state_string: row.get(9)?,
        results: results(row, 10)?,
    }))
}

pub(crate) fn build_properties(connection: &Connection, id: BuildId) -> Read<Properties> {
    let rows = all(connection, sql::BUILD_PROPERTIES, params![id.0], |row| {
        let (name, text, source): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let value = json::<Json>(&text, || format!("property {name:?} of build {id}"));
        Ok(value.map(|value| (name, Property { value, source })))
    })?;
    Ok(rows.into_iter().collect())
}

pub(crate) fn steps(connection: &Connection, build: BuildId) -> Read<Vec<StepRow>> {
    all(connection, sql::STEPS_OF_BUILD, params![build.0], parse_step)
}

pub(crate) fn step(connection: &Connection, id: StepId) -> Read<Option<StepRow>> {
    first(connection, sql::STEP, params![id.0], parse_step)
}

fn parse_step(row: &Row<'_>) -> Parsed<StepRow> {
    let id = StepId(row.get(0)?);
    let urls: String = row.get(9)?;
    let urls = match json(&urls, || format!("the links of step {id}")) {
        Ok(urls) => urls,
        Err(error) => return Ok(Err(error)),
    };
    Ok(Ok(StepRow {
        id,
        number: row.get(1)?,
        name: row.get(2)?,
        build: BuildId(row.get(3)?),
        started_at: maybe_time(row, 4)?,
        locks_acquired_at: maybe_time(row, 5)?,
        complete_at: maybe_time(row, 6)?,
        state_string: row.get(7)?,
        results: results(row, 8)?,
        urls,
        hidden: truth(row, 10)?,
    }))
}
