use std::{sync::Arc, time::Duration};

use model::{BuildId, BuildNumber, BuilderId, Change, Results};
use storage::{BuildFilter, Options, RequestFilter, Store, Write};

use super::{super::MasterError, Disk, Running, World, forcing, lock, until};
use crate::{
    Refusal,
    core::tests::{START, config, farm},
};

fn one() -> String {
    farm(&[("w1", 1)], &[("b1", &["w1"])], "")
}

#[tokio::test]
async fn stopping_waits_for_builds_to_end() {
    let disk = Arc::new(Disk::default());
    let running = Running::with_disk(&one(), &disk, World::default());
    running.connect(1, "w1").await;
    running.master.force(forcing("b1")).await.unwrap();
    running.world.expect("admit 1 with 1 builders\nstart 1: b1 #1").await;
    running.stop.cancel();
    running.world.expect("stop 1 as retry").await;
    assert!(!running.task.is_finished());
    running.world.finish(1, Results::Retry);
    running.task.await.unwrap().unwrap();
    let rows = lock(&disk.rows);
    assert!(matches!(rows.last(), Some(Write::MasterStopped { .. })));
    assert!(rows.iter().any(|row| matches!(row, Write::Unclaim { .. })));
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_ever() {
    let disk = Arc::new(Disk::default());
    let running = Running::with_disk(&one(), &disk, World::default());
    running.connect(1, "w1").await;
    running.master.force(forcing("b1")).await.unwrap();
    let started = tokio::time::Instant::now();
    running.stop().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 15);
    assert!(matches!(lock(&disk.rows).last(), Some(Write::MasterStopped { .. })));
}

#[tokio::test]
async fn draining_ends_when_the_last_build_does() {
    let disk = Arc::new(Disk::default());
    let running = Running::with_disk(&one(), &disk, World::default());
    running.connect(1, "w1").await;
    running.master.force(forcing("b1")).await.unwrap();
    running.master.drain().await.unwrap();
    let master = running.master.clone();
    let drained = tokio::spawn(async move { master.drained().await });
    running.master.force(forcing("b1")).await.unwrap();
    assert!(!drained.is_finished());
    running.world.finish(1, Results::Success);
    drained.await.unwrap().unwrap();
    assert_eq!(running.world.left(), "admit 1 with 1 builders\nstart 1: b1 #1");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    let disk = Arc::new(Disk::default());
    let running = Running::with_disk(&one(), &disk, World::default());
    let error = running.master.stop_build(BuildId(9), "no reason").await.unwrap_err();
    assert!(matches!(error, MasterError::Refused(Refusal::NoSuchBuild(BuildId(9)))), "{error}");
    assert_eq!(error.to_string(), "no build 9 is running");
}

/// A store in a directory of its own, which goes with it.
fn store(directory: &tempfile::TempDir) -> Store {
    let options = Options { linger: Duration::ZERO, ..Options::new("test:/base", START) };
    Store::open(directory.path().join("state.sqlite"), options).unwrap()
}

#[tokio::test]
async fn a_build_is_in_the_tables_from_its_request_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let running = Running::with_store(&one(), &store).await;
    running.connect(1, "w1").await;
    let forced = running.master.force(forcing("b1")).await.unwrap();
    running.world.expect("admit 1 with 1 builders\nstart 1: b1 #1").await;
    let build = store.build(BuildId(1)).await.unwrap().unwrap();
    assert_eq!((build.number, build.results), (BuildNumber(1), None));
    assert_eq!(store.build_properties(BuildId(1)).await.unwrap().get("workername").unwrap(), "w1");
    running.world.finish(1, Results::Warnings);
    let master = running.master.clone();
    until("nothing to do", || lock(&running.world.builds).is_empty().then_some(())).await;
    while !master.status().await.unwrap().running.is_empty() {}
    let set = store.buildset(forced.buildset).await.unwrap().unwrap();
    assert_eq!((set.complete, set.results), (true, Some(Results::Warnings)));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_crash_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let more = "[[scheduler]]\nname = \"s\"\ntype = \"AnyBranchScheduler\"\nbuilderNames = [\"b1\"]\ntreeStableTimer = 3600\n";
    let text = farm(&[("w1", 1)], &[("b1", &["w1"])], more);
    let first = store(&directory);
    let running = Running::with_store(&text, &first).await;
    running.connect(1, "w1").await;
    running.master.force(forcing("b1")).await.unwrap();
    running.master.force(forcing("b1")).await.unwrap();
    running.master.pause_worker("w1", "odd noises").await.unwrap();
    running.master.add_change(Change { author: "she".to_owned(), ..Change::default() }).await.unwrap();
    running.world.expect("admit 1 with 1 builders\nstart 1: b1 #1").await;
    running.task.abort();
    until("its end", || running.task.is_finished().then_some(())).await;
    drop(running);
    first.close().await;
    drop(first);

    let second = store(&directory);
    let running = Running::with_store(&text, &second).await;
    let status = running.master.status().await.unwrap();
    assert_eq!(status.pending.len(), 2);
    assert_eq!(status.workers[0].paused.as_deref(), Some("odd noises"));
    let scheduler = status.schedulers.iter().find(|scheduler| scheduler.name == "s").unwrap();
    assert_eq!(scheduler.waiting_changes, 1);
    assert!(scheduler.due.is_some());
    let cut_off = second.build(BuildId(1)).await.unwrap().unwrap();
    assert_eq!(cut_off.results, Some(Results::Retry));
    running.master.unpause_worker("w1").await.unwrap();
    running.connect(1, "w1").await;
    running.world.expect("admit 1 with 1 builders\nstart 2: b1 #2").await;
    running.world.finish(2, Results::Success);
    running.world.expect("start 3: b1 #3").await;
    running.world.finish(3, Results::Success);
    while !running.master.status().await.unwrap().running.is_empty() {}
    let open = RequestFilter { complete: Some(false), ..RequestFilter::default() };
    assert_eq!(second.requests(open).await.unwrap(), []);
    assert_eq!(second.builds(BuildFilter::default()).await.unwrap().len(), 3);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_builder_that_comes_back_by_a_reload_goes_on_counting() {
    let directory = tempfile::tempdir().unwrap();
    let text = farm(&[("w1", 0)], &[("b1", &["w1"]), ("b2", &["w1"])], "");
    let first = store(&directory);
    let running = Running::with_store(&text, &first).await;
    running.connect(1, "w1").await;
    running.master.force(forcing("b2")).await.unwrap();
    running.world.expect("admit 1 with 2 builders\nstart 1: b2 #1").await;
    running.world.finish(1, Results::Success);
    while !running.master.status().await.unwrap().running.is_empty() {}
    running.stop().await.unwrap();
    first.close().await;
    drop(first);

    let second = store(&directory);
    let running = Running::with_store(&one(), &second).await;
    running.connect(1, "w1").await;
    let changes = running.master.reload(config(&text)).await.unwrap();
    assert_eq!(changes, ["builder b2 added", "worker w1 changed", "scheduler force changed"]);
    running.master.force(forcing("b2")).await.unwrap();
    running.world.expect("admit 1 with 1 builders\n2 builders for 1\nstart 2: b2 #2").await;
    let builder =
        running.master.status().await.unwrap().builders.into_iter().find(|builder| builder.name == "b2");
    assert_eq!(builder.unwrap().id, BuilderId(2));
    running.world.finish(2, Results::Success);
    running.stop().await.unwrap();
}
