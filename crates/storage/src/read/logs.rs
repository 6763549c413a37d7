//! Logs and their lines.

use memchr::memchr_iter;
use model::{LogId, StepId};

use super::{Parsed, Read, all, first, truth};
use crate::{
    database::{Connection, More, Row, ValueRef, params},
    error::StorageError,
    log::{Compression, LogKind, MAX_UNPACKED},
    readers::read_failed,
    rows::{LogRow, LogText},
    sql::logs as sql,
};

/// An answer ends after the line that makes its text so long.
pub(crate) const ENOUGH_TEXT: usize = 4 << 20;
/// An answer is made of so many chunks at most: a server sends all that are asked for.
const CHUNKS: i64 = 1024;

pub(crate) fn log(connection: &Connection, id: LogId) -> Read<Option<LogRow>> {
    first(connection, sql::LOG, params![id.0], parse_log)
}

pub(crate) fn log_by_slug(connection: &Connection, step: StepId, slug: &str) -> Read<Option<LogRow>> {
    first(connection, sql::LOG_BY_SLUG, params![step.0, slug], parse_log)
}

pub(crate) fn logs(connection: &Connection, step: StepId) -> Read<Vec<LogRow>> {
    all(connection, sql::LOGS_OF_STEP, params![step.0], parse_log)
}

fn parse_log(row: &Row<'_>) -> Parsed<LogRow> {
    let id = LogId(row.get(0)?);
    let letter: String = row.get(6)?;
    let Some(kind) = LogKind::from_letter(&letter) else {
        let reason = format!("there is no kind {letter:?} of logs");
        return Ok(Err(StorageError::Malformed { what: format!("log {id}"), reason }));
    };
    Ok(Ok(LogRow {
        id,
        name: row.get(1)?,
        slug: row.get(2)?,
        step: StepId(row.get(3)?),
        complete: truth(row, 4)?,
        num_lines: row.get(5)?,
        kind,
    }))
}

pub(crate) fn log_lines(connection: &Connection, log: LogId, first_line: i64, count: u32) -> Read<LogText> {
    let mut answer = LogText { first_line, ..LogText::default() };
    if count == 0 {
        return Ok(answer);
    }
    // No line has a number that a column of PostgreSQL cannot hold.
    let last_line = first_line.saturating_add(i64::from(count) - 1).min(i32::MAX.into());
    let values = params![log.0, first_line, last_line, CHUNKS];
    connection.each::<StorageError>(sql::CHUNKS, values, |row| {
        let (first, last): (i64, i64) = (row.get(0).map_err(read_failed)?, row.get(1).map_err(read_failed)?);
        let next = first_line.saturating_add(answer.num_lines);
        if first > next {
            if answer.num_lines > 0 {
                // Somebody deleted lines in between; a reader that goes on behind the gap gets the rest.
                return Ok(More::No);
            }
            answer.first_line = first;
        }
        let text = unpack(row).map_err(|reason| StorageError::Malformed {
            what: format!("lines {first} to {last} of log {log}"),
            reason,
        })?;
        let wanted = i64::from(count) - answer.num_lines;
        append_lines(&mut answer, &text, next.max(first) - first, wanted);
        let enough = answer.text.len() >= ENOUGH_TEXT || answer.num_lines >= i64::from(count);
        Ok(if enough { More::No } else { More::Yes })
    })?;
    Ok(answer)
}

/// The text of a chunk, with its last newline.
fn unpack(row: &Row<'_>) -> Result<String, String> {
    let content = match row.get_ref(2).map_err(|error| error.to_string())? {
        ValueRef::Blob(content) | ValueRef::Text(content) => content,
        ValueRef::Null => &[],
        _ => return Err("its content is a number".to_owned()),
    };
    let code: i64 = row.get(3).map_err(|error| error.to_string())?;
    let compression =
        Compression::from_code(code).ok_or_else(|| format!("there is no compression {code}"))?;
    if content.len() > MAX_UNPACKED {
        return Err(format!("it is longer than {MAX_UNPACKED} bytes"));
    }
    let mut text = compression.unpack(content).map_err(|error| error.to_string())?;
    text.push(b'\n');
    Ok(match String::from_utf8(text) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Adds at most `wanted` lines of a chunk, without its first `skip`, and not many more than [`ENOUGH_TEXT`] bytes.
fn append_lines(answer: &mut LogText, text: &str, skip: i64, wanted: i64) {
    let mut ends = memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1);
    let mut from = 0;
    for _ in 0..skip {
        match ends.next() {
            Some(end) => from = end,
            None => return,
        }
    }
    let room = ENOUGH_TEXT.saturating_sub(answer.text.len());
    let (mut to, mut lines) = (from, 0);
    while lines < wanted && to - from < room {
        let Some(end) = ends.next() else { break };
        to = end;
        lines += 1;
    }
    answer.text.push_str(&text[from..to]);
    answer.num_lines += lines;
}
