//! What was built, read beside a master that may run: for `ganger simulate`.

use std::{sync::Arc, time::Duration};

use model::Time;

use crate::{
    database::{Connection, Error, More, params},
    error::OpenError,
    open::Location,
    readers,
};

/// The most builds that are read.
const MOST: i64 = 5_000_000;

/// What was built, and how long machines took to boot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Builds that came to an end of their own, by the time of their request.
    pub builds: Vec<HistoryBuild>,
    /// The latest 500 machines of pools that connected: the pool, and how long it took from the plan on, oldest first.
    pub boots: Vec<(Arc<str>, Duration)>,
}

/// A build request with the build that answered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryBuild {
    /// Its builder.
    pub builder: Arc<str>,
    /// When it was asked for.
    pub submitted_at: Time,
    /// Higher is sooner.
    pub priority: i64,
    /// How long the build took.
    pub duration: Duration,
}

/// Reads what was asked for since a time. Buildbot's own databases do as well: only tables that both have must be there.
///
/// # Errors
/// When it is no database of Buildbot, or cannot be read.
pub fn history(database: impl Into<Location>, since: Option<Time>) -> Result<History, OpenError> {
    let location = database.into();
    let failed = |error: Error| OpenError::database(&location, error);
    let connection = readers::connect(&location).map_err(failed)?;
    let transaction = connection.begin_reading().map_err(failed)?;
    Ok(History {
        builds: builds(&transaction, since).map_err(failed)?,
        boots: boots(&transaction).map_err(failed)?,
    })
}

fn builds(connection: &Connection, since: Option<Time>) -> Result<Vec<HistoryBuild>, Error> {
    // A request may have had several builds, all but the last of which were lost (RETRY is 5, CANCELLED 6, SKIPPED 3).
    let query = "SELECT builders.name, buildrequests.submitted_at, buildrequests.priority,
            builds.complete_at - builds.started_at
         FROM builds
         JOIN buildrequests ON buildrequests.id = builds.buildrequestid
         JOIN builders ON builders.id = builds.builderid
         WHERE builds.complete_at IS NOT NULL AND builds.results IN (0, 1, 2, 4)
           AND buildrequests.submitted_at >= $1
         ORDER BY buildrequests.submitted_at, buildrequests.id LIMIT $2";
    let since = since.map_or(0, Time::epoch_seconds);
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut builds = Vec::new();
    connection.each(query, params![since, MOST], |row| {
        let name: String = row.get(0)?;
        let builder = match names.iter().find(|known| ***known == *name) {
            Some(known) => known.clone(),
            None => {
                let name: Arc<str> = name.into();
                names.push(name.clone());
                name
            }
        };
        let seconds: i64 = row.get(3)?;
        builds.push(HistoryBuild {
            builder,
            submitted_at: Time::from_epoch_seconds(row.get(1)?),
            priority: row.get(2)?,
            duration: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        });
        Ok::<_, Error>(More::Yes)
    })?;
    Ok(builds)
}

fn boots(connection: &Connection) -> Result<Vec<(Arc<str>, Duration)>, Error> {
    if !connection.has_table("ganger_instances")? {
        return Ok(Vec::new());
    }
    let query = "SELECT pool, connected_at_us - planned_at_us FROM ganger_instances
         WHERE connected_at_us IS NOT NULL AND token <> '' ORDER BY id DESC LIMIT 500";
    let mut boots = connection.all(query, params![], |row| {
        let (pool, micros): (String, i64) = (row.get(0)?, row.get(1)?);
        Ok::<_, Error>((Arc::from(pool), Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
    })?;
    boots.reverse();
    Ok(boots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildbots_own_database_will_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.sqlite");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(crate::schema::CREATE).unwrap();
        connection
            .execute_batch(
                "INSERT INTO masters (id, name, name_hash, active, last_active) VALUES (1, 'm', 'h', 1, 0);
                 INSERT INTO builders (id, name, name_hash) VALUES (1, 'linux', 'h');
                 INSERT INTO buildsets (id, submitted_at) VALUES (1, 100);
                 INSERT INTO buildrequests (id, buildsetid, builderid, priority, submitted_at) VALUES
                   (1, 1, 1, 5, 100), (2, 1, 1, 0, 200), (3, 1, 1, 0, 300);
                 INSERT INTO builds (number, builderid, buildrequestid, masterid, started_at, complete_at,
                   locks_duration_s, state_string, results) VALUES
                   (1, 1, 1, 1, 110, 120, 0, '', 5), (2, 1, 1, 1, 130, 190, 0, '', 0),
                   (3, 1, 2, 1, 210, 215, 0, '', 2), (4, 1, 3, 1, 310, NULL, 0, '', NULL);",
            )
            .unwrap();
        let found = history(&path, None).unwrap();
        let build = |submitted_at, priority, seconds| HistoryBuild {
            builder: "linux".into(),
            submitted_at: Time::from_epoch_seconds(submitted_at),
            priority,
            duration: Duration::from_secs(seconds),
        };
        assert_eq!(
            found.builds,
            [build(100, 5, 60), build(200, 0, 5)],
            "what was lost or still runs is left out"
        );
        assert_eq!(found.boots, []);
        let since = Some(Time::from_epoch_seconds(150));
        assert_eq!(history(&path, since).unwrap().builds, [build(200, 0, 5)]);
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.sqlite");
        assert!(history(&path, None).is_err(), "there is no file");
        std::fs::write(&path, "no database at all, but long enough to look at").unwrap();
        assert!(history(&path, None).is_err());
    }
}
