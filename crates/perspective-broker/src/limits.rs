//! Every bound that a peer can push on, in one place.

use std::time::Duration;

/// The deepest nesting that [`Limits::depth`] can ask for.
///
/// Values are taken apart by functions that call themselves; this keeps their stack small on any thread.
pub const MAX_DEPTH: usize = 256;

/// The longest prefix that [`Limits::prefix`] can ask for, in bytes.
pub const MAX_PREFIX: usize = 64;

/// Every bound that a peer can push on.
///
/// The default is what Twisted enforces (`twisted.spread.banana`: `setPrefixLimit`, `SIZE_LIMIT`), and bounds for what
/// Twisted leaves open. A bound is checked on the peer's announcement, before memory is reserved. The encoder
/// keeps to the same `prefix`, `string`, `list` and `depth`: a peer would hang up on anything larger.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the number in front of a type byte; at most [`MAX_PREFIX`].
    pub prefix: usize,
    /// Bytes of one string.
    pub string: usize,
    /// Elements of one list.
    pub list: usize,
    /// Lists inside one another; at most [`MAX_DEPTH`].
    pub depth: usize,
    /// Bytes of one top-level expression, and bytes of its strings with those that back references repeat.
    pub message: usize,
    /// Bytes of one top-level expression from a peer that has not logged in yet (see [`Broker::server`]).
    ///
    /// [`Broker::server`]: crate::Broker::server
    pub login_message: usize,
    /// Elements of one top-level expression, the nested ones included. Also those that back references repeat.
    pub nodes: usize,
    /// The same from a peer that has not logged in yet.
    pub login_nodes: usize,
    /// Different objects of the peer's that it may hand us at a time.
    pub references: usize,
    /// Retired objects of ours whose late `decref`s are still counted; the oldest are forgotten first, and any
    /// `decref` of a forgotten one is accepted.
    pub tombstones: usize,
    /// Calls waiting for an answer, in each direction.
    pub pending_calls: usize,
    /// Logins that one connection may begin.
    pub logins: usize,
    /// Bytes waiting to be written above which the owner should stop producing.
    pub high_water: usize,
    /// Bytes waiting to be written above which the connection is given up. Before a login, `high_water` is it.
    pub outgoing: usize,
    /// The time a peer has for its part of negotiation and login.
    pub handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            prefix: MAX_PREFIX,
            string: 640 * 1024,
            list: 640 * 1024,
            depth: 128,
            message: 32 * 1024 * 1024,
            login_message: 256 * 1024,
            nodes: 1_000_000,
            login_nodes: 16_384,
            references: 4096,
            tombstones: 4096,
            pending_calls: 16_384,
            logins: 8,
            high_water: 1024 * 1024,
            outgoing: 64 * 1024 * 1024,
            handshake: Duration::from_secs(60),
        }
    }
}

/// Somebody went past a bound of [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit}: {announced} is more than the limit of {bound}")]
pub struct LimitExceeded {
    /// The field of [`Limits`].
    pub limit: &'static str,
    /// The number that was announced or reached; `u64::MAX` stands for that and everything above.
    pub announced: u64,
    /// The bound.
    pub bound: u64,
}

impl LimitExceeded {
    pub(crate) fn check(limit: &'static str, announced: usize, bound: usize) -> Result<(), Self> {
        if announced > bound {
            return Err(Self { limit, announced: announced as u64, bound: bound as u64 });
        }
        Ok(())
    }
}
