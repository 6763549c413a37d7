//! Workers that are there, silent, or gone.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_probe_tells_whether_the_worker_answers() {
    let mut house = House::new();
    let worker = house.worker(options("w1", PASSWORD));
    let (session, _link) = house.attach("w1", &["b1"]).await;
    house.sessions.probe(session);
    let event = house.event().await;
    assert!(matches!(event, Event::ProbeAnswered { session: s, alive: true } if s == session), "{event:?}");

    worker.falls_silent().await;
    let asked = tokio::time::Instant::now();
    house.sessions.probe(session);
    let event = house.event().await;
    assert!(matches!(event, Event::ProbeAnswered { session: s, alive: false } if s == session), "{event:?}");
    assert_eq!(asked.elapsed().as_secs(), 10);

    house.sessions.disconnect(session, "replaced".to_owned());
    assert_eq!(house.lost(session).await, "replaced");
}

#[tokio::test(start_paused = true)]
async fn a_silent_worker_is_asked_and_then_lost() {
    let mut house = House::new();
    let worker = house.worker(options("w1", PASSWORD));
    let (session, link) = house.attach("w1", &["b1"]).await;
    worker.falls_silent().await;
    let since = tokio::time::Instant::now();
    assert_eq!(house.lost(session).await, "no answer to a ping within 30s");
    assert!((629..=633).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    assert!(link.ping().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_answers_is_kept() {
    let mut house = House::new();
    let _worker = house.worker(options("w1", PASSWORD));
    let (_session, link) = house.attach("w1", &["b1"]).await;
    tokio::time::sleep(Duration::from_secs(6000)).await;
    link.ping().await.expect("it answers");
    assert!(house.reports.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_build_notices_a_silent_worker_before_it_starts() {
    let mut house = House::new();
    let worker = house.worker(options("w1", PASSWORD));
    let (session, link) = house.attach("w1", &["b1"]).await;
    worker.falls_silent().await;
    assert_eq!(link.ping().await.expect_err("no answer").why, "no answer to a ping within 30s");
    house.lost(session).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_attach_is_lost() {
    let mut house = House::new();
    let mut frozen = options("w1", PASSWORD);
    frozen.faults.silent = true;
    let _worker = house.worker(frozen);
    let session = house.logged_in("w1").await;
    house.sessions.admit(session, builders(&["b1"]));
    assert_eq!(house.lost(session).await, "it did not attach in time");
}

#[tokio::test(start_paused = true)]
async fn a_worker_may_ask_to_end_and_is_told_to() {
    let mut house = House::new();
    let mut worker = house.worker(options("w1", PASSWORD));
    let (session, _link) = house.attach("w1", &["b1"]).await;
    worker.does(|worker, broker| worker.request_shutdown(broker)).await;
    let event = house.event().await;
    assert!(matches!(event, Event::WorkerShutdownRequested { session: s } if s == session), "{event:?}");
    house.sessions.shutdown_worker(session);
    while !matches!(worker.event().await, FakeEvent::ShutDown) {}
    // This one does not end by itself.
    assert_eq!(house.lost(session).await, "it was told to end, and did not in time");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_master_ends_every_connection() {
    let mut house = House::new();
    let mut worker = house.worker(options("w1", PASSWORD));
    let mut waiting = house.worker(options("w2", PASSWORD));
    let mut seen = Vec::new();
    for _ in 0..2 {
        match house.event().await {
            Event::LoggedIn { session, .. } => seen.push(session),
            other => panic!("{other:?}"),
        }
    }
    house.sessions.admit(seen[0], builders(&["b1"]));
    house.stop.cancel();
    worker.closed().await;
    waiting.closed().await;
}
