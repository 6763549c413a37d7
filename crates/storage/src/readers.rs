//! Connections for queries, on threads where they may block.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::{
    database::{Connection, Error, postgres::Session, sqlite},
    error::{Cause, StorageError},
    open::Location,
};

/// A bounded number of read-only connections.
pub(crate) struct Readers {
    location: Location,
    idle: Mutex<Vec<Connection>>,
    room: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(location: Location, count: usize) -> Self {
        Self { location, idle: Mutex::default(), room: Arc::new(Semaphore::new(count.max(1))) }
    }

    /// Runs a query on another thread, all of it on one state of the database.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| StorageError::Closed)?;
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let result = loop {
                let (connection, is_new) = readers.take().map_err(read_failed)?;
                let result = match connection.begin_reading() {
                    Ok(transaction) => query(&transaction),
                    // The server has closed it while nobody used it.
                    Err(_) if !is_new && connection.is_lost() => continue,
                    Err(error) => Err(read_failed(error)),
                };
                readers.give_back(connection);
                break result;
            };
            drop(room);
            result
        });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(StorageError::Closed),
            },
        }
    }

    /// Lets no more queries begin.
    pub(crate) fn close(&self) {
        self.room.close();
        let idle = std::mem::take(&mut *self.idle());
        if idle.iter().any(|connection| matches!(connection, Connection::Postgres(_))) {
            // The client says goodbye to the server and waits for that, which must not be done on the caller's thread.
            std::thread::spawn(move || drop(idle));
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that was of use before, or a new one.
    fn take(&self) -> Result<(Connection, bool), Error> {
        let idle = self.idle().pop();
        idle.map_or_else(|| Ok((connect(&self.location)?, true)), |connection| Ok((connection, false)))
    }

    fn give_back(&self, connection: Connection) {
        if !self.room.is_closed() && !connection.is_lost() {
            self.idle().push(connection);
        }
    }
}

/// A connection that only reads.
pub(crate) fn connect(location: &Location) -> Result<Connection, Error> {
    Ok(match location {
        Location::File(path) => Connection::Sqlite(sqlite::open_reader(path)?),
        Location::Server(server) => {
            Connection::Postgres(Box::new(Session::connect(server, "ganger queries")?.into()))
        }
    })
}

pub(crate) fn read_failed(error: Error) -> StorageError {
    StorageError::ReadFailed(Cause::new(error))
}
