//! What goes wrong in a session, by what its owner does next.

use perspective_broker::SendError;

use crate::command::CommandUnsupported;

/// The session cannot go on: drop the connection; the worker comes back by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The worker said something that no worker says.
    #[error("the worker sent {what}; expected {expected}")]
    Malformed {
        /// What it sent.
        what: &'static str,
        /// What would have been right.
        expected: &'static str,
    },
    /// The worker did not wait for the answers to its file blocks.
    #[error("the worker sent more than {limit} file blocks of one command without waiting for an answer")]
    TooManyBlocks {
        /// How many may wait.
        limit: usize,
    },
    /// Nothing can be sent to the worker any more, or not this.
    #[error("cannot send to the worker")]
    Send(#[from] SendError),
}

/// Why a builder list was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildersError {
    /// The worker has not described itself yet: wait for [`crate::Event::Attached`].
    #[error("the worker is not attached yet")]
    NotAttached,
    /// A builder that would be removed runs a command. The worker would kill it without a word, so the list has to
    /// wait until the command is complete.
    #[error("builder {name:?} runs a command and cannot be taken from the worker now")]
    Busy {
        /// The builder.
        name: String,
    },
    /// Twisted lets a worker lend no more objects than this.
    #[error("{count} builders on one worker; the protocol allows {limit}")]
    TooMany {
        /// How many were asked for.
        count: usize,
        /// How many are possible.
        limit: usize,
    },
    /// Nothing can be sent to the worker any more, or not this.
    #[error("cannot send to the worker")]
    Send(#[from] SendError),
}

/// Why a command was not started. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This worker cannot run it.
    #[error(transparent)]
    Unsupported(#[from] CommandUnsupported),
    /// The worker does not have the builder (yet, or any more).
    #[error("the worker does not have the builder {name:?}")]
    NoBuilder {
        /// The builder.
        name: String,
    },
    /// The builder runs a command; a second one would kill it.
    #[error("builder {name:?} runs command {running} already")]
    Busy {
        /// The builder.
        name: String,
        /// Its command.
        running: crate::CommandId,
    },
    /// Nothing can be sent to the worker any more, or not this.
    #[error("cannot send to the worker")]
    Send(#[from] SendError),
}

/// Why a read was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The block is longer than the worker asked for. The ticket is still good.
    #[error("a block of {len} bytes for a worker that asked for at most {}", .ticket.max())]
    TooLong {
        /// Bytes given.
        len: usize,
        /// To answer with.
        ticket: crate::ReadTicket,
    },
    /// Nothing can be sent to the worker any more.
    #[error("cannot send to the worker")]
    Send(#[from] SendError),
}
