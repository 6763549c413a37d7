//! What the databases say, and what follows from it.

use postgres::error::{DbError, Severity};
use rusqlite::{ErrorCode, types::FromSqlError};

/// What the database said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL, or the way there.
    #[error("{}", in_words(.0))]
    Postgres(#[source] postgres::Error),
    /// A column holds another kind of value.
    #[error("column {column}")]
    Column {
        /// Which, from 0.
        column: usize,
        /// What is wrong.
        #[source]
        cause: FromSqlError,
    },
    /// The server is another's now.
    #[error("{0}")]
    Taken(String),
    /// The operating system refused.
    #[error("{0}")]
    System(String),
    /// The file with the authorities of the server's certificate is of no use.
    #[error("{0}")]
    Trust(String),
}

impl From<postgres::Error> for Error {
    fn from(error: postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// What the server said, without the library's words around it.
fn in_words(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => match said.detail() {
            Some(detail) => format!("{} ({detail})", said.message()),
            None => said.message().to_owned(),
        },
        None => error.to_string(),
    }
}

impl Error {
    /// Whether only one write is wrong. Everything else (disk full, I/O, corruption) is wrong for all.
    pub(crate) fn is_the_writes_own(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
            ),
            // 22: data that its column cannot hold; 23: constraints.
            Self::Postgres(error) => match error.code() {
                Some(code) => matches!(code.code().get(..2), Some("22" | "23")),
                None => super::postgres::TooLarge::is_cause_of(error),
            },
            Self::Column { .. } | Self::Taken(_) | Self::System(_) | Self::Trust(_) => false,
        }
    }

    /// Whether the same may succeed a little later. An I/O error of SQLite may not: what the disk then has is unknown.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            ),
            Self::Postgres(error) => match error.code() {
                // 08: the connection; 25006: a standby, before it is promoted; 40: deadlocks and the like; 53: full disk or
                // memory, too many connections; 57: the server ends or starts.
                Some(code) => {
                    code.code() == "25006" || matches!(code.code().get(..2), Some("08" | "40" | "53" | "57"))
                }
                // The way there; what the library itself objects to will not pass.
                None => error.is_closed() || is_io(error),
            },
            Self::Column { .. } | Self::Taken(_) | Self::System(_) | Self::Trust(_) => false,
        }
    }

    /// Whether it is the last that the server says in a session, which the connection may not have noticed yet.
    pub(crate) fn ends_the_session(&self) -> bool {
        let Self::Postgres(error) = self else { return false };
        let severity = error.as_db_error().and_then(DbError::parsed_severity);
        matches!(severity, Some(Severity::Fatal | Severity::Panic))
    }
}

fn is_io(error: &postgres::Error) -> bool {
    std::iter::successors(std::error::Error::source(error), |error| error.source())
        .any(|source| source.is::<std::io::Error>())
}
