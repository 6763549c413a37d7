//! What connections are told to do.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use worker_protocol::{Command, CommandId, ReadTicket, StartError, WriteTicket};

use super::CommandEvent;
use crate::core::BuilderDir;

/// What the core decides about a connection.
#[derive(Debug)]
pub(super) enum Order {
    Admit { builders: Vec<BuilderDir> },
    Refuse { why: String },
    Probe,
    SetBuilders { builders: Vec<BuilderDir> },
    Disconnect { why: String },
    Shutdown,
}

/// What a build asks for.
#[derive(Debug)]
pub(super) enum LinkOrder {
    /// The reply is dropped when the worker does not answer.
    Ping {
        reply: oneshot::Sender<()>,
    },
    StartBuild {
        builder: String,
    },
    Start {
        builder: String,
        command: Box<Command>,
        events: mpsc::Sender<CommandEvent>,
        reply: oneshot::Sender<Result<CommandId, StartError>>,
    },
    Interrupt {
        command: CommandId,
        why: String,
    },
    AnswerWrite {
        ticket: WriteTicket,
    },
    AnswerRead {
        ticket: ReadTicket,
        data: Bytes,
    },
}
