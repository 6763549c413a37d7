//! What a master finds when it starts, and how it cleans up after one that died.
//!
//! Source: `buildbot/master.py`, `buildbot/data/masters.py` (4.3.0): on start a master does the housekeeping of its own
//! last life and of those masters that have been silent for ten minutes.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

use crate::{
    apply::{self, Tables, seconds},
    database::{self, Connection, params},
    error::{ApplyError, StorageError},
    ids::Ids,
    read,
    rows::{BuildsetRow, ObjectStates, RequestFilter, RequestRow, UPSTREAM, WorkerRow},
    sql,
};
use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, Change, ChangeId, MasterId, Properties,
    Results, SchedulerId, SourceStamp, Time, WorkerId,
};

/// After so long without a sign of life a master counts as dead.
pub(crate) const SILENCE: Duration = Duration::from_secs(600);

/// The names in a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    /// Names of builders.
    pub builders: Vec<String>,
    /// Names of workers.
    pub workers: Vec<String>,
    /// Names of schedulers.
    pub schedulers: Vec<String>,
}

/// What a master has to know when it starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// The row of this master.
    pub master: MasterId,
    /// Builders by name, with the number of their next build: those of the configuration, and all there ever were.
    pub builders: BTreeMap<String, (BuilderId, BuildNumber)>,
    /// Workers of the configuration by name.
    pub workers: BTreeMap<String, WorkerRow>,
    /// Schedulers of the configuration by name, and whether they are enabled.
    pub schedulers: BTreeMap<String, (SchedulerId, bool)>,
    /// Buildsets that are not complete, by id, oldest first.
    pub buildsets: BTreeMap<BuildsetId, RestoredBuildset>,
    /// Requests that are not complete and that no other master has taken, oldest first.
    pub requests: Vec<RestoredRequest>,
    /// Builds that were closed just now because their master died in the middle of them.
    pub interrupted: Vec<Interrupted>,
    /// What schedulers of the configuration keep, by name.
    pub states: BTreeMap<String, ObjectStates>,
    /// Buildsets that are complete, and that a `Dependent` of the configuration has not heard of yet.
    pub upstream: BTreeMap<BuildsetId, RestoredBuildset>,
    /// Changes that schedulers of the configuration wait with, by scheduler and id.
    pub pending_changes: Vec<PendingChange>,
}

/// A buildset that is not complete.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoredBuildset {
    /// Its row.
    pub row: BuildsetRow,
    /// What to build.
    pub sourcestamps: Vec<SourceStamp>,
    /// Properties of its builds.
    pub properties: Properties,
    /// Its requests that are complete, and how they ended. When no request of it is left, it only has to be completed.
    pub finished: Vec<(BuildRequestId, Results)>,
}

/// A request that is to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredRequest {
    /// Its id.
    pub id: BuildRequestId,
    /// Its buildset, in [`Restored::buildsets`].
    pub buildset: BuildsetId,
    /// Its builder.
    pub builder: BuilderId,
    /// Higher is sooner.
    pub priority: i64,
    /// When it was asked for.
    pub submitted_at: Time,
    /// Somebody waits for it.
    pub waited_for: bool,
}

/// A build whose master died in the middle of it; it is closed, with results RETRY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// Its id.
    pub build: BuildId,
    /// Its builder.
    pub builder: BuilderId,
    /// Its number.
    pub number: BuildNumber,
    /// Its request, which is free again unless it was complete.
    pub request: BuildRequestId,
}

/// A change that a scheduler waits with.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingChange {
    /// The scheduler.
    pub scheduler: SchedulerId,
    /// The change's id.
    pub id: ChangeId,
    /// The change.
    pub change: Change,
    /// Whether it is reason enough to build.
    pub important: bool,
}

/// See [`crate::Store::restore`].
pub(crate) fn restore(
    connection: &Connection,
    master: MasterId,
    ids: &Ids,
    identities: &Identities,
    at: Time,
) -> Result<Restored, ApplyError> {
    let mut restored = Restored { master, ..Restored::default() };
    restored.interrupted = clean_up_after(connection, master, at)?;
    restored.interrupted.extend(expire(connection, master, at, sql::restore::SILENT_MASTERS)?);
    let tables = Tables { connection, master };
    tables.run(sql::identity::MASTER_ACTIVE, params![seconds(at), master.0])?;
    for name in &identities.builders {
        let id = match tables.find(sql::identity::FIND_BUILDER, params![crate::name_hash(name)])? {
            Some(id) => BuilderId(id),
            None => {
                let id = ids.next_builder();
                apply::add_builder(&tables, id, name)?;
                id
            }
        };
        tables.run(sql::identity::ADD_BUILDER_MASTER, params![id.0, master.0])?;
        restored.builders.insert(name.clone(), (id, next_number(&tables, id)?));
    }
    // Others may have requests, or be virtual: whatever is recorded under such a name goes on with its numbers.
    for builder in found(read::builders(connection))? {
        if let Entry::Vacant(entry) = restored.builders.entry(builder.name) {
            entry.insert((builder.id, next_number(&tables, builder.id)?));
        }
    }
    for name in &identities.workers {
        let id = match tables.find(sql::identity::FIND_WORKER, params![name])? {
            Some(id) => WorkerId(id),
            None => {
                let id = ids.next_worker();
                apply::add_worker(&tables, id, name)?;
                id
            }
        };
        restored.workers.extend(found(read::worker(connection, id))?.map(|row| (name.clone(), row)));
    }
    for name in &identities.schedulers {
        let id = match tables.find(sql::identity::FIND_SCHEDULER, params![crate::name_hash(name)])? {
            Some(id) => SchedulerId(id),
            None => {
                let id = ids.next_scheduler();
                apply::add_scheduler(&tables, id, name)?;
                id
            }
        };
        tables.run(sql::identity::TAKE_SCHEDULER, params![id.0, master.0])?;
        if let Some(other) = tables.find(sql::identity::SCHEDULER_MASTER, params![id.0])?
            && other != master.0
        {
            return Err(ApplyError::Refused(in_other_hands(connection, name, MasterId(other), at)?));
        }
        let enabled = tables.find(sql::identity::SCHEDULER_ENABLED, params![id.0])? != Some(0);
        restored.schedulers.insert(name.clone(), (id, enabled));
        restored.states.insert(name.clone(), found(read::object_states(connection, name))?);
        for (change, important) in found(read::classified_changes(connection, id))? {
            let row = found(read::change(connection, change))?;
            // A change may have been pruned since.
            restored.pending_changes.extend(row.map(|row| PendingChange {
                scheduler: id,
                id: change,
                change: row.change,
                important,
            }));
        }
    }
    open_requests(&tables, &mut restored)?;
    complete_upstream(&tables, &mut restored)?;
    Ok(restored)
}

/// Why the scheduler `name` cannot be had.
fn in_other_hands(
    connection: &Connection,
    name: &str,
    other: MasterId,
    at: Time,
) -> Result<String, ApplyError> {
    let found = connection.first(sql::identity::MASTER_NAME, params![other.0], |row| {
        Ok::<(String, i64), database::Error>((row.get(0)?, row.get(1)?))
    })?;
    let (master, last_active) = found.unwrap_or_default();
    let ago = seconds(at).saturating_sub(last_active);
    let after = SILENCE.as_secs();
    Ok(format!(
        "scheduler {name:?} belongs to the master {master}, which was alive {ago} s ago and did not end in good order; \
         if it runs, end it; if it is dead, start again when it has been silent for {after} s"
    ))
}

/// What `Dependent`s wait for although it is complete.
fn complete_upstream(tables: &Tables<'_>, restored: &mut Restored) -> Result<(), ApplyError> {
    let key = (UPSTREAM.0.to_owned(), UPSTREAM.1.to_owned());
    let waited = restored.states.values().filter_map(|states| states.get(&key)?.as_array());
    let waited: BTreeSet<BuildsetId> =
        waited.flatten().filter_map(model::Json::as_i64).map(BuildsetId).collect();
    for id in waited.into_iter().filter(|id| !restored.buildsets.contains_key(id)) {
        let Some(row) = found(read::buildset(tables.connection, id))? else { continue };
        let stamps = found(read::sourcestamps(tables.connection, id))?;
        let buildset = RestoredBuildset {
            row,
            sourcestamps: stamps.into_iter().map(|row| row.stamp).collect(),
            properties: Properties::new(),
            finished: Vec::new(),
        };
        restored.upstream.insert(id, buildset);
    }
    Ok(())
}

fn open_requests(tables: &Tables<'_>, restored: &mut Restored) -> Result<(), ApplyError> {
    let connection = tables.connection;
    for row in found(read::incomplete_buildsets(connection))? {
        let id = row.id;
        let stamps = found(read::sourcestamps(connection, id))?;
        let buildset = RestoredBuildset {
            row,
            sourcestamps: stamps.into_iter().map(|row| row.stamp).collect(),
            properties: found(read::buildset_properties(connection, id))?,
            finished: found(read::finished_requests(connection, id))?,
        };
        restored.buildsets.insert(id, buildset);
    }
    let all = RequestFilter {
        complete: Some(false),
        claimed: Some(false),
        limit: u32::MAX,
        ..RequestFilter::default()
    };
    for row in found(read::requests(connection, &all))? {
        if !restored.buildsets.contains_key(&row.buildset) {
            tracing::warn!(
                request.id = row.id.0,
                buildset.id = row.buildset.0,
                "a build request is open in a complete buildset; it is left alone"
            );
            continue;
        }
        let RequestRow { id, buildset, builder, priority, submitted_at, waited_for, .. } = row;
        restored.requests.push(RestoredRequest { id, buildset, builder, priority, submitted_at, waited_for });
    }
    Ok(())
}

/// Cleans up after other masters that have just been silent for too long. Buildbot does so every minute, with its own sign
/// of life. The requests are free, but a master that runs takes such requests at its next start only.
pub(crate) fn expire_masters(connection: &Connection, master: MasterId, at: Time) -> Result<(), ApplyError> {
    for lost in expire(connection, master, at, sql::restore::NEWLY_SILENT_MASTERS)? {
        tracing::warn!(
            build.id = lost.build.0,
            builder.id = lost.builder.0,
            "another master has been silent for ten minutes; a build of it is closed, and its request is free"
        );
    }
    Ok(())
}

fn expire(
    connection: &Connection,
    master: MasterId,
    at: Time,
    silent: &str,
) -> Result<Vec<Interrupted>, ApplyError> {
    let silent =
        connection.all(silent, params![seconds(at - SILENCE), master.0], |row| row.get(0).map(MasterId))?;
    let tables = Tables { connection, master };
    let mut interrupted = Vec::new();
    for dead in silent {
        tables.run(sql::identity::MASTER_INACTIVE, params![dead.0])?;
        interrupted.extend(clean_up_after(connection, dead, at)?);
    }
    Ok(interrupted)
}

/// Closes whatever a master left open, and unties it from everything.
pub(crate) fn clean_up_after(
    connection: &Connection,
    master: MasterId,
    at: Time,
) -> Result<Vec<Interrupted>, ApplyError> {
    let tables = Tables { connection, master };
    for statement in sql::restore::UNLINK {
        tables.run(statement, params![master.0])?;
    }
    let interrupted = connection.all(sql::restore::OPEN_BUILDS, params![master.0], |row| {
        Ok::<_, database::Error>(Interrupted {
            build: BuildId(row.get(0)?),
            builder: BuilderId(row.get(1)?),
            number: BuildNumber(row.get(2)?),
            request: BuildRequestId(row.get(3)?),
        })
    })?;
    let (at, retry) = (seconds(at), Results::Retry.code());
    for Interrupted { build, .. } in &interrupted {
        tables.run(sql::restore::COUNT_LINES, params![build.0])?;
        tables.run(sql::restore::CLOSE_LOGS, params![build.0])?;
        tables.run(sql::restore::CLOSE_STEPS, params![at, retry, build.0])?;
        tables.run(sql::restore::CLOSE_BUILD, params![at, retry, build.0])?;
    }
    tables.run(sql::restore::UNCLAIM_OPEN, params![master.0])?;
    Ok(interrupted)
}

fn next_number(tables: &Tables<'_>, builder: BuilderId) -> Result<BuildNumber, ApplyError> {
    Ok(BuildNumber(tables.add(sql::builds::LAST_NUMBER, params![builder.0])? + 1))
}

/// Errors of queries, inside a write.
fn found<T>(result: Result<T, StorageError>) -> Result<T, ApplyError> {
    result.map_err(|error| match error {
        StorageError::ReadFailed(cause) => ApplyError::Refused(format!("cannot read: {cause}")),
        other => ApplyError::Refused(other.to_string()),
    })
}
