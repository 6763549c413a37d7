//! Clients that report changes.

use model::{Change, ChangeId, Json, Time};
use perspective_broker::{Event as BrokerEvent, Failure, Value};
use tokio::sync::oneshot;

use super::*;

/// A client, logged in; what became of its one call.
async fn send(io: DuplexStream, change: Value) -> Result<Value, Failure> {
    let mut transport = Transport::new(io, Broker::client(perspective_broker::Limits::default()));
    let login = transport.broker().login("change", b"changepw", None).expect("a login");
    let mut call = None;
    loop {
        match transport.next().await.expect("no error").expect("no end") {
            BrokerEvent::LoggedIn { request, perspective } if request == login => {
                let args = vec![change.clone()];
                call = Some(
                    transport.broker().call(perspective, "addChange", args, Vec::new()).expect("a call"),
                );
            }
            BrokerEvent::Answered { request, value } if Some(request) == call => return Ok(value),
            BrokerEvent::Failed { failure, .. } => return Err(failure),
            _ => {}
        }
    }
}

async fn received(house: &mut House) -> (Change, oneshot::Sender<Result<ChangeId, String>>) {
    match house.report().await {
        Report::Change { change, stored } => (*change, stored),
        other => panic!("{other:?}"),
    }
}

fn dict(pairs: Vec<(&str, Value)>, key: fn(&str) -> Value) -> Value {
    Value::Dict(pairs.into_iter().map(|(name, value)| (key(name), value)).collect())
}

fn text(text: &str) -> Value {
    Value::text(text.to_owned())
}

fn bytes(text: &str) -> Value {
    Value::bytes(text.as_bytes().to_vec())
}

/// What `buildbot sendchange` of 4.3 sends, and what that of 0.8 does.
fn sent(key: fn(&str) -> Value) -> Value {
    dict(
        vec![
            ("project", key("p")),
            ("repository", key("https://example.org/r")),
            ("who", key("Zoë")),
            ("files", Value::List(vec![key("a.c"), key("ä/b.c")])),
            ("comments", key("grün")),
            ("branch", key("topic")),
            ("revision", key("abc")),
            ("category", Value::None),
            ("when", Value::Float(1_700_000_000.5)),
            ("properties", dict(vec![("level", Value::Int(3)), ("name", key("x"))], key)),
            ("revlink", key("")),
            ("src", key("git")),
        ],
        key,
    )
}

async fn check_taken(key: fn(&str) -> Value) {
    let mut house = House::new();
    let answer = tokio::spawn(send(house.accept(), sent(key)));
    let (change, stored) = received(&mut house).await;
    assert_eq!((&*change.author, &*change.comments, &*change.project), ("Zoë", "grün", "p"));
    assert_eq!(change.files, ["a.c", "ä/b.c"]);
    assert_eq!((change.branch.as_deref(), change.revision.as_deref()), (Some("topic"), Some("abc")));
    assert_eq!((change.category, change.when), (None, Time::from_micros(1_700_000_000_500_000)));
    assert_eq!(change.repository, "https://example.org/r");
    assert_eq!(change.properties.get("level"), Some(&Json::from(3)));
    assert_eq!(change.properties.get("name"), Some(&Json::from("x")));
    assert_eq!(change.properties.property("name").map(|property| &*property.source), Some("Change"));

    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!answer.is_finished(), "the client hears of it only when it is durable");
    stored.send(Ok(ChangeId(1))).expect("the connection waits");
    assert!(answer.await.expect("no panic").expect("an answer").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_new_client_is_taken() {
    check_taken(text).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_an_old_client_is_taken() {
    check_taken(bytes).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_none_is_refused_with_a_reason() {
    let check = async |change: Value, expect: &str| {
        let mut house = House::new();
        let failure = send(house.accept(), change).await.expect_err("a refusal");
        assert!(failure.value.contains(expect), "{failure:?}");
        assert!(house.reports.try_recv().is_err());
    };
    check(Value::None, "dictionary").await;
    check(dict(vec![("comments", text("x"))], text), "author").await;
    check(dict(vec![("who", Value::Int(5))], text), "who").await;
    check(dict(vec![("who", text("me")), ("files", text("a"))], text), "files").await;
    check(dict(vec![("who", text("me")), ("when", text("noon"))], text), "when").await;
    check(dict(vec![("who", text("me")), ("when", Value::Float(f64::INFINITY))], text), "when").await;
    check(dict(vec![("who", text("me")), ("properties", Value::Int(1))], text), "properties").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_master_does_not_take_the_client_hears() {
    let mut house = House::new();
    let answer = tokio::spawn(send(house.accept(), sent(text)));
    let (_, stored) = received(&mut house).await;
    stored.send(Err("the disk is full".to_owned())).expect("the connection waits");
    let failure = answer.await.expect("no panic").expect_err("a refusal");
    assert_eq!(failure.value, "the disk is full");
}
