//! A connection to either database, under one set of calls.
//!
//! The statements are the same for both, and so are the kinds of values: SQLite's five. What only one of them knows is in
//! [`sqlite`] and [`postgres`], and nowhere else.

mod error;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::{cell::RefCell, ops::Deref};

pub(crate) use error::Error;
pub(crate) use rusqlite::{
    ToSql, params,
    types::{FromSql, Value, ValueRef},
};

use crate::{ids::Ids, sql};

/// The values of a statement, in the order of its parameters.
pub(crate) type Values<'a> = &'a [&'a dyn ToSql];

/// A connection. Statements are prepared once and kept.
pub(crate) enum Connection {
    /// To a file.
    Sqlite(rusqlite::Connection),
    /// To a server.
    Postgres(Box<RefCell<postgres::Session>>),
}

/// A row of an answer.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a ::postgres::Row),
}

/// Whether more rows are wanted.
pub(crate) enum More {
    Yes,
    No,
}

impl Row<'_> {
    /// The value of a column.
    pub(crate) fn get<T: FromSql>(&self, column: usize) -> Result<T, Error> {
        T::column_result(self.get_ref(column)?).map_err(|cause| Error::Column { column, cause })
    }

    /// The value of a column, where it lies.
    pub(crate) fn get_ref(&self, column: usize) -> Result<ValueRef<'_>, Error> {
        match self {
            Self::Sqlite(row) => Ok(row.get_ref(column)?),
            Self::Postgres(row) => postgres::value(row, column),
        }
    }
}

impl Connection {
    /// Runs a statement, and tells how many rows it changed.
    pub(crate) fn execute(&self, statement: &str, values: Values<'_>) -> Result<usize, Error> {
        match self {
            Self::Sqlite(connection) => Ok(connection.prepare_cached(statement)?.execute(values)?),
            Self::Postgres(session) => session.borrow_mut().execute(statement, values),
        }
    }

    /// Runs statements without values.
    pub(crate) fn batch(&self, statements: &str) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(statements)?),
            Self::Postgres(session) => session.borrow_mut().batch(statements),
        }
    }

    /// Hands the rows of a query to `row`, until that wants no more. It must not use the connection itself.
    pub(crate) fn each<E: From<Error>>(
        &self,
        query: &str,
        values: Values<'_>,
        mut row: impl FnMut(&Row<'_>) -> Result<More, E>,
    ) -> Result<(), E> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(query).map_err(Error::from)?;
                let mut rows = statement.query(values).map_err(Error::from)?;
                while let Some(found) = rows.next().map_err(Error::from)? {
                    if let More::No = row(&Row::Sqlite(found))? {
                        break;
                    }
                }
            }
            Self::Postgres(session) => {
                for found in &session.borrow_mut().query(query, values)? {
                    if let More::No = row(&Row::Postgres(found))? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// All rows of a query.
    pub(crate) fn all<T, E: From<Error>>(
        &self,
        query: &str,
        values: Values<'_>,
        parse: impl Fn(&Row<'_>) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        let mut rows = Vec::new();
        self.each(query, values, |row| {
            rows.push(parse(row)?);
            Ok::<_, E>(More::Yes)
        })?;
        Ok(rows)
    }

    /// The first row of a query, if there is one.
    pub(crate) fn first<T, E: From<Error>>(
        &self,
        query: &str,
        values: Values<'_>,
        parse: impl Fn(&Row<'_>) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let mut first = None;
        self.each(query, values, |row| {
            first = Some(parse(row)?);
            Ok::<_, E>(More::No)
        })?;
        Ok(first)
    }

    /// The value in the first column of the first row, if there is one.
    pub(crate) fn value<T: FromSql>(&self, query: &str, values: Values<'_>) -> Result<Option<T>, Error> {
        self.first(query, values, |row| row.get(0))
    }

    /// Whether there are no tables at all.
    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        let query = match self {
            Self::Sqlite(_) => sqlite::IS_EMPTY,
            Self::Postgres(_) => sql::postgres::IS_EMPTY,
        };
        Ok(self.value(query, params![])?.unwrap_or(false))
    }

    /// Whether there is a table of this name.
    pub(crate) fn has_table(&self, name: &str) -> Result<bool, Error> {
        let query = match self {
            Self::Sqlite(_) => sqlite::HAS_TABLE,
            Self::Postgres(_) => sql::postgres::HAS_TABLE,
        };
        Ok(self.value(query, params![name])?.unwrap_or(false))
    }

    /// Begins a transaction that writes. The other process that writes, if there is one, is waited for here.
    pub(crate) fn begin(&self) -> Result<Transaction<'_>, Error> {
        self.begin_with(match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        })
    }

    /// Begins a transaction that sees one state of the database, whatever is written meanwhile.
    pub(crate) fn begin_reading(&self) -> Result<Transaction<'_>, Error> {
        self.begin_with(match self {
            Self::Sqlite(_) => "BEGIN",
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })
    }

    fn begin_with(&self, statement: &str) -> Result<Transaction<'_>, Error> {
        self.batch(statement)?;
        Ok(Transaction { connection: self, ended: false })
    }

    /// Gives some of the room of what was deleted back to the file system. PostgreSQL sees to that by itself.
    pub(crate) fn give_back(&self) -> Result<(), Error> {
        match self {
            // It gives back a page at each step.
            Self::Sqlite(_) => self.each(sqlite::GIVE_BACK, params![], |_| Ok(More::Yes)),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Whether the connection is gone, so that only another one can be of use.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(session) => session.borrow().is_lost(),
        }
    }

    /// Makes a lost connection of the writer anew. Gives back the serial of the last transaction that was committed.
    pub(crate) fn reconnect(&self) -> Result<i64, Error> {
        match self {
            Self::Sqlite(_) => Ok(0),
            Self::Postgres(session) => session.borrow_mut().reconnect(),
        }
    }

    /// Notes the serial of a transaction of the writer, so that one knows later whether it was committed. A file needs none:
    /// it is never in doubt.
    pub(crate) fn mark(&self, serial: i64) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(session) => session.borrow_mut().mark(serial),
        }
    }

    /// Makes sure that nobody who lets the database give out ids gets one of ours.
    pub(crate) fn reserve(&self, ids: &Ids) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(session) => session.borrow_mut().reserve(ids),
        }
    }

    /// Leaves the database as the next one wants to find it.
    pub(crate) fn finish(&self, ids: &Ids) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(session) => session.borrow_mut().settle(ids),
        }
    }
}

/// A transaction; rolled back unless it is committed.
pub(crate) struct Transaction<'a> {
    connection: &'a Connection,
    ended: bool,
}

impl Transaction<'_> {
    pub(crate) fn commit(mut self) -> Result<(), Error> {
        self.connection.batch("COMMIT")?;
        self.ended = true;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.ended && !self.connection.is_lost() {
            // It fails where the database has rolled back by itself, and where the connection is gone, which rolls back too.
            self.connection.batch("ROLLBACK").ok();
        }
    }
}
