//! Connections of workers: listeners, logins, and one task for each connection.
//!
//! [`Sessions`] is what the master holds: it listens, and carries out what the core decides about a connection. What
//! the connections have to tell goes to the master as [`Report`]s. A build talks to its worker through a
//! [`WorkerLink`]. Clients that report changes (`buildbot sendchange`) come in by the same door.

mod change;
mod connection;
mod credentials;
mod link;
mod listen;
mod login;
mod orders;
mod refusals;
mod sessions;
#[cfg(test)]
mod tests;
mod verifiers;

use std::time::Duration;

use model::{Change, ChangeId};
use tokio::sync::oneshot;

pub use self::{
    credentials::Credentials,
    link::{CommandError, CommandEvent, LinkLost, RunningCommand, WorkerLink},
    listen::ListenError,
    sessions::{Doors, Sessions},
};
use crate::Event;

/// What a connection tells the master.
#[derive(Debug)]
pub enum Report {
    /// Something for the core.
    Event(Event),
    /// A client reports a change.
    Change {
        /// The change.
        change: Box<Change>,
        /// Hears about it once it is durable, or why it is not taken. Dropped: the master is ending.
        stored: oneshot::Sender<Result<ChangeId, String>>,
    },
}

/// Every bound on connections, in one place.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What a peer may make the broker keep. Its `handshake` is the time that a login may take.
    pub broker: perspective_broker::Limits,
    /// What a worker may make a session keep.
    pub session: worker_protocol::SessionLimits,
    /// Connections that have not logged in. One more is closed at once; workers come back by themselves.
    pub half_open: usize,
    /// How long all attempts of one connection to log in may take together.
    pub login: Duration,
    /// How long a worker may take to describe itself and to take its builders.
    pub attach: Duration,
    /// How long a worker may take to answer a ping before it counts as lost.
    pub pong: Duration,
    /// The same, when another worker of its name waits for the answer: Buildbot's time
    /// (`buildbot/worker/manager.py`, `PING_TIMEOUT`, 4.3.0).
    pub probe: Duration,
    /// How long a worker that was told to end may take.
    pub shutdown: Duration,
    /// How long a connection that is turned away stays open, so that the worker does not come back at once.
    pub turned_away: Duration,
    /// How long a client that reports changes may be silent.
    pub client_idle: Duration,
    /// Events of one command that wait for the build to take them. When there are more, the worker's stream waits.
    pub command_events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            broker: perspective_broker::Limits::default(),
            session: worker_protocol::SessionLimits::default(),
            half_open: 1024,
            login: Duration::from_secs(300),
            attach: Duration::from_secs(120),
            pong: Duration::from_secs(30),
            probe: Duration::from_secs(10),
            shutdown: Duration::from_secs(30),
            turned_away: Duration::from_secs(5),
            client_idle: Duration::from_secs(600),
            command_events: 16,
        }
    }
}
