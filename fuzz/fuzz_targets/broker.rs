//! A whole connection: whatever the peer says, and whatever the owner does with it, nothing panics, the peer is never
//! told nonsense, and memory stays within the limits.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use perspective_broker::{Broker, Decoder, Dialect, Event, Failure, Limits, RequestId, Value};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let limits =
        Limits { references: 16, pending_calls: 16, tombstones: 4, outgoing: 1 << 20, ..Limits::default() };
    let mut owner = Owner {
        broker: if choice & 1 == 0 { Broker::server(limits) } else { Broker::client(limits) },
        choice,
        requests: Vec::new(),
    };
    owner.broker.set_next_challenge([7; 16]);
    if choice & 1 == 1 {
        let mind = owner.broker.export();
        owner.requests.extend(owner.broker.login("w1", b"sekrit", Some(mind)).ok());
    }
    let mut said = Decoder::new(&limits);
    said.set_dialect(Dialect::Pb);
    let mut input = BytesMut::new();
    for part in data.chunks(usize::from(choice) + 1) {
        input.extend_from_slice(part);
        let received = owner.broker.receive(&mut input);
        while let Some(event) = owner.broker.poll_event() {
            owner.handle(event);
        }
        // All that we say is Banana.
        let mut out = owner.broker.outgoing().split();
        while said.next(&mut out).expect("our own bytes").is_some() {}
        assert!(out.is_empty() && said.is_idle(), "we said half an expression");
        if received.is_err() {
            return;
        }
    }
});

struct Owner {
    broker: Broker,
    choice: u8,
    requests: Vec<RequestId>,
}

impl Owner {
    /// Does one of the things that an owner may do; errors are allowed, panics are not.
    fn handle(&mut self, event: Event) {
        match event {
            Event::Call { args, kwargs, reply, .. } => {
                for value in args.iter().chain(kwargs.iter().map(|(_, value)| value)) {
                    if self.choice & 2 == 0 {
                        ignore(self.broker.release_in([value]));
                    }
                    if let Some(id) = value.as_remote() {
                        let request = self.broker.call(id, "update", vec![value.clone()], Vec::new());
                        self.requests.extend(request.ok());
                    }
                }
                let Some(reply) = reply else { return };
                if self.choice & 4 == 0 {
                    let exported = self.broker.export();
                    let value = args.into_iter().next().unwrap_or(Value::Local(exported));
                    ignore(self.broker.answer(reply, value));
                    if self.choice & 8 == 0 {
                        self.broker.retire(exported);
                    }
                } else {
                    ignore(self.broker.fail(reply, Failure::no_such_method("x")));
                }
                // Nobody can answer twice.
                assert!(self.broker.answer(reply, Value::None).is_err());
            }
            Event::Login { login, proof, mind, .. } => {
                assert!(!proof.verify(b"another password") || !proof.verify(b"sekrit"));
                if self.choice & 16 == 0 {
                    let perspective = self.broker.export();
                    ignore(self.broker.accept_login(login, perspective));
                    if let Some(mind) = mind {
                        self.requests.extend(
                            self.broker.call(mind, "print", vec!["attached".into()], Vec::new()).ok(),
                        );
                    }
                } else {
                    ignore(self.broker.refuse_login(login));
                }
            }
            Event::LoginAnonymous { login, .. } => ignore(self.broker.refuse_login(login)),
            Event::Answered { request, value } => {
                self.answered(request);
                ignore(self.broker.release_in([&value]));
            }
            Event::Failed { request, .. } => self.answered(request),
            Event::LoggedIn { request, perspective } => {
                self.answered(request);
                self.requests.extend(self.broker.call(perspective, "keepalive", Vec::new(), Vec::new()).ok());
            }
            Event::Released { local } => self.broker.retire(local),
            Event::Ready { .. } | Event::Relieved => {}
        }
    }

    /// Only what was asked is answered, and only once.
    fn answered(&mut self, request: RequestId) {
        let known =
            self.requests.iter().position(|asked| *asked == request).expect("an answer to one of our calls");
        self.requests.swap_remove(known);
    }
}

fn ignore<T, E>(result: Result<T, E>) {
    drop(result);
}
