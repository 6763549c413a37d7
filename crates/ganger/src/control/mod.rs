//! How commands talk to the running master.
//!
//! JSON-RPC 2.0 over a Unix socket that only its owner may open, one message per line, at most [`REQUEST_LIMIT`] bytes to
//! the master and [`ANSWER_LIMIT`] bytes from it. The first request of a connection must be `hello`, with the version of
//! the protocol. Requests are answered in their order, one at a time. A request that streams is answered by any number of
//! notifications and then its response; closing the connection ends it.

mod client;
mod follow;
mod force;
mod house;
mod message;
pub(crate) mod pool;
mod server;
mod view;

pub(crate) use client::Client;
pub(crate) use house::{Ending, House};
pub(crate) use message::*;
pub(crate) use server::Server;

/// Version of the protocol: a master and a command that do not have the same refuse each other.
pub(crate) const PROTOCOL: u32 = 1;

/// Longest line that a master takes, in bytes.
///
/// There is room for a patch of 10 MB, the largest file that a force scheduler takes if it says nothing else.
pub(crate) const REQUEST_LIMIT: usize = 32 << 20;

/// Longest line that a command takes, in bytes.
pub(crate) const ANSWER_LIMIT: usize = 16 << 20;
