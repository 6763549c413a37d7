//! Both ends of a connection, for tests.

use perspective_broker::{Broker, Callee, Event, Limits, RemoteId, Transport, Value};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Longer than anything in a test should take.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A server that lets everybody in whose password is `sekrit`, and answers every call with its own arguments, until the
/// peer goes away. Gives the number of calls.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> usize {
    let mut transport = Transport::new(io, Broker::server(Limits::default()));
    let mut calls = 0;
    while let Some(event) = transport.next().await.unwrap() {
        let broker = transport.broker();
        match event {
            Event::Login { login, proof, .. } if proof.verify(b"sekrit") => {
                let perspective = broker.export();
                broker.accept_login(login, perspective).unwrap();
            }
            Event::Login { login, .. } => broker.refuse_login(login).unwrap(),
            Event::Call { args, reply, .. } => {
                calls += 1;
                if let Some(reply) = reply {
                    broker.answer(reply, Value::Tuple(args)).unwrap();
                }
            }
            _ => {}
        }
    }
    calls
}

/// Logs in; gives the perspective.
pub(crate) async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(transport: &mut Transport<S>) -> RemoteId {
    transport.broker().login("somebody", b"sekrit", None).unwrap();
    loop {
        match transport.next().await.unwrap() {
            Some(Event::Ready { .. }) => {}
            Some(Event::LoggedIn { perspective, .. }) => return perspective,
            other => panic!("{other:?}"),
        }
    }
}

/// Logs in, calls once and goes.
pub(crate) async fn visit<S: AsyncRead + AsyncWrite + Unpin>(io: S) {
    let mut transport = Transport::new(io, Broker::client(Limits::default()));
    let perspective = log_in(&mut transport).await;
    let args = vec![Value::bytes(vec![b'x'; 100_000])];
    transport.broker().call(perspective, "echo", args.clone(), vec![]).unwrap();
    match transport.next().await.unwrap() {
        Some(Event::Answered { value, .. }) => assert_eq!(value, Value::Tuple(args)),
        other => panic!("{other:?}"),
    }
    assert!(transport.close(LONG).await);
}

/// A server and a client with exposed roots, through with negotiation, over a pipe that holds `capacity` bytes.
pub(crate) async fn pair(
    capacity: usize,
    limits: Limits,
) -> (Transport<tokio::io::DuplexStream>, Transport<tokio::io::DuplexStream>) {
    let (here, there) = tokio::io::duplex(capacity);
    let mut server = Transport::new(here, Broker::server(limits).expose_root());
    let mut client = Transport::new(there, Broker::client(limits).expose_root());
    let (at_server, at_client) = tokio::join!(server.next(), client.next());
    for event in [at_server, at_client] {
        assert!(matches!(event.unwrap(), Some(Event::Ready { .. })));
    }
    (server, client)
}

/// Sends bytes to the peer's root object.
pub(crate) fn send<S: AsyncRead + AsyncWrite + Unpin>(transport: &mut Transport<S>, bytes: usize) {
    let args = vec![Value::bytes(vec![b'x'; bytes])];
    transport.broker().send(Callee::Root, "take", args, vec![]).unwrap();
}
