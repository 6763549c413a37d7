//! What a server does to a store that a file does not: it goes away, it is somebody else's, it asks who we are.

use std::{collections::VecDeque, path::Path, time::Duration};

use bytes::Bytes;
use model::{LogId, Results};
use secrecy::SecretString;
use serde_json::json;
use storage::{OpenError, Options, Server, StorageError, Store, Write, log::Compression};
use testkit::postgres::{Cluster, USER};

use crate::{
    farm::{self, Farm, at, options},
    place::{location, name, server, sql},
};

/// Ends the writer's session, as an administrator or a network would.
const CUT: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name LIKE 'ganger host:%'";

fn line(log: LogId, line: i64) -> Vec<Write> {
    let content = Bytes::from(format!("o{line}"));
    let chunk =
        Write::LogChunk { log, first_line: line, last_line: line, content, compression: Compression::None };
    let state =
        Write::ObjectState { object: "o".into(), class: "c".into(), key: "line".into(), value: json!(line) };
    vec![chunk, state]
}

/// Writes until `until`, with `disturb` now and then; nothing may be refused, which it would be were it written twice.
async fn write_through(farm: &Farm, mut disturb: impl AsyncFnMut(i64), until: i64) {
    let build = farm.build(farm.request("linux").await.1, "linux", 1).await;
    let (_, log) = farm.step(build, 0, "s", "").await;
    let mut under_way = VecDeque::new();
    for number in 0..until {
        under_way.push_back(farm.store.enqueue(line(log, number)));
        if under_way.len() > 20
            && let Some(committed) = under_way.pop_front()
        {
            committed.await.unwrap();
        }
        disturb(number).await;
    }
    for committed in under_way {
        committed.await.unwrap();
    }
    let mut next = 0;
    while next < until {
        let text = farm.store.log_lines(log, next, 1000).await.unwrap();
        assert!(text.num_lines > 0, "line {next} is lost");
        for line in text.text.lines() {
            assert_eq!(line, format!("o{next}"));
            next += 1;
        }
    }
    assert_eq!(farm.store.object_state("o", "c", "line").await.unwrap(), Some(json!(until - 1)));
    let request = farm.store.build(build).await.unwrap().unwrap().request;
    farm.store
        .commit(vec![Write::CompleteRequest { request, results: Results::Success, at: at(9) }])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_again_and_again_loses_and_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let path = directory.path().to_owned();
    let cut = async |number: i64| {
        if number % 150 == 100 {
            let path = path.clone();
            tokio::task::spawn_blocking(move || sql(&path, CUT)).await.unwrap();
        }
    };
    write_through(&farm, cut, 2000).await;
    farm.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_submitted_before_the_end_is_written_though_the_connection_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    // Nothing is written, and nobody finds out, before the store is closed.
    let lingering = Options { linger: Duration::from_secs(3600), ..options() };
    let store = Store::open(location(directory.path()), lingering).unwrap();
    store.restore(farm::identities(), at(0)).await.unwrap();
    let path = directory.path().to_owned();
    tokio::task::spawn_blocking(move || sql(&path, CUT)).await.unwrap();
    let (object, class, key) = ("o".into(), "c".into(), "last".into());
    store.submit(vec![Write::ObjectState { object, class, key, value: json!(1) }]).await.unwrap();
    store.close().await;
    let farm = Farm::open(directory.path()).await;
    assert_eq!(farm.store.object_state("o", "c", "last").await.unwrap(), Some(json!(1)));
    farm.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_comes_back_loses_and_doubles_nothing() {
    let cluster = Cluster::start().unwrap();
    let store = Store::open(server(&cluster, "postgres"), options()).unwrap();
    let restored = store.restore(farm::identities(), at(0)).await.unwrap();
    let farm = Farm { store, restored };
    let crash = async |number: i64| {
        if number % 200 == 150 {
            cluster.kill().unwrap();
            cluster.start_again().unwrap();
        }
    };
    write_through(&farm, crash, 600).await;
    farm.store.close().await;
}

#[tokio::test]
async fn a_second_master_is_refused_while_the_first_runs() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let error = Store::open(location(directory.path()), options()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("ganger host:/srv/ganger"), "{error}");
    farm.store.close().await;
    Store::open(location(directory.path()), options()).unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_lost_the_database_to_another_one_writes_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let path = directory.path().to_owned();
    let (taken, is_taken) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        let cluster = Cluster::shared().unwrap();
        let mut config = postgres::Config::new();
        config.host_path(cluster.socket()).user(USER).dbname(&name(&path));
        let mut session = config.connect(postgres::NoTls).unwrap();
        // It waits for the lock as soon as the session that has it is told to end.
        session
            .batch_execute(&format!("BEGIN; {CUT}; SELECT pg_advisory_lock(1734438503, 25970); COMMIT"))
            .unwrap();
        taken.send(()).unwrap();
        ended.recv().ok();
    });
    is_taken.await.unwrap();
    let error = farm.store.commit(vec![Write::MasterActive { at: at(5) }]).await.unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(matches!(error, StorageError::WriteFailed(_)) && cause.contains("has taken it"), "{cause}");
    drop(end);
    other.join().unwrap();
}

#[tokio::test]
async fn who_takes_ids_from_the_database_gets_none_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    farm::whole_build(&farm, "linux", "hello\n").await;
    let next = |table: &str| -> i64 {
        sql(directory.path(), &format!("SELECT nextval('{table}_id_seq')")).trim().parse().unwrap()
    };
    for table in
        ["builds", "builders", "buildrequests", "buildsets", "steps", "logs", "workers", "schedulers"]
    {
        assert!(next(table) > 100, "{table}: the master may die at any time");
    }
    farm.store.close().await;
    for (table, expect) in [("builds", 2), ("builders", 3), ("buildsets", 2), ("logs", 2), ("steps", 2)] {
        assert_eq!(next(table), expect, "{table}: it ended in good order");
    }
}

#[tokio::test]
async fn what_the_columns_cannot_hold_is_refused_alone() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (_, request) = farm.request("linux").await;
    let large = farm.store.enqueue(vec![Write::RequestPriority { request, priority: 1 << 40 }]);
    let text = "nul \0 and more".to_owned();
    let build = farm.build(request, "linux", 1).await;
    let nul = farm.store.enqueue(vec![Write::BuildState { build, state_string: text }]);
    let error = large.await.unwrap_err();
    assert!(matches!(error, StorageError::Rejected { .. }), "{error:?}");
    nul.await.unwrap();
    assert_eq!(farm.store.build(build).await.unwrap().unwrap().state_string, "nul \u{fffd} and more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_by_its_certificate_and_believes_passwords() {
    let certificates = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let root = certificates.path().join("root.pem");
    std::fs::write(&root, made.cert.pem()).unwrap();
    let cluster = Cluster::start_with_tls(&made.cert.pem(), &made.signing_key.serialize_pem()).unwrap();
    cluster.sql("postgres", "CREATE ROLE farm LOGIN PASSWORD 'öpen sesame'").unwrap();
    cluster.sql("postgres", "CREATE DATABASE farm OWNER farm").unwrap();
    let server = |host: &str, password: &str, root: &Path| Server {
        host: host.to_owned(),
        port: cluster.port(),
        user: "farm".to_owned(),
        database: "farm".to_owned(),
        password: Some(SecretString::from(password)),
        root_certificate: Some(root.to_owned()),
    };
    let store = Store::open(server("localhost", "öpen sesame", &root), options()).unwrap();
    store.restore(farm::identities(), at(0)).await.unwrap();
    assert_eq!(store.builders().await.unwrap().len(), 2);
    store.close().await;
    let refused = |server: Server, expect: &str| {
        let error = Store::open(server, options()).unwrap_err();
        let mut causes: Vec<String> = Vec::new();
        let mut next: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = next {
            causes.push(error.to_string());
            next = error.source();
        }
        let causes = causes.join(": ");
        assert!(causes.contains(expect), "{causes}");
        assert!(!causes.contains("sesame") && !format!("{error:?}").contains("sesame"), "{causes}");
    };
    refused(server("localhost", "closed sesame", &root), "password authentication failed");
    refused(server("127.0.0.1", "öpen sesame", &root), "certificate");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let wrong = certificates.path().join("wrong.pem");
    std::fs::write(&wrong, other.cert.pem()).unwrap();
    refused(server("localhost", "öpen sesame", &wrong), "certificate");
    std::fs::write(&wrong, "no certificate").unwrap();
    refused(server("localhost", "öpen sesame", &wrong), "no certificate in it");
}
