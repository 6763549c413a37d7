//! From nothing to the maximum and back, in the order of priorities.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{at_gate, builder, gate, pool};
use crate::farm::Farm;

#[test]
fn a_burst_starts_as_many_machines_as_there_may_be_and_then_all_of_them_go() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let objects = pool(3, "build_wait_timeout = 1", "price = 0.5")
        + &builder("b", &gate(scratch.path()))
        + &builder("c", "true").replace("\"force\"", "\"force-c\"");
    let mut farm = Farm::start(&objects);
    farm.ask("b", 6, &[]);
    farm.ask("c", 2, &[]);
    farm.eventually("three builds run at once", |_| (at_gate(scratch.path()) >= 3).then_some(()));
    let shown = farm.pool();
    assert_eq!((&shown["live"], &shown["by_state"]["busy"]), (&3.into(), &3.into()), "{shown}");
    assert_eq!(at_gate(scratch.path()), 3, "no machine builds two at once");
    fs::write(scratch.path().join("go"), "").expect("a writable scratch directory");

    let builds = farm.wait_succeeded("b", 6);
    farm.wait_succeeded("c", 2);
    assert_eq!(builds.len(), 6, "each request is built once: {builds:?}");
    let workers: BTreeSet<&str> =
        builds.iter().map(|build| build["worker"].as_str().expect("a worker")).collect();
    assert!(workers.iter().all(|worker| ["p-1", "p-2", "p-3"].contains(worker)), "{workers:?}");
    assert_eq!(farm.property("b", &builds[0], "pool"), "p");
    assert_eq!(farm.property("b", &builds[0], "price"), 0.5);
    assert!(farm.property("b", &builds[0], "queue_wait").is_number());

    farm.wait_for_nothing();
    let shown = farm.pool();
    let launches: i64 =
        shown["totals"]["launches"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_i64()).sum();
    assert_eq!(launches, 3, "{shown}");
    assert_eq!(shown["totals"]["never_used"], 0, "{shown}");
    assert_eq!(shown["totals"]["ends"]["idle_timeout"], 3, "{shown}");

    // What another maximum would have done to that.
    let simulated =
        farm.json(&["simulate", "--history", ".", "--config", "ganger.toml", "--compare", "max=1"]);
    let runs = simulated["runs"].as_array().expect("two runs");
    let figures = |run: &Value| (run["jobs"].as_i64(), run["peak"].as_i64(), run["mean_wait_s"].as_f64());
    let [(jobs, peak, wait), (_, alone, longer)] = [figures(&runs[0]), figures(&runs[1])];
    assert_eq!((jobs, peak, alone), (Some(8), Some(3), Some(1)), "{simulated}");
    assert!(wait < longer, "{simulated}");
}

#[test]
fn urgent_requests_overtake_those_that_wait() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut farm = Farm::start(&(pool(1, "", "") + &builder("b", &gate(scratch.path()))));
    farm.ask("b", 1, &["-p", "is=first"]);
    farm.eventually("the first runs", |_| (at_gate(scratch.path()) == 1).then_some(()));
    farm.ask("b", 2, &["--priority", "-5", "-p", "is=low"]);
    farm.ask("b", 1, &["-p", "is=normal"]);
    farm.ask("b", 1, &["--priority", "50", "-p", "is=high"]);
    fs::write(scratch.path().join("go"), "").expect("a writable scratch directory");
    let builds = farm.wait_succeeded("b", 5);
    let order: Vec<_> = builds.iter().map(|build| farm.property("b", build, "is")).collect();
    assert_eq!(order, ["first", "high", "normal", "low", "low"]);
    let instances: BTreeSet<String> =
        builds.iter().map(|build| farm.property("b", build, "instance_id").to_string()).collect();
    assert_eq!(instances.len(), 1, "one machine does them all: {instances:?}");
}

#[test]
fn why_a_request_waits_and_why_a_machine_is_there_can_be_asked() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut farm = Farm::start(&(pool(1, "", "") + &builder("b", &gate(scratch.path()))));
    farm.ask("b", 2, &[]);
    farm.eventually("the first runs", |_| (at_gate(scratch.path()) == 1).then_some(()));
    let request = farm.eventually("the pool has looked at the second", |farm| {
        let why = farm.json(&["pool", "why", "2", "--request"]);
        (!why["request"]["expected"].is_null()).then_some(why)
    });
    assert_eq!(request["request"]["expected"]["pool"], "p", "{request}");
    assert!(request["request"]["text"].as_str().is_some_and(|text| !text.is_empty()), "{request}");
    let instance = farm.json(&["pool", "why", "p-1", "--instance"]);
    assert_eq!(instance["instance"]["started"]["code"], "demand", "{instance}");
    assert!(instance["instance"]["why"].as_str().is_some_and(|text| !text.is_empty()), "{instance}");
    fs::write(scratch.path().join("go"), "").expect("a writable scratch directory");
    farm.wait_succeeded("b", 2);
}
