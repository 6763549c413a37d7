//! Deleting what is old, a little at a time.
//!
//! Buildbot's janitor (`buildbot/configurators/janitor.py`, 4.3.0) deletes the lines of old logs, and old build data, each in
//! one statement. Here whatever is to be deleted is cut into transactions of some milliseconds, and between two of them
//! everything else that waits is written.

use std::time::Duration;

use model::Time;

use crate::{
    apply::{Tables, object_state, seconds},
    database::{Connection, Error, params},
    error::{ApplyError, StorageError},
    readers::read_failed,
    sql::{janitor as sql, state},
    store::Store,
};

/// So many chunks of logs are deleted in one transaction at most; a chunk has 64 KiB of text at most.
const CHUNKS: i64 = 128;
/// So many rows with little behind them.
const ROWS: i64 = 50;
/// Builds have more behind them.
const BUILDS: i64 = 5;

/// Where the janitor keeps how far it has come, among the state of other components.
const STATE: (&str, &str) = ("ganger", "Janitor");

/// How far it has come: the time of the last row that was looked at, and its id.
type Place = (i64, i64);

/// How long things are kept; `None` is for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Horizons {
    /// Lines of logs, from the start of their step on. The logs stay, marked as Buildbot marks them.
    pub log: Option<Duration>,
    /// Build data, from the end of its build on.
    pub build_data: Option<Duration>,
    /// Builds, from their end on, with all that belongs to them, and what asked for them. The newest build of each builder
    /// stays.
    pub build: Option<Duration>,
    /// Changes that no scheduler waits with. The newest stays.
    pub change: Option<Duration>,
}

/// How much is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Logs whose lines are gone.
    pub logs: u64,
    /// Pieces of build data.
    pub build_data: u64,
    /// Builds.
    pub builds: u64,
    /// Changes.
    pub changes: u64,
}

/// Where a run is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// After a step, by when it started. The place is kept only until the first step whose logs are not complete.
    Logs(Option<Place>, Keep),
    /// After a build, by when it ended.
    BuildData(Option<Place>),
    Builds,
    Buildsets,
    Changes,
    Done,
}

/// Whether a later run need not look again at what comes before a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

impl Store {
    /// Deletes what is older than the horizons, in many small transactions between those of everybody else. What can be
    /// given back to the file system is given back: a file shrinks if it was made by Ganger.
    ///
    /// # Errors
    ///
    /// When the database cannot be written.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the rest stays for the next time.
    pub async fn prune(&self, horizons: &Horizons, at: Time) -> Result<Pruned, StorageError> {
        let (mut phase, mut sum) = (Phase::Logs(None, Keep::Yes), Pruned::default());
        while !matches!(phase, Phase::Done) {
            let horizons = horizons.clone();
            let batch = move |connection: &Connection, master| {
                let tables = Tables { connection, master };
                let (next, pruned) = batch(&tables, &horizons, phase, at)?;
                connection.give_back()?;
                Ok((next, pruned))
            };
            let pruned;
            (phase, pruned) = self.call("deletion of what is old", batch).await?;
            sum.add(pruned);
        }
        Ok(sum)
    }

    /// How much [`prune`](Self::prune) would delete now.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn prunable(&self, horizons: &Horizons, at: Time) -> Result<Pruned, StorageError> {
        let horizons = horizons.clone();
        let count = move |connection: &Connection| {
            let count = |query, horizon: Option<Duration>| match horizon {
                None => Ok(0),
                Some(horizon) => {
                    let found = connection.value::<i64>(query, params![seconds(at - horizon)]);
                    found.map(|found| u64::try_from(found.unwrap_or(0)).unwrap_or(0)).map_err(read_failed)
                }
            };
            Ok(Pruned {
                logs: count(sql::COUNT_OLD_LOGS, horizons.log)?,
                build_data: count(sql::COUNT_OLD_BUILD_DATA, horizons.build_data)?,
                builds: count(sql::COUNT_OLD_BUILDS, horizons.build)?,
                changes: count(sql::COUNT_OLD_CHANGES, horizons.change)?,
            })
        };
        self.readers().read(count).await
    }
}

impl Pruned {
    fn add(&mut self, other: Self) {
        self.logs += other.logs;
        self.build_data += other.build_data;
        self.builds += other.builds;
        self.changes += other.changes;
    }
}

/// One transaction's worth. Gives back where to go on, and what was deleted.
fn batch(
    tables: &Tables<'_>,
    horizons: &Horizons,
    phase: Phase,
    at: Time,
) -> Result<(Phase, Pruned), ApplyError> {
    let before = |horizon: Duration| seconds(at - horizon);
    let mut pruned = Pruned::default();
    let next = match phase {
        Phase::Logs(after, keep) => match horizons.log {
            None => Phase::BuildData(None),
            Some(horizon) => logs(tables, before(horizon), after, keep, &mut pruned)?,
        },
        Phase::BuildData(after) => match horizons.build_data {
            None => Phase::Builds,
            Some(horizon) => build_data(tables, before(horizon), after, &mut pruned)?,
        },
        Phase::Builds => match horizons.build {
            Some(horizon) if builds(tables, before(horizon), &mut pruned)? => Phase::Builds,
            _ => Phase::Buildsets,
        },
        Phase::Buildsets => match horizons.build {
            Some(horizon) if buildsets(tables, before(horizon))? => Phase::Buildsets,
            _ => Phase::Changes,
        },
        Phase::Changes => match horizons.change {
            Some(horizon) if changes(tables, before(horizon), &mut pruned)? => Phase::Changes,
            _ => Phase::Done,
        },
        Phase::Done => Phase::Done,
    };
    Ok((next, pruned))
}

fn logs(
    tables: &Tables<'_>,
    before: i64,
    after: Option<Place>,
    mut keep: Keep,
    pruned: &mut Pruned,
) -> Result<Phase, ApplyError> {
    const KEY: &str = "logs";
    let connection = tables.connection;
    let after = after.map_or_else(|| kept(tables, KEY), Ok)?;
    let steps = places(tables, sql::OLD_STEPS, before, after)?;
    let (mut budget, mut done, mut to_keep) = (CHUNKS, after, after);
    for &(started_at, step) in &steps {
        pruned.logs += connection.execute(sql::MARK_LOGS_OF_STEP, params![step])? as u64;
        if !lines(tables, step, &mut budget)? {
            break;
        }
        done = (started_at, step);
        if connection.value::<i64>(sql::OPEN_LOG_OF_STEP, params![step])?.is_some() {
            keep = Keep::No;
        }
        if keep == Keep::Yes {
            to_keep = done;
        }
    }
    if to_keep != after {
        keep_place(tables, KEY, to_keep)?;
    }
    Ok(if steps.is_empty() { Phase::BuildData(None) } else { Phase::Logs(Some(done), keep) })
}

fn build_data(
    tables: &Tables<'_>,
    before: i64,
    after: Option<Place>,
    pruned: &mut Pruned,
) -> Result<Phase, ApplyError> {
    const KEY: &str = "build_data";
    let after = after.map_or_else(|| kept(tables, KEY), Ok)?;
    let builds = places(tables, sql::BUILDS_BEFORE, before, after)?;
    let (mut budget, mut done) = (ROWS, after);
    for &(complete_at, build) in &builds {
        let deleted = tables.connection.execute(sql::DELETE_BUILD_DATA, params![build, budget])?;
        pruned.build_data += deleted as u64;
        budget -= deleted as i64;
        if budget <= 0 {
            break;
        }
        done = (complete_at, build);
    }
    if done != after {
        keep_place(tables, KEY, done)?;
    }
    Ok(if builds.is_empty() { Phase::Builds } else { Phase::BuildData(Some(done)) })
}

/// How far earlier runs have come. What they have done is not looked at again.
fn kept(tables: &Tables<'_>, key: &str) -> Result<Place, ApplyError> {
    let (object, class) = STATE;
    let known: Option<String> = tables.connection.value(state::STATE, params![object, class, key])?;
    Ok(known.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or((i64::MIN >> 32, 0)))
}

fn keep_place(tables: &Tables<'_>, key: &str, place: Place) -> Result<(), ApplyError> {
    let (object, class) = STATE;
    object_state(tables, object, class, key, &serde_json::json!([place.0, place.1]))
}

/// What comes next, by time and id.
fn places(
    tables: &Tables<'_>,
    query: &'static str,
    before: i64,
    after: Place,
) -> Result<Vec<Place>, ApplyError> {
    let values = params![before, after.0, after.1, ROWS];
    Ok(tables.connection.all(query, values, |row| Ok::<_, Error>((row.get(1)?, row.get(0)?)))?)
}

/// Deletes lines of the logs of a step that are marked; `false` when the budget did not suffice.
fn lines(tables: &Tables<'_>, step: i64, budget: &mut i64) -> Result<bool, ApplyError> {
    let connection = tables.connection;
    let logs: Vec<i64> = connection.all(sql::DELETED_LOGS_OF_STEP, params![step], |row| row.get(0))?;
    for log in logs {
        if *budget <= 0 {
            return Ok(false);
        }
        let rest: Option<i64> = connection.value(sql::CHUNK_AFTER, params![log, *budget])?;
        *budget -= match rest {
            Some(line) => connection.execute(sql::DELETE_CHUNKS_BEFORE, params![log, line])?,
            None => connection.execute(sql::DELETE_CHUNKS, params![log])?,
        } as i64;
        if rest.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether there may be more.
fn builds(tables: &Tables<'_>, before: i64, pruned: &mut Pruned) -> Result<bool, ApplyError> {
    let connection = tables.connection;
    let builds: Vec<i64> = connection.all(sql::OLD_BUILDS, params![before, BUILDS], |row| row.get(0))?;
    let mut budget = CHUNKS;
    for build in &builds {
        let steps: Vec<i64> = connection.all(sql::STEPS_OF_BUILD, params![build], |row| row.get(0))?;
        for step in steps {
            tables.run(sql::MARK_LOGS_OF_STEP, params![step])?;
            if !lines(tables, step, &mut budget)? {
                return Ok(true);
            }
        }
        tables.run(sql::DELETE_BUILD, params![build])?;
        pruned.builds += 1;
    }
    Ok(!builds.is_empty())
}

fn buildsets(tables: &Tables<'_>, before: i64) -> Result<bool, ApplyError> {
    let connection = tables.connection;
    let buildsets: Vec<i64> = connection.all(sql::OLD_BUILDSETS, params![before, ROWS], |row| row.get(0))?;
    for buildset in &buildsets {
        let stamps: Vec<i64> =
            connection.all(sql::STAMPS_OF_BUILDSET, params![buildset], |row| row.get(0))?;
        tables.run(sql::DELETE_BUILDSET, params![buildset])?;
        stamps.into_iter().try_for_each(|stamp| unused_stamp(tables, stamp))?;
    }
    Ok(!buildsets.is_empty())
}

fn changes(tables: &Tables<'_>, before: i64, pruned: &mut Pruned) -> Result<bool, ApplyError> {
    let changes: Vec<(i64, i64)> = tables
        .connection
        .all(sql::OLD_CHANGES, params![before, ROWS], |row| Ok::<_, Error>((row.get(0)?, row.get(1)?)))?;
    for &(change, stamp) in &changes {
        tables.run(sql::DELETE_CHANGE, params![change])?;
        unused_stamp(tables, stamp)?;
        pruned.changes += 1;
    }
    Ok(!changes.is_empty())
}

/// Deletes a source stamp that nothing refers to any more. Its patch was its own.
fn unused_stamp(tables: &Tables<'_>, stamp: i64) -> Result<(), ApplyError> {
    let patch: Option<i64> =
        tables.connection.value::<Option<i64>>(sql::PATCH_OF_STAMP, params![stamp])?.flatten();
    let deleted = tables.connection.execute(sql::DELETE_UNUSED_STAMP, params![stamp])?;
    match patch {
        Some(patch) if deleted > 0 => tables.run(sql::DELETE_PATCH, params![patch]),
        _ => Ok(()),
    }
}
