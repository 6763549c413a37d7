//! Buildsets and build requests.

use model::{BuildRequestId, Results, Time};

use super::{Applied, Tables, changes::source_stamp, seconds};
use crate::{database::params, error::ApplyError, json, sql::requests as sql, write::Write};

pub(super) fn buildset(tables: &Tables<'_>, write: &Write) -> Applied {
    let Write::Buildset {
        id,
        external_id,
        reason,
        submitted_at,
        sourcestamps,
        properties,
        parent,
        rebuilt_build,
    } = write
    else {
        return Ok(());
    };
    let stamps = sourcestamps
        .iter()
        .map(|stamp| source_stamp(tables, stamp, *submitted_at))
        .collect::<Result<Vec<_>, _>>()?;
    tables.run(
        sql::ADD_BUILDSET,
        params![
            id.0,
            external_id,
            reason,
            seconds(*submitted_at),
            parent.as_ref().map(|parent| parent.build.0),
            parent.as_ref().map(|parent| &parent.relationship),
            rebuilt_build.map(|build| build.0)
        ],
    )?;
    for (name, property) in properties {
        let value = json::text(&(&property.value, &property.source));
        tables.run(sql::ADD_BUILDSET_PROPERTY, params![id.0, name, value])?;
    }
    for stamp in stamps {
        tables.run(sql::ADD_BUILDSET_SOURCE_STAMP, params![id.0, stamp])?;
    }
    Ok(())
}

pub(super) fn claim(tables: &Tables<'_>, request: BuildRequestId, at: Time) -> Applied {
    if let Some(owner) = tables.find(sql::CLAIMED_BY, params![request.0])? {
        return Err(ApplyError::Refused(format!("master {owner} has taken it")));
    }
    tables.run(sql::CLAIM, params![request.0, tables.master.0, seconds(at)])
}

pub(super) fn complete(tables: &Tables<'_>, request: BuildRequestId, results: Results, at: Time) -> Applied {
    if results == Results::Retry {
        return Err(ApplyError::Refused(
            "a build request is not complete when it is to be tried again".to_owned(),
        ));
    }
    tables.one(sql::COMPLETE_REQUEST, params![results.code(), seconds(at), request.0], || {
        format!("there is no build request {request} that is not complete")
    })
}
