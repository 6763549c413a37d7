//! What can go wrong, by what the caller does next.

use std::{error::Error, fmt, path::PathBuf, sync::Arc};

use crate::database;

/// What the database itself said; kept behind a name of ours, so that callers do not depend on which database it is.
#[derive(Clone, Debug)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    pub(crate) fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Why a database cannot be opened as a master's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another master has it open.
    #[error("open {database}: another Ganger uses it{}", in_parentheses(by.as_deref()))]
    InUse {
        /// The database.
        database: String,
        /// Who holds it, in words, if that is known.
        by: Option<String>,
    },
    /// The schema is of another Buildbot version.
    #[error(
        "open {database}: its schema is {found}, and this Ganger needs {expected} (Buildbot 4.3){advice}"
    )]
    Version {
        /// The database.
        database: String,
        /// What it is, in words.
        found: String,
        /// The alembic revision this program works with.
        expected: &'static str,
        /// What the administrator can do; starts with a separator, or is empty.
        advice: &'static str,
    },
    /// The database cannot be read or written.
    #[error("open {database}")]
    Database {
        /// The database.
        database: String,
        /// What the database said.
        #[source]
        cause: Cause,
    },
    /// The file system or the operating system refused.
    #[error("{what} {}", path.display())]
    System {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
}

fn in_parentheses(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(" ({text})"))
}

/// Why something was not written or read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The database is sound, but this write contradicts what is in it; nothing of its batch was written. A bug of the
    /// caller, or another master was faster (a claim).
    #[error("write {write}: {reason}")]
    Rejected {
        /// The write in words.
        write: String,
        /// What it contradicts.
        reason: String,
    },
    /// Another master, or a later start of this one, has the pool that the write is about; nothing of its batch was
    /// written. Whoever gets this must leave the pool alone.
    #[error("write {write}: pool {pool:?} belongs to {} (lease {fence} of this master is over)", by(master.as_deref()))]
    Fenced {
        /// The write in words.
        write: String,
        /// The pool.
        pool: String,
        /// The lease that the write was made under.
        fence: u64,
        /// Who has the pool now, if anybody has.
        master: Option<String>,
    },
    /// The database cannot be written (disk full, read-only, broken). All later writes fail as well: what is in memory
    /// is now ahead of what is on disk, so the master has to be started again.
    #[error("write the database")]
    WriteFailed(#[source] Cause),
    /// The database could not be read.
    #[error("read the database")]
    ReadFailed(#[source] Cause),
    /// A row holds something that no Buildbot writes.
    #[error("read {what}: {reason}")]
    Malformed {
        /// Which row.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store was closed.
    #[error("use the database: it is closed")]
    Closed,
}

fn by(master: Option<&str>) -> String {
    master.map_or_else(|| "nobody".to_owned(), |name| format!("the master {name}"))
}

/// How one write ended inside a transaction.
#[derive(Debug)]
pub(crate) enum ApplyError {
    /// The database failed, or a constraint did.
    Sql(database::Error),
    /// The write contradicts the tables.
    Refused(String),
    /// The pool is no longer this master's.
    Fenced { pool: String, fence: u64, master: Option<String> },
}

impl From<database::Error> for ApplyError {
    fn from(error: database::Error) -> Self {
        Self::Sql(error)
    }
}

impl ApplyError {
    /// What the caller hears, when only this write is wrong.
    pub(crate) fn rejection(self, write: String) -> StorageError {
        match self {
            Self::Refused(reason) => StorageError::Rejected { write, reason },
            Self::Sql(error) => StorageError::Rejected { write, reason: error.to_string() },
            Self::Fenced { pool, fence, master } => StorageError::Fenced { write, pool, fence, master },
        }
    }
}

impl From<database::Error> for StorageError {
    /// What a query that failed is to its caller.
    fn from(error: database::Error) -> Self {
        Self::ReadFailed(Cause::new(error))
    }
}
