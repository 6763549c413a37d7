//! Why a step ends before its own end.

use storage::StorageError;

use crate::{
    causes,
    worker::{CommandError, LinkLost},
};

/// The ways out of a step other than its results.
#[derive(Debug)]
pub(crate) enum Halt {
    /// A command without which the rest makes no sense has failed: FAILURE.
    Failed,
    /// Somebody stopped the build.
    Stopped,
    /// The worker is gone: RETRY. Why, for people.
    Lost(String),
    /// The machinery failed: EXCEPTION, with this text as the log `err.text`.
    Broken(String),
    /// Nothing can be written any more; the master is about to end.
    Storage(StorageError),
}

impl From<StorageError> for Halt {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<LinkLost> for Halt {
    fn from(lost: LinkLost) -> Self {
        Self::Lost(lost.why)
    }
}

impl From<CommandError> for Halt {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Lost(lost) => lost.into(),
            other => Self::Broken(causes::in_lines(&other)),
        }
    }
}
