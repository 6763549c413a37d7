//! What is served over HTTP, over a plain socket as any client would ask.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use testkit::exposition::{Page, parse};

use crate::program::{CONFIGURATION, LIMIT, Master, command, eventually, stderr, stdout};

/// An answer: its status, its head, its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn with_web(configuration: &str) -> String {
    configuration.replace("[master]\n", "[master]\nweb = \"tcp:127.0.0.1:0\"\n")
}

fn address(master: &Master) -> String {
    let status = master.json(&["status"]);
    let web = status["master"]["web"].as_str().expect("it serves HTTP").to_owned();
    web.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

pub(crate) fn ask(master: &Master, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address(master)).expect("it connects");
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and then the end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

pub(crate) fn get(master: &Master, path: &str) -> Answer {
    ask(master, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// The figures, which must be in good form.
pub(crate) fn metrics(master: &Master) -> Page {
    let answer = get(master, "/metrics");
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    parse(&answer.body).unwrap_or_else(|error| panic!("{error}\n{}", answer.body))
}

#[test]
fn figures_are_those_of_the_master() {
    let master = Master::start_with(&with_web(CONFIGURATION), &[]);
    let page = metrics(&master);
    assert_eq!(page.value("ganger_workers{state=\"disconnected\"}"), 1.0);
    assert_eq!(page.value("ganger_requests_pending"), 0.0);
    assert_eq!(page.value("ganger_database_up"), 1.0);
    master.json(&["force", "b1"]);
    assert_eq!(metrics(&master).value("ganger_requests_pending"), 1.0);
    assert!(stdout(&master.run(&["status"])).contains("metrics are at http://127.0.0.1:"));
}

#[test]
fn whoever_reads_openmetrics_gets_it() {
    let master = Master::start_with(&with_web(CONFIGURATION), &[]);
    let accept = "Accept: application/openmetrics-text; version=1.0.0\r\n";
    let answer =
        ask(&master, &format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{accept}Connection: close\r\n\r\n"));
    assert!(
        answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        answer.head
    );
    assert!(answer.body.ends_with("\n# EOF\n"), "{}", answer.body);
}

#[test]
fn all_is_well_until_the_end() {
    let mut master = Master::start_with(&with_web(CONFIGURATION), &[]);
    let answer = get(&master, "/healthz");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    assert_eq!(get(&master, "/nothing").status, 404);
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&master, post).status, 405);
    assert_eq!(ask(&master, "nonsense\r\n\r\n").status, 400);
    let long = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(40_000));
    assert_eq!(ask(&master, &long).status, 431);

    // A client that says nothing does not keep the master from ending.
    let silent = TcpStream::connect(address(&master)).expect("it connects");
    master.signal("TERM");
    assert!(master.wait().success(), "{}", master.log());
    drop(silent);
}

#[test]
fn an_address_that_is_taken_is_said_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let configuration = with_web(CONFIGURATION).replace("127.0.0.1:0\"\n", &format!("127.0.0.1:{port}\"\n"));
    std::fs::write(scratch.path().join("ganger.toml"), configuration).expect("a writable directory");
    let output = command(&["start"]).arg(scratch.path()).output().expect("the program is built");
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot serve HTTP on 127.0.0.1"), "{}", stderr(&output));
}

#[test]
fn without_an_address_nothing_is_served() {
    let master = Master::start();
    assert!(master.json(&["status"])["master"]["web"].is_null());
}

#[test]
fn those_who_ask_without_end_leave_room_for_others() {
    let master = Master::start_with(&with_web(CONFIGURATION), &[]);
    let many: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(address(&master)).expect("it connects");
            let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
            stream.write_all(request.as_bytes()).expect("it takes them");
            stream
        })
        .collect();
    eventually("an answer", || (get(&master, "/healthz").status == 200).then_some(()));
    assert_eq!(master.json(&["status"])["master"]["health"], "good");
    drop(many);
}
