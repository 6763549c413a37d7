//! What only SQLite knows: how a file is opened.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

pub(super) const IS_EMPTY: &str = "SELECT count(*) = 0 FROM sqlite_master";
pub(super) const HAS_TABLE: &str =
    "SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = $1";

/// Does nothing to a file that was not made with `auto_vacuum`.
pub(super) const GIVE_BACK: &str = "PRAGMA incremental_vacuum(2048)";

/// Opens the writer's connection.
pub(crate) fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    configure(&connection)?;
    // Of use only to a new file, and only before anything is in it. It asks nothing of Buildbot.
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 67108864")?;
    Ok(connection)
}

/// Opens another connection, for queries.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(256);
    // Buildbot declares its foreign keys but lets SQLite ignore them; on PostgreSQL they count, and so they do here.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384",
    )
}
