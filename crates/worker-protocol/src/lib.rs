//! What a Buildbot master and its workers say to each other, typed, for every generation of workers: buildslave 0.8
//! and buildbot-worker 0.9 to 4.x, over Perspective Broker.
//!
//! A [`Session`] is the master's side of one worker's connection. It sits on a [`perspective_broker::Broker`], does
//! no input and output of its own, knows no time and decides nothing: events of the broker go in, typed [`Event`]s
//! come out, and typed [`Command`]s are put in the words of the worker's age. What is peculiar to a release (byte
//! strings or text, slaves or workers, arguments it does not know) is settled in here and nowhere else.
//!
//! ```text
//! login accepted ─ start ─▶ Attached ─ set_builders ─▶ BuildersSet
//!    start_command ─▶ Started?, Update*, (Write | Read | ..)* ─▶ Complete      (or StartFailed)
//! ```

mod command;
mod error;
mod event;
#[cfg(any(test, feature = "test-worker"))]
pub mod fake;
mod info;
mod session;
mod text;
mod update;
mod version;

pub use crate::command::{
    Command, CommandUnsupported, Compression, CopyDirectory, DownloadFile, EnvValue, Glob, ListDirectory,
    LogFile, MAX_BLOCK, MakeDirectory, Mode, Patch, Program, RemoveDirectory, RemoveFile, Repository, Retry,
    Shell, Source, SourcePassword, StatFile, UploadDirectory, UploadFile, Word,
};
pub use crate::error::{BuildersError, ReadError, SessionError, StartError};
pub use crate::event::{CommandId, Event, ReadTicket, WriteTicket};
pub use crate::info::{System, WorkerInfo};
pub use crate::session::{Session, SessionLimits};
pub use crate::update::{FileStat, Update};
pub use crate::version::CommandVersion;
