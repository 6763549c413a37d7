//! A database on a PostgreSQL server.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Location, Opened, Options, check_version, ready};
use crate::{
    database::{
        Connection, params,
        postgres::{Server, Session},
    },
    error::OpenError,
    schema,
    sql::postgres as sql,
};

/// How long a new master waits for the session of the one before to end.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(2);

pub(super) fn open(server: &Arc<Server>, options: &Options) -> Result<Opened, OpenError> {
    let location = Location::Server(Arc::clone(server));
    let failed = |error| OpenError::database(&location, error);
    let mut session = Session::connect(server, &application(&options.master)).map_err(failed)?;
    let started = Instant::now();
    while let Err(holder) = session.lock().map_err(failed)? {
        // Of a process that was killed, the server may still be finishing the last statement.
        if started.elapsed() > WAIT_FOR_LOCK {
            return Err(OpenError::InUse { database: location.to_string(), by: Some(holder) });
        }
        thread::sleep(Duration::from_millis(100));
    }
    let connection = Connection::Postgres(Box::new(session.into()));
    if connection.is_empty().map_err(failed)? {
        let transaction = connection.begin().map_err(failed)?;
        transaction.batch(&schema::for_postgres(schema::CREATE)).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    } else {
        check_version(&location, &connection)?;
    }
    let transaction = connection.begin().map_err(failed)?;
    transaction.batch(&schema::for_postgres(schema::ADDITIONS)).map_err(failed)?;
    transaction.batch(sql::WRITER).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    let before = connection.value::<Option<String>>(sql::LAST_MASTER, params![]).map_err(failed)?.flatten();
    let serial = connection.value(sql::SERIAL, params![]).map_err(failed)?.unwrap_or(0);
    let opened = ready(connection, before, options).map_err(failed)?;
    // Until that master is noted as dead, the row goes on naming it.
    opened.connection.execute(sql::SET_MASTER, params![options.master]).map_err(failed)?;
    Ok(Opened { serial, ..opened })
}

/// What administrators see in the server's list of sessions; it holds 63 bytes.
pub(crate) fn application(master: &str) -> String {
    let name = format!("ganger {master}");
    name.chars().filter(|char| (' '..='~').contains(char)).take(63).collect()
}
