//! What the peer sends: the verbs of `twisted.spread.pb.Broker` (its `proto_*` methods).

use super::exports::Decref;
use super::login::{Challenge, PasswordDigest, Proof};
use super::{
    Broker, Call, Callee, Event, LocalId, LoginId, ProtocolError, RemoteId, ReplyId, RequestId, Role, Root,
    SendError, State, Target, VERSION,
};
use crate::banana::{Dialect, Element, Encoder};
use crate::jelly::{Failure, Unjellied, Value, remotes_in, unjelly_tree};
use crate::limits::LimitExceeded;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

/// The longest unknown verb that is sent back; nobody who means well uses a longer one.
const LONGEST_VERB: usize = 64;

/// The operands of a message.
struct Message {
    request: i64,
    object: Element,
    method: Bytes,
    answered: bool,
    args: Element,
    kwargs: Element,
}

impl Broker {
    /// Takes in bytes of the peer's and queues the events that they make.
    ///
    /// What was understood is removed from `input`; the unfinished rest stays and is to be presented again with what
    /// follows. Events take memory in proportion to the input, so it is the owner who bounds them: by
    /// presenting no more than it wants to handle at a time.
    ///
    /// # Errors
    ///
    /// When the peer broke the protocol. The events before that are still there. Every further call gives the same
    /// error.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<(), ProtocolError> {
        loop {
            if let State::Broken(error) = &self.state {
                return Err(error.clone());
            }
            let step = match self.decoder.next(input) {
                Ok(Some(element)) => self.expression(element),
                Ok(None) => return Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = step {
                self.state = State::Broken(error);
            }
        }
    }

    fn expression(&mut self, element: Element) -> Result<(), ProtocolError> {
        if matches!(self.state, State::Negotiating) {
            return self.negotiate(element);
        }
        let Element::List(items) = element else { return Err(ProtocolError::NotAMessage) };
        let mut operands = items.into_iter();
        let Some(Element::Bytes(verb)) = operands.next() else { return Err(ProtocolError::NotAMessage) };
        match &*verb {
            b"message" => {
                let message = read_message("message", operands)?;
                self.message_received(message)
            }
            b"answer" => {
                let (request, value) = read_result("answer", operands)?;
                self.answer_received(request, value)
            }
            b"error" => {
                let (request, value) = read_result("error", operands)?;
                self.error_received(request, value)
            }
            b"decref" => {
                let number = one_int("decref", operands)?;
                self.decref_received(number)
            }
            b"version" => match one_int("version", operands)? {
                VERSION => Ok(()),
                other => Err(ProtocolError::Version(other)),
            },
            b"cachemessage" => {
                let message = read_message("cachemessage", operands)?;
                self.cachemessage_received(message)
            }
            b"decache" => Err(ProtocolError::NoCache("decache")),
            b"uncache" => Err(ProtocolError::NoCache("uncache")),
            b"didNotUnderstand" => Ok(()),
            _ => self.not_understood(&verb),
        }
    }

    fn negotiate(&mut self, element: Element) -> Result<(), ProtocolError> {
        let known = |element: &Element| match element {
            Element::Bytes(name) => {
                Dialect::from_name(name).filter(|dialect| self.dialects.contains(dialect))
            }
            _ => None,
        };
        let chosen = match (&element, self.role) {
            (Element::List(offers), Role::Client) => offers.iter().find_map(known),
            (choice, Role::Server) => known(choice),
            _ => None,
        };
        let dialect = chosen.ok_or(ProtocolError::NoDialect)?;
        if self.role == Role::Client {
            let mut encoder = Encoder::new(&mut self.outgoing, Dialect::None, &self.limits);
            encoder.bytes(dialect.name().as_bytes()).map_err(|_| ProtocolError::NoDialect)?;
        }
        self.decoder.set_dialect(dialect);
        self.state = State::Ready(dialect);
        let deferred = std::mem::take(&mut self.deferred);
        self.reply(|broker| {
            broker.transmit(|jellier| {
                jellier.encoder.list(2)?;
                jellier.encoder.bytes(b"version")?;
                jellier.encoder.int(VERSION);
                Ok(())
            })
        })?;
        self.outgoing.extend_from_slice(&deferred);
        self.events.push_back(Event::Ready { dialect });
        Ok(())
    }

    fn message_received(&mut self, message: Message) -> Result<(), ProtocolError> {
        let args = self.take_in(message.args)?;
        let kwargs = self.take_in(message.kwargs)?;
        let reply = self.open_reply(message.request, message.answered)?;
        let (args, kwargs) = match (args, kwargs) {
            (Ok(args), Ok(kwargs)) => (args, kwargs),
            (args, kwargs) => {
                self.give_back(args.as_ref().ok())?;
                self.give_back(kwargs.as_ref().ok())?;
                let failure = [args.err(), kwargs.err()].into_iter().flatten().next();
                return self.refuse(reply, failure.unwrap_or_else(Failure::invalid_object));
            }
        };
        let Ok(method) = ByteString::try_from(message.method) else {
            self.give_back([&args, &kwargs])?;
            return self.refuse(reply, Failure::insecure_jelly("the name of a method is not UTF-8"));
        };
        let target = match message.object {
            Element::Int(number) => Some(Target::Local(LocalId::new(number))),
            Element::Bytes(name) if name == "root" => Some(Target::Root),
            _ => None,
        };
        let target = target.filter(|target| match target {
            Target::Root => self.root != Root::None,
            Target::Local(id) => self.exports.is_held(*id),
        });
        let Some(target) = target else {
            self.give_back([&args, &kwargs])?;
            return self.refuse(reply, Failure::invalid_object());
        };
        let (args, kwargs) = match (args, kwargs) {
            (args, kwargs) if args.as_list().is_some() && kwargs.as_dict().is_some() => {
                (args.into_list().unwrap_or_default(), kwargs.into_dict().unwrap_or_default())
            }
            (args, kwargs) => {
                self.give_back([&args, &kwargs])?;
                let text = "arguments are not a tuple and a dictionary";
                return self.refuse(reply, Failure::new("builtins.TypeError", text));
            }
        };
        match target {
            Target::Root if self.root == Root::Login => self.root_called(&method, args, &kwargs, reply),
            Target::Local(id) if self.exports.is_challenge(id) => {
                self.challenge_called(id, &method, args, &kwargs, reply)
            }
            _ => {
                self.events.push_back(Event::Call { target, method, args, kwargs, reply });
                Ok(())
            }
        }
    }

    /// The object that everybody may call: it knows how to log somebody in.
    fn root_called(
        &mut self,
        method: &str,
        args: Vec<Value>,
        kwargs: &[(Value, Value)],
        reply: Option<ReplyId>,
    ) -> Result<(), ProtocolError> {
        match (method, args.as_slice(), kwargs) {
            ("login", [user], []) if user.as_bytes().is_some() => {
                self.begin_login()?;
                let user = user.as_text_lossy().unwrap_or_default().into_owned().into();
                self.challenge(user, reply)
            }
            ("loginAnonymous", [mind], []) if mind.is_none() || mind.as_remote().is_some() => {
                self.begin_login()?;
                let mind = mind.as_remote();
                self.offer_login(reply, mind, |login| Event::LoginAnonymous { login, mind })
            }
            ("login" | "loginAnonymous", ..) => self.refuse_call(method, &args, kwargs, reply),
            _ => {
                self.give_back_call(&args, kwargs)?;
                self.refuse(reply, Failure::no_such_method(method))
            }
        }
    }

    /// The object that a challenge comes with: it takes the response, once.
    fn challenge_called(
        &mut self,
        id: LocalId,
        method: &str,
        args: Vec<Value>,
        kwargs: &[(Value, Value)],
        reply: Option<ReplyId>,
    ) -> Result<(), ProtocolError> {
        if method != "respond" {
            self.give_back_call(&args, kwargs)?;
            return self.refuse(reply, Failure::no_such_method(method));
        }
        let (response, mind) = match (args.as_slice(), kwargs) {
            ([response, mind], []) if mind.is_none() || mind.as_remote().is_some() => {
                match response.clone().into_bytes() {
                    Some(response) => (response, mind.as_remote()),
                    None => return self.refuse_call(method, &args, kwargs, reply),
                }
            }
            _ => return self.refuse_call(method, &args, kwargs, reply),
        };
        let Some(challenge) = self.exports.take_challenge(id) else {
            self.give_back_call(&args, kwargs)?;
            return self.refuse(reply, Failure::unauthorized_login());
        };
        let proof = Proof { challenge: Bytes::copy_from_slice(&challenge.bytes), response };
        let user = challenge.user;
        self.offer_login(reply, mind, |login| Event::Login { login, user, proof, mind })
    }

    fn begin_login(&mut self) -> Result<(), ProtocolError> {
        self.logins_begun += 1;
        Ok(LimitExceeded::check("logins", self.logins_begun, self.limits.logins)?)
    }

    fn challenge(&mut self, user: ByteString, reply: Option<ReplyId>) -> Result<(), ProtocolError> {
        let Some(reply) = reply else { return Ok(()) };
        let mut bytes = [0; 16];
        match self.next_challenge.take() {
            Some(given) => bytes = given,
            None => {
                if getrandom::fill(&mut bytes).is_err() {
                    // Without chance there is no challenge, and without a challenge nobody comes in.
                    return self.refuse(Some(reply), Failure::unauthorized_login());
                }
            }
        }
        let challenger = self.exports.add_challenge(Challenge { user, bytes });
        let answer = Value::tuple([Value::bytes(Bytes::copy_from_slice(&bytes)), Value::Local(challenger)]);
        self.reply(|broker| broker.answer(reply, answer))
    }

    /// Leaves a login to the owner. A peer that does not want an answer does not want to log in.
    fn offer_login(
        &mut self,
        reply: Option<ReplyId>,
        mind: Option<RemoteId>,
        event: impl FnOnce(LoginId) -> Event,
    ) -> Result<(), ProtocolError> {
        let Some(reply) = reply else {
            return match mind {
                Some(mind) => self.reply(|broker| broker.release(mind)),
                None => Ok(()),
            };
        };
        self.logins_undecided += 1;
        self.events.push_back(event(LoginId(reply)));
        Ok(())
    }

    fn cachemessage_received(&mut self, message: Message) -> Result<(), ProtocolError> {
        let args = self.take_in(message.args)?;
        let kwargs = self.take_in(message.kwargs)?;
        self.give_back(args.as_ref().ok())?;
        self.give_back(kwargs.as_ref().ok())?;
        let reply = self.open_reply(message.request, message.answered)?;
        self.refuse(reply, Failure::invalid_object())
    }

    fn answer_received(&mut self, number: i64, element: Element) -> Result<(), ProtocolError> {
        let call = self.calls.remove(&number).ok_or(ProtocolError::UnknownRequest(number))?;
        let request = RequestId(number);
        let value = match (self.take_in(element)?, &call) {
            (Ok(value), _) => value,
            (Err(failure), Call::Owner) => {
                self.events.push_back(Event::Failed { request, failure });
                return Ok(());
            }
            (Err(_), _) => return Err(ProtocolError::NoChallenge),
        };
        match call {
            Call::Owner => self.events.push_back(Event::Answered { request, value }),
            Call::Challenge { digest, mind } => return self.respond(request, digest, mind, &value),
            Call::Login { request } => match value.as_remote() {
                Some(perspective) => self.events.push_back(Event::LoggedIn { request, perspective }),
                None => {
                    self.give_back([&value])?;
                    let text = "the login was answered with something else than an object";
                    let failure = Failure::new("twisted.spread.pb.Error", text);
                    self.events.push_back(Event::Failed { request, failure });
                }
            },
        }
        Ok(())
    }

    /// Answers the challenge to a login of ours.
    fn respond(
        &mut self,
        request: RequestId,
        digest: PasswordDigest,
        mind: Option<LocalId>,
        value: &Value,
    ) -> Result<(), ProtocolError> {
        let (challenge, challenger) = match value.as_list() {
            Some([challenge, challenger]) => (challenge.as_bytes(), challenger.as_remote()),
            _ => (None, None),
        };
        let (Some(challenge), Some(challenger)) = (challenge, challenger) else {
            return Err(ProtocolError::NoChallenge);
        };
        let response = Value::bytes(Bytes::copy_from_slice(&digest.respond(challenge)));
        // The owner may have retired its mind in the meantime; then it is none.
        let mind = mind.filter(|mind| self.exports.contains(*mind));
        let args = [response, mind.into()];
        let call = Call::Login { request };
        self.reply(|broker| {
            broker.request(Callee::Remote(challenger), "respond", &args, &[], call)?;
            broker.release(challenger)
        })
    }

    fn error_received(&mut self, number: i64, element: Element) -> Result<(), ProtocolError> {
        let call = self.calls.remove(&number).ok_or(ProtocolError::UnknownRequest(number))?;
        let request = match call {
            Call::Owner | Call::Challenge { .. } => RequestId(number),
            Call::Login { request } => request,
        };
        let failure = match self.take_in(element)? {
            Ok(value) => {
                self.give_back([&value])?;
                Failure::from_value(&value)
            }
            Err(failure) => failure,
        };
        self.events.push_back(Event::Failed { request, failure });
        Ok(())
    }

    fn decref_received(&mut self, number: i64) -> Result<(), ProtocolError> {
        let local = LocalId::new(number);
        match self.exports.decref(local) {
            Decref::Counted => Ok(()),
            Decref::Released => {
                self.events.push_back(Event::Released { local });
                Ok(())
            }
            Decref::Unknown => Err(ProtocolError::UnknownReference(number)),
        }
    }

    fn not_understood(&mut self, verb: &[u8]) -> Result<(), ProtocolError> {
        if verb.len() > LONGEST_VERB {
            return Err(ProtocolError::NotAMessage);
        }
        self.reply(|broker| {
            broker.transmit(|jellier| {
                jellier.encoder.list(2)?;
                jellier.encoder.bytes(b"didNotUnderstand")?;
                jellier.encoder.bytes(verb)
            })
        })
    }

    /// Makes a value of an element and takes the objects in it on the books.
    ///
    /// A value that is not accepted becomes the failure that the peer or the caller is to see; the objects in it
    /// are given back at once.
    fn take_in(&mut self, element: Element) -> Result<Result<Value, Failure>, ProtocolError> {
        let Unjellied { value, remotes, locals, size } = unjelly_tree(element);
        let bound = self.message_bound();
        LimitExceeded::check("nodes", size.nodes, bound.nodes)?;
        LimitExceeded::check("message", size.bytes, bound.bytes)?;
        for remote in &remotes {
            self.imports.add(*remote, self.limits.references)?;
        }
        let value = match value {
            Ok(value) if locals.iter().all(|id| self.exports.is_held(*id)) => {
                if !remotes.is_empty() {
                    // What a failure carries beside its texts is not kept.
                    self.give_back_ids(without(remotes, value.remotes()))?;
                }
                return Ok(Ok(value));
            }
            Ok(_) => Failure::invalid_object(),
            Err(error) => Failure::insecure_jelly(error.to_string()),
        };
        self.give_back_ids(remotes)?;
        Ok(Err(value))
    }

    fn open_reply(&mut self, number: i64, answered: bool) -> Result<Option<ReplyId>, ProtocolError> {
        if !answered {
            return Ok(None);
        }
        LimitExceeded::check("pending_calls", self.replies.len() + 1, self.limits.pending_calls)?;
        self.last_reply += 1;
        let reply = ReplyId(self.last_reply);
        self.replies.insert(reply, number);
        Ok(Some(reply))
    }

    fn refuse_call(
        &mut self,
        method: &str,
        args: &[Value],
        kwargs: &[(Value, Value)],
        reply: Option<ReplyId>,
    ) -> Result<(), ProtocolError> {
        self.give_back_call(args, kwargs)?;
        self.refuse(reply, Failure::new("builtins.TypeError", format!("unexpected arguments of {method}")))
    }

    fn refuse(&mut self, reply: Option<ReplyId>, failure: Failure) -> Result<(), ProtocolError> {
        match reply {
            Some(reply) => self.reply(|broker| broker.fail(reply, failure)),
            None => Ok(()),
        }
    }

    fn give_back_call(&mut self, args: &[Value], kwargs: &[(Value, Value)]) -> Result<(), ProtocolError> {
        let named = kwargs.iter().flat_map(|(key, value)| [key, value]);
        self.give_back(args.iter().chain(named))
    }

    fn give_back<'v>(&mut self, values: impl IntoIterator<Item = &'v Value>) -> Result<(), ProtocolError> {
        self.give_back_ids(remotes_in(values))
    }

    fn give_back_ids(&mut self, ids: Vec<RemoteId>) -> Result<(), ProtocolError> {
        ids.into_iter().try_for_each(|id| self.reply(|broker| broker.release(id)))
    }

    /// Sends something that the peer made us send.
    fn reply(&mut self, send: impl FnOnce(&mut Self) -> Result<(), SendError>) -> Result<(), ProtocolError> {
        send(self).map_err(|error| match error {
            SendError::NotReading { buffered, bound } => ProtocolError::NotReading { buffered, bound },
            SendError::TooManyCalls(limit) => ProtocolError::Limit(limit),
            SendError::Value(_)
            | SendError::NotExported(_)
            | SendError::NotHeld(_)
            | SendError::AlreadyAnswered
            | SendError::Broken => ProtocolError::Unanswerable,
        })
    }
}

fn read_message(
    verb: &'static str,
    operands: impl Iterator<Item = Element>,
) -> Result<Message, ProtocolError> {
    let malformed = |expected| ProtocolError::Malformed { verb, expected };
    let operands: Vec<Element> = operands.collect();
    let Ok([request, object, method, answered, args, kwargs]) = <[Element; 6]>::try_from(operands) else {
        return Err(malformed("six operands"));
    };
    let Element::Int(request) = request else { return Err(malformed("the number of the call")) };
    let Element::Bytes(method) = method else { return Err(malformed("the name of a method")) };
    let Element::Int(answered) = answered else { return Err(malformed("an answer flag")) };
    Ok(Message { request, object, method, answered: answered != 0, args, kwargs })
}

fn read_result(
    verb: &'static str,
    mut operands: impl Iterator<Item = Element>,
) -> Result<(i64, Element), ProtocolError> {
    match (operands.next(), operands.next(), operands.next()) {
        (Some(Element::Int(request)), Some(value), None) => Ok((request, value)),
        _ => Err(ProtocolError::Malformed { verb, expected: "the number of a call and a value" }),
    }
}

fn one_int(verb: &'static str, mut operands: impl Iterator<Item = Element>) -> Result<i64, ProtocolError> {
    match (operands.next(), operands.next()) {
        (Some(Element::Int(number)), None) => Ok(number),
        _ => Err(ProtocolError::Malformed { verb, expected: "one number" }),
    }
}

/// `all` less one occurrence for each of `kept`.
fn without(mut all: Vec<RemoteId>, mut kept: Vec<RemoteId>) -> Vec<RemoteId> {
    all.sort_unstable();
    kept.sort_unstable();
    let mut kept = kept.into_iter().peekable();
    all.retain(|id| kept.next_if_eq(id).is_none());
    all
}
