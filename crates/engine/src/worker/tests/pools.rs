//! Workers of pools: who gets in, and what the master hears of those who do not.

use ::pools::Verifier;
use md5::{Digest as _, Md5};
use model::InstanceId;
use worker_protocol::CommandVersion;

use super::*;

const SECRET: &str = "0123456789abcdef";

impl House {
    /// From now on this is the secret of an instance.
    fn expects(&self, pool: &str, instance: i64, secret: &str) {
        let digest = Md5::digest(secret.as_bytes());
        let verifier = Verifier(digest.iter().map(|byte| format!("{byte:02x}")).collect());
        self.sessions.credential(InstanceId(instance), pool.to_owned(), Some(&verifier));
    }

    /// The next event must be a good login at a pool.
    async fn pool_logged_in(&mut self) -> (SessionId, String, Option<i64>) {
        match self.event().await {
            Event::PoolLoggedIn { session, pool, instance, peer } => {
                assert_eq!(peer, "a test");
                (session, pool, instance.map(|instance| instance.0))
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Somebody is refused as workers understand it, and the master hears why.
async fn check_refused(name: &str, secret: &str, instance: Option<i64>, expect: &str) {
    let mut house = House::with_pools();
    house.expects("linux", 7, SECRET);
    house.expects("closed", 8, SECRET);
    let mut worker = house.worker(options(name, secret));
    match worker.event().await {
        FakeEvent::Refused(failure) => {
            assert!(failure.is("twisted.cred.error.UnauthorizedLogin"), "{failure:?}");
        }
        other => panic!("{other:?}"),
    }
    match house.event().await {
        Event::PoolLoginRefused { pool, instance: named, why } => {
            assert_eq!(pool, name.split('@').next().unwrap());
            assert_eq!(named.map(|named| named.0), instance);
            assert_eq!(why, format!("a login from a test was refused: {expect}"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_knows_its_secret_gets_in() {
    let mut house = House::with_pools();
    house.expects("linux", 7, SECRET);
    let mut worker = house.worker(options("linux@7", SECRET));
    let (session, pool, instance) = house.pool_logged_in().await;
    assert_eq!((pool.as_str(), instance), ("linux", Some(7)));
    house.sessions.admit(session, builders(&["b1"]));
    assert!(matches!(worker.event().await, FakeEvent::LoggedIn));
    assert!(matches!(worker.event().await, FakeEvent::Builders(names) if names == ["b1"]));
}

#[tokio::test(start_paused = true)]
async fn machines_that_somebody_else_starts_share_a_name_and_a_password() {
    let mut house = House::with_pools();
    let workers = [(); 5].map(|()| house.worker(options("linux", "guest-password")));
    let mut sessions = Vec::new();
    for _ in &workers {
        let (session, pool, instance) = house.pool_logged_in().await;
        assert_eq!((pool.as_str(), instance), ("linux", None));
        sessions.push(session);
    }
    sessions.dedup();
    assert_eq!(sessions.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_is_refused() {
    check_refused("linux@7", "wrong", Some(7), "wrong secret").await;
    check_refused("linux@7", "", Some(7), "wrong secret").await;
    // The password of the pool is not that of an instance, nor the other way round.
    check_refused("linux@7", "guest-password", Some(7), "wrong secret").await;
    check_refused("linux", SECRET, None, "wrong password of the pool").await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_of_another_pool_is_refused() {
    check_refused("linux@8", SECRET, Some(8), "the instance is of another pool").await;
    check_refused("closed@7", SECRET, Some(7), "the instance is of another pool").await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_nobody_expects_is_refused() {
    check_refused("linux@9", SECRET, Some(9), "no worker of this instance is expected").await;
    // What an instance has that does not exist.
    check_refused("linux@9", "", Some(9), "no worker of this instance is expected").await;
    check_refused("linux@0", "", Some(0), "no worker of this instance is expected").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_instance_is_refused() {
    for name in ["linux@", "linux@x", "linux@07", "linux@+7", "linux@7@7", "linux@99999999999999999999"] {
        check_refused(name, SECRET, None, "what stands behind the @ is no instance").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_a_password_takes_no_guests() {
    let why = "the pool has no password, so it takes only machines that it started itself";
    check_refused("closed", "", None, why).await;
    check_refused("closed", "guest-password", None, why).await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_withdrawn_is_good_for_nothing() {
    let mut house = House::with_pools();
    house.expects("linux", 7, SECRET);
    house.sessions.credential(InstanceId(7), "linux".to_owned(), None);
    let mut worker = house.worker(options("linux@7", SECRET));
    assert!(matches!(worker.event().await, FakeEvent::Refused(_)));
    assert!(matches!(house.event().await, Event::PoolLoginRefused { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_old_worker_of_a_pool_is_only_closed() {
    let mut house = House::with_pools();
    let command_version = CommandVersion::new(2, 9);
    let old = FakeOptions { command_version, python2: true, ..options("linux@7", "wrong") };
    let mut worker = house.worker(old);
    assert!(matches!(house.event().await, Event::PoolLoginRefused { .. }));
    worker.closed().await;
    assert!(worker.events.recv().await.is_none(), "it hears nothing");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_refusals_does_not_reach_the_master() {
    let mut house = House::with_pools();
    let mut told = 0;
    for _ in 0..200 {
        let mut worker = house.worker(options("linux@7", "wrong"));
        assert!(matches!(worker.event().await, FakeEvent::Refused(_)));
        while let Ok(report) = house.reports.try_recv() {
            assert!(matches!(report, Report::Event(Event::PoolLoginRefused { .. })));
            told += 1;
        }
    }
    assert_eq!(told, 50);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_gone_is_a_name_that_nobody_knows() {
    let mut house = House::with_pools();
    house.expects("linux", 7, SECRET);
    house.credentials.send_replace(Arc::new(Credentials::for_tests(PASSWORD, &HashMap::new(), None)));
    let mut worker = house.worker(options("linux@7", SECRET));
    assert!(matches!(worker.event().await, FakeEvent::Refused(_)));
    assert!(house.reports.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_silent_worker_of_a_pool_is_lost() {
    let mut house = House::with_pools();
    let worker = house.worker(options("linux", "guest-password"));
    let (session, ..) = house.pool_logged_in().await;
    house.sessions.admit(session, builders(&["b1"]));
    assert!(matches!(house.event().await, Event::Attached { boot: None, .. }));
    assert!(matches!(house.event().await, Event::Ready { .. }));
    worker.falls_silent().await;
    assert_eq!(house.lost(session).await, "no answer to a ping within 30s");
}
