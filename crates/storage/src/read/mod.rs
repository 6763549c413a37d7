//! Queries: how rows become values. Each is called on a connection inside a transaction.

mod builds;
mod changes;
mod identity;
mod logs;
mod pools;
mod queries;
mod requests;

use model::{Json, Properties, Results, Time};

pub(crate) use builds::{build, build_by_number, build_properties, builds, count_builds, step, steps};
pub(crate) use changes::{
    change, change_of_source_stamp, changes, classified_changes, sourcestamp, sourcestamps,
};
pub(crate) use identity::{builder, builders, masters, object_states, schedulers, worker, workers};
pub(crate) use logs::{log, log_by_slug, log_lines, logs};
pub(crate) use pools::{decisions, instances, live_pools, restore_pools};
pub(crate) use requests::{
    buildset, buildset_properties, buildsets, finished_requests, incomplete_buildsets, request, requests,
};

use crate::{
    database::{self, Connection, Row, ToSql, Value, Values, params},
    error::StorageError,
    readers::read_failed,
};

type Read<T> = Result<T, StorageError>;

/// The value of a row, or what is wrong with it. The outer error is the database's, the inner one the row's.
type Parsed<T> = Result<Result<T, StorageError>, database::Error>;

/// All rows of a query.
fn all<T>(
    connection: &Connection,
    sql: &str,
    values: Values<'_>,
    parse: impl Fn(&Row<'_>) -> Parsed<T>,
) -> Read<Vec<T>> {
    connection.all(sql, values, parse).map_err(read_failed)?.into_iter().collect()
}

/// The first row of a query, if there is one.
fn first<T>(
    connection: &Connection,
    sql: &str,
    values: Values<'_>,
    parse: impl Fn(&Row<'_>) -> Parsed<T>,
) -> Read<Option<T>> {
    connection.first(sql, values, parse).map_err(read_failed)?.transpose()
}

/// Conditions of a statement that is put together from what the caller asked for. The texts are all ours; values only
/// ever go in as parameters.
#[derive(Default)]
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds the condition that a column has a value, if one is asked for.
    fn equal(&mut self, column: &str, value: Option<impl Into<Value>>) {
        self.compare(column, "=", value);
    }

    /// Adds the condition that a column and a value are in a relation, if one is asked for.
    fn compare(&mut self, column: &str, relation: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.values.push(value.into());
            let condition = format!("{column} {relation} ${}", self.values.len());
            self.condition(&condition);
        }
    }

    fn values(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(|value| value as _).collect()
    }

    fn condition(&mut self, condition: &str) {
        self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
        self.text.push_str(condition);
    }

    fn page(&mut self, order: &str, limit: u32, offset: u32) {
        self.values.extend([Value::Integer(limit.into()), Value::Integer(offset.into())]);
        let last = self.values.len();
        self.text.push_str(&format!(" ORDER BY {order} LIMIT ${} OFFSET ${last}", last - 1));
    }
}

fn time(row: &Row<'_>, column: usize) -> Result<Time, database::Error> {
    row.get(column).map(Time::from_epoch_seconds)
}

fn maybe_time(row: &Row<'_>, column: usize) -> Result<Option<Time>, database::Error> {
    Ok(row.get::<Option<i64>>(column)?.map(Time::from_epoch_seconds))
}

/// Results; `None` before the end (null or -1), and for a number without a meaning.
fn results(row: &Row<'_>, column: usize) -> Result<Option<Results>, database::Error> {
    Ok(row.get::<Option<i64>>(column)?.and_then(Results::from_code))
}

fn truth(row: &Row<'_>, column: usize) -> Result<bool, database::Error> {
    Ok(row.get::<Option<i64>>(column)?.unwrap_or(0) != 0)
}

fn json<T: serde::de::DeserializeOwned>(text: &str, what: impl FnOnce() -> String) -> Read<T> {
    serde_json::from_str(text)
        .map_err(|error| StorageError::Malformed { what: what(), reason: error.to_string() })
}

/// Properties of rows of name and `[value, source]`.
fn sourced_properties(connection: &Connection, sql: &str, id: i64, what: &str) -> Read<Properties> {
    let rows = all(connection, sql, params![id], |row| {
        let (name, text): (String, String) = (row.get(0)?, row.get(1)?);
        let pair = json::<(Json, String)>(&text, || format!("property {name:?} of {what} {id}"));
        Ok(pair.map(|(value, source)| (name, model::Property { value, source })))
    })?;
    Ok(rows.into_iter().collect())
}
