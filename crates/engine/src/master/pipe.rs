//! What waits for its rows to be durable, in order.

use std::{collections::VecDeque, future, task::Poll};

use storage::StorageError;
use tokio::time::Instant;

use super::ports::Boxed;

/// Ready when rows are durable, or never will be.
pub(super) type Commit = Boxed<Result<(), StorageError>>;

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
    pub(super) async fn next(&mut self) -> Result<T, StorageError> {
        future::poll_fn(|context| {
            let Some((committed, _)) = self.waiting.front_mut() else { return Poll::Pending };
            if let Some(future) = committed {
                match future.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => *committed = None,
                }
            }
            self.progress = Instant::now();
            match self.waiting.pop_front() {
                Some((_, item)) => Poll::Ready(Ok(item)),
                None => Poll::Pending,
            }
        })
        .await
    }
}
