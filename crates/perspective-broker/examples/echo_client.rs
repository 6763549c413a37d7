//! A client for Perspective Broker servers: logs in as `guest`, hands over an object of its own, has some values echoed,
//! and shows what comes back.
//!
//! `python examples/twisted_peer.py server 127.0.0.1:8787`, and then
//! `cargo run --features tokio --example echo_client -- 127.0.0.1:8787`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use perspective_broker::{Broker, Event, Failure, Limits, Shared, Transport, Value};
use std::error::Error;
use std::time::Duration;
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8787".to_owned());
    let password = std::env::args().nth(2).unwrap_or_else(|| "guest".to_owned());
    let stream = TcpStream::connect(address).await?;
    let mut transport = Transport::new(stream, Broker::client(Limits::default()));

    // What is asked before negotiation is done is sent as soon as it is.
    let mind = transport.broker().export();
    transport.broker().login("guest", password.as_bytes(), Some(mind))?;

    // The answers that are still to come, once there is anything to ask.
    let mut waiting = None;
    while let Some(event) = transport.next().await? {
        let broker = transport.broker();
        match event {
            Event::LoggedIn { perspective, .. } => {
                println!("logged in");
                let samples = samples();
                waiting = Some(samples.len() + 1);
                for value in samples {
                    broker.call(perspective, "echo", vec![value], vec![])?;
                }
                broker.call(perspective, "no_such_thing", vec![], vec![])?;
                broker.release(perspective)?;
            }
            Event::Answered { value, .. } => {
                println!("answered: {value:?}");
                waiting = waiting.map(|waiting| waiting - 1);
            }
            Event::Failed { failure, .. } if failure.is("twisted.cred.error.UnauthorizedLogin") => {
                return Err(failure.into());
            }
            Event::Failed { failure, .. } => {
                println!("failed: {failure}");
                waiting = waiting.map(|waiting| waiting - 1);
            }
            Event::Call { method, args, reply, .. } => {
                println!("called: {method} {args:?}");
                if let Some(reply) = reply {
                    match &*method {
                        "heard" => broker.answer(reply, Value::None)?,
                        other => broker.fail(reply, Failure::no_such_method(other))?,
                    }
                }
            }
            other => println!("{other:?}"),
        }
        if waiting == Some(0) {
            break;
        }
    }
    transport.close(Duration::from_secs(5)).await;
    Ok(())
}

/// One value of each of several kinds.
fn samples() -> Vec<Value> {
    let twice = Value::from(Shared::new(Value::list([1.into(), 2.into()])));
    vec![
        Value::None,
        true.into(),
        (-5).into(),
        u64::MAX.into(),
        2.5.into(),
        Value::bytes(&b"\x00\xff"[..]),
        "caf\u{e9}".into(),
        Value::list([1.into(), Value::tuple([]), Value::dict([("key", Value::None)])]),
        Value::Set(vec![1.into(), 2.into()]),
        Value::list([twice.clone(), twice]),
    ]
}
