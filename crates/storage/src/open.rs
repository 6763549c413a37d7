//! Opening an SQLite database as a master's: lock, settings, schema. All that only SQLite knows is here.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use model::{MasterId, Time};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::{
    error::{Cause, OpenError},
    hash::name_hash,
    ids::Ids,
    restore::SILENCE,
    schema, sql,
};

/// More than a process and the name of a master take in the lock file.
const LOCK_TEXT: u64 = 16 << 10;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the master, as Buildbot makes it: `HOST:BASEDIR`. Rows that it makes belong to this name.
    pub master: String,
    /// Now; written when the master is new to the database.
    pub at: Time,
    /// How many queries run at once.
    pub readers: usize,
    /// How many bytes of writes may wait before [`crate::Store::submit`] and [`crate::Store::commit`] wait too.
    pub queue_bytes: usize,
    /// How long writes that nobody waits for may wait for others, to share a commit.
    pub linger: Duration,
    /// How long writing is tried again on a full or locked database before it fails.
    pub patience: Duration,
}

impl Options {
    /// The usual settings for a master of this name.
    pub fn new(master: impl Into<String>, at: Time) -> Self {
        Self {
            master: master.into(),
            at,
            readers: 4,
            queue_bytes: 16 << 20,
            linger: Duration::from_millis(20),
            patience: Duration::from_secs(30),
        }
    }
}

/// A database that is ready for a writer.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    /// Held as long as the connection.
    pub(crate) lock: File,
    pub(crate) master: MasterId,
    pub(crate) deployment: String,
    pub(crate) ticket_key: [u8; 32],
    pub(crate) ids: Ids,
}

/// Opens or creates the database and makes sure that nobody else does.
pub(crate) fn open(path: &Path, options: &Options) -> Result<Opened, OpenError> {
    let (mut lock, before) = take_lock(path)?;
    let failed =
        |error: rusqlite::Error| OpenError::Database { path: path.to_owned(), cause: Cause::new(error) };
    create(path)?;
    let mut connection = Connection::open(path).map_err(failed)?;
    configure(&connection).map_err(failed)?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 67108864")
        .map_err(failed)?;
    if is_empty(&connection).map_err(failed)? {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(schema::CREATE).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    } else {
        check_version(path, &connection)?;
    }
    connection.execute_batch(schema::ADDITIONS).map_err(failed)?;
    let master = register(&connection, options).map_err(failed)?;
    if let Some(before) = before {
        // We have its lock: it is dead, however short its silence is. Restoring cleans up after it.
        let silent = (options.at - SILENCE - SILENCE).epoch_seconds();
        connection
            .execute(sql::identity::MASTER_SILENT, params![silent, name_hash(&before), master.0])
            .map_err(failed)?;
    }
    sign_lock(&mut lock, Some(&options.master)).map_err(|cause| OpenError::System {
        what: "write the lock file",
        path: lock_path(path),
        cause,
    })?;
    let deployment = deployment(&connection).map_err(failed)?;
    let ticket_key = key(&connection, "tickets").map_err(failed)?;
    let ids = highest_ids(&connection).map_err(failed)?;
    Ok(Opened { connection, lock, master, deployment, ticket_key, ids })
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

/// Makes the database, if there is none, for its owner only: who can read it can log in as a machine of a pool. SQLite
/// gives the files beside it the mode of the database; that of one that is there is its owner's affair.
fn create(path: &Path) -> Result<(), OpenError> {
    match for_the_owner().create_new(true).open(path) {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => {
            Err(OpenError::System { what: "create the database", path: path.to_owned(), cause })
        }
        _ => Ok(()),
    }
}

/// Files that are made are nobody else's to read.
fn for_the_owner() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Takes the lock file beside the database, and tells the name of the master that had it last: after the directory was
/// moved or the host was renamed, that is another than ours. The lock is the operating system's: it ends with the process,
/// whatever ends it, and the file stays. (A lock on the database itself would disturb SQLite's own.)
fn take_lock(database: &Path) -> Result<(File, Option<String>), OpenError> {
    let path = lock_path(database);
    let failed = |what, cause| OpenError::System { what, path: path.clone(), cause };
    let mut file = for_the_owner()
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|cause| failed("open the lock file", cause))?;
    let locked = file.try_lock();
    let (process, master) = read_lock(&mut file);
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::InUse { path: database.to_owned(), process });
        }
        Err(TryLockError::Error(cause)) => return Err(failed("lock", cause)),
    }
    // Until that master is noted as dead, the file goes on naming it.
    sign_lock(&mut file, master.as_deref()).map_err(|cause| failed("write the lock file", cause))?;
    Ok((file, master))
}

/// What the holder of the lock wrote: its process, and the name of its master. Whatever else is there is nobody.
fn read_lock(file: &mut File) -> (Option<u32>, Option<String>) {
    let mut text = String::new();
    if file.take(LOCK_TEXT).read_to_string(&mut text).is_err() {
        return (None, None);
    }
    let (process, master) = text.split_once('\n').unwrap_or((&text, ""));
    let master = master.strip_suffix('\n').unwrap_or(master);
    (process.trim().parse().ok(), (!master.is_empty()).then(|| master.to_owned()))
}

fn sign_lock(file: &mut File, master: Option<&str>) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    let master = master.map_or_else(String::new, |name| format!("{name}\n"));
    file.write_all(format!("{}\n{master}", std::process::id()).as_bytes())
}

fn is_empty(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_master", [], |row| row.get(0))
}

fn check_version(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let failed =
        |error: rusqlite::Error| OpenError::Database { path: path.to_owned(), cause: Cause::new(error) };
    let has = |table: &str| {
        connection
            .query_row(
                "SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = ?1",
                [table],
                |row| row.get::<_, bool>(0),
            )
            .map_err(failed)
    };
    let refuse = |found: String, advice| {
        Err(OpenError::Version { path: path.to_owned(), found, expected: schema::REVISION, advice })
    };
    const UPGRADE: &str = "; upgrade it with `buildbot upgrade-master` of Buildbot 4.3";
    if has("alembic_version")? {
        let found: Option<String> = connection
            .query_row("SELECT version_num FROM alembic_version", [], |row| row.get(0))
            .optional()
            .map_err(failed)?;
        return match found.as_deref() {
            Some(schema::REVISION) => Ok(()),
            Some(older) if older < schema::REVISION => refuse(older.to_owned(), UPGRADE),
            Some(newer) => refuse(newer.to_owned(), "; a newer Buildbot has upgraded it"),
            None => refuse("unmarked".to_owned(), UPGRADE),
        };
    }
    if has("migrate_version")? || has("version")? {
        return refuse("that of a Buildbot before 3.4".to_owned(), UPGRADE);
    }
    refuse("not Buildbot's at all".to_owned(), "")
}

fn register(connection: &Connection, options: &Options) -> Result<MasterId, rusqlite::Error> {
    let hash = name_hash(&options.master);
    let id = |row: &rusqlite::Row<'_>| row.get(0).map(MasterId);
    match connection.query_row(sql::identity::FIND_MASTER, [&hash], id).optional()? {
        Some(master) => Ok(master),
        None => {
            let values = params![options.master, hash, options.at.epoch_seconds()];
            connection.query_row(sql::identity::ADD_MASTER, values, id)
        }
    }
}

/// What names this installation to providers; made up at random the first time.
fn deployment(connection: &Connection) -> Result<String, rusqlite::Error> {
    let find = || connection.query_row(sql::pools::DEPLOYMENT, [], |row| row.get(0)).optional();
    if let Some(known) = find()? {
        return Ok(known);
    }
    let new: String = connection.query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get(0))?;
    connection.execute(sql::pools::SET_DEPLOYMENT, [&new])?;
    Ok(find()?.unwrap_or(new))
}

/// A key of this installation; made up at random the first time. SQLite takes it from the operating system.
fn key(connection: &Connection, name: &str) -> Result<[u8; 32], rusqlite::Error> {
    let find = || connection.query_row(sql::pools::KEY, [name], |row| row.get(0)).optional();
    if let Some(known) = find()? {
        return Ok(known);
    }
    connection.execute(sql::pools::SET_KEY, [name])?;
    connection.query_row(sql::pools::KEY, [name], |row| row.get(0))
}

fn highest_ids(connection: &Connection) -> Result<Ids, rusqlite::Error> {
    let highest = Ids::TABLES
        .iter()
        .map(|(table, column)| {
            connection
                .query_row(&format!("SELECT coalesce(max({column}), 0) FROM {table}"), [], |row| row.get(0))
        })
        .collect::<Result<Vec<i64>, _>>()?;
    Ok(Ids::above(&highest))
}
