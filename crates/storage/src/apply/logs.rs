//! Logs and their lines.

use model::LogId;

use super::{Applied, Tables};
use crate::{database::params, error::ApplyError, log::Compression, sql::logs as sql};

pub(super) fn chunk(
    tables: &Tables<'_>,
    log: LogId,
    (first, last): (i64, i64),
    content: &[u8],
    compression: Compression,
) -> Applied {
    if first > last {
        return Err(ApplyError::Refused("a chunk has at least one line".to_owned()));
    }
    let extend = params![last.saturating_add(1), log.0, first];
    if tables.connection.execute(sql::EXTEND_LOG, extend)? != 1 {
        return Err(other_lines(tables, log)?);
    }
    tables.run(sql::ADD_CHUNK, params![log.0, first, last, content, compression.code()])
}

pub(super) fn merged(
    tables: &Tables<'_>,
    log: LogId,
    (first, last): (i64, i64),
    chunks: i64,
    content: &[u8],
    compression: Compression,
) -> Applied {
    // Somebody may have deleted some, or all.
    if tables.find(sql::COUNT_CHUNKS, params![log.0, first, last])? != Some(chunks) {
        return Ok(());
    }
    tables.run(sql::DELETE_CHUNKS, params![log.0, first, last])?;
    tables.run(sql::ADD_CHUNK, params![log.0, first, last, content, compression.code()])
}

pub(super) fn finished(tables: &Tables<'_>, log: LogId, num_lines: i64) -> Applied {
    if tables.connection.execute(sql::FINISH_LOG, params![log.0, num_lines])? == 1 {
        Ok(())
    } else {
        Err(other_lines(tables, log)?)
    }
}

fn other_lines(tables: &Tables<'_>, log: LogId) -> Applied<ApplyError> {
    Ok(ApplyError::Refused(match tables.find(sql::LOG_LINES, params![log.0])? {
        Some(lines) => format!("log {log} has {lines} lines"),
        None => format!("there is no log {log}"),
    }))
}
