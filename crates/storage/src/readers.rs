//! Connections for queries, on threads where they may block.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::{
    error::{Cause, StorageError},
    open,
};

/// A bounded number of read-only connections.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    room: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, count: usize) -> Self {
        Self { path, idle: Mutex::default(), room: Arc::new(Semaphore::new(count.max(1))) }
    }

    /// Runs a query on another thread, all of it on one state of the database.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| StorageError::Closed)?;
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let result = match connection.unchecked_transaction() {
                Ok(transaction) => query(&transaction),
                Err(error) => Err(read_failed(error)),
            };
            readers.give_back(connection);
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
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Connection, StorageError> {
        let idle = self.idle().pop();
        idle.map_or_else(|| open::open_reader(&self.path).map_err(read_failed), Ok)
    }

    fn give_back(&self, connection: Connection) {
        if !self.room.is_closed() {
            self.idle().push(connection);
        }
    }
}

pub(crate) fn read_failed(error: rusqlite::Error) -> StorageError {
    StorageError::ReadFailed(Cause::new(error))
}
