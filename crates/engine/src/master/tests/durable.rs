use std::{sync::Arc, time::Duration};

use model::{BuildId, Change, ChangeId, Results, Time};
use storage::Write;
use tokio::sync::oneshot;

use super::{
    super::{Ended, Health, MasterError},
    Disk, Running, World, forcing, lock, until,
};
use crate::{core::tests::farm, notice::Heard, worker::Report};

fn one() -> String {
    farm(&[("w1", 1)], &[("b1", &["w1"])], "")
}

#[tokio::test]
async fn nothing_leaves_before_its_rows_are_durable() {
    let disk = Arc::new(Disk::default());
    let running = Running::with_disk(&one(), &disk, World::default());
    running.connect(1, "w1").await;
    running.world.expect("admit 1 with 1 builders").await;
    let mut notices = running.master.subscribe();

    disk.slow();
    let master = running.master.clone();
    let forced = tokio::spawn(async move { master.force(forcing("b1")).await });
    until("rows", || (lock(&disk.waiting).len() == 1).then_some(())).await;
    // The core goes on meanwhile: two more events are on their way to the disk.
    for _ in 0..2 {
        let master = running.master.clone();
        tokio::spawn(async move { master.add_change(Change::default()).await });
    }
    until("more rows", || (lock(&disk.waiting).len() == 3).then_some(())).await;
    assert_eq!(running.world.left(), "");
    assert!(!forced.is_finished());

    disk.go();
    assert_eq!(forced.await.unwrap().unwrap().requests[0].0, "b1");
    running.world.expect("start 1: b1 #1").await;
    let Heard::Notice(first) = notices.next().await else { panic!() };
    assert!(format!("{first:?}").starts_with("BuildsetAdded"), "{first:?}");
    assert!(running.stop.is_cancelled() || !running.task.is_finished());
}

#[tokio::test]
async fn somebody_who_looks_sees_only_what_is_durable() {
    let disk = Arc::new(Disk::default());
    let running = Running::with_disk(&one(), &disk, World::default());
    disk.slow();
    let master = running.master.clone();
    tokio::spawn(async move { master.force(forcing("b1")).await });
    until("rows", || (!lock(&disk.waiting).is_empty()).then_some(())).await;
    let master = running.master.clone();
    let status = tokio::spawn(async move { master.status().await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!status.is_finished());
    disk.go();
    assert_eq!(status.await.unwrap().unwrap().pending.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_admitted_and_survived() {
    let disk = Arc::new(Disk::default());
    let running = Running::with_disk(&one(), &disk, World::default());
    running.connect(1, "w1").await;
    disk.slow();
    // Known to the core, but not durable: that is what is said.
    let error = running.master.force(forcing("b1")).await.unwrap_err();
    assert!(matches!(error, MasterError::Unconfirmed), "{error}");
    assert_eq!(running.master.health(), Health::Stalled);
    // From now on nothing is taken.
    let error = running.master.force(forcing("b1")).await.unwrap_err();
    assert!(matches!(error, MasterError::Stalled), "{error}");
    disk.go();
    until("good health", || (running.master.health() == Health::Good).then_some(())).await;
    running.world.expect("admit 1 with 1 builders\nstart 1: b1 #1").await;
    running.master.add_change(Change::default()).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_master_and_nothing_leaves() {
    let disk = Arc::new(Disk::default());
    let running = Running::with_disk(&one(), &disk, World::default());
    running.connect(1, "w1").await;
    running.world.expect("admit 1 with 1 builders").await;
    disk.slow();
    let master = running.master.clone();
    let forced = tokio::spawn(async move { master.force(forcing("b1")).await });
    until("rows", || (!lock(&disk.waiting).is_empty()).then_some(())).await;
    disk.fail();
    assert!(matches!(running.task.await.unwrap(), Err(Ended::Storage(_))));
    assert!(matches!(forced.await.unwrap(), Err(MasterError::Ending)));
    assert!(matches!(running.master.status().await, Err(MasterError::Ending)));
    assert_eq!(running.world.left(), "");
    assert!(running.stop.is_cancelled());
}

#[tokio::test]
async fn a_client_hears_of_its_change_when_it_is_durable() {
    let disk = Arc::new(Disk::default());
    let running = Running::with_disk(&one(), &disk, World::default());
    disk.slow();
    let (stored, mut heard) = oneshot::channel();
    running.reports.send(Report::Change { change: Box::default(), stored }).await.unwrap();
    until("rows", || (!lock(&disk.waiting).is_empty()).then_some(())).await;
    assert!(heard.try_recv().is_err());
    disk.go();
    assert_eq!(heard.await.unwrap(), Ok(ChangeId(1)));
}

#[tokio::test(start_paused = true)]
async fn a_tree_is_stable_after_its_time() {
    let disk = Arc::new(Disk::default());
    let more = "[[scheduler]]\nname = \"s\"\ntype = \"AnyBranchScheduler\"\nbuilderNames = [\"b1\"]\ntreeStableTimer = 60\n";
    let running = Running::with_disk(&farm(&[("w1", 1)], &[("b1", &["w1"])], more), &disk, World::default());
    running.connect(1, "w1").await;
    running.master.add_change(Change::default()).await.unwrap();
    assert_eq!(running.world.left(), "admit 1 with 1 builders");
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(running.master.status().await.unwrap().pending.len(), 0);
    assert_eq!(running.world.left(), "");
    tokio::time::advance(Duration::from_secs(1)).await;
    running.world.expect("start 1: b1 #1").await;
}

#[tokio::test(start_paused = true)]
async fn the_master_gives_signs_of_life() {
    let disk = Arc::new(Disk::default());
    let running = Running::with_disk(&one(), &disk, World::default());
    tokio::time::sleep(Duration::from_secs(150)).await;
    let rows = lock(&disk.rows);
    let signs = rows.iter().filter(|row| matches!(row, Write::MasterActive { at } if *at > Time::default()));
    assert_eq!(signs.count(), 3);
    drop(rows);
    drop(running);
}

#[tokio::test]
async fn a_build_that_panics_is_an_exception_and_nothing_more() {
    let disk = Arc::new(Disk::default());
    let world = World { panics: true, ..World::default() };
    let running = Running::with_disk(&one(), &disk, world);
    running.connect(1, "w1").await;
    running.master.force(forcing("b1")).await.unwrap();
    until("the end of the build", || {
        let failed = |row: &Write| {
            matches!(row, Write::BuildFinished { build: BuildId(1), results: Results::Exception, .. })
        };
        lock(&disk.rows).iter().any(failed).then_some(())
    })
    .await;
    running.master.status().await.unwrap();
}
