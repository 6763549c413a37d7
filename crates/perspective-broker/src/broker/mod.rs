//! The broker: calls, answers and references on one connection (`twisted.spread.pb.Broker`).

mod error;
mod event;
mod exports;
mod ids;
mod imports;
mod login;
mod receive;
#[cfg(test)]
mod tests;

pub use error::{ProtocolError, SendError};
pub use event::Event;
pub use ids::{Callee, LocalId, LoginId, RemoteId, ReplyId, RequestId, Target};
pub use login::Proof;

use crate::banana::{Decoder, Dialect, EncodeError, Encoder, encode};
use crate::jelly::{Failure, Jellier, Size, Value, remotes_in};
use crate::limits::{LimitExceeded, Limits};
use bytes::{Bytes, BytesMut};
use exports::Exports;
use imports::Imports;
use login::PasswordDigest;
use std::collections::{HashMap, VecDeque};
use std::fmt;

/// The version of the broker protocol (`twisted.spread.pb.Broker.version`).
const VERSION: i64 = 6;

/// One end of a connection, without the connection: bytes go in, events and bytes come out.
///
/// Nothing here reads a clock, blocks or sleeps. The owner feeds [`receive`](Self::receive), empties
/// [`poll_event`](Self::poll_event) and writes what is in [`outgoing`](Self::outgoing).
pub struct Broker {
    limits: Limits,
    role: Role,
    root: Root,
    dialects: Vec<Dialect>,
    state: State,
    decoder: Decoder,
    outgoing: BytesMut,
    /// What was to be sent before negotiation was done.
    deferred: BytesMut,
    events: VecDeque<Event>,
    exports: Exports,
    imports: Imports,
    last_request: i64,
    calls: HashMap<i64, Call>,
    last_reply: u64,
    /// The peer's calls that are to be answered, with the numbers the peer gave them.
    replies: HashMap<ReplyId, i64>,
    next_challenge: Option<[u8; 16]>,
    logins_begun: usize,
    logins_undecided: usize,
    refusals: u64,
    logged_in: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

/// Who answers calls to `root`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    /// Nobody.
    None,
    /// The broker, which knows how to log somebody in.
    Login,
    /// The owner.
    Exposed,
}

#[derive(Clone, Debug)]
enum State {
    Negotiating,
    Ready(Dialect),
    Broken(ProtocolError),
}

/// What becomes of an answer.
#[derive(Debug)]
enum Call {
    /// The owner gets it.
    Owner,
    /// It is the challenge to a login of ours.
    Challenge { digest: PasswordDigest, mind: Option<LocalId> },
    /// It is the end of the login that began with this request.
    Login { request: RequestId },
}

impl fmt::Debug for Broker {
    /// Shows nothing of what was or will be on the wire: there are secrets in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("role", &self.role)
            .field("state", &self.state)
            .field("logged_in", &self.logged_in)
            .field("buffered", &self.buffered())
            .field("events", &self.events.len())
            .field("calls", &self.calls.len())
            .field("replies", &self.replies.len())
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// The side that was connected to. It speaks first, and logs peers in: calls to its root object are answered by
    /// the broker, and [`Limits::login_message`] holds until a login is accepted.
    pub fn server(limits: Limits) -> Self {
        Self::server_offering(limits, &[Dialect::Pb, Dialect::None])
    }

    /// A server that offers these dialects, the most wanted first.
    pub fn server_offering(limits: Limits, dialects: &[Dialect]) -> Self {
        let mut broker = Self::new(limits, Role::Server, Root::Login, dialects);
        let names = dialects.iter().map(|dialect| Bytes::from_static(dialect.name().as_bytes()));
        let offer = crate::Element::List(names.map(crate::Element::Bytes).collect());
        // The names of dialects are far below any limit that leaves a protocol at all.
        if encode(&offer, Dialect::None, &Limits::default(), &mut broker.outgoing).is_err() {
            broker.outgoing.clear();
        }
        broker
    }

    /// The side that connected. It has no root object, unless it exposes one.
    pub fn client(limits: Limits) -> Self {
        Self::client_accepting(limits, &[Dialect::Pb, Dialect::None])
    }

    /// A client that accepts these dialects. The server's order decides.
    pub fn client_accepting(limits: Limits, dialects: &[Dialect]) -> Self {
        Self::new(limits, Role::Client, Root::None, dialects)
    }

    /// The same broker, whose root object is the owner's: calls to it become [`Event::Call`] with [`Target::Root`], and
    /// there is no login.
    pub fn expose_root(mut self) -> Self {
        self.root = Root::Exposed;
        self.bound_messages();
        self
    }

    fn new(limits: Limits, role: Role, root: Root, dialects: &[Dialect]) -> Self {
        let decoder = Decoder::new(&limits);
        let mut broker = Self {
            limits,
            role,
            root,
            dialects: dialects.to_vec(),
            state: State::Negotiating,
            decoder,
            outgoing: BytesMut::new(),
            deferred: BytesMut::new(),
            events: VecDeque::new(),
            exports: Exports::default(),
            imports: Imports::default(),
            last_request: 0,
            calls: HashMap::new(),
            last_reply: 0,
            replies: HashMap::new(),
            next_challenge: None,
            logins_begun: 0,
            logins_undecided: 0,
            refusals: 0,
            logged_in: false,
        };
        broker.bound_messages();
        broker
    }

    /// Whether the peer is somebody that nobody knows yet.
    fn is_stranger(&self) -> bool {
        self.root == Root::Login && !self.logged_in
    }

    /// What one message may be, with its back references replaced by what they refer to.
    fn message_bound(&self) -> Size {
        let Limits { message, login_message, nodes, login_nodes, .. } = self.limits;
        if self.is_stranger() {
            return Size { nodes: nodes.min(login_nodes), bytes: message.min(login_message) };
        }
        Size { nodes, bytes: message }
    }

    fn bound_messages(&mut self) {
        let Size { nodes, bytes } = self.message_bound();
        self.decoder.set_message_limits(bytes, nodes);
    }

    /// The limits that it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The oldest event that was not taken yet.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes for the peer. Whoever writes them removes them from the front.
    pub fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// Bytes that wait for the peer, those that wait for the end of negotiation included.
    pub fn buffered(&self) -> usize {
        self.outgoing.len() + self.deferred.len()
    }

    /// Whether the owner should stop producing until the peer has read something.
    pub fn is_congested(&self) -> bool {
        self.buffered() > self.limits.high_water
    }

    /// Whether it is the peer's turn in negotiation or login. A driver gives it [`Limits::handshake`] for that.
    pub fn awaits_peer(&self) -> bool {
        match self.state {
            State::Negotiating => true,
            State::Ready(_) => self.is_stranger() && self.logins_undecided == 0,
            State::Broken(_) => false,
        }
    }

    /// How often a login was refused; a driver starts the time for the next attempt anew.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// What broke the connection, if anything did.
    pub fn error(&self) -> Option<&ProtocolError> {
        match &self.state {
            State::Broken(error) => Some(error),
            State::Negotiating | State::Ready(_) => None,
        }
    }

    /// Whether negotiation is done.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// Whether the peer's last expression is complete.
    pub fn is_between_messages(&self) -> bool {
        self.decoder.is_idle()
    }

    /// Bytes that are still to come of the string at hand, when `buffered` bytes lie in the input.
    pub fn missing(&self, buffered: usize) -> usize {
        self.decoder.missing(buffered)
    }

    /// A new object of ours. The peer can call it once it has been sent in a value, and until it is retired.
    pub fn export(&mut self) -> LocalId {
        self.exports.add()
    }

    /// Takes an object away: calls to it get an error from now on. Calls that are already among the events stay there.
    ///
    /// The peer still gives its references back, whenever its garbage collector likes; that is counted and otherwise
    /// ignored. An object that is not exported is ignored too.
    pub fn retire(&mut self, id: LocalId) {
        self.exports.retire(id, self.limits.tombstones);
    }

    /// Calls a method and expects an answer.
    ///
    /// # Errors
    ///
    /// When the call cannot be sent; see [`SendError`].
    pub fn call(
        &mut self,
        target: impl Into<Callee>,
        method: &str,
        args: Vec<Value>,
        kwargs: Vec<(Value, Value)>,
    ) -> Result<RequestId, SendError> {
        self.request(target.into(), method, &args, &kwargs, Call::Owner)
    }

    /// Calls a method and expects no answer, not even when it fails.
    ///
    /// # Errors
    ///
    /// When the call cannot be sent; see [`SendError`].
    pub fn send(
        &mut self,
        target: impl Into<Callee>,
        method: &str,
        args: Vec<Value>,
        kwargs: Vec<(Value, Value)>,
    ) -> Result<(), SendError> {
        let request = self.last_request + 1;
        self.message(request, target.into(), method, false, &args, &kwargs)?;
        self.last_request = request;
        Ok(())
    }

    /// Answers a call of the peer's.
    ///
    /// # Errors
    ///
    /// When it was answered before, or when the value cannot be sent: then the peer gets a failure instead.
    pub fn answer(&mut self, reply: ReplyId, value: Value) -> Result<(), SendError> {
        let number = self.replies.remove(&reply).ok_or(SendError::AlreadyAnswered)?;
        let sent = self.result("answer", number, &value);
        if matches!(sent, Err(SendError::Value(_) | SendError::NotExported(_) | SendError::NotHeld(_))) {
            let failure = Failure::insecure_jelly("the answer cannot be sent");
            self.result("error", number, &failure.into())?;
        }
        sent
    }

    /// Answers a call of the peer's by an exception.
    ///
    /// # Errors
    ///
    /// When it was answered before, or the peer does not read.
    pub fn fail(&mut self, reply: ReplyId, failure: Failure) -> Result<(), SendError> {
        let number = self.replies.remove(&reply).ok_or(SendError::AlreadyAnswered)?;
        self.result("error", number, &failure.into())
    }

    /// Gives one reference back. Every occurrence of the object in what the peer sent was one.
    ///
    /// # Errors
    ///
    /// When none is held: a peer drops the connection over one too many, so nothing is sent.
    pub fn release(&mut self, id: RemoteId) -> Result<(), SendError> {
        if !self.imports.is_held(id) {
            return Err(SendError::NotHeld(id));
        }
        self.transmit(|jellier| {
            jellier.encoder.list(2)?;
            jellier.encoder.bytes(b"decref")?;
            jellier.encoder.int(id.get());
            Ok(())
        })?;
        self.imports.remove(id);
        Ok(())
    }

    /// Gives back every reference in values of one event that are of no interest: the arguments of a call, or an answer.
    ///
    /// Values that came together go in together: a container that several of them share was sent once, and so were the
    /// references in it.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release); the references before the one that failed are given back.
    pub fn release_in<'v>(&mut self, values: impl IntoIterator<Item = &'v Value>) -> Result<(), SendError> {
        remotes_in(values).into_iter().try_for_each(|id| self.release(id))
    }

    /// Logs in at the peer: the challenge is answered, then [`Event::LoggedIn`] or [`Event::Failed`] comes.
    ///
    /// # Errors
    ///
    /// When it cannot be sent; see [`SendError`].
    pub fn login(
        &mut self,
        user: &str,
        password: &[u8],
        mind: Option<LocalId>,
    ) -> Result<RequestId, SendError> {
        if let Some(mind) = mind
            && !self.exports.contains(mind)
        {
            return Err(SendError::NotExported(mind));
        }
        let user = Value::bytes(Bytes::copy_from_slice(user.as_bytes()));
        let call = Call::Challenge { digest: PasswordDigest::of(password), mind };
        self.request(Callee::Root, "login", &[user], &[], call)
    }

    /// Logs in at the peer without name and password.
    ///
    /// # Errors
    ///
    /// When it cannot be sent; see [`SendError`].
    pub fn login_anonymous(&mut self, mind: Option<LocalId>) -> Result<RequestId, SendError> {
        let request = RequestId(self.last_request + 1);
        self.request(Callee::Root, "loginAnonymous", &[mind.into()], &[], Call::Login { request })
    }

    /// Lets the peer in; `perspective` is the object that stands for it here.
    ///
    /// # Errors
    ///
    /// When the login is decided already, or `perspective` is not exported; then it is still to be decided.
    pub fn accept_login(&mut self, login: LoginId, perspective: LocalId) -> Result<(), SendError> {
        if !self.exports.contains(perspective) {
            return Err(SendError::NotExported(perspective));
        }
        let accepted = self.decide(login, |broker| broker.answer(login.0, perspective.into()));
        if accepted.is_ok() {
            self.logged_in = true;
            self.bound_messages();
        }
        accepted
    }

    /// Tells the peer that name and password do not fit. It may try again, [`Limits::logins`] times in all.
    ///
    /// # Errors
    ///
    /// When the login is decided already, or the peer does not read.
    pub fn refuse_login(&mut self, login: LoginId) -> Result<(), SendError> {
        self.fail_login(login, Failure::unauthorized_login())
    }

    /// Refuses a login for another reason than a wrong name or password.
    ///
    /// # Errors
    ///
    /// When the login is decided already, or the peer does not read.
    pub fn fail_login(&mut self, login: LoginId, failure: Failure) -> Result<(), SendError> {
        self.decide(login, |broker| {
            broker.refusals += 1;
            broker.fail(login.0, failure)
        })
    }

    /// Uses this as the next challenge instead of a random one, so that a recorded conversation can be played again.
    ///
    /// A challenge that a listener can foresee makes the login worthless.
    pub fn set_next_challenge(&mut self, challenge: [u8; 16]) {
        self.next_challenge = Some(challenge);
    }

    fn decide(
        &mut self,
        login: LoginId,
        decision: impl FnOnce(&mut Self) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        if !self.replies.contains_key(&login.0) {
            return Err(SendError::AlreadyAnswered);
        }
        self.logins_undecided = self.logins_undecided.saturating_sub(1);
        decision(self)
    }

    fn request(
        &mut self,
        callee: Callee,
        method: &str,
        args: &[Value],
        kwargs: &[(Value, Value)],
        call: Call,
    ) -> Result<RequestId, SendError> {
        LimitExceeded::check("pending_calls", self.calls.len() + 1, self.limits.pending_calls)
            .map_err(SendError::TooManyCalls)?;
        let request = self.last_request + 1;
        self.message(request, callee, method, true, args, kwargs)?;
        self.last_request = request;
        self.calls.insert(request, call);
        Ok(RequestId(request))
    }

    fn message(
        &mut self,
        request: i64,
        callee: Callee,
        method: &str,
        answered: bool,
        args: &[Value],
        kwargs: &[(Value, Value)],
    ) -> Result<(), SendError> {
        if let Callee::Remote(id) = callee
            && !self.imports.is_held(id)
        {
            return Err(SendError::NotHeld(id));
        }
        self.transmit(|jellier| {
            jellier.encoder.list(7)?;
            jellier.encoder.bytes(b"message")?;
            jellier.encoder.int(request);
            match callee {
                Callee::Root => jellier.encoder.bytes(b"root")?,
                Callee::Remote(id) => jellier.encoder.int(id.get()),
            }
            jellier.encoder.bytes(method.as_bytes())?;
            jellier.encoder.int(answered.into());
            jellier.tuple(args)?;
            jellier.dict(kwargs)
        })
    }

    fn result(&mut self, verb: &str, number: i64, value: &Value) -> Result<(), SendError> {
        self.transmit(|jellier| {
            jellier.encoder.list(3)?;
            jellier.encoder.bytes(verb.as_bytes())?;
            jellier.encoder.int(number);
            jellier.tree(value)
        })
    }

    /// Writes one expression, or nothing at all; counts the objects in it.
    fn transmit(
        &mut self,
        write: impl FnOnce(&mut Jellier<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        let negotiating = matches!(self.state, State::Negotiating);
        let (dialect, out) = match &self.state {
            // What dialect `none` says, dialect `pb` understands.
            State::Negotiating => (Dialect::None, &mut self.deferred),
            State::Ready(dialect) => (*dialect, &mut self.outgoing),
            State::Broken(_) => return Err(SendError::Broken),
        };
        let start = out.len();
        let mut jellier = Jellier::new(Encoder::new(out, dialect, &self.limits));
        let written = write(&mut jellier);
        let (locals, remotes) = jellier.into_objects();
        let checked = written
            .map_err(SendError::Value)
            .and_then(|()| self.check_objects(&locals, &remotes))
            .and_then(|()| self.check_room());
        if checked.is_err() {
            let out = if negotiating { &mut self.deferred } else { &mut self.outgoing };
            out.truncate(start);
            return checked;
        }
        locals.into_iter().for_each(|id| self.exports.count(id));
        Ok(())
    }

    /// A peer that does not read must not make us keep everything for it.
    fn check_room(&mut self) -> Result<(), SendError> {
        let Limits { outgoing, high_water, .. } = self.limits;
        let bound = if self.is_stranger() { outgoing.min(high_water) } else { outgoing };
        if self.buffered() <= bound {
            return Ok(());
        }
        let (buffered, bound) = (self.buffered() as u64, bound as u64);
        self.state = State::Broken(ProtocolError::NotReading { buffered, bound });
        Err(SendError::NotReading { buffered, bound })
    }

    fn check_objects(&self, locals: &[LocalId], remotes: &[RemoteId]) -> Result<(), SendError> {
        if let Some(id) = locals.iter().find(|id| !self.exports.contains(**id)) {
            return Err(SendError::NotExported(*id));
        }
        if let Some(id) = remotes.iter().find(|id| !self.imports.is_held(**id)) {
            return Err(SendError::NotHeld(*id));
        }
        Ok(())
    }
}
