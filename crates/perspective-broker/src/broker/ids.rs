//! Names for the things of one connection. None of them means anything on another one.

use std::fmt;

/// An object of ours, by the number under which the peer knows it (a *luid*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalId(i64);

/// An object of the peer's, by the number that the peer gave it (a *luid*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteId(i64);

/// A call of ours that is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) i64);

/// A call of the peer's that we have to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub(super) u64);

/// A login of the peer's that we have to accept or refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginId(pub(super) ReplyId);

impl LocalId {
    /// The object with this number.
    pub fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl RemoteId {
    /// The object with this number.
    pub fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for LocalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for RemoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What one of our calls is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callee {
    /// The peer's root object.
    Root,
    /// An object that the peer gave us.
    Remote(RemoteId),
}

impl From<RemoteId> for Callee {
    fn from(id: RemoteId) -> Self {
        Self::Remote(id)
    }
}

/// What one of the peer's calls is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Our root object; only after [`Broker::expose_root`](crate::Broker::expose_root).
    Root,
    /// An object that we gave the peer.
    Local(LocalId),
}
