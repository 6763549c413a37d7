//! Plays a recorded conversation again with our broker in the place of one side. What the recorded program asked its
//! broker to do is asked of ours, in the same order; then ours must have said the same bytes.

use crate::conversation::{self, Said, Side, Splitter, Step};
use crate::notation;
use bytes::BytesMut;
use perspective_broker::{
    Broker, Callee, Element, Event, Failure, Limits, LocalId, LoginId, RemoteId, ReplyId, RequestId, Target,
    Value, unjelly,
};
use std::collections::HashMap;
use std::path::Path;

/// Plays one conversation, and compares.
pub(crate) fn play(path: &Path, ours: Side) {
    let steps = conversation::read(path);
    let timeline = timeline(&steps);
    let mut player = Player::new(path, ours, &timeline);
    for (side, said) in timeline {
        if side == ours {
            player.act(&said.element);
            player.wanted.push(said);
        } else {
            player.hear(&said);
        }
        let out = player.broker.outgoing().split();
        let said = player.splitter.split(&out);
        player.said.extend(said);
    }
    player.compare();
}

/// All expressions in the order in which they were complete.
fn timeline(steps: &[Step]) -> Vec<(Side, Said)> {
    let (mut client, mut server) = (Splitter::new(), Splitter::new());
    let mut timeline = Vec::new();
    for step in steps {
        let Step::Bytes(side, bytes) = step else { continue };
        let splitter = if *side == Side::Client { &mut client } else { &mut server };
        timeline.extend(splitter.split(bytes).into_iter().map(|said| (*side, said)));
    }
    timeline
}

struct Player<'a> {
    path: &'a Path,
    broker: Broker,
    splitter: Splitter,
    said: Vec<Said>,
    wanted: Vec<Said>,
    login: RecordedLogin,
    ours: Side,
    exported: i64,
    /// The peer's calls that wait for an answer, by the number of the wire.
    replies: HashMap<i64, Answerable>,
    /// The numbers of our calls on the wire.
    calls: HashMap<RequestId, i64>,
    login_request: Option<RequestId>,
    challenger_released: bool,
}

#[derive(Clone, Copy)]
enum Answerable {
    /// The broker answers it itself.
    ByBroker,
    Reply(ReplyId),
    Login(LoginId),
}

/// The login of a conversation; every one has exactly one.
struct RecordedLogin {
    user: Vec<u8>,
    password: &'static str,
    challenge: [u8; 16],
    challenger: i64,
    has_mind: bool,
}

impl<'a> Player<'a> {
    fn new(path: &'a Path, ours: Side, timeline: &[(Side, Said)]) -> Self {
        let login = RecordedLogin::find(path, timeline);
        let mut broker = match ours {
            Side::Server => Broker::server(Limits::default()),
            Side::Client => Broker::client(Limits::default()),
        };
        broker.set_next_challenge(login.challenge);
        Self {
            path,
            broker,
            splitter: Splitter::new(),
            said: Vec::new(),
            wanted: Vec::new(),
            // The object that is asked for the password is the broker's own.
            exported: if ours == Side::Server { login.challenger } else { 0 },
            login,
            ours,
            replies: HashMap::new(),
            calls: HashMap::new(),
            login_request: None,
            challenger_released: false,
        }
    }

    /// Lets our broker do what the recorded program did to say this.
    fn act(&mut self, element: &Element) {
        let Some((verb, operands)) = message(element) else { return };
        match (verb, operands) {
            (b"message", [_, target, Element::Bytes(method), answered, args, kwargs]) => {
                self.act_call(
                    target,
                    std::str::from_utf8(method).unwrap(),
                    *answered != Element::Int(0),
                    args,
                    kwargs,
                );
            }
            (b"answer", [number, value]) => match self.replies[&int(number)] {
                Answerable::ByBroker => {}
                Answerable::Reply(reply) => {
                    let value = self.our_value(value);
                    self.broker.answer(reply, value).unwrap();
                }
                Answerable::Login(login) => {
                    let perspective = self.our_value(value).as_local().expect("a perspective");
                    self.broker.accept_login(login, perspective).unwrap();
                }
            },
            (b"error", [number, failure]) => {
                let failure = failure_of(failure);
                match self.replies[&int(number)] {
                    Answerable::ByBroker => {}
                    Answerable::Reply(reply) => self.broker.fail(reply, failure).unwrap(),
                    Answerable::Login(login) if failure.is("twisted.cred.error.UnauthorizedLogin") => {
                        self.broker.refuse_login(login).unwrap();
                    }
                    Answerable::Login(login) => self.broker.fail_login(login, failure).unwrap(),
                }
            }
            (b"decref", [number]) => {
                let number = int(number);
                // The client's broker gives the object that asks for the password back by itself.
                if self.ours == Side::Client && number == self.login.challenger && !self.challenger_released {
                    self.challenger_released = true;
                    return;
                }
                self.broker
                    .release(RemoteId::new(number))
                    .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
            }
            (b"version", _) => {}
            other => panic!("{}: strange expression {other:?}", self.path.display()),
        }
    }

    fn act_call(&mut self, target: &Element, method: &str, answered: bool, args: &Element, kwargs: &Element) {
        if self.ours == Side::Client && method == "login" {
            let mind = self.login.has_mind.then(|| self.export_up_to(1));
            let user = String::from_utf8(self.login.user.clone()).unwrap();
            self.login_request =
                Some(self.broker.login(&user, self.login.password.as_bytes(), mind).unwrap());
            return;
        }
        if self.ours == Side::Client && method == "respond" {
            return;
        }
        let target = match target {
            Element::Int(number) => Callee::Remote(RemoteId::new(*number)),
            _ => Callee::Root,
        };
        let args = self.our_value(args).into_list().unwrap();
        let kwargs = self.our_value(kwargs).into_dict().unwrap();
        if answered {
            let request = self.broker.call(target, method, args, kwargs).unwrap();
            self.calls.insert(request, self.calls.len() as i64);
        } else {
            self.broker.send(target, method, args, kwargs).unwrap();
        }
    }

    /// A value as its sender had it: what the wire calls remote is the sender's own.
    fn our_value(&mut self, element: &Element) -> Value {
        let value = unjelly(element.clone()).unwrap();
        self.turned_round(value)
    }

    fn turned_round(&mut self, value: Value) -> Value {
        match value {
            Value::Remote(id) => Value::Local(self.export_up_to(id.get())),
            Value::Local(id) => Value::Remote(RemoteId::new(id.get())),
            Value::List(items) => {
                Value::List(items.into_iter().map(|item| self.turned_round(item)).collect())
            }
            Value::Tuple(items) => {
                Value::Tuple(items.into_iter().map(|item| self.turned_round(item)).collect())
            }
            Value::Dict(pairs) => {
                let pairs = pairs.into_iter();
                Value::Dict(pairs.map(|(key, value)| (key, self.turned_round(value))).collect())
            }
            Value::Shared(shared) => {
                assert!(
                    shared.value().remotes().is_empty(),
                    "{}: a reference in a shared container",
                    self.path.display()
                );
                Value::Shared(shared)
            }
            plain => plain,
        }
    }

    /// The object with this number; numbers are given in the order of the first use.
    fn export_up_to(&mut self, number: i64) -> LocalId {
        while self.exported < number {
            self.exported = self.broker.export().get();
        }
        LocalId::new(number)
    }

    /// Lets our broker hear what the recorded peer said, and looks at what it makes of it.
    fn hear(&mut self, said: &Said) {
        let mut input = BytesMut::from(said.bytes.as_slice());
        self.broker.receive(&mut input).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        assert!(input.is_empty());
        let events: Vec<Event> = std::iter::from_fn(|| self.broker.poll_event()).collect();
        let events: Vec<Event> =
            events.into_iter().filter(|event| !matches!(event, Event::Released { .. })).collect();
        let Some((verb, operands)) = message(&said.element) else {
            assert!(
                matches!(events.as_slice(), [Event::Ready { .. }]),
                "{}: {events:?}",
                self.path.display()
            );
            return;
        };
        match (verb, operands) {
            (b"message", operands) => self.heard_call(operands, events),
            (b"answer", [_, value]) => self.heard_answer(value, events),
            (b"error", [_, failure]) => match events.as_slice() {
                [Event::Failed { failure: found, .. }] => {
                    assert_eq!(*found, failure_of(failure), "{}", self.path.display())
                }
                other => panic!("{}: {other:?}", self.path.display()),
            },
            _ => assert!(events.is_empty(), "{}: {events:?}", self.path.display()),
        }
    }

    fn heard_call(&mut self, operands: &[Element], mut events: Vec<Event>) {
        let [number, target, Element::Bytes(method), answered, args, kwargs] = operands else {
            panic!("{operands:?}")
        };
        let answerable = match events.pop() {
            None => {
                assert_eq!(method, "login", "{}: a call without an event", self.path.display());
                Some(Answerable::ByBroker)
            }
            Some(Event::Login { login, user, proof, mind }) => {
                assert_eq!(method, "respond");
                assert_eq!(user.as_bytes().as_ref(), self.login.user);
                assert!(proof.verify(self.login.password.as_bytes()), "{}", self.path.display());
                assert!(!proof.verify(b"another"));
                assert_eq!(mind.is_some(), self.login.has_mind);
                Some(Answerable::Login(login))
            }
            Some(Event::Call { target: found, method: called, args: given, kwargs: named, reply }) => {
                assert_eq!(called.as_bytes(), method);
                assert_eq!(found, Target::Local(LocalId::new(int(target))));
                assert_eq!(
                    notation::value(&Value::Tuple(given)),
                    notation::value(&unjelly(args.clone()).unwrap())
                );
                assert_eq!(
                    notation::value(&Value::Dict(named)),
                    notation::value(&unjelly(kwargs.clone()).unwrap())
                );
                assert_eq!(reply.is_some(), *answered != Element::Int(0));
                reply.map(Answerable::Reply)
            }
            Some(other) => panic!("{}: {other:?}", self.path.display()),
        };
        assert!(events.is_empty(), "{}: more events than one", self.path.display());
        self.replies.extend(answerable.map(|answerable| (int(number), answerable)));
    }

    fn heard_answer(&self, value: &Element, events: Vec<Event>) {
        match events.as_slice() {
            // The challenge, which the broker answers by itself.
            [] => assert_eq!(self.ours, Side::Client),
            [Event::LoggedIn { request, perspective }] => {
                assert_eq!(Some(*request), self.login_request);
                assert_eq!(Some(*perspective), unjelly(value.clone()).unwrap().as_remote());
            }
            [Event::Answered { request, value: found }] => {
                assert!(self.calls.contains_key(request));
                assert_eq!(notation::value(found), notation::value(&unjelly(value.clone()).unwrap()));
            }
            other => panic!("{}: {other:?}", self.path.display()),
        }
    }

    /// Our words against the recorded ones. A failure is said in its shortest form, so there the meaning counts.
    fn compare(&self) {
        let path = self.path.display();
        for (number, (said, wanted)) in self.said.iter().zip(&self.wanted).enumerate() {
            let same = match (meaning(&said.element), meaning(&wanted.element)) {
                (Some(said), Some(wanted)) => said == wanted,
                _ => said.bytes == wanted.bytes,
            };
            if !same {
                let texts = [said, wanted].map(|said| notation::expression(&said.element));
                panic!("{path}: expression {number}: we say\n{}\nrecorded is\n{}", texts[0], texts[1]);
            }
        }
        assert_eq!(self.said.len(), self.wanted.len(), "{path}: number of expressions");
    }
}

/// What an expression with a failure in it means; none for others.
fn meaning(element: &Element) -> Option<String> {
    match message(element)? {
        (b"error", [number, failure]) => {
            // Where it happened differs: our broker refuses a login on its own account.
            let failure = Failure { traceback: String::new(), ..failure_of(failure) };
            Some(format!("error {} {failure:?}", int(number)))
        }
        (b"message", [number, target, method, answered, args, kwargs]) => {
            let args = notation::value(&unjelly(args.clone()).ok()?);
            let head = [number, target, method, answered, kwargs].map(notation::expression).join(" ");
            args.contains("failure(").then(|| format!("{head} {args}"))
        }
        _ => None,
    }
}

impl RecordedLogin {
    fn find(path: &Path, timeline: &[(Side, Said)]) -> Self {
        let mut messages = timeline.iter().filter_map(|(side, said)| Some((*side, message(&said.element)?)));
        let user = messages.find_map(|(_, message)| match message {
            (b"message", [_, _, Element::Bytes(method), _, args, _]) if method == "login" => Some(args),
            _ => None,
        });
        let answer = messages.find_map(|(side, message)| match message {
            (b"answer", [_, value]) if side == Side::Server => Some(unjelly(value.clone()).unwrap()),
            _ => None,
        });
        let answer = answer.expect("a challenge");
        let [challenge, challenger] = answer.as_list().unwrap() else { panic!("{answer:?}") };
        let mind = messages.find_map(|(_, message)| match message {
            (b"message", [_, _, Element::Bytes(method), _, args, _]) if method == "respond" => {
                Some(unjelly(args.clone()).unwrap())
            }
            _ => None,
        });
        let user = unjelly(user.expect("a login").clone()).unwrap();
        let user = user.as_list().unwrap()[0].as_bytes().unwrap().to_vec();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let password = match &*user {
            _ if name == "bad-password" || name.ends_with("-refused") => "wrong",
            b"change" => "changepw",
            b"dev" => "devpw",
            _ => "sekrit",
        };
        Self {
            user,
            password,
            challenge: challenge.as_bytes().unwrap().try_into().unwrap(),
            challenger: challenger.as_remote().unwrap().get(),
            has_mind: mind.expect("a response").as_list().unwrap()[1].as_remote().is_some(),
        }
    }
}

/// The verb and the operands of a broker's expression; none for what is said in negotiation.
fn message(element: &Element) -> Option<(&[u8], &[Element])> {
    match element {
        Element::List(items) => match items.split_first()? {
            (Element::Bytes(verb), operands) if verb != "pb" => Some((verb, operands)),
            _ => None,
        },
        _ => None,
    }
}

fn int(element: &Element) -> i64 {
    match element {
        Element::Int(int) => *int,
        other => panic!("no number: {other:?}"),
    }
}

fn failure_of(element: &Element) -> Failure {
    unjelly(element.clone()).unwrap().as_failure().expect("a failure").clone()
}
