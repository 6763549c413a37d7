//! Where the databases of these tests are: in files.

use std::path::Path;

use storage::Location;

/// The database of a directory.
pub(crate) fn location(directory: &Path) -> Location {
    directory.join("state.sqlite").into()
}

/// The same for Buildbot, which runs in that directory.
pub(crate) fn url(_: &Path) -> String {
    "sqlite:///state.sqlite".to_owned()
}

/// What a process needs to find it.
pub(crate) fn environment() -> Option<(String, String)> {
    None
}

/// As though the last to have it was not a Ganger.
pub(crate) fn forget_last_master(directory: &Path) {
    std::fs::remove_file(directory.join("state.sqlite.lock")).unwrap();
}

/// Does something to the database that Ganger does not.
pub(crate) fn sql(directory: &Path, statements: &str) {
    let connection = rusqlite::Connection::open(directory.join("state.sqlite")).unwrap();
    connection.execute_batch(statements).unwrap();
}

/// That the database is sound.
pub(crate) fn check(directory: &Path) {
    let connection = rusqlite::Connection::open(directory.join("state.sqlite")).unwrap();
    let found: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
}
