//! Who may be a worker of a pool, and who may not.

use std::{collections::BTreeSet, fs};

use testkit::worker::{WorkerKind, WorkerOptions};

use super::{at_gate, builder, gate, pool};
use crate::farm::{Farm, PASSWORD};

#[test]
fn five_workers_with_one_name_are_five_workers() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let keys = format!("password = {PASSWORD:?}\nkeepalive_interval = 2");
    let mut farm = Farm::start(&(pool(5, &keys, "") + &builder("b", &gate(scratch.path()))));
    let options = WorkerOptions::new(farm.port(), "p", PASSWORD);
    let _guests: Vec<_> = (0..5).map(|_| farm.worker_with(WorkerKind::NEWEST, &options)).collect();
    farm.eventually("all are there", |farm| (farm.pool()["by_state"]["idle"] == 5).then_some(()));
    farm.ask("b", 5, &[]);
    farm.eventually("all build", |_| (at_gate(scratch.path()) == 5).then_some(()));
    fs::write(scratch.path().join("go"), "").expect("a writable scratch directory");
    let builds = farm.wait_succeeded("b", 5);
    let workers: BTreeSet<&str> =
        builds.iter().map(|build| build["worker"].as_str().expect("a worker")).collect();
    assert_eq!(workers, ["p-1", "p-2", "p-3", "p-4", "p-5"].into());
    let shown = farm.pool();
    assert_eq!(shown["totals"]["guests"], 5, "{shown}");
    assert_eq!(farm.directories(), BTreeSet::new(), "nothing was started");
}

#[test]
fn strangers_are_turned_away_and_it_is_on_record() {
    let mut farm = Farm::start(&(pool(1, "build_wait_timeout = 30", "") + &builder("b", "true")));
    farm.ask("b", 1, &[]);
    farm.wait_succeeded("b", 1);
    let machine = farm.processes();

    let refused = |farm: &Farm| farm.pool()["totals"]["refused"].as_i64().unwrap_or(0);
    for (name, password) in [("p@1", "wrong"), ("p@4711", PASSWORD), ("p", PASSWORD), ("p@x", PASSWORD)] {
        let before = refused(&farm);
        let options = WorkerOptions::new(farm.port(), name, password);
        let mut stranger = farm.worker_with(WorkerKind::NEWEST, &options);
        farm.eventually(&format!("{name} is refused"), |farm| (refused(farm) > before).then_some(()));
        assert!(stranger.exited().expect("the system can say").is_none(), "nobody is made to exit");
    }
    assert_eq!(farm.processes(), machine, "the machine that was there is none the worse");
    farm.ask("b", 1, &[]);
    farm.wait_succeeded("b", 2);
}

#[test]
fn the_secret_of_a_machine_that_is_gone_opens_nothing() {
    let mut farm =
        Farm::start(&(pool(1, "build_wait_timeout = 1", "") + &builder("b", "cat ../../metadata.json")));
    farm.ask("b", 1, &[]);
    let builds = farm.wait_succeeded("b", 1);
    assert_eq!(builds.len(), 1);
    let said = farm.log_of("b", 1, &[]);
    let start = said.find("{\"version\"").expect("a build can read what its worker can");
    let document: serde_json::Value = serde_json::Deserializer::from_str(&said[start..])
        .into_iter()
        .next()
        .expect("a value")
        .expect("it is JSON");
    farm.wait_for_nothing();
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let (name, password) = (text(&document["worker"]["name"]), text(&document["worker"]["password"]));
    let options = WorkerOptions::new(farm.port(), &name, &password);
    let _thief = farm.worker_with(WorkerKind::NEWEST, &options);
    farm.eventually("it is refused", |farm| {
        (farm.pool()["totals"]["refused"].as_i64().unwrap_or(0) > 0).then_some(())
    });
}
