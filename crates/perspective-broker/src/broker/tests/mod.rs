mod login;
mod random;

use super::{Broker, Event, LocalId, ProtocolError, RemoteId, SendError, Target};
use crate::banana::{Decoder, Dialect, Element, encode};
use crate::jelly::{Copyable, Failure, Shared, Value};
use crate::limits::{LimitExceeded, Limits};
use bytes::{Bytes, BytesMut};

/// Two brokers with nothing between them.
struct Pair {
    server: Broker,
    client: Broker,
}

impl Pair {
    /// A server whose root object is its owner's, and a client.
    fn open() -> Self {
        Self::with(Broker::server(Limits::default()).expose_root(), Broker::client(Limits::default()))
    }

    fn login() -> Self {
        Self::with(Broker::server(Limits::default()), Broker::client(Limits::default()))
    }

    fn with(server: Broker, client: Broker) -> Self {
        let mut pair = Self { server, client };
        let (at_server, at_client) = pair.settle();
        for mut events in [at_server, at_client] {
            assert!(matches!(events.remove(0), Event::Ready { dialect: Dialect::Pb }));
            assert!(events.is_empty());
        }
        pair
    }

    /// Carries bytes until nothing moves; gives the events at the server and at the client.
    fn settle(&mut self) -> (Vec<Event>, Vec<Event>) {
        loop {
            let mut to_client = self.server.outgoing().split();
            let mut to_server = self.client.outgoing().split();
            if to_client.is_empty() && to_server.is_empty() {
                return (events(&mut self.server), events(&mut self.client));
            }
            self.client.receive(&mut to_client).unwrap();
            self.server.receive(&mut to_server).unwrap();
        }
    }

    /// Has the client send a value to the server; gives the value there.
    fn deliver(&mut self, value: Value) -> Value {
        self.client.send(crate::Callee::Root, "take", vec![value], vec![]).unwrap();
        match self.settle().0.remove(0) {
            Event::Call { mut args, .. } => args.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

fn events(broker: &mut Broker) -> Vec<Event> {
    std::iter::from_fn(|| broker.poll_event()).collect()
}

fn wire(expression: Element) -> BytesMut {
    let mut out = BytesMut::new();
    encode(&expression, Dialect::None, &Limits::default(), &mut out).unwrap();
    out
}

fn word(word: &'static str) -> Element {
    Element::Bytes(Bytes::from_static(word.as_bytes()))
}

fn sexp<const N: usize>(items: [Element; N]) -> Element {
    Element::List(items.into())
}

/// A call as the peer would write it.
fn message(request: i64, object: Element, method: &'static str, args: Vec<Element>) -> Element {
    let args = Element::List([word("tuple")].into_iter().chain(args).collect());
    let request = Element::Int(request);
    sexp([word("message"), request, object, word(method), Element::Int(1), args, sexp([word("dictionary")])])
}

fn remote(number: i64) -> Element {
    sexp([word("remote"), Element::Int(number)])
}

/// A broker that is through with negotiation and speaks with a peer that we play by hand.
fn facing_us(broker: Broker) -> Broker {
    let mut broker = broker;
    let mut hello = wire(word("none"));
    hello.unsplit(wire(sexp([word("version"), Element::Int(6)])));
    broker.receive(&mut hello).unwrap();
    assert!(matches!(broker.poll_event(), Some(Event::Ready { dialect: Dialect::None })));
    broker.outgoing().clear();
    broker
}

fn server() -> Broker {
    facing_us(Broker::server(Limits::default()).expose_root())
}

fn hear(broker: &mut Broker, expression: Element) -> Result<(), ProtocolError> {
    broker.receive(&mut wire(expression))
}

/// What the broker said since the last time.
fn said(broker: &mut Broker) -> Vec<Element> {
    let mut out = broker.outgoing().split();
    let mut decoder = Decoder::new(&Limits::default());
    std::iter::from_fn(|| decoder.next(&mut out).unwrap()).collect()
}

/// The request and the failure of an `error`.
fn error_in(said: &Element) -> (i64, Failure) {
    let Element::List(items) = said else { panic!("{said:?}") };
    let [verb, Element::Int(request), failure] = items.as_slice() else { panic!("{said:?}") };
    assert_eq!(*verb, word("error"));
    let value = crate::unjelly(failure.clone()).unwrap();
    (*request, value.as_failure().unwrap().clone())
}

#[test]
fn calls_are_answered() {
    let mut pair = Pair::open();
    let object = pair.client.export();
    let args = vec![Value::from(object), Value::from("caf\u{e9}")];
    let kwargs = vec![(Value::from("why"), Value::from(true))];
    let request = pair.client.call(crate::Callee::Root, "greet", args, kwargs).unwrap();
    let (mut at_server, at_client) = pair.settle();
    assert!(at_client.is_empty());
    let Event::Call { target: Target::Root, method, args, kwargs, reply: Some(reply) } = at_server.remove(0)
    else {
        panic!("{at_server:?}")
    };
    assert_eq!(method, "greet");
    assert_eq!(args[1], Value::from("caf\u{e9}"));
    assert_eq!(kwargs, [(Value::from("why"), Value::from(true))]);

    // The server calls back before it answers.
    let back = pair.server.call(args[0].as_remote().unwrap(), "hear", vec![1.into()], vec![]).unwrap();
    let (_, mut at_client) = pair.settle();
    let Event::Call { target, reply: Some(back_reply), .. } = at_client.remove(0) else {
        panic!("{at_client:?}")
    };
    assert_eq!(target, Target::Local(object));
    pair.client.fail(back_reply, Failure::new("builtins.ValueError", "no")).unwrap();
    pair.server.answer(reply, Value::list([2.into()])).unwrap();
    assert_eq!(pair.server.answer(reply, Value::None), Err(SendError::AlreadyAnswered));
    let (mut at_server, mut at_client) = pair.settle();
    let Event::Failed { request: failed, failure } = at_server.remove(0) else { panic!("{at_server:?}") };
    assert!(failed == back && failure.is("builtins.ValueError"));
    let Event::Answered { request: answered, value } = at_client.remove(0) else { panic!("{at_client:?}") };
    assert!(answered == request && value == Value::list([2.into()]));
}

#[test]
fn what_is_sent_without_an_answer_gets_none() {
    let mut pair = Pair::open();
    pair.client.send(crate::Callee::Root, "tell", vec![], vec![]).unwrap();
    assert!(matches!(pair.settle().0.remove(0), Event::Call { reply: None, .. }));
    // Not even when the object does not exist.
    let mut server = server();
    let Element::List(mut items) = message(1, Element::Int(9), "tell", vec![]) else { unreachable!() };
    items[4] = Element::Int(0);
    hear(&mut server, Element::List(items)).unwrap();
    assert!(said(&mut server).is_empty() && events(&mut server).is_empty());
}

#[test]
fn calls_made_before_negotiation_are_sent_after_it() {
    let mut client = Broker::client(Limits::default());
    client.call(crate::Callee::Root, "early", vec![], vec![]).unwrap();
    assert!(client.outgoing().is_empty() && client.buffered() > 0);
    let server = Broker::server(Limits::default()).expose_root();
    let mut pair = Pair { server, client };
    let (at_server, _) = pair.settle();
    assert!(matches!(&at_server[..], [Event::Ready { .. }, Event::Call { .. }]), "{at_server:?}");
}

#[test]
fn the_first_dialect_of_the_servers_that_the_client_knows_is_spoken() {
    let none = [Dialect::None];
    let both = [Dialect::None, Dialect::Pb];
    let limits = Limits::default();
    for (server, client) in [
        (Broker::server_offering(limits, &none), Broker::client(limits)),
        (Broker::server(limits), Broker::client_accepting(limits, &none)),
        (Broker::server_offering(limits, &both), Broker::client(limits)),
    ] {
        let mut pair = Pair { server, client };
        for events in <[_; 2]>::from(pair.settle()) {
            assert!(matches!(events[..], [Event::Ready { dialect: Dialect::None }]));
        }
    }
    let mut server = Broker::server_offering(limits, &none);
    assert_eq!(hear(&mut server, word("pb")), Err(ProtocolError::NoDialect));
    assert_eq!(hear(&mut server, word("none")), Err(ProtocolError::NoDialect), "an error is final");
    let mut client = Broker::client(limits);
    assert_eq!(hear(&mut client, sexp([word("x")])), Err(ProtocolError::NoDialect));
    assert_eq!(hear(&mut Broker::client(limits), word("pb")), Err(ProtocolError::NoDialect));
}

#[test]
fn another_version_is_refused_and_none_is_accepted() {
    let mut server = server();
    hear(&mut server, message(1, word("root"), "x", vec![])).unwrap();
    assert_eq!(hear(&mut server, sexp([word("version"), Element::Int(7)])), Err(ProtocolError::Version(7)));
    assert_eq!(server.error(), Some(&ProtocolError::Version(7)));
    assert!(matches!(server.poll_event(), Some(Event::Call { .. })), "what came before is still there");
}

#[test]
fn an_unknown_object_is_an_error_for_the_call_alone() {
    let mut server = server();
    for (request, object) in
        [(1, Element::Int(99)), (2, word("nobody")), (3, sexp([])), (4, Element::Int(-1))]
    {
        hear(&mut server, message(request, object, "x", vec![remote(5)])).unwrap();
        let said = said(&mut server);
        let (number, failure) = error_in(said.last().unwrap());
        assert_eq!((number, failure.value.as_str()), (request, "Invalid Object ID"));
        assert!(failure.is("twisted.spread.pb.Error"));
        // The object among the arguments is given back.
        assert_eq!(said[0], sexp([word("decref"), Element::Int(5)]));
    }
    assert!(events(&mut server).is_empty());
    // An object that exists, but was never given to the peer, does not exist for it.
    let secret = server.export();
    hear(&mut server, message(5, Element::Int(secret.get()), "x", vec![])).unwrap();
    assert_eq!(error_in(&said(&mut server)[0]).1, Failure::invalid_object());
}

#[test]
fn references_are_counted_by_occurrence() {
    let mut pair = Pair::open();
    let object = pair.client.export();
    let shared = Value::from(Shared::new(Value::list([object.into()])));
    let value = Value::list([object.into(), object.into(), shared.clone(), shared]);
    let arrived = pair.deliver(value);
    let id = arrived.as_list().unwrap()[0].as_remote().unwrap();
    assert_eq!(arrived.remotes(), [id; 3]);
    for _ in 0..2 {
        pair.server.release(id).unwrap();
        assert!(pair.settle().1.is_empty());
    }
    pair.server.release(id).unwrap();
    let released = pair.settle().1;
    assert!(matches!(released[..], [Event::Released { local }] if local == object), "{released:?}");
    assert_eq!(pair.server.release(id), Err(SendError::NotHeld(id)), "one too many is not sent");
    assert!(pair.server.outgoing().is_empty());
    assert_eq!(pair.server.call(id, "x", vec![], vec![]), Err(SendError::NotHeld(id)));

    // It can be given away again.
    let again = pair.deliver(object.into());
    pair.server.release_in([&again]).unwrap();
    assert!(matches!(pair.settle().1[..], [Event::Released { .. }]));
}

#[test]
fn a_value_that_is_not_sent_is_not_counted() {
    let mut pair = Pair::open();
    let object = pair.client.export();
    let too_long = Value::bytes(vec![0; 700_000]);
    let error =
        pair.client.send(crate::Callee::Root, "x", vec![object.into(), too_long], vec![]).unwrap_err();
    assert!(matches!(error, SendError::Value(_)), "{error}");
    assert!(pair.client.outgoing().is_empty());
    let id = pair.deliver(object.into()).as_remote().unwrap();
    pair.server.release(id).unwrap();
    assert!(matches!(pair.settle().1[..], [Event::Released { .. }]), "one reference was all");
}

#[test]
fn only_what_is_exported_or_held_can_be_sent() {
    let mut pair = Pair::open();
    let (nobody, stranger) = (LocalId::new(17), RemoteId::new(4));
    let mut send = |value: Value| pair.client.send(crate::Callee::Root, "x", vec![value], vec![]);
    assert_eq!(send(nobody.into()), Err(SendError::NotExported(nobody)));
    assert_eq!(send(stranger.into()), Err(SendError::NotHeld(stranger)));
    let retired = pair.client.export();
    pair.client.retire(retired);
    let error = pair.client.send(crate::Callee::Root, "x", vec![retired.into()], vec![]);
    assert_eq!(error, Err(SendError::NotExported(retired)));
    // The peer's object comes home as one of its own.
    let object = pair.client.export();
    let at_server = pair.deliver(object.into());
    pair.client.outgoing().clear();
    let id = at_server.as_remote().unwrap();
    pair.server.call(id, "yours", vec![at_server], vec![]).unwrap();
    let Event::Call { args, .. } = pair.settle().1.remove(0) else { panic!("not a call") };
    assert_eq!(args, [Value::Local(object)]);
}

#[test]
fn a_decref_too_many_ends_the_connection() {
    let mut server = server();
    let decref = |id: LocalId| sexp([word("decref"), Element::Int(id.get())]);
    hear(&mut server, message(1, word("root"), "x", vec![remote(1)])).unwrap();
    let object = server.export();
    server.call(RemoteId::new(1), "take", vec![object.into()], vec![]).unwrap();
    hear(&mut server, decref(object)).unwrap();
    let error = hear(&mut server, decref(object)).unwrap_err();
    assert_eq!(error, ProtocolError::UnknownReference(object.get()));
}

#[test]
fn a_retired_object_is_gone_but_its_references_may_come_back_late() {
    let mut server = server();
    hear(&mut server, message(1, word("root"), "x", vec![remote(1)])).unwrap();
    events(&mut server);
    let object = server.export();
    server.call(RemoteId::new(1), "take", vec![object.into(), object.into()], vec![]).unwrap();
    server.retire(object);
    said(&mut server);
    hear(&mut server, message(2, Element::Int(object.get()), "x", vec![])).unwrap();
    assert_eq!(error_in(&said(&mut server)[0]), (2, Failure::invalid_object()));
    let decref = sexp([word("decref"), Element::Int(object.get())]);
    hear(&mut server, decref.clone()).unwrap();
    hear(&mut server, decref.clone()).unwrap();
    assert!(events(&mut server).is_empty(), "nobody waits for it");
    assert_eq!(hear(&mut server, decref), Err(ProtocolError::UnknownReference(object.get())));
}

#[test]
fn tombstones_are_bounded() {
    let limits = Limits { tombstones: 10, ..Limits::default() };
    let mut server = facing_us(Broker::server(limits).expose_root());
    hear(&mut server, message(1, word("root"), "x", vec![remote(1)])).unwrap();
    let objects: Vec<LocalId> = (0..1000).map(|_| server.export()).collect();
    for object in &objects {
        server.send(RemoteId::new(1), "take", vec![(*object).into()], vec![]).unwrap();
        server.retire(*object);
    }
    server.outgoing().clear();
    assert!(format!("{:?}", server.exports).len() < 1000, "{:?}", server.exports);
    let mut decref = |id: LocalId| hear(&mut server, sexp([word("decref"), Element::Int(id.get())]));
    for object in &objects {
        decref(*object).unwrap();
    }
    decref(objects[0]).unwrap();
    let last = *objects.last().unwrap();
    assert_eq!(
        decref(last),
        Err(ProtocolError::UnknownReference(last.get())),
        "the last ten are still exact"
    );
}

#[test]
fn values_that_are_not_accepted_cost_one_call() {
    let mut server = server();
    let bad_text = sexp([word("unicode"), Element::Bytes(Bytes::from_static(b"\xff"))]);
    hear(&mut server, message(1, word("root"), "x", vec![remote(8), bad_text.clone(), remote(8)])).unwrap();
    let said_then = said(&mut server);
    let decref = sexp([word("decref"), Element::Int(8)]);
    assert_eq!(said_then[..2], [decref.clone(), decref.clone()]);
    assert!(error_in(&said_then[2]).1.is("twisted.spread.jelly.InsecureJelly"));

    // So it is with an object of ours that the peer does not hold, and with arguments that are none.
    let local = sexp([word("local"), Element::Int(3)]);
    hear(&mut server, message(2, word("root"), "x", vec![local])).unwrap();
    assert_eq!(error_in(&said(&mut server)[0]), (2, Failure::invalid_object()));
    let Element::List(mut items) = message(3, word("root"), "x", vec![]) else { unreachable!() };
    items[5] = remote(8);
    hear(&mut server, Element::List(items)).unwrap();
    let said_then = said(&mut server);
    assert_eq!(said_then[0], decref);
    assert!(error_in(&said_then[1]).1.is("builtins.TypeError"));
    assert!(events(&mut server).is_empty());

    // An answer that is not accepted is a failure of that call.
    let request = server.call(crate::Callee::Root, "x", vec![], vec![]).unwrap();
    hear(&mut server, sexp([word("answer"), Element::Int(1), bad_text])).unwrap();
    let failed = events(&mut server);
    let [Event::Failed { request: failed, failure }] = &failed[..] else { panic!("{failed:?}") };
    assert!(*failed == request && failure.is("twisted.spread.jelly.InsecureJelly"));
}

#[test]
fn objects_in_what_a_failure_carries_beside_its_texts_are_given_back() {
    let mut server = server();
    let state =
        sexp([word("dictionary"), sexp([word("_frames"), remote(4)]), sexp([word("type"), word("a.B")])]);
    let failure = sexp([word("twisted.spread.pb.CopyableFailure"), state]);
    hear(&mut server, message(1, word("root"), "x", vec![failure.clone(), remote(4)])).unwrap();
    assert_eq!(said(&mut server), [sexp([word("decref"), Element::Int(4)])]);
    let Some(Event::Call { args, .. }) = server.poll_event() else { panic!("no call") };
    assert_eq!(args[1].as_remote(), Some(RemoteId::new(4)));
    assert!(args[0].as_failure().unwrap().is("a.B"));

    server.call(crate::Callee::Root, "x", vec![], vec![]).unwrap();
    said(&mut server);
    hear(&mut server, sexp([word("error"), Element::Int(1), failure])).unwrap();
    assert_eq!(said(&mut server), [sexp([word("decref"), Element::Int(4)])]);
    assert!(matches!(server.poll_event(), Some(Event::Failed { .. })));
}

#[test]
fn an_error_may_be_any_value() {
    let mut server = server();
    let text = |text| sexp([word("unicode"), word(text)]);
    let copyable = sexp([
        word("some.Error"),
        sexp([word("dictionary"), sexp([text("args"), sexp([word("tuple"), text("no")])])]),
    ]);
    for (request, (error, kind, value)) in
        (1..).zip([(copyable, "some.Error", "no"), (word("old"), "twisted.spread.pb.RemoteError", "old")])
    {
        server.call(crate::Callee::Root, "x", vec![], vec![]).unwrap();
        hear(&mut server, sexp([word("error"), Element::Int(request), error])).unwrap();
        let Some(Event::Failed { failure, .. }) = server.poll_event() else { panic!("no failure") };
        assert!(failure.is(kind) && failure.value == value, "{failure:?}");
    }
}

#[test]
fn answers_to_no_question_end_the_connection() {
    for verb in ["answer", "error"] {
        let mut server = server();
        let answer = sexp([word(verb), Element::Int(1), sexp([word("None")])]);
        assert_eq!(hear(&mut server, answer.clone()), Err(ProtocolError::UnknownRequest(1)));
    }
    let mut server = server();
    server.call(crate::Callee::Root, "x", vec![], vec![]).unwrap();
    let answer = sexp([word("answer"), Element::Int(1), sexp([word("None")])]);
    hear(&mut server, answer.clone()).unwrap();
    assert_eq!(hear(&mut server, answer), Err(ProtocolError::UnknownRequest(1)));
}

#[test]
fn what_is_no_message_ends_the_connection() {
    for expression in [
        word("message"),
        Element::Int(1),
        sexp([]),
        sexp([Element::Int(1)]),
        sexp([word("message")]),
        sexp([word("answer"), word("x"), Element::Int(1)]),
        sexp([word("decref"), word("root")]),
        sexp([word("version"), word("6")]),
        sexp([word("decache"), Element::Int(1)]),
        sexp([word("uncache"), Element::Int(1)]),
    ] {
        assert!(hear(&mut server(), expression.clone()).is_err(), "{expression:?}");
    }
}

#[test]
fn cached_objects_and_unknown_verbs_are_refused_politely() {
    let mut server = server();
    let Element::List(mut items) = message(1, Element::Int(1), "observe", vec![remote(2)]) else {
        unreachable!()
    };
    items[0] = word("cachemessage");
    hear(&mut server, Element::List(items)).unwrap();
    assert_eq!(error_in(&said(&mut server)[1]), (1, Failure::invalid_object()));
    hear(&mut server, sexp([word("dance"), Element::Int(1)])).unwrap();
    assert_eq!(said(&mut server), [sexp([word("didNotUnderstand"), word("dance")])]);
    hear(&mut server, sexp([word("didNotUnderstand"), word("dance")])).unwrap();
    assert!(said(&mut server).is_empty() && events(&mut server).is_empty());
    let endless = Element::Bytes(vec![b'x'; 65].into());
    assert_eq!(hear(&mut server, sexp([endless])), Err(ProtocolError::NotAMessage));
}

#[test]
fn an_answer_that_cannot_be_sent_becomes_a_failure() {
    let mut pair = Pair::open();
    pair.client.call(crate::Callee::Root, "x", vec![], vec![]).unwrap();
    let Some(Event::Call { reply: Some(reply), .. }) = pair.settle().0.pop() else { panic!("no call") };
    let error = pair.server.answer(reply, Value::bytes(vec![0; 700_000])).unwrap_err();
    assert!(matches!(error, SendError::Value(_)));
    assert!(matches!(pair.settle().1[..], [Event::Failed { .. }]));
}

#[test]
fn limits_on_objects_and_calls() {
    let limits = Limits { references: 3, pending_calls: 2, ..Limits::default() };
    let mut server = facing_us(Broker::server(limits).expose_root());
    let objects = vec![remote(1), remote(2), remote(3), remote(1)];
    hear(&mut server, message(1, word("root"), "x", objects)).unwrap();
    hear(&mut server, message(2, word("root"), "x", vec![])).unwrap();
    let full = LimitExceeded { limit: "pending_calls", announced: 3, bound: 2 };
    for _ in 0..2 {
        server.call(crate::Callee::Root, "x", vec![], vec![]).unwrap();
    }
    assert_eq!(server.call(crate::Callee::Root, "x", vec![], vec![]), Err(SendError::TooManyCalls(full)));
    let third = message(3, word("root"), "x", vec![]);
    assert_eq!(hear(&mut server, third), Err(ProtocolError::Limit(full)));

    let mut server = facing_us(Broker::server(limits).expose_root());
    let too_many = (1..=4).map(remote).collect();
    let expected = LimitExceeded { limit: "references", announced: 4, bound: 3 };
    let error = hear(&mut server, message(1, word("root"), "x", too_many));
    assert_eq!(error, Err(ProtocolError::Limit(expected)));
}

#[test]
fn a_peer_that_asks_but_does_not_read_is_given_up() {
    let limits = Limits { outgoing: 10_000, ..Limits::default() };
    let mut server = facing_us(Broker::server(limits).expose_root());
    let error = (1..1000)
        .find_map(|request| hear(&mut server, message(request, Element::Int(99), "x", vec![])).err());
    assert!(matches!(error, Some(ProtocolError::NotReading { bound: 10_000, .. })), "{error:?}");
    assert!(server.buffered() <= 10_000);
    assert_eq!(server.call(crate::Callee::Root, "x", vec![], vec![]), Err(SendError::Broken));

    let mut server = facing_us(Broker::server(limits).expose_root());
    let error = (1..1000).find_map(|_| server.send(crate::Callee::Root, "x", vec![], vec![]).err());
    assert!(matches!(error, Some(SendError::NotReading { bound: 10_000, .. })), "{error:?}");
    assert!(matches!(server.error(), Some(ProtocolError::NotReading { .. })));
}

#[test]
fn copies_and_names_arrive_as_they_are() {
    let mut pair = Pair::open();
    let copy = Value::Copy(Box::new(Copyable { class: "a.B".into(), state: Value::dict([("x", 1.into())]) }));
    assert_eq!(pair.deliver(copy.clone()), copy);
}

/// Something like what a peer says, with everything in it possibly wrong.
#[test]
fn what_back_references_repeat_counts() {
    let reference = |number, contents| sexp([word("reference"), Element::Int(number), contents]);
    let dereference = |number| sexp([word("dereference"), Element::Int(number)]);
    let list = |items: Vec<Element>| Element::List([word("list")].into_iter().chain(items).collect());
    let limits = Limits { message: 100_000, nodes: 10_000, ..Limits::default() };
    let long = list(vec![Element::Bytes(vec![b'x'; 1000].into())]);
    let wide = list(vec![Element::Int(1); 100]);
    for (contents, limit) in [(long, "message"), (wide, "nodes")] {
        let items = |count| {
            [reference(1, contents.clone())].into_iter().chain((0..count).map(|_| dereference(1))).collect()
        };
        let mut broker = facing_us(Broker::server(limits).expose_root());
        hear(&mut broker, message(1, word("root"), "take", vec![list(items(10))])).unwrap();
        let error = hear(&mut broker, message(2, word("root"), "take", vec![list(items(200))])).unwrap_err();
        assert!(matches!(error, ProtocolError::Limit(exceeded) if exceeded.limit == limit), "{error:?}");
    }
}

#[test]
fn objects_in_a_container_that_occurs_twice_are_given_back_once() {
    let shared = Value::from(Shared::new(Value::list([Value::Local(LocalId::new(1))])));
    let mut pair = Pair::login();
    let object = pair.client.export();
    assert_eq!(object.get(), 1);
    // What `callRemote("nothing", objects, objects)` sends.
    pair.client.call(crate::Callee::Root, "nothing", vec![shared.clone(), shared], vec![]).unwrap();
    let (at_server, at_client) = pair.settle();
    assert!(at_server.is_empty());
    assert!(
        matches!(&at_client[..], [Event::Released { local }, Event::Failed { failure, .. }]
        if *local == object && failure.is("twisted.spread.flavors.NoSuchMethod")),
        "{at_client:?}"
    );
}

#[test]
fn a_stranger_gets_little_room() {
    let limits = Limits::default();
    let numbers = |count| message(1, word("root"), "login", vec![Element::Int(1); count]);
    let mut broker = facing_us(Broker::server(limits));
    hear(&mut broker, numbers(limits.login_nodes - 100)).unwrap();
    let error = hear(&mut broker, numbers(limits.login_nodes)).unwrap_err();
    assert!(
        matches!(error, ProtocolError::Decode(crate::DecodeError::Limit(l)) if l.limit == "nodes"),
        "{error:?}"
    );

    let mut broker = facing_us(Broker::server(limits));
    let error = (1..1_000_000).find_map(|n| hear(&mut broker, message(n, word("root"), "x", vec![])).err());
    let bound = limits.high_water as u64;
    assert!(matches!(error, Some(ProtocolError::NotReading { bound: b, .. }) if b == bound), "{error:?}");
    assert!(broker.buffered() <= limits.high_water);
}

#[test]
fn what_goes_over_the_wire_is_not_shown() {
    let mut pair = Pair::open();
    pair.client.send(crate::Callee::Root, "take", vec!["hunter2".into()], vec![]).unwrap();
    assert!(!format!("{:?}", pair.client).contains("hunter2"));
    let mut half = pair.client.outgoing().split();
    half.truncate(half.len() - 1);
    pair.server.receive(&mut half).unwrap();
    assert!(!format!("{:?}", pair.server).contains("hunter2"));
}
