//! Machines that die.

use std::{fs, process::Command};

use super::{at_gate, builder, gate, pool};
use crate::farm::Farm;

#[test]
fn a_build_whose_machine_dies_is_built_on_another() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut farm =
        Farm::start(&(pool(2, "build_wait_timeout = 1", "") + &builder("b", &gate(scratch.path()))));
    farm.ask("b", 1, &[]);
    farm.eventually("it is built", |_| (at_gate(scratch.path()) == 1).then_some(()));
    let first = farm.instance_of("b", &farm.builds("b")[0]);
    let worker = farm.pid(first).to_string();
    let killed = Command::new("kill").args(["-9", &worker]).status().expect("kill can be run");
    assert!(killed.success());

    let lost = farm.wait_complete("b", 1);
    assert_eq!(lost["results"], 5, "{lost}");
    farm.eventually("it is built again", |_| (at_gate(scratch.path()) == 2).then_some(()));
    fs::write(scratch.path().join("go"), "").expect("a writable scratch directory");
    let again = farm.wait_complete("b", 2);
    assert_eq!(again["results"], 0, "{again}");
    let second = farm.instance_of("b", &again);
    assert_ne!(first, second, "what is dead builds nothing");
    // The files of what died by itself stay for a while, for people.
    farm.eventually("the pool has no machine", |farm| (farm.pool()["live"] == 0).then_some(()));
    assert!(farm.processes().is_empty(), "processes are left");
    let why = farm.json(&["pool", "why", &first.to_string(), "--instance"]);
    assert_eq!(why["instance"]["state"], "gone", "{why}");
    assert_eq!(farm.pool()["totals"]["lost_builds"], 1);
}
