//! Twisted's Perspective Broker.

mod banana;
mod broker;
mod jelly;
mod limits;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "tokio")]
mod transport;

pub use banana::{DecodeError, Decoder, Dialect, Element, EncodeError, encode};
pub use broker::{
    Broker, Callee, Event, LocalId, LoginId, Proof, ProtocolError, RemoteId, ReplyId, RequestId, SendError,
    Target,
};
pub use bytes::Bytes;
pub use bytestring::ByteString;
pub use jelly::{
    Backref, Copyable, Date, DateTime, Decimal, Failure, Shared, Time, TimeDelta, UnjellyError, Value, jelly,
    unjelly,
};
pub use limits::{LimitExceeded, Limits, MAX_DEPTH, MAX_PREFIX};
pub use num_bigint::BigInt;
#[cfg(feature = "tokio")]
pub use transport::{Transport, TransportError};
