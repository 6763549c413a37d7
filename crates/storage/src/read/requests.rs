//! Buildsets and build requests.

use model::{BuildId, BuildRequestId, BuilderId, BuildsetId, MasterId, Properties, Results, SourceStampId};

use super::{Conditions, Parsed, Read, all, first, maybe_time, results, sourced_properties, time, truth};
use crate::{
    database::{Connection, Row, params},
    rows::{BuildsetRow, RequestFilter, RequestRow},
    sql::requests as sql,
    write::Parent,
};

pub(crate) fn buildset(connection: &Connection, id: BuildsetId) -> Read<Option<BuildsetRow>> {
    first(connection, sql::BUILDSET, params![id.0], parse_buildset)?
        .map(|row| complete(connection, row))
        .transpose()
}

pub(crate) fn buildsets(connection: &Connection, limit: u32, offset: u32) -> Read<Vec<BuildsetRow>> {
    let rows = all(connection, sql::NEWEST_BUILDSETS, params![limit, offset], parse_buildset)?;
    rows.into_iter().map(|row| complete(connection, row)).collect()
}

pub(crate) fn incomplete_buildsets(connection: &Connection) -> Read<Vec<BuildsetRow>> {
    let rows = all(connection, sql::INCOMPLETE_BUILDSETS, params![], parse_buildset)?;
    rows.into_iter().map(|row| complete(connection, row)).collect()
}

fn parse_buildset(row: &Row<'_>) -> Parsed<BuildsetRow> {
    let parent = row.get::<Option<i64>>(7)?;
    let relationship = row.get::<Option<String>>(8)?.unwrap_or_default();
    Ok(Ok(BuildsetRow {
        id: BuildsetId(row.get(0)?),
        external_id: row.get(1)?,
        reason: row.get(2)?,
        submitted_at: time(row, 3)?,
        complete: truth(row, 4)?,
        complete_at: maybe_time(row, 5)?,
        results: results(row, 6)?,
        parent: parent.map(|build| Parent { build: BuildId(build), relationship }),
        rebuilt_build: row.get::<Option<i64>>(9)?.map(BuildId),
        sourcestamps: Vec::new(),
    }))
}

fn complete(connection: &Connection, mut row: BuildsetRow) -> Read<BuildsetRow> {
    row.sourcestamps = all(connection, sql::BUILDSET_SOURCE_STAMPS, params![row.id.0], |row| {
        Ok(Ok(SourceStampId(row.get(0)?)))
    })?;
    Ok(row)
}

pub(crate) fn buildset_properties(connection: &Connection, id: BuildsetId) -> Read<Properties> {
    sourced_properties(connection, sql::BUILDSET_PROPERTIES, id.0, "buildset")
}

pub(crate) fn finished_requests(
    connection: &Connection,
    id: BuildsetId,
) -> Read<Vec<(BuildRequestId, Results)>> {
    all(connection, sql::COMPLETE_REQUESTS_OF_BUILDSET, params![id.0], |row| {
        // A result without a meaning cannot be a success.
        Ok(Ok((BuildRequestId(row.get(0)?), results(row, 1)?.unwrap_or(Results::Exception))))
    })
}

pub(crate) fn request(connection: &Connection, id: BuildRequestId) -> Read<Option<RequestRow>> {
    first(connection, &format!("{} WHERE buildrequests.id = $1", sql::REQUESTS), params![id.0], parse_request)
}

pub(crate) fn requests(connection: &Connection, filter: &RequestFilter) -> Read<Vec<RequestRow>> {
    let RequestFilter { builder, buildset, complete, claimed, newest_first, limit, offset } = filter;
    let mut conditions = Conditions::default();
    conditions.equal("buildrequests.builderid", builder.map(|id| id.0));
    conditions.equal("buildrequests.buildsetid", buildset.map(|id| id.0));
    conditions.equal("buildrequests.complete", complete.map(i64::from));
    match claimed {
        Some(true) => conditions.condition("buildrequest_claims.brid IS NOT NULL"),
        Some(false) => conditions.condition("buildrequest_claims.brid IS NULL"),
        None => {}
    }
    conditions.page(
        if *newest_first { "buildrequests.id DESC" } else { "buildrequests.id" },
        *limit,
        *offset,
    );
    let sql = format!("{}{}", sql::REQUESTS, conditions.text);
    all(connection, &sql, &conditions.values(), parse_request)
}

fn parse_request(row: &Row<'_>) -> Parsed<RequestRow> {
    let claimed = match row.get::<Option<i64>>(10)? {
        Some(master) => Some((time(row, 9)?, MasterId(master))),
        None => None,
    };
    Ok(Ok(RequestRow {
        id: BuildRequestId(row.get(0)?),
        buildset: BuildsetId(row.get(1)?),
        builder: BuilderId(row.get(2)?),
        priority: row.get(3)?,
        complete: truth(row, 4)?,
        results: results(row, 5)?,
        submitted_at: time(row, 6)?,
        complete_at: maybe_time(row, 7)?,
        waited_for: truth(row, 8)?,
        claimed,
    }))
}
