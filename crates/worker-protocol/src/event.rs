//! What a session tells its owner.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use perspective_broker::{Failure, ReplyId};

use crate::info::WorkerInfo;
use crate::update::Update;

/// Names one command of one session; never used again in the same session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub(crate) u64);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Something the worker said.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The worker described itself; builders can be set. First event of a session.
    Attached(Arc<WorkerInfo>),
    /// The worker took the builder list of the oldest `set_builders` that was not answered yet.
    BuildersSet,
    /// The worker refused a builder list; the one before it holds.
    BuildersRefused(Failure),
    /// The worker answered a ping.
    Pong,
    /// The worker answered a ping with an error: it is not well.
    PingFailed(Failure),
    /// The worker accepted the command. May come after its updates and even after [`Event::Complete`], for commands
    /// that are over at once.
    Started {
        /// Which one.
        command: CommandId,
    },
    /// The worker refused the command: it does not know it, or not these arguments. Nothing else follows.
    StartFailed {
        /// Which one.
        command: CommandId,
        /// Its reason.
        failure: Failure,
    },
    /// A report of a running command.
    Update {
        /// Which one.
        command: CommandId,
        /// What it says.
        update: Update,
    },
    /// The command is over and its builder is free. No update follows.
    Complete {
        /// Which one.
        command: CommandId,
        /// The worker's own trouble with it; not the failure of a program, which is an exit status.
        failure: Option<Failure>,
    },
    /// The next block of an upload. The worker sends no more before [`crate::Session::answer_write`].
    Write {
        /// Which one.
        command: CommandId,
        /// The block.
        data: Bytes,
        /// To be answered when the block is consumed.
        ticket: WriteTicket,
    },
    /// An uploaded file is whole.
    CloseWrite {
        /// Which one.
        command: CommandId,
    },
    /// When the uploaded file was last read and written, in seconds since 1970.
    SetTimes {
        /// Which one.
        command: CommandId,
        /// Last access.
        accessed: f64,
        /// Last change.
        modified: f64,
    },
    /// The tar stream of an uploaded directory is whole and wants unpacking.
    Unpack {
        /// Which one.
        command: CommandId,
        /// To be answered by [`crate::Session::answer_write`] when it is done.
        ticket: WriteTicket,
    },
    /// A download wants its next block: [`crate::Session::answer_read`].
    Read {
        /// Which one.
        command: CommandId,
        /// Largest block in bytes.
        max: usize,
        /// To be answered.
        ticket: ReadTicket,
    },
    /// A download has all it wants.
    CloseRead {
        /// Which one.
        command: CommandId,
    },
    /// The worker is alive.
    Keepalive,
    /// The worker's owner wants it to stop when it is idle: give it no more work, then call
    /// [`crate::Session::shutdown`].
    ShutdownRequested,
    /// The worker cannot be told to stop.
    ShutdownFailed(Failure),
}

/// The right to answer one write of a worker.
#[derive(Debug)]
#[must_use = "the worker waits for the answer for ever"]
pub struct WriteTicket {
    pub(crate) command: CommandId,
    pub(crate) reply: Option<ReplyId>,
}

/// The right to answer one read of a worker.
#[derive(Debug)]
#[must_use = "the worker waits for the answer for ever"]
pub struct ReadTicket {
    pub(crate) command: CommandId,
    pub(crate) reply: Option<ReplyId>,
    pub(crate) max: usize,
}

impl ReadTicket {
    /// Largest block in bytes.
    pub fn max(&self) -> usize {
        self.max
    }
}
