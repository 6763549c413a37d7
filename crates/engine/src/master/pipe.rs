//! What waits for its rows to be durable, in order.

use std::{
    collections::VecDeque,
    future,
    task::{Poll, ready},
};

use storage::StorageError;
use tokio::time::Instant;

use super::ports::Boxed;

/// Ready when rows are durable, or never will be.
pub(super) type Commit = Boxed<Result<(), StorageError>>;

/// Rows that were not written, and what rested on them.
pub(super) type Refused<T> = (StorageError, T);

/// Things that may leave once rows are durable, strictly in the order in which they went in.
pub(super) struct Pipe<T> {
    waiting: VecDeque<(Option<Commit>, T)>,
    /// When something last left, or the first thing came.
    progress: Instant,
}

impl<T> Pipe<T> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), progress: Instant::now() }
    }

    /// Adds something that may leave when `committed` is ready, and all that went in before has left.
    pub(super) fn push(&mut self, committed: Option<Commit>, item: T) {
        if self.waiting.is_empty() {
            self.progress = Instant::now();
        }
        self.waiting.push_back((committed, item));
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Since when nothing has left although something waits.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.progress)
    }

    /// Waits for the next thing that may leave; for ever when there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<T, Refused<T>> {
        future::poll_fn(|context| -> Poll<Result<T, Refused<T>>> {
            let Some((committed, _)) = self.waiting.front_mut() else { return Poll::Pending };
            let outcome = match committed {
                Some(future) => ready!(future.as_mut().poll(context)),
                None => Ok(()),
            };
            self.progress = Instant::now();
            match self.waiting.pop_front() {
                Some((_, item)) => Poll::Ready(match outcome {
                    Ok(()) => Ok(item),
                    Err(error) => Err((error, item)),
                }),
                None => Poll::Pending,
            }
        })
        .await
    }
}
