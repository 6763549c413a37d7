//! Whose fault it is.

use crate::banana::{DecodeError, EncodeError};
use crate::limits::LimitExceeded;
use crate::{LocalId, RemoteId};

/// The peer broke the protocol. The connection is of no more use: drop it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Bytes that are not Banana, or too much of it.
    #[error("the peer sent unreadable Banana")]
    Decode(#[from] DecodeError),
    /// A bound of [`Limits`](crate::Limits) was exceeded.
    #[error("limit exceeded by the peer")]
    Limit(#[from] LimitExceeded),
    /// Negotiation ended without a dialect.
    #[error("the peer offers no dialect that is known here")]
    NoDialect,
    /// Another version of the broker protocol.
    #[error("the peer speaks version {0} of the broker protocol, not 6")]
    Version(i64),
    /// A top-level expression that is not a list, or does not start with a verb.
    #[error("the peer sent an expression that is not a list with a verb")]
    NotAMessage,
    /// A known verb with operands that it cannot have.
    #[error("the peer sent a malformed {verb}: {expected} expected")]
    Malformed {
        /// The verb.
        verb: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// An answer to a call that was not made, or that was answered already.
    #[error("the peer answered call {0}, which is not open")]
    UnknownRequest(i64),
    /// A reference given back that the peer does not hold.
    #[error("the peer gave back a reference to object {0}, which it does not hold")]
    UnknownReference(i64),
    /// Objects cached on either side are not supported.
    #[error("the peer sent {0}, but nothing is cached here")]
    NoCache(&'static str),
    /// A login was answered with something other than what a login is answered with.
    #[error("the peer answered a login with something else than a challenge")]
    NoChallenge,
    /// What the peer wants to be answered cannot be answered within the limits that were chosen here.
    #[error("the peer sent something that cannot be answered within the limits")]
    Unanswerable,
    /// The peer makes us answer, but does not read the answers.
    #[error("the peer does not read: {buffered} bytes wait for it, {bound} is the limit")]
    NotReading {
        /// Bytes that would have to be kept.
        buffered: u64,
        /// [`Limits::outgoing`](crate::Limits::outgoing), or before a login
        /// [`Limits::high_water`](crate::Limits::high_water).
        bound: u64,
    },
}

/// A request to the broker that it could not carry out. Nothing of it was sent, unless a variant says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A value that no peer would accept. In place of an answer with such a value the peer was sent a failure.
    #[error("value cannot be sent")]
    Value(#[from] EncodeError),
    /// An object of ours that was never exported, or is retired.
    #[error("object {0} is not exported")]
    NotExported(LocalId),
    /// An object of the peer's of which no reference is held (any more).
    #[error("no reference to the peer's object {0} is held")]
    NotHeld(RemoteId),
    /// A call that was answered already.
    #[error("call is answered already")]
    AlreadyAnswered,
    /// More of our calls wait for an answer than [`Limits::pending_calls`](crate::Limits::pending_calls) allows.
    #[error("too many calls wait for an answer")]
    TooManyCalls(#[source] LimitExceeded),
    /// The peer reads too slowly. The connection is of no more use: drop it.
    #[error("the peer does not read: {buffered} bytes wait for it, {bound} is the limit")]
    NotReading {
        /// Bytes that would have to be kept.
        buffered: u64,
        /// [`Limits::outgoing`](crate::Limits::outgoing).
        bound: u64,
    },
    /// The peer broke the protocol before.
    #[error("connection is broken")]
    Broken,
}
