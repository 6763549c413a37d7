//! A broker on an asynchronous byte stream: TCP, a Unix socket, TLS, a pipe.

use crate::broker::{Broker, Event, ProtocolError};
use bytes::{Buf, BytesMut};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Sleep, sleep, timeout};

/// The most room for each read from a peer that is through with negotiation and login.
const READ: usize = 64 * 1024;

/// Room for each read before that. Thousands of connections that never say a word stay cheap.
const FIRST_READ: usize = 1024;

/// Below this much room a read is not worth the system call.
const LEAST_READ: usize = 4096;

/// A connection ended otherwise than by the peer closing it between two messages.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The stream failed.
    #[error("connection failed")]
    Io(#[from] io::Error),
    /// The peer broke the protocol, or does not read.
    #[error("peer misbehaved")]
    Protocol(#[from] ProtocolError),
    /// The peer closed the connection in the middle of a message.
    #[error("the peer closed the connection in the middle of a message")]
    Truncated,
    /// The peer did not do its part of negotiation and login in time.
    #[error("the peer did not finish negotiation and login within {0:?}")]
    HandshakeTimeout(Duration),
}

/// A byte stream and the broker that speaks on it.
///
/// One task owns it, and loops over [`next`](Self::next) and whatever else it listens to. Bytes move in both
/// directions only while `next` is polled. They do so at the same time, so that two peers that both write more than
/// the stream holds do not wait for each other.
///
/// ```no_run
/// # use perspective_broker::{Broker, Event, Limits, Transport, TransportError};
/// # async fn session(io: tokio::net::TcpStream, mut commands: tokio::sync::mpsc::Receiver<String>)
/// # -> Result<(), TransportError> {
/// let mut transport = Transport::new(io, Broker::server(Limits::default()));
/// loop {
///     tokio::select! {
///         event = transport.next() => match event? {
///             Some(event) => println!("{event:?}"),
///             None => return Ok(()),
///         },
///         // A peer that reads slowly stops our own production, never our reading.
///         Some(command) = commands.recv(), if !transport.is_congested() => println!("{command}"),
///     }
/// }
/// # }
/// ```
pub struct Transport<S> {
    io: S,
    /// Apart, so that futures that hand the transport on stay small.
    broker: Box<Broker>,
    input: BytesMut,
    /// Room for the next read: more after each that filled it, less after one that did not need it.
    room: usize,
    ended: bool,
    unflushed: bool,
    /// The most that has waited to be written since the buffer for it was new.
    peak: usize,
    congested: bool,
    deadline: Option<Pin<Box<Sleep>>>,
    refusals: u64,
}

impl<S: fmt::Debug> fmt::Debug for Transport<S> {
    /// Shows nothing of what was or will be on the wire: there are secrets in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("io", &self.io)
            .field("broker", &self.broker)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport<S> {
    /// A broker on a connected stream.
    pub fn new(io: S, broker: Broker) -> Self {
        Self {
            io,
            broker: Box::new(broker),
            input: BytesMut::new(),
            room: LEAST_READ,
            ended: false,
            unflushed: false,
            peak: 0,
            congested: false,
            deadline: None,
            refusals: 0,
        }
    }

    /// The broker. What it is told to send is written while [`next`](Self::next) or [`close`](Self::close) is polled.
    pub fn broker(&mut self) -> &mut Broker {
        &mut self.broker
    }

    /// The stream, to ask it for addresses or certificates.
    pub fn io(&self) -> &S {
        &self.io
    }

    /// Whether more waits for the peer than [`Limits::high_water`](crate::Limits::high_water).
    ///
    /// The owner should then stop producing, but go on calling [`next`](Self::next): [`Event::Relieved`] tells when
    /// it may produce again.
    pub fn is_congested(&self) -> bool {
        self.broker.is_congested()
    }

    /// Writes what is to be written and waits for the next event; `None` when the peer has closed the connection.
    ///
    /// # Errors
    ///
    /// When the stream fails, when the peer misbehaves or does not read, and when it takes longer than
    /// [`Limits::handshake`](crate::Limits::handshake) over its part of negotiation and login.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Event>, TransportError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Writes what is to be written, and reads nothing: for an owner that has no room for what the peer says, and that
    /// goes back to [`next`](Self::next) as soon as it has.
    ///
    /// # Errors
    ///
    /// When the stream fails. What the peer did wrong is for [`next`](Self::next) to say, after the events before it.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn flush(&mut self) -> Result<(), TransportError> {
        Ok(poll_fn(|cx| self.poll_write(cx)).await?)
    }

    /// Writes what is to be written, says goodbye and waits until the peer has closed the connection too, all of it
    /// within `grace`. What the peer still sends is thrown away.
    ///
    /// Gives whether everything went out.
    pub async fn close(mut self, grace: Duration) -> bool {
        let mut written = false;
        let farewell = async {
            poll_fn(|cx| self.poll_drain(cx)).await?;
            poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await?;
            written = true;
            // A socket that is closed with unread bytes in it takes back what is under way to the peer.
            while !self.ended {
                poll_fn(|cx| self.poll_discard(cx)).await?;
            }
            Ok::<(), io::Error>(())
        };
        // Neither a late nor a failing goodbye matters once everything is written.
        drop(timeout(grace, farewell).await);
        written
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, TransportError>> {
        loop {
            self.congested |= self.broker.is_congested();
            let written = self.poll_write(cx);
            if let Some(event) = self.broker.poll_event() {
                return Poll::Ready(Ok(Some(event)));
            }
            if self.congested && !self.broker.is_congested() {
                self.congested = false;
                return Poll::Ready(Ok(Some(Event::Relieved)));
            }
            if let Some(error) = self.broker.error() {
                return Poll::Ready(Err(error.clone().into()));
            }
            if self.ended {
                let whole = self.broker.is_between_messages() && self.input.is_empty();
                return Poll::Ready(if whole { Ok(None) } else { Err(TransportError::Truncated) });
            }
            self.poll_deadline(cx)?;
            match (self.poll_read(cx), written) {
                (Poll::Ready(Ok(())), _) => {}
                // A peer that has gone may have said something before.
                (_, Poll::Ready(Err(error))) | (Poll::Ready(Err(error)), _) => {
                    return Poll::Ready(Err(error.into()));
                }
                (Poll::Pending, _) => return Poll::Pending,
            }
            // An error is on the broker's books, and comes after the events before it.
            drop(self.broker.receive(&mut self.input));
        }
    }

    /// Writes as much as the stream takes; ready when everything is written and flushed.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let high_water = self.broker.limits().high_water;
        let out = self.broker.outgoing();
        self.peak = self.peak.max(out.len());
        while !out.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            out.advance(written);
            self.unflushed = true;
        }
        if self.peak > high_water {
            // What a slow peer made us keep once is not kept for ever.
            *out = BytesMut::new();
            self.peak = 0;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.make_room();
        let spare = self.input.capacity() - self.input.len();
        let Poll::Ready(read) = pin!(self.io.read_buf(&mut self.input)).poll(cx) else {
            if self.input.is_empty() && self.room <= LEAST_READ {
                // Thousands of peers that say nothing for minutes keep no buffer for what they will say.
                self.input = BytesMut::new();
            }
            return Poll::Pending;
        };
        match read {
            Ok(0) => self.ended = true,
            Ok(read) if read == spare => self.room = (self.room * 2).min(READ),
            Ok(read) if read < self.room / 4 => self.room = (self.room / 2).max(LEAST_READ),
            Ok(_) => {}
            // A TLS peer that vanishes without a goodbye. Messages say themselves where they end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.ended = true,
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }

    /// Makes room for the next read: for the rest of the string at hand, so that it need not be moved again, but never
    /// for more than has arrived of it already.
    fn make_room(&mut self) {
        let usual = if self.broker.awaits_peer() { FIRST_READ } else { self.room };
        let missing = self.broker.missing(self.input.len()).min(self.input.len().max(usual));
        let spare = self.input.capacity() - self.input.len();
        if spare < missing.max(LEAST_READ.min(usual)) {
            self.input.reserve(missing.max(usual));
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Result<(), TransportError> {
        if !self.broker.awaits_peer() {
            self.deadline = None;
            return Ok(());
        }
        if self.refusals != self.broker.refusals() {
            self.refusals = self.broker.refusals();
            self.deadline = None;
        }
        let limit = self.broker.limits().handshake;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(TransportError::HandshakeTimeout(limit)),
            Poll::Pending => Ok(()),
        }
    }

    /// Writes everything, reading all the while.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.poll_write(cx)?.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Pending;
            }
            ready!(self.poll_discard(cx))?;
        }
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.clear();
        self.poll_read(cx)
    }
}
