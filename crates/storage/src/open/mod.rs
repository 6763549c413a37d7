//! Opening a database as a master's: lock, schema, what names this installation.

pub(crate) mod file;
mod server;

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use model::{MasterId, Time};

use crate::{
    database::{Connection, Error, params, postgres::Server},
    error::{Cause, OpenError},
    hash::name_hash,
    ids::Ids,
    restore::SILENCE,
    schema, sql,
};

/// Where a database is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file of SQLite's.
    File(PathBuf),
    /// A database of a PostgreSQL server.
    Server(Arc<Server>),
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&PathBuf> for Location {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<Server> for Location {
    fn from(server: Server) -> Self {
        Self::Server(Arc::new(server))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => {
                let Server { host, port, user, database, .. } = &**server;
                match host.strip_prefix('/') {
                    Some(_) => write!(f, "postgresql://{user}@/{database}?host={host}"),
                    None => write!(f, "postgresql://{user}@{host}:{port}/{database}"),
                }
            }
        }
    }
}

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
    /// How long writing is tried again before it fails: on a full or locked database, and while a server cannot be reached.
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
            patience: Duration::from_secs(120),
        }
    }
}

/// A database that is ready for a writer.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    /// The serial of the last transaction, where they have one.
    pub(crate) serial: i64,
    /// Held as long as the connection, where a file is locked.
    pub(crate) lock: Option<File>,
    pub(crate) master: MasterId,
    pub(crate) deployment: String,
    pub(crate) ticket_key: [u8; 32],
    pub(crate) ids: Ids,
}

/// Opens or creates the database and makes sure that nobody else does.
pub(crate) fn open(location: &Location, options: &Options) -> Result<Opened, OpenError> {
    match location {
        Location::File(path) => file::open(path, options),
        // The client waits in a way that a thread of an asynchronous program must not.
        Location::Server(server) => thread::scope(|threads| {
            let opened = threads.spawn(|| server::open(server, options)).join();
            opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }),
    }
}

/// What is common to both: the tables are there, and `before` is the master that wrote last.
fn ready(connection: Connection, before: Option<String>, options: &Options) -> Result<Opened, Error> {
    let master = register(&connection, options)?;
    if let Some(before) = before {
        // We have its lock: it is dead, however short its silence is. Restoring cleans up after it.
        let silent = (options.at - SILENCE - SILENCE).epoch_seconds();
        connection.execute(sql::identity::MASTER_SILENT, params![silent, name_hash(&before), master.0])?;
    }
    let deployment = deployment(&connection)?;
    let ticket_key = key(&connection, "tickets")?;
    let ids = highest_ids(&connection)?;
    Ok(Opened { connection, serial: 0, lock: None, master, deployment, ticket_key, ids })
}

/// Checks that the tables are those of Buildbot 4.3.
fn check_version(location: &Location, connection: &Connection) -> Result<(), OpenError> {
    let failed = |error| OpenError::database(location, error);
    let has = |table: &str| connection.has_table(table).map_err(failed);
    let refuse = |found: String, advice| {
        let database = location.to_string();
        Err(OpenError::Version { database, found, expected: schema::REVISION, advice })
    };
    const UPGRADE: &str = "; upgrade it with `buildbot upgrade-master` of Buildbot 4.3";
    if has("alembic_version")? {
        let found: Option<String> =
            connection.value("SELECT version_num FROM alembic_version", params![]).map_err(failed)?;
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

fn register(connection: &Connection, options: &Options) -> Result<MasterId, Error> {
    let hash = name_hash(&options.master);
    let known = connection.value(sql::identity::FIND_MASTER, params![hash])?;
    let id = match known {
        Some(id) => id,
        None => {
            let values = params![options.master, hash, options.at.epoch_seconds()];
            connection.value(sql::identity::ADD_MASTER, values)?.unwrap_or_default()
        }
    };
    Ok(MasterId(id))
}

/// What names this installation to providers; made up at random the first time.
fn deployment(connection: &Connection) -> Result<String, Error> {
    let find = || connection.value::<String>(sql::pools::DEPLOYMENT, params![]);
    if let Some(known) = find()? {
        return Ok(known);
    }
    let new: String = random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    connection.execute(sql::pools::SET_DEPLOYMENT, params![new])?;
    Ok(find()?.unwrap_or(new))
}

/// A key of this installation; made up at random the first time.
fn key(connection: &Connection, name: &str) -> Result<[u8; 32], Error> {
    let known = connection.value::<Vec<u8>>(sql::pools::KEY, params![name])?;
    if let Some(known) = known.and_then(|known| <[u8; 32]>::try_from(known).ok()) {
        return Ok(known);
    }
    let new = random::<32>()?;
    connection.execute(sql::pools::SET_KEY, params![name, &new[..]])?;
    Ok(new)
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], Error> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| Error::System(error.to_string()))?;
    Ok(bytes)
}

fn highest_ids(connection: &Connection) -> Result<Ids, Error> {
    let highest = Ids::TABLES
        .iter()
        .map(|(table, column)| {
            let highest = format!("SELECT coalesce(max({column}), 0) FROM {table}");
            Ok(connection.value(&highest, params![])?.unwrap_or(0))
        })
        .collect::<Result<Vec<i64>, Error>>()?;
    Ok(Ids::above(&highest))
}

impl OpenError {
    pub(crate) fn database(location: &Location, error: impl Into<Error>) -> Self {
        Self::Database { database: location.to_string(), cause: Cause::new(error.into()) }
    }
}
