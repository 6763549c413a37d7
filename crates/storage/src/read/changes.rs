//! Changes and source stamps.

use base64::{Engine, prelude::BASE64_STANDARD};
use model::{BuildsetId, Change, ChangeId, Patch, SchedulerId, SourceStamp, SourceStampId};

use super::{Parsed, Read, all, first, sourced_properties, time, truth};
use crate::{
    database::{Connection, Row, params},
    error::StorageError,
    rows::{ChangeRow, SourceStampRow},
    sql::changes as sql,
};

pub(crate) fn changes(connection: &Connection, limit: u32, offset: u32) -> Read<Vec<ChangeRow>> {
    let rows = all(connection, sql::NEWEST_CHANGES, params![limit, offset], parse_change)?;
    rows.into_iter().map(|row| complete(connection, row)).collect()
}

pub(crate) fn change(connection: &Connection, id: ChangeId) -> Read<Option<ChangeRow>> {
    first(connection, sql::CHANGE, params![id.0], parse_change)?
        .map(|row| complete(connection, row))
        .transpose()
}

pub(crate) fn change_of_source_stamp(
    connection: &Connection,
    stamp: SourceStampId,
) -> Read<Option<ChangeRow>> {
    let row = first(connection, sql::CHANGE_OF_SOURCE_STAMP, params![stamp.0], parse_change)?;
    row.map(|row| complete(connection, row)).transpose()
}

pub(crate) fn classified_changes(
    connection: &Connection,
    scheduler: SchedulerId,
) -> Read<Vec<(ChangeId, bool)>> {
    all(connection, sql::CLASSIFIED_CHANGES, params![scheduler.0], |row| {
        Ok(Ok((ChangeId(row.get(0)?), truth(row, 1)?)))
    })
}

fn parse_change(row: &Row<'_>) -> Parsed<ChangeRow> {
    Ok(Ok(ChangeRow {
        id: ChangeId(row.get(0)?),
        change: Change {
            author: row.get(1)?,
            committer: row.get(2)?,
            comments: row.get(3)?,
            branch: row.get(4)?,
            revision: row.get(5)?,
            revlink: row.get::<Option<String>>(6)?.unwrap_or_default(),
            when: time(row, 7)?,
            category: row.get(8)?,
            repository: row.get(9)?,
            codebase: row.get(10)?,
            project: row.get(11)?,
            ..Change::default()
        },
        sourcestamp: SourceStampId(row.get(12)?),
        parent: row.get::<Option<i64>>(13)?.map(ChangeId),
    }))
}

fn complete(connection: &Connection, mut row: ChangeRow) -> Read<ChangeRow> {
    row.change.files = all(connection, sql::CHANGE_FILES, params![row.id.0], |row| Ok(Ok(row.get(0)?)))?;
    row.change.properties = sourced_properties(connection, sql::CHANGE_PROPERTIES, row.id.0, "change")?;
    Ok(row)
}

pub(crate) fn sourcestamp(connection: &Connection, id: SourceStampId) -> Read<Option<SourceStampRow>> {
    first(connection, sql::SOURCE_STAMP, params![id.0], parse_source_stamp)
}

pub(crate) fn sourcestamps(connection: &Connection, buildset: BuildsetId) -> Read<Vec<SourceStampRow>> {
    all(connection, sql::SOURCE_STAMPS_OF_BUILDSET, params![buildset.0], parse_source_stamp)
}

fn parse_source_stamp(row: &Row<'_>) -> Parsed<SourceStampRow> {
    let id = SourceStampId(row.get(0)?);
    let patch = match row.get::<Option<String>>(9)? {
        None => None,
        Some(text) => match BASE64_STANDARD.decode(&text) {
            Ok(body) => Some(Patch {
                level: row.get(8)?,
                body,
                subdir: row.get::<Option<String>>(10)?.unwrap_or_default(),
                author: row.get(11)?,
                comment: row.get(12)?,
            }),
            Err(error) => {
                let what = format!("the patch of source stamp {id}");
                return Ok(Err(StorageError::Malformed { what, reason: error.to_string() }));
            }
        },
    };
    Ok(Ok(SourceStampRow {
        id,
        stamp: SourceStamp {
            branch: row.get(1)?,
            revision: row.get(2)?,
            repository: row.get(3)?,
            codebase: row.get(4)?,
            project: row.get(5)?,
            patch,
        },
        created_at: time(row, 6)?,
        patch: row.get(7)?,
    }))
}
