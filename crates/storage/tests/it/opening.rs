//! Who may open which file.

use std::{path::Path, time::Duration};

use storage::{Horizons, OpenError, Store};

use crate::farm::{Farm, at, options, whole_build};

#[tokio::test]
async fn a_second_master_is_refused_while_the_first_runs() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("state.sqlite");
    let farm = Farm::open(directory.path()).await;
    match Store::open(&database, options()).unwrap_err() {
        OpenError::InUse { by, .. } => assert_eq!(by, Some(format!("process {}", std::process::id()))),
        other => panic!("{other:?}"),
    }
    farm.store.close().await;
    Store::open(&database, options()).unwrap().close().await;
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening_and_ids_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (build, log) = whole_build(&farm, "linux", "hello\n").await;
    farm.store.close().await;
    let farm = Farm::open(directory.path()).await;
    assert_eq!(farm.store.log_lines(log, 0, 10).await.unwrap().text, "ohello\n");
    assert_eq!(farm.store.ids().next_build().0, build.0 + 1);
    assert_eq!(farm.store.ids().next_builder().0, 3);
    assert_eq!(farm.restored.builders["linux"].1.0, 2);
    assert_eq!((farm.restored.interrupted.len(), farm.restored.requests.len()), (0, 0));
}

#[tokio::test]
async fn a_closed_store_takes_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let pending = farm.store.enqueue(vec![storage::Write::MasterActive { at: at(5) }]);
    farm.store.close().await;
    pending.await.unwrap();
    assert!(matches!(farm.store.commit(vec![]).await, Err(storage::StorageError::Closed)));
    assert!(matches!(farm.store.builders().await, Err(storage::StorageError::Closed)));
}

#[test]
fn other_schemas_are_refused_with_advice() {
    let check = |sql: &str, expect: &str| {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("state.sqlite");
        rusqlite::Connection::open(&database).unwrap().execute_batch(sql).unwrap();
        let error = Store::open(&database, options()).unwrap_err();
        assert!(matches!(error, OpenError::Version { .. }), "{error:?}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    let alembic = "CREATE TABLE alembic_version (version_num TEXT)";
    check(
        &format!("{alembic}; INSERT INTO alembic_version VALUES ('065')"),
        "upgrade it with `buildbot upgrade-master`",
    );
    check(&format!("{alembic}; INSERT INTO alembic_version VALUES ('068')"), "a newer Buildbot");
    check(alembic, "its schema is unmarked");
    check("CREATE TABLE migrate_version (version INTEGER)", "before 3.4");
    check("CREATE TABLE songs (title TEXT)", "not Buildbot's at all");
}

#[test]
fn what_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("state.sqlite");
    std::fs::write(&database, "this is a text, and not a short one".repeat(100)).unwrap();
    let error = Store::open(&database, options()).unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
    let error = Store::open(Path::new("/nonexistent/state.sqlite"), options()).unwrap_err();
    assert!(matches!(error, OpenError::System { .. }), "{error:?}");
    assert!(error.to_string().contains("/nonexistent/state.sqlite"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_database_is_for_its_owner_only_and_one_that_is_there_stays_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = |end: &str| directory.path().join(format!("state.sqlite{end}"));
    let mode = |end: &str| std::fs::metadata(path(end)).unwrap().permissions().mode() & 0o777;
    let farm = Farm::open(directory.path()).await;
    for end in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(end), 0o600, "{end}");
    }
    farm.store.close().await;
    for end in ["", ".lock"] {
        std::fs::set_permissions(path(end), std::fs::Permissions::from_mode(0o640)).unwrap();
    }
    let farm = Farm::open(directory.path()).await;
    for end in ["", "-wal", ".lock"] {
        assert_eq!(mode(end), 0o640, "{end}");
    }
    farm.store.close().await;
}

#[tokio::test]
async fn a_file_shrinks_when_much_of_it_was_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let size = || std::fs::metadata(directory.path().join("state.sqlite")).unwrap().len();
    let farm = Farm::open(directory.path()).await;
    for number in 1..=3 {
        crate::janitor::build(&farm, number, number, 200).await;
    }
    farm.store.close().await;
    let before = size();
    let farm = Farm::open(directory.path()).await;
    let horizons = Horizons { log: Some(Duration::from_secs(1)), ..Horizons::default() };
    farm.store.prune(&horizons, at(10 * 86_400)).await.unwrap();
    farm.store.close().await;
    assert!(before > 30 << 20 && size() < 5 << 20, "{before} became {}", size());
}
