//! A server for Perspective Broker clients. Whoever logs in as `guest` with the password `guest` gets an object whose
//! `echo` answers with its own arguments, and calls `heard` on the object that the client logged in with.
//!
//! `cargo run --features tokio --example echo_server -- 127.0.0.1:8787`, and then
//! `python examples/twisted_peer.py client 127.0.0.1:8787`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use perspective_broker::{
    Broker, Event, Failure, Limits, LocalId, RemoteId, Target, Transport, TransportError, Value,
};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8787".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(async move {
            match serve(stream).await {
                Ok(()) => println!("{peer} has left"),
                Err(error) => println!("{peer}: {error}: {:?}", std::error::Error::source(&error)),
            }
        });
    }
}

/// What is known about a client that has logged in.
#[derive(Default)]
struct Session {
    perspective: Option<LocalId>,
    mind: Option<RemoteId>,
}

async fn serve(stream: TcpStream) -> Result<(), TransportError> {
    let mut transport = Transport::new(stream, Broker::server(Limits::default()));
    let mut session = Session::default();
    while let Some(event) = transport.next().await? {
        // Whatever cannot be sent, for example to a peer that does not read, ends this connection only.
        if let Err(error) = handle(&mut session, transport.broker(), event) {
            println!("hanging up: {error}");
            break;
        }
    }
    transport.close(Duration::from_secs(5)).await;
    Ok(())
}

fn handle(
    session: &mut Session,
    broker: &mut Broker,
    event: Event,
) -> Result<(), perspective_broker::SendError> {
    match event {
        Event::Login { login, user, proof, mind } => {
            if user != "guest" || !proof.verify(b"guest") {
                println!("{user} is not let in");
                mind.map_or(Ok(()), |mind| broker.release(mind))?;
                return broker.refuse_login(login);
            }
            println!("{user} is in");
            let perspective = broker.export();
            broker.accept_login(login, perspective)?;
            *session = Session { perspective: Some(perspective), mind };
            Ok(())
        }
        Event::LoginAnonymous { login, .. } => broker.refuse_login(login),
        Event::Call { target: Target::Local(object), method, args, reply, .. }
            if session.perspective == Some(object) && method == "echo" =>
        {
            println!("echo of {args:?}");
            if let Some(mind) = session.mind {
                broker.send(mind, "heard", vec![Value::from(args.len() as u64)], vec![])?;
            }
            let echo = Value::Tuple(args);
            let objects = echo.remotes();
            reply.map_or(Ok(()), |reply| broker.answer(reply, echo))?;
            // The client's own objects are back with it; nothing here refers to them any more.
            objects.into_iter().try_for_each(|object| broker.release(object))
        }
        Event::Call { method, args, reply, .. } => {
            broker.release_in(&args)?;
            reply.map_or(Ok(()), |reply| broker.fail(reply, Failure::no_such_method(&method)))
        }
        other => {
            println!("{other:?}");
            Ok(())
        }
    }
}
