//! Twisted's Perspective Broker, the protocol of `twisted.spread.pb`: programs call methods of each other's objects, in
//! both directions on one connection.
//!
//! Three layers, each usable alone:
//!
//! - *Banana* turns s-expressions into bytes: [`Element`], [`Decoder`], [`encode`];
//! - *Jelly* turns Python's values into s-expressions: [`Value`], [`jelly()`], [`unjelly`];
//! - the *broker* makes calls, answers and references of them, and logs peers in: [`Broker`], [`Event`].
//!
//! None of them does I/O, reads a clock or starts a thread: bytes go in, events and bytes come out. With the feature
//! `tokio` there is a driver, `Transport`, for TCP, Unix sockets and anything else that reads and writes; with the
//! feature `tls` there is the module `tls` to put under it.
//!
//! # What it is not
//!
//! - Not an object system: a call is an [`Event`] with a method's name in it, and the program decides what it means.
//! - Not a pickle: no class of the peer's is ever instantiated. Instances arrive as [`Copyable`], a name and a state.
//! - Not all of `twisted.spread`: objects that are cached at the peer (`pb.Cacheable`) are refused, and so are modules,
//!   classes, functions and methods as values.
//! - Not secure by itself: the protocol's own login is MD5, challenge and response. Use TLS.
//!
//! # Start
//!
//! A server and a client that talk, with nothing between them:
//!
//! ```
//! use perspective_broker::{Broker, Event, Limits, Target, Value};
//!
//! let mut server = Broker::server(Limits::default());
//! let mut client = Broker::client(Limits::default());
//! client.login("ann", b"sekrit", None)?;
//! loop {
//!     // A driver does this with a socket.
//!     client.receive(&mut server.outgoing().split())?;
//!     server.receive(&mut client.outgoing().split())?;
//!     while let Some(event) = server.poll_event() {
//!         match event {
//!             Event::Login { login, user, proof, .. } => {
//!                 assert!(user == "ann" && proof.verify(b"sekrit"));
//!                 let perspective = server.export();
//!                 server.accept_login(login, perspective)?;
//!             }
//!             Event::Call { target: Target::Local(_), method, reply: Some(reply), .. } => {
//!                 assert_eq!(method, "greet");
//!                 server.answer(reply, Value::text("good morning"))?;
//!             }
//!             _ => {}
//!         }
//!     }
//!     match client.poll_event() {
//!         Some(Event::LoggedIn { perspective, .. }) => {
//!             client.call(perspective, "greet", vec![], vec![])?;
//!         }
//!         Some(Event::Answered { value, .. }) => {
//!             assert_eq!(value.as_text(), Some("good morning"));
//!             break;
//!         }
//!         _ => {}
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The examples `echo_server` and `echo_client` do the same with programs written in Twisted.
//!
//! # References
//!
//! [`Broker::export`] makes an object that can be sent as [`Value::Local`]; the peer may call it until
//! [`Broker::retire`]. An object of the peer's arrives as [`Value::Remote`]. Each occurrence in what the peer sent is one
//! reference, and each is given back once, by [`Broker::release`] or [`Broker::release_in`]. Not giving back leaks
//! memory at the peer, which at some point refuses to go on (Twisted: beyond 1024 objects); a reference too many would
//! make it hang up, so the broker does not send it.
//!
//! # Hostile peers
//!
//! [`Limits`] bounds everything that a peer can make us keep, before memory is reserved for it. What a peer does wrong
//! is a [`ProtocolError`], what the program does wrong a [`SendError`]. A single call that cannot be understood
//! (a value that is not accepted, an object that does not exist) is answered by an error; the connection goes on.

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
