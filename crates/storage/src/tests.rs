//! Tests that need the inside: what the disk does to the writer, and the form of the statements.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use model::Time;
use rusqlite::Connection;

use crate::{
    Options, StorageError, Store, Write,
    open::{self, Opened},
};

const NOW: Time = Time::from_epoch_seconds(1_000_000);

fn state(value: impl Into<serde_json::Value>) -> Write {
    Write::ObjectState { object: "o".into(), class: "C".into(), key: "k".into(), value: value.into() }
}

fn options() -> Options {
    Options { patience: Duration::ZERO, ..Options::new("host:/base", NOW) }
}

/// A store whose connection was spoiled before its writer got it.
fn spoiled(database: &Path, options: &Options, pragma: &str) -> Store {
    let opened: Opened = open::open(&database.into(), options).unwrap();
    opened.connection.batch(pragma).unwrap();
    Store::start(opened, database.into(), options).unwrap()
}

#[tokio::test]
async fn a_full_disk_ends_all_writing_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("state.sqlite");
    let store = spoiled(&database, &options(), "PRAGMA max_page_count = 200");
    store.commit(vec![state("small")]).await.unwrap();
    let error = store.commit(vec![state("x".repeat(4 << 20))]).await.unwrap_err();
    assert!(matches!(&error, StorageError::WriteFailed(_)), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("full"), "{cause}");
    // Nothing later is accepted, for it would rest on what is lost; what was durable is still there.
    assert!(matches!(store.commit(vec![state(1)]).await, Err(StorageError::WriteFailed(_))));
    assert!(matches!(store.submit(vec![state(1)]).await, Err(StorageError::WriteFailed(_))));
    assert!(matches!(store.failure(), Some(StorageError::WriteFailed(_))));
    assert_eq!(store.object_state("o", "C", "k").await.unwrap(), Some("small".into()));
    store.close().await;
}

#[tokio::test]
async fn a_read_only_database_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("state.sqlite");
    let store = spoiled(&database, &options(), "PRAGMA query_only = ON");
    let error = store.commit(vec![state(1)]).await.unwrap_err();
    assert!(
        matches!(&error, StorageError::WriteFailed(cause) if cause.to_string().contains("readonly")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_locked_database_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("state.sqlite");
    let options = Options { patience: Duration::from_secs(60), ..options() };
    let store = spoiled(&database, &options, "PRAGMA busy_timeout = 0");
    let other = Connection::open(&database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let committed = store.enqueue(vec![state("late")]);
    // The writer has taken it and found the lock, or will: either way it must not be lost.
    tokio::task::spawn_blocking(move || other.execute_batch("COMMIT").unwrap()).await.unwrap();
    committed.await.unwrap();
    assert_eq!(store.object_state("o", "C", "k").await.unwrap(), Some("late".into()));
}

#[tokio::test]
async fn a_row_that_no_buildbot_writes_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("state.sqlite");
    let rows = "
        PRAGMA foreign_keys = OFF;
        INSERT INTO builds (id, number, builderid, buildrequestid, masterid, started_at, locks_duration_s, state_string)
            VALUES (1, 1, 1, 1, 1, 0, 0, '');
        INSERT INTO build_properties VALUES (1, 'p', '{', 's');
        INSERT INTO steps VALUES (1, 0, 's', 1, 0, 0, 0, '', 0, '[1]', 0);
        INSERT INTO logs VALUES (1, 'l', 'l', 1, 0, 1, 's'), (2, 'm', 'm', 1, 0, 1, 'x');
        INSERT INTO logchunks VALUES (1, 0, 0, x'ff', 4), (2, 0, 0, x'6f', 9);
    ";
    let store = spoiled(&database, &options(), rows);
    let check = |error: StorageError, expect: &str| {
        assert!(matches!(error, StorageError::Malformed { .. }), "{error:?}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    check(store.build_properties(model::BuildId(1)).await.unwrap_err(), "property \"p\" of build 1");
    check(store.steps(model::BuildId(1)).await.unwrap_err(), "links of step 1");
    check(store.log(model::LogId(2)).await.unwrap_err(), "no kind \"x\"");
    check(store.log_lines(model::LogId(1), 0, 10).await.unwrap_err(), "lines 0 to 0 of log 1");
    check(store.log_lines(model::LogId(2), 0, 10).await.unwrap_err(), "no compression 9");
}

#[tokio::test]
async fn waiting_bytes_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("state.sqlite");
    let options = Options { queue_bytes: 64 << 10, patience: Duration::from_secs(60), ..options() };
    let store = spoiled(&database, &options, "PRAGMA busy_timeout = 0");
    let other = Connection::open(&database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let chunk = || Write::LogChunk {
        log: model::LogId(1),
        first_line: 0,
        last_line: 0,
        content: Bytes::from(vec![0; 40 << 10]),
        compression: crate::log::Compression::None,
    };
    store.submit(vec![chunk()]).await.unwrap();
    let mut second = Box::pin(store.submit(vec![chunk()]));
    let polled =
        std::future::poll_fn(|context| std::task::Poll::Ready(second.as_mut().poll(context).is_pending()));
    assert!(polled.await, "the second has to wait for room");
    other.execute_batch("COMMIT").unwrap();
    // Both are refused (there is no such log), which gives the room back.
    second.await.unwrap();
    store.commit(vec![state(1)]).await.unwrap();
}

/// SQLite numbers `$1`, `$2` by their first use, PostgreSQL by their digits: both have to mean the same.
#[test]
fn parameters_stand_in_their_order() {
    let sources = [
        include_str!("sql/builds.rs"),
        include_str!("sql/changes.rs"),
        include_str!("sql/identity.rs"),
        include_str!("sql/janitor.rs"),
        include_str!("sql/logs.rs"),
        include_str!("sql/pools.rs"),
        include_str!("sql/requests.rs"),
        include_str!("sql/restore.rs"),
        include_str!("sql/state.rs"),
    ];
    for statement in sources.iter().flat_map(|source| source.split(['"', ';'])) {
        let mut highest = 0;
        for part in statement.split('$').skip(1) {
            let number: String = part.chars().take_while(char::is_ascii_digit).collect();
            let Ok(number) = number.parse::<u32>() else { continue };
            assert!(number <= highest + 1, "{statement}");
            highest = highest.max(number);
        }
    }
}

/// A restart is quick however long the history is.
#[test]
fn a_start_does_not_walk_through_the_history() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open::open(&directory.path().join("state.sqlite").into(), &options()).unwrap();
    let crate::database::Connection::Sqlite(connection) = opened.connection else { panic!("it is a file") };
    let plan = |statement: &str| -> String {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let values = rusqlite::params_from_iter(vec![1; explain.parameter_count()]);
        let lines = explain.query_map(values, |row| row.get::<_, String>(3)).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    for (statement, index) in [
        (crate::sql::restore::OPEN_BUILDS, "ganger_builds_complete_at (complete_at=?)"),
        (crate::sql::restore::UNCLAIM_OPEN, "buildrequest_claims_brids (brid=?)"),
        (crate::sql::restore::CLOSE_LOGS, "logs_slug (stepid=?)"),
        (crate::sql::builds::LAST_NUMBER, "builds_number (builderid=?)"),
        (crate::sql::requests::INCOMPLETE_BUILDSETS, "buildsets_complete (complete=?)"),
        (crate::sql::logs::CHUNKS, "logchunks_lastline (logid=? AND last_line>?)"),
        (crate::sql::pools::LIVE_INSTANCES, "ganger_instances_live"),
        (crate::sql::pools::LIVE_POOLS, "ganger_instances_live"),
        (crate::sql::pools::ENDED_INSTANCES, "ganger_instances_ended (pool=?)"),
        (crate::sql::pools::PRUNE_INSTANCES, "ganger_instances_ended (pool=? AND ended_at_us<?)"),
        (crate::sql::janitor::OLD_STEPS, "steps_started_at"),
        (crate::sql::janitor::OLD_BUILDS, "ganger_builds_complete_at (complete_at<?)"),
        (crate::sql::janitor::OLD_CHANGES, "changes_when_timestamp (when_timestamp<?)"),
        (crate::sql::janitor::DELETE_UNUSED_STAMP, "ganger_buildset_sourcestamps_stamp (sourcestampid=?)"),
        (crate::sql::changes::FIND_PARENT_CHANGE, "changes_branch (branch=?)"),
    ] {
        assert!(plan(statement).contains(index), "{statement}: {}", plan(statement));
    }
}
