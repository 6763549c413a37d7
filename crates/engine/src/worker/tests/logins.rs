//! Who gets in, and what happens to those who do not.

use perspective_broker::Dialect;
use tokio::{io::AsyncReadExt, net::TcpStream, time::Instant};
use tokio_util::task::TaskTracker;
use worker_protocol::CommandVersion;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_worker_that_knows_its_password_gets_its_builders() {
    let mut house = House::new();
    let mut worker = house.worker(options("w1", PASSWORD));
    let (session, link) = house.attach("w1", &["b1", "b2"]).await;
    assert!(matches!(worker.event().await, FakeEvent::LoggedIn));
    match worker.event().await {
        FakeEvent::Builders(mut names) => {
            names.sort();
            assert_eq!(names, ["b1", "b2"]);
        }
        other => panic!("{other:?}"),
    }
    assert!(link.info().command_version("shell").is_some());

    drop(worker);
    assert_eq!(house.lost(session).await, "it closed the connection");
    assert!(house.sessions.link(session).is_none());
    assert!(link.ping().await.expect_err("it is gone").to_string().contains("it closed the connection"));
}

async fn check_refused(options: FakeOptions) {
    let mut house = House::new();
    let mut worker = house.worker(options);
    match worker.event().await {
        FakeEvent::Refused(failure) => {
            assert!(failure.is("twisted.cred.error.UnauthorizedLogin"), "{failure:?}");
        }
        other => panic!("{other:?}"),
    }
    worker.closed().await;
    assert!(house.reports.try_recv().is_err(), "the core hears only of good logins");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_unauthorized() {
    check_refused(options("w1", "wrong")).await;
    check_refused(options("w1", "")).await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_is_refused_just_so() {
    check_refused(options("nobody", PASSWORD)).await;
    check_refused(options("nobody", "")).await;
    check_refused(options("", "")).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_with_the_password_of_a_client_gets_no_further() {
    check_refused(options("change", PASSWORD)).await;
}

#[tokio::test(start_paused = true)]
async fn an_old_worker_would_end_at_a_refusal_and_is_only_closed() {
    let house = House::new();
    let old =
        FakeOptions { command_version: CommandVersion::new(2, 9), python2: true, ..options("w1", "wrong") };
    let started = Instant::now();
    let mut worker = house.worker(old);
    worker.closed().await;
    assert!(worker.events.recv().await.is_none(), "it hears nothing");
    assert!(started.elapsed() >= Limits::default().turned_away, "it must not come back at once");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_describe_itself_is_taken() {
    let mut house = House::new();
    let mut odd = options("w1", PASSWORD);
    odd.faults.info_error = true;
    let _worker = house.worker(odd);
    house.attach("w1", &["b1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_password_counts_from_the_next_login() {
    let mut house = House::new();
    let workers = HashMap::from([("w1", Duration::from_secs(600))]);
    house.credentials.send_replace(Arc::new(Credentials::for_tests("new", &workers, None)));
    let mut worker = house.worker(options("w1", PASSWORD));
    assert!(matches!(worker.event().await, FakeEvent::Refused(_)));
    let _worker = house.worker(options("w1", "new"));
    house.logged_in("w1").await;
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_closed_without_a_word_and_not_at_once() {
    let mut house = House::new();
    let mut worker = house.worker(options("w1", PASSWORD));
    let session = house.logged_in("w1").await;
    let decided = Instant::now();
    house.sessions.refuse(session, "duplicate of another".to_owned());
    assert_eq!(house.lost(session).await, "duplicate of another");
    assert!(decided.elapsed() >= Limits::default().turned_away);
    worker.closed().await;
    assert!(worker.events.recv().await.is_none(), "any answer but a closed connection would end the worker");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_says_a_word_is_closed() {
    let mut house = House::new();
    let mut silent = house.accept();
    let mut offer = Vec::new();
    timeout(LIMIT, silent.read_to_end(&mut offer)).await.expect("closed in time").expect("no error");
    assert!(offer.windows(2).any(|bytes| bytes == Dialect::Pb.name().as_bytes()));
    assert!(house.reports.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_speaks_another_protocol_is_closed() {
    let house = House::new();
    let mut browser = house.accept();
    tokio::io::AsyncWriteExt::write_all(&mut browser, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("written");
    let mut answer = Vec::new();
    timeout(LIMIT, browser.read_to_end(&mut answer)).await.expect("closed in time").expect("no error");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_leaves_while_the_core_decides_is_lost() {
    let mut house = House::new();
    let worker = house.worker(options("w1", PASSWORD));
    let session = house.logged_in("w1").await;
    worker.task.abort();
    house.lost(session).await;
    // Too late, and harmless.
    house.sessions.admit(session, builders(&["b1"]));
}

#[tokio::test]
async fn only_so_many_may_stand_at_the_door() {
    let limits = Limits { half_open: 2, ..Limits::default() };
    let house = House::with_limits(limits);
    let shared = house.sessions.shared();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let endpoint = config::Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let (_sessions, bound) = Sessions::listen(
        &[endpoint],
        shared.credentials.clone(),
        shared.reports.clone(),
        limits,
        &tasks,
        stop.clone(),
    )
    .await
    .expect("it listens");
    let address = bound[0].strip_prefix("tcp:").expect("an address of TCP");

    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.expect("it connects");
        stream.read_u8().await.expect("the offer of dialects");
        inside.push(stream);
    }
    let mut third = TcpStream::connect(address).await.expect("it connects");
    let mut nothing = Vec::new();
    // A reset is as good as an end.
    let read =
        timeout(Duration::from_secs(10), third.read_to_end(&mut nothing)).await.expect("closed at once");
    assert!(read.is_err() || nothing.is_empty());

    inside.pop();
    let again = async {
        loop {
            let mut stream = TcpStream::connect(address).await.expect("it connects");
            if stream.read_u8().await.is_ok() {
                break;
            }
        }
    };
    timeout(Duration::from_secs(10), again).await.expect("a place is free again");
    stop.cancel();
    tasks.close();
    timeout(Duration::from_secs(10), tasks.wait()).await.expect("everything ends");
}

#[tokio::test]
async fn a_peer_that_never_begins_tls_does_not_hold_up_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, identity.cert.pem()).expect("it is written");
    std::fs::write(&key, identity.signing_key.serialize_pem()).expect("it is written");
    let house = House::new();
    let shared = house.sessions.shared();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let endpoint = config::Endpoint::Tls { host: "127.0.0.1".to_owned(), port: 0, certificate, key };
    let (sessions, bound) = Sessions::listen(
        &[endpoint],
        shared.credentials.clone(),
        shared.reports.clone(),
        Limits::default(),
        &tasks,
        stop.clone(),
    )
    .await
    .expect("it listens");
    let address = bound[0].strip_prefix("tls:").expect("an address of TLS");
    let _silent = TcpStream::connect(address).await.expect("it connects");
    let inside = async {
        while sessions.shared().half_open.available_permits() == Limits::default().half_open {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), inside).await.expect("it is let in");
    stop.cancel();
    tasks.close();
    timeout(Duration::from_secs(10), tasks.wait()).await.expect("everything ends");
}
