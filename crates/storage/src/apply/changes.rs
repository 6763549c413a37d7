//! Changes and source stamps.

use base64::{Engine, prelude::BASE64_STANDARD};
use model::{Change, ChangeId, SchedulerId, SourceStamp, Time};

use super::{Applied, Tables, seconds};
use crate::{database::params, hash::source_stamp_hash, json, sql::changes as sql, write::Classified};

pub(super) fn change(tables: &Tables<'_>, id: ChangeId, change: &Change, at: Time) -> Applied {
    let stamp = source_stamp(tables, &change.source_stamp(), at)?;
    let Change { branch, repository, project, codebase, .. } = change;
    let parent = match branch {
        Some(branch) => {
            tables.find(sql::FIND_PARENT_CHANGE, params![branch, repository, project, codebase])?
        }
        None => {
            tables.find(sql::FIND_PARENT_CHANGE_OF_DEFAULT_BRANCH, params![repository, project, codebase])?
        }
    };
    tables.run(
        sql::ADD_CHANGE,
        params![
            id.0,
            change.author,
            change.committer,
            change.comments,
            branch,
            change.revision,
            change.revlink,
            seconds(change.when),
            change.category,
            repository,
            codebase,
            project,
            stamp,
            parent
        ],
    )?;
    for file in &change.files {
        tables.run(sql::ADD_CHANGE_FILE, params![id.0, file])?;
    }
    for (name, property) in &change.properties {
        let value = json::text(&(&property.value, &property.source));
        tables.run(sql::ADD_CHANGE_PROPERTY, params![id.0, name, value])?;
    }
    Ok(())
}

/// Finds the row of a source stamp, or adds it. A patch is never shared: its row is new each time, and so is the stamp's.
pub(super) fn source_stamp(tables: &Tables<'_>, stamp: &SourceStamp, at: Time) -> Applied<i64> {
    let patch = match &stamp.patch {
        // Buildbot drops an empty patch, too.
        Some(patch) if !patch.body.is_empty() => Some(tables.add(
            sql::ADD_PATCH,
            params![
                patch.level,
                BASE64_STANDARD.encode(&patch.body),
                patch.author,
                patch.comment,
                patch.subdir
            ],
        )?),
        _ => None,
    };
    let hash = source_stamp_hash(stamp, patch);
    if let Some(id) = tables.find(sql::FIND_SOURCE_STAMP, params![hash])? {
        return Ok(id);
    }
    tables.add(
        sql::ADD_SOURCE_STAMP,
        params![
            hash,
            stamp.branch,
            stamp.revision,
            patch,
            stamp.repository,
            stamp.codebase,
            stamp.project,
            seconds(at)
        ],
    )
}

pub(super) fn forget(tables: &Tables<'_>, scheduler: SchedulerId, changes: &Classified) -> Applied {
    match changes {
        Classified::All => tables.run(sql::FORGET_CHANGES, params![scheduler.0]),
        Classified::These(changes) => changes
            .iter()
            .try_for_each(|change| tables.run(sql::FORGET_CHANGE, params![scheduler.0, change.0])),
        Classified::Through(change) => {
            tables.run(sql::FORGET_CHANGES_THROUGH, params![scheduler.0, change.0])
        }
    }
}
