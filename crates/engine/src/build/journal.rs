//! What a build writes down while it runs: rows in their order, and notices once the rows are durable.

use std::sync::Arc;

use model::{BuildId, Time};
use storage::{StorageError, Store, Write};

use crate::{Clock, Notice, NoticeSender};

/// The rows and notices of one build.
#[derive(Debug)]
pub(crate) struct Journal {
    store: Store,
    bus: NoticeSender,
    clock: Arc<dyn Clock>,
    build: BuildId,
    /// What subscribers hear as soon as all that was submitted is durable.
    held: Vec<Notice>,
}

impl Journal {
    pub(crate) fn new(store: Store, bus: NoticeSender, clock: Arc<dyn Clock>, build: BuildId) -> Self {
        Self { store, bus, clock, build, held: Vec::new() }
    }

    pub(crate) fn build(&self) -> BuildId {
        self.build
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Writes that nobody waits for; waits only while the store has too much to do.
    pub(crate) async fn submit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        self.store.submit(writes).await
    }

    /// Tells subscribers when all that was submitted so far is durable: at the next [`commit`](Self::commit).
    pub(crate) fn hold(&mut self, notice: Notice) {
        self.held.push(notice);
    }

    /// Waits until these and all earlier writes are durable, and lets the notices out.
    pub(crate) async fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        self.store.commit(writes).await?;
        for notice in self.held.drain(..) {
            self.bus.send(notice);
        }
        Ok(())
    }
}
