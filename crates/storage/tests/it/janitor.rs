//! What is old goes, a little at a time, and nothing else does.

use std::time::Duration;

use model::{Results, Time};
use serde_json::json;
use storage::{Horizons, Pruned, Write, log::Compression};

use crate::{
    farm::{Farm, at, change, chunks, patched_stamp, properties},
    place::sql,
};

const DAY: i64 = 86_400;

fn days(days: i64) -> Time {
    at(days * DAY)
}

fn horizon(days: u64) -> Option<Duration> {
    Some(Duration::from_secs(days * 86_400))
}

/// A build on a day, with a log of so many chunks. It was asked for with a patch.
pub(crate) async fn build(farm: &Farm, number: i64, day: i64, log_chunks: usize) -> model::LogId {
    let store = &farm.store;
    let ids = store.ids();
    let (set, request, build, step, log) =
        (ids.next_buildset(), ids.next_request(), ids.next_build(), ids.next_step(), ids.next_log());
    let begun = days(day);
    let writes = vec![
        Write::Buildset {
            id: set,
            external_id: None,
            reason: "r".into(),
            submitted_at: begun,
            sourcestamps: vec![patched_stamp()],
            properties: properties(),
            parent: (number > 1)
                .then(|| storage::Parent { build: model::BuildId(build.0 - 1), relationship: "p".into() }),
            rebuilt_build: None,
        },
        Write::Request {
            id: request,
            buildset: set,
            builder: farm.builder("linux"),
            priority: 0,
            submitted_at: begun,
            waited_for: false,
        },
        Write::Claim { request, at: begun },
        Write::Build {
            id: build,
            number: model::BuildNumber(number),
            builder: farm.builder("linux"),
            request,
            worker: None,
            started_at: begun,
            state_string: "s".into(),
        },
        Write::Step {
            id: step,
            number: 0,
            build,
            name: "s".into(),
            started_at: Some(begun),
            state_string: "s".into(),
        },
        Write::Log { id: log, step, name: "l".into(), slug: "l".into(), kind: storage::log::LogKind::Stdio },
    ];
    store.commit(writes).await.unwrap();
    let text = format!("{}\n", "x".repeat(60_000)).repeat(log_chunks);
    let lines = chunks(log, &text, Compression::None);
    let num_lines = log_chunks as i64;
    store.commit(lines).await.unwrap();
    let results = Results::Success;
    let writes = vec![
        Write::LogFinished { log, num_lines },
        Write::StepFinished { step, results, at: begun, hidden: false, state_string: "s".into() },
        Write::BuildFinished {
            build,
            results,
            at: begun,
            state_string: "s".into(),
            locks_duration: Duration::ZERO,
        },
        Write::CompleteRequest { request, results, at: begun },
        Write::CompleteBuildset { buildset: set, results, at: begun },
    ];
    store.commit(writes).await.unwrap();
    log
}

#[tokio::test]
async fn old_logs_builds_and_changes_go_and_the_newest_stay() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    for number in 1..=8 {
        build(&farm, number, number * 10, if number == 2 { 300 } else { 1 }).await;
        let id = store.ids().next_change();
        let mut of_that_day = (*change(&format!("r{number}"))).clone();
        of_that_day.when = days(number * 10);
        store
            .commit(vec![Write::Change { id, change: of_that_day.into(), at: days(number * 10) }])
            .await
            .unwrap();
    }
    // A scheduler still waits with the second.
    let scheduler = farm.restored.schedulers["all"].0;
    let pending = Write::SchedulerChange { scheduler, change: model::ChangeId(2), important: true };
    store.commit(vec![pending]).await.unwrap();
    let horizons =
        Horizons { log: horizon(25), build_data: horizon(1), build: horizon(45), change: horizon(35) };
    let now = days(85);
    let would = store.prunable(&horizons, now).await.unwrap();
    assert_eq!(would, Pruned { logs: 5, build_data: 0, builds: 3, changes: 3 });
    assert_eq!(store.prune(&horizons, now).await.unwrap(), would);
    assert_eq!(store.prunable(&horizons, now).await.unwrap(), Pruned::default());
    assert_eq!(store.prune(&horizons, now).await.unwrap(), Pruned::default());

    let builds: Vec<i64> =
        store.builds(storage::BuildFilter::default()).await.unwrap().iter().map(|row| row.id.0).collect();
    assert_eq!(builds, [4, 5, 6, 7, 8]);
    let sets: Vec<i64> = store.buildsets(100, 0).await.unwrap().iter().map(|row| row.id.0).collect();
    assert_eq!(sets, [8, 7, 6, 5, 4]);
    let changes: Vec<i64> = store.changes(100, 0).await.unwrap().iter().map(|row| row.id.0).collect();
    assert_eq!(changes, [8, 7, 6, 5, 2]);
    assert_eq!(
        store.buildset(model::BuildsetId(4)).await.unwrap().unwrap().parent,
        None,
        "its build is gone"
    );
    for id in 4..=8 {
        let log = store.log(model::LogId(id)).await.unwrap().unwrap();
        let text = store.log_lines(log.id, 0, 10).await.unwrap();
        let deleted = log.kind == storage::log::LogKind::Deleted;
        assert_eq!((deleted, text.num_lines), if id <= 5 { (true, 0) } else { (false, 1) }, "{id}");
    }
    assert_eq!(store.log(model::LogId(2)).await.unwrap(), None);
    let stamps: Vec<bool> = {
        let mut found = Vec::new();
        for id in 1..=16 {
            found.push(store.sourcestamp(model::SourceStampId(id)).await.unwrap().is_some());
        }
        found
    };
    assert_eq!(
        stamps.iter().filter(|there| **there).count(),
        5 + 5,
        "of the builds and the changes that are left"
    );

    // However old it is, the last of all stays, from which the next numbers are counted.
    let later = days(1000);
    store.prune(&horizons, later).await.unwrap();
    store.close().await;
    let farm = Farm::open(directory.path()).await;
    assert_eq!(farm.restored.builders["linux"].1.0, 9);
    assert_eq!((farm.store.ids().next_build().0, farm.store.ids().next_buildset().0), (9, 9));
    assert_eq!(farm.store.ids().next_change().0, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_write_while_much_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    for number in 1..=3 {
        build(&farm, number, number, 600).await;
    }
    let store = farm.store.clone();
    let horizons = Horizons { build: horizon(10), ..Horizons::default() };
    let pruning = tokio::spawn(async move { store.prune(&horizons, days(100)).await.unwrap() });
    let mut written = 0;
    while !pruning.is_finished() {
        let state = Write::ObjectState {
            object: "o".into(),
            class: "c".into(),
            key: "k".into(),
            value: json!(written),
        };
        farm.store.commit(vec![state]).await.unwrap();
        written += 1;
    }
    assert_eq!(pruning.await.unwrap().builds, 2);
    assert!(written >= 5, "{written} writes came in between");
}

#[tokio::test]
async fn a_log_that_was_still_written_when_others_went_goes_when_it_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    let running = farm.build(farm.request("linux").await.1, "linux", 1).await;
    let (_, open) = farm.step(running, 0, "s", "hello\n").await;
    let later = build(&farm, 2, 2, 1).await;
    let horizons = Horizons { log: horizon(10), ..Horizons::default() };
    let num_lines = async |log| store.log_lines(log, 0, 10).await.unwrap().num_lines;
    assert_eq!(store.prune(&horizons, days(30)).await.unwrap().logs, 1);
    assert_eq!((num_lines(open).await, num_lines(later).await), (1, 0));
    store.commit(vec![Write::LogFinished { log: open, num_lines: 1 }]).await.unwrap();
    assert_eq!(store.prune(&horizons, days(31)).await.unwrap().logs, 1);
    assert_eq!(num_lines(open).await, 0);
    assert_eq!(store.prune(&horizons, days(32)).await.unwrap(), Pruned::default());
}

#[tokio::test]
async fn old_build_data_goes_and_emptied_builds_are_not_searched_again() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    // As Buildbot writes it.
    let add = |build: i64, ids: std::ops::Range<i64>| {
        let rows: Vec<_> = ids.map(|id| format!("({id}, {build}, 'n{id}', 'x', 1, 's')")).collect();
        let insert = "INSERT INTO build_data (id, buildid, name, value, length, source) VALUES";
        sql(directory.path(), &format!("{insert} {}", rows.join(", ")));
    };
    for number in 1..=4 {
        build(&farm, number, number, 0).await;
    }
    add(1, 0..120);
    add(3, 200..250);
    let horizons = Horizons { build_data: horizon(10), ..Horizons::default() };
    assert_eq!(store.prune(&horizons, days(13)).await.unwrap().build_data, 120, "the third is too young");
    assert_eq!(store.prune(&horizons, days(30)).await.unwrap().build_data, 50);
    let kept = store.object_state("ganger", "Janitor", "build_data").await.unwrap();
    assert_eq!(kept, Some(json!([days(4).epoch_seconds(), 4])));
    build(&farm, 5, 20, 0).await;
    add(5, 300..301);
    assert_eq!(store.prune(&horizons, days(31)).await.unwrap().build_data, 1);
    assert_eq!(store.prune(&horizons, days(32)).await.unwrap(), Pruned::default());
}
