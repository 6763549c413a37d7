//! What a build holds of its worker.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use perspective_broker::Failure;
use tokio::sync::{mpsc, oneshot};
use worker_protocol::{
    Command, CommandId, CommandUnsupported, ReadTicket, StartError, Update, WorkerInfo, WriteTicket,
};

use super::orders::LinkOrder;

/// A worker's connection, for builds. Cheap to clone. Everything waits while the worker does not read what it was sent.
#[derive(Clone, Debug)]
pub struct WorkerLink {
    shared: Arc<Shared>,
    orders: mpsc::Sender<LinkOrder>,
    command_events: usize,
}

#[derive(Debug)]
struct Shared {
    info: Arc<WorkerInfo>,
    lost: Arc<OnceLock<String>>,
}

/// The connection has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker is lost: {why}")]
pub struct LinkLost {
    /// Why, for people.
    pub why: String,
}

/// Why a command was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// This worker cannot run it.
    #[error(transparent)]
    Unsupported(CommandUnsupported),
    /// It was not sent for another reason.
    #[error("command cannot be started")]
    NotStarted(#[source] StartError),
    /// The connection has ended.
    #[error(transparent)]
    Lost(#[from] LinkLost),
}

/// What a running command tells, in order. [`Complete`](Self::Complete), [`Refused`](Self::Refused) or
/// [`Lost`](Self::Lost) is the last.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommandEvent {
    /// A report.
    Update(Update),
    /// The next block of an upload. The worker sends no more before [`RunningCommand::answer_write`].
    Write {
        /// The block.
        data: Bytes,
        /// To be answered when the block is consumed.
        ticket: WriteTicket,
    },
    /// An uploaded file is whole.
    CloseWrite,
    /// When the uploaded file was last read and written, in seconds since 1970.
    SetTimes {
        /// Last access.
        accessed: f64,
        /// Last change.
        modified: f64,
    },
    /// The tar stream of an uploaded directory is whole and wants unpacking.
    Unpack {
        /// To be answered by [`RunningCommand::answer_write`] when it is done.
        ticket: WriteTicket,
    },
    /// A download wants its next block: [`RunningCommand::answer_read`].
    Read {
        /// Largest block in bytes.
        max: usize,
        /// To be answered.
        ticket: ReadTicket,
    },
    /// A download has all it wants.
    CloseRead,
    /// The command is over; with the worker's own trouble, not the failure of a program, which is an exit status.
    Complete(Option<Failure>),
    /// The worker refused the command: it does not know it, or not these arguments.
    Refused(Failure),
    /// The connection has ended, for this reason; so has the command.
    Lost(String),
}

/// A command on a worker. Dropped before its end, it is interrupted, and what it still says is thrown away.
#[derive(Debug)]
pub struct RunningCommand {
    id: CommandId,
    events: mpsc::Receiver<CommandEvent>,
    link: WorkerLink,
    over: bool,
}

impl WorkerLink {
    pub(super) fn new(
        info: Arc<WorkerInfo>,
        lost: Arc<OnceLock<String>>,
        orders: mpsc::Sender<LinkOrder>,
        command_events: usize,
    ) -> Self {
        Self { shared: Arc::new(Shared { info, lost }), orders, command_events }
    }

    /// What the worker said about itself.
    pub fn info(&self) -> &WorkerInfo {
        &self.shared.info
    }

    /// Waits until the worker answers, however busy it is.
    ///
    /// # Errors
    ///
    /// It has gone, or does not answer; then it has gone now.
    pub async fn ping(&self) -> Result<(), LinkLost> {
        let (reply, answered) = oneshot::channel();
        self.order(LinkOrder::Ping { reply }).await?;
        answered.await.map_err(|_| self.lost())
    }

    /// Tells the worker that a build begins on a builder. Only its log shows it; a worker that is gone is noticed by the
    /// first command.
    pub async fn start_build(&self, builder: &str) {
        let told = self.order(LinkOrder::StartBuild { builder: builder.to_owned() }).await;
        tracing::trace!(told = told.is_ok(), "build announced to the worker");
    }

    /// Starts a command on a builder, which runs no other.
    ///
    /// # Errors
    ///
    /// Nothing was started; the reason.
    pub async fn command(&self, builder: &str, command: Command) -> Result<RunningCommand, CommandError> {
        let (sender, events) = mpsc::channel(self.command_events);
        let (reply, started) = oneshot::channel();
        let order = LinkOrder::Start {
            builder: builder.to_owned(),
            command: Box::new(command),
            events: sender,
            reply,
        };
        self.order(order).await?;
        match started.await.map_err(|_| self.lost())? {
            Ok(id) => Ok(RunningCommand { id, events, link: self.clone(), over: false }),
            Err(StartError::Unsupported(unsupported)) => Err(CommandError::Unsupported(unsupported)),
            Err(error) => Err(CommandError::NotStarted(error)),
        }
    }

    async fn order(&self, order: LinkOrder) -> Result<(), LinkLost> {
        self.orders.send(order).await.map_err(|_| self.lost())
    }

    fn lost(&self) -> LinkLost {
        LinkLost {
            why: self.shared.lost.get().cloned().unwrap_or_else(|| "the connection has ended".to_owned()),
        }
    }
}

impl RunningCommand {
    /// Waits for the next event. After the last one it is [`CommandEvent::Lost`] again and again.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> CommandEvent {
        let event = self.events.recv().await;
        let event = event.unwrap_or_else(|| CommandEvent::Lost(self.link.lost().why));
        self.over |=
            matches!(event, CommandEvent::Complete(_) | CommandEvent::Refused(_) | CommandEvent::Lost(_));
        event
    }

    /// Asks the worker to kill the command, which then still ends with [`CommandEvent::Complete`].
    pub async fn interrupt(&self, why: &str) {
        // A connection that has ended ends the command too, and `next` tells.
        drop(self.link.order(LinkOrder::Interrupt { command: self.id, why: why.to_owned() }).await);
    }

    /// Lets the worker go on after [`CommandEvent::Write`] or [`CommandEvent::Unpack`].
    pub async fn answer_write(&self, ticket: WriteTicket) {
        drop(self.link.order(LinkOrder::AnswerWrite { ticket }).await);
    }

    /// Gives the worker the block it asked for; an empty one is the end of the file. What is longer than it asked for
    /// is cut off: the worker asks again.
    pub async fn answer_read(&self, ticket: ReadTicket, data: Bytes) {
        drop(self.link.order(LinkOrder::AnswerRead { ticket, data }).await);
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let why = "nobody listens any more".to_owned();
        // A connection that is behind with its orders finds out by itself, as soon as the command says something.
        drop(self.link.orders.try_send(LinkOrder::Interrupt { command: self.id, why }));
    }
}
