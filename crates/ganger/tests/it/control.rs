//! The control socket, and those who do not talk as they should.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
};

use serde_json::{Value, json};

use crate::program::{LIMIT, Master};

/// A connection that says whatever the test wants.
struct Raw(BufReader<UnixStream>);

impl Raw {
    fn connect(master: &Master) -> Self {
        let stream = UnixStream::connect(master.socket()).expect("it connects");
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        Self(BufReader::new(stream))
    }

    fn greeted(master: &Master) -> Self {
        let mut raw = Self::connect(master);
        let welcome =
            raw.ask(&json!({"jsonrpc": "2.0", "id": 0, "method": "hello", "params": {"protocol": 1}}));
        assert_eq!(welcome["result"]["protocol"], 1, "{welcome}");
        raw
    }

    fn send(&mut self, bytes: &[u8]) {
        // The other side may have said its last word already.
        self.0.get_mut().write_all(bytes).ok();
    }

    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap_or(0);
        (read > 0).then(|| serde_json::from_str(&line).expect("each line is JSON"))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.send(format!("{request}\n").as_bytes());
        self.line().expect("an answer")
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

#[test]
fn only_its_owner_can_open_the_socket() {
    let master = Master::start();
    let mode = std::fs::metadata(master.socket()).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_first_word_is_hello() {
    let master = Master::start();
    let mut raw = Raw::connect(&master);
    let answer = raw.ask(&json!({"jsonrpc": "2.0", "id": 7, "method": "status"}));
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&7.into(), &(-32600).into()), "{answer}");
    assert!(raw.is_closed());

    let mut raw = Raw::connect(&master);
    let answer = raw.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"protocol": 99}}));
    assert!(answer["error"]["message"].as_str().expect("a message").contains("99"), "{answer}");
    assert!(raw.is_closed());
}

#[test]
fn what_is_no_request_gets_an_error_that_says_why() {
    let master = Master::start();
    let mut raw = Raw::greeted(&master);
    let mut check = |request: Value, code: i64, expect: &str| {
        let answer = raw.ask(&request);
        assert_eq!(answer["error"]["code"], code, "{request}: {answer}");
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains(expect), "{request}: {message}");
        assert_eq!(answer["jsonrpc"], "2.0");
    };
    check(json!([]), -32600, "batches");
    check(json!(5), -32600, "object");
    check(json!({"jsonrpc": "2.0", "method": "status"}), -32600, "id");
    check(json!({"jsonrpc": "2.0", "id": {}, "method": "status"}), -32600, "id");
    check(json!({"id": 1, "method": "status"}), -32600, "jsonrpc");
    check(json!({"jsonrpc": "2.0", "id": 1}), -32600, "method");
    check(json!({"jsonrpc": "2.0", "id": 1, "method": "format-disk"}), -32601, "format-disk");
    check(json!({"jsonrpc": "2.0", "id": "x", "method": "status", "params": {"a": 1}}), -32602, "status");
    check(json!({"jsonrpc": "2.0", "id": 1, "method": "builds", "params": {"limit": -1}}), -32602, "builds");
    check(json!({"jsonrpc": "2.0", "id": 1, "method": "builds", "params": [1]}), -32602, "builds");
    check(
        json!({"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"protocol": "1"}}),
        -32602,
        "hello",
    );
    // After all that, the connection still works.
    let answer = raw.ask(&json!({"jsonrpc": "2.0", "id": "again", "method": "status"}));
    assert_eq!(
        (&answer["id"], &answer["result"]["master"]["title"]),
        (&"again".into(), &"Under test".into())
    );
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    let master = Master::start();
    let mut deep = "[".repeat(100_000);
    deep.push('\n');
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\xff\xfe\n", b"{\n", b"\0\0\0\n", deep.as_bytes()] {
        let mut raw = Raw::greeted(&master);
        raw.send(garbage);
        let answer = raw.line().expect("an answer");
        assert_eq!(answer["error"]["code"], -32700, "{answer}");
        assert!(raw.is_closed());
    }
    assert_eq!(master.json(&["status"])["master"]["title"], "Under test");
}

#[test]
fn a_line_without_end_is_cut_off() {
    let master = Master::start();
    let mut raw = Raw::greeted(&master);
    let chunk = vec![b' '; 64 * 1024];
    for _ in 0..64 {
        raw.send(&chunk);
    }
    let answer = raw.line();
    assert!(answer.is_none_or(|answer| answer["error"]["code"] == -32700));
    assert!(raw.is_closed());
    assert_eq!(master.json(&["status"])["master"]["title"], "Under test");
}

#[test]
fn many_connections_that_say_nothing_shut_nobody_out_for_long() {
    let master = Master::start();
    let silent: Vec<Raw> = (0..100).map(|_| Raw::connect(&master)).collect();
    // They are closed when they have not said hello for a while.
    assert_eq!(master.json(&["status"])["master"]["title"], "Under test");
    drop(silent);
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let master = Master::start();
    let mut raw = Raw::greeted(&master);
    let mut all = String::new();
    for id in 1..=50 {
        all.push_str(
            &json!({"jsonrpc": "2.0", "id": id, "method": "builds", "params": {"limit": 1}}).to_string(),
        );
        all.push('\n');
    }
    raw.send(all.as_bytes());
    for id in 1..=50 {
        assert_eq!(raw.line().expect("an answer")["id"], id);
    }
}
