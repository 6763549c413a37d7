//! What a step needs of its worker, and no more: so that a test can play the worker.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use perspective_broker::Failure;
use worker_protocol::{Command, ReadTicket, Update, WorkerInfo, WriteTicket};

use crate::worker::{CommandError, CommandEvent, LinkLost, RunningCommand, WorkerLink};

/// A worker that runs commands.
pub trait Commander: Send + Sync {
    /// What the worker said of itself.
    fn info(&self) -> &WorkerInfo;

    /// Waits until the worker answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), LinkLost>>;

    /// Tells the worker that a build begins on a builder.
    fn start_build<'a>(&'a self, builder: &'a str) -> BoxFuture<'a, ()>;

    /// Starts a command on a builder, which runs no other.
    fn command<'a>(
        &'a self,
        builder: &'a str,
        command: Command,
    ) -> BoxFuture<'a, Result<Box<dyn Running>, CommandError>>;
}

/// A command that runs.
pub trait Running: Send {
    /// Waits for the next report. Nothing is lost when the future is dropped.
    fn next(&mut self) -> BoxFuture<'_, Report>;

    /// Asks the worker to kill the command, which then still ends with [`Report::Complete`].
    fn interrupt<'a>(&'a mut self, why: &'a str) -> BoxFuture<'a, ()>;

    /// Lets the worker go on after [`Report::Write`] or [`Report::Unpack`].
    fn answer_write(&mut self) -> BoxFuture<'_, ()>;

    /// Gives the worker the block it asked for by [`Report::Read`]; an empty one is the end of the file.
    fn answer_read(&mut self, data: Bytes) -> BoxFuture<'_, ()>;
}

/// What a running command tells, in order. [`Complete`](Self::Complete), [`Refused`](Self::Refused) or
/// [`Lost`](Self::Lost) is the last.
#[derive(Debug)]
pub enum Report {
    /// Output, an exit status, or another fact.
    Update(Update),
    /// The next block of an upload; the worker waits for the answer.
    Write(Bytes),
    /// An uploaded file is whole.
    CloseWrite,
    /// When the uploaded file was last read and written, in seconds since 1970.
    SetTimes {
        /// Last access.
        accessed: f64,
        /// Last change.
        modified: f64,
    },
    /// The tar stream of an uploaded directory is whole; the worker waits until it is unpacked.
    Unpack,
    /// A download wants its next block, of at most so many bytes.
    Read(usize),
    /// A download has all it wants.
    CloseRead,
    /// The command is over; with the worker's own trouble, not the failure of a program, which is an exit status.
    Complete(Option<Failure>),
    /// The worker refused the command.
    Refused(Failure),
    /// The connection has ended, for this reason; so has the command.
    Lost(String),
}

impl Commander for WorkerLink {
    fn info(&self) -> &WorkerInfo {
        self.info()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), LinkLost>> {
        Box::pin(self.ping())
    }

    fn start_build<'a>(&'a self, builder: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(self.start_build(builder))
    }

    fn command<'a>(
        &'a self,
        builder: &'a str,
        command: Command,
    ) -> BoxFuture<'a, Result<Box<dyn Running>, CommandError>> {
        Box::pin(async move {
            let command = self.command(builder, command).await?;
            Ok(Box::new(Live { command, write: None, read: None }) as Box<dyn Running>)
        })
    }
}

/// A command on a real worker, with the questions of the worker that are not answered yet.
struct Live {
    command: RunningCommand,
    write: Option<WriteTicket>,
    read: Option<ReadTicket>,
}

impl Running for Live {
    fn next(&mut self) -> BoxFuture<'_, Report> {
        Box::pin(async move {
            match self.command.next().await {
                CommandEvent::Update(update) => Report::Update(update),
                CommandEvent::Write { data, ticket } => {
                    self.write = Some(ticket);
                    Report::Write(data)
                }
                CommandEvent::CloseWrite => Report::CloseWrite,
                CommandEvent::SetTimes { accessed, modified } => Report::SetTimes { accessed, modified },
                CommandEvent::Unpack { ticket } => {
                    self.write = Some(ticket);
                    Report::Unpack
                }
                CommandEvent::Read { max, ticket } => {
                    self.read = Some(ticket);
                    Report::Read(max)
                }
                CommandEvent::CloseRead => Report::CloseRead,
                CommandEvent::Complete(failure) => Report::Complete(failure),
                CommandEvent::Refused(failure) => Report::Refused(failure),
                CommandEvent::Lost(why) => Report::Lost(why),
            }
        })
    }

    fn interrupt<'a>(&'a mut self, why: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(self.command.interrupt(why))
    }

    fn answer_write(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(ticket) = self.write.take() {
                self.command.answer_write(ticket).await;
            }
        })
    }

    fn answer_read(&mut self, data: Bytes) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(ticket) = self.read.take() {
                self.command.answer_read(ticket, data).await;
            }
        })
    }
}
