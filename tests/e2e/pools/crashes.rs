//! Masters that are killed: no machine is lost, none is started twice, every request is built.

use std::{collections::BTreeSet, fs};

use super::{at_gate, builder, gate, pool};
use crate::farm::Farm;

/// Every process is one of the ledger's.
fn assert_all_known(farm: &Farm) {
    let shown = farm.pool();
    let known: BTreeSet<String> = shown["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|instance| instance["provider_id"].as_str().map(str::to_owned))
        .collect();
    let processes = farm.processes().len();
    assert!(processes <= known.len(), "{processes} processes of {known:?}");
}

#[test]
fn workers_that_build_and_wait_are_taken_up_by_the_next_master() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut farm =
        Farm::start(&(pool(2, "build_wait_timeout = 30", "") + &builder("b", &gate(scratch.path()))));
    farm.ask("b", 2, &[]);
    farm.eventually("both run", |_| (at_gate(scratch.path()) == 2).then_some(()));
    let before = farm.processes();
    assert_eq!(before.len(), 2);
    farm.kill();
    fs::write(scratch.path().join("go"), "").expect("a writable scratch directory");
    farm.restart();
    let builds = farm.wait_succeeded("b", 2);
    assert_eq!(builds.iter().filter(|build| build["results"] == 5).count(), 2, "{builds:?}");
    let instances: BTreeSet<i64> = builds.iter().map(|build| farm.instance_of("b", build)).collect();
    assert_eq!(instances, [1, 2].into(), "the machines of before");
    assert_eq!(farm.processes(), before, "the same processes");
}

#[test]
fn a_master_that_is_killed_while_it_launches_leaks_and_doubles_nothing() {
    for moment in 0..3 {
        let mut farm = Farm::start(&(pool(4, "build_wait_timeout = 1", "") + &builder("b", "sleep 0.2")));
        farm.ask("b", 6, &[]);
        farm.eventually("machines are being made", |farm| {
            let made = fs::read_dir(farm.path("machines")).map_or(0, Iterator::count);
            (made > moment * 4).then_some(())
        });
        farm.kill();
        farm.restart();
        assert_all_known(&farm);
        let builds = farm.wait_succeeded("b", 6);
        let good = builds.iter().filter(|build| build["results"] == 0).count();
        assert_eq!(good, 6, "each request is built once: {builds:?}");
        assert!(builds.iter().all(|build| [0, 5].map(Into::into).contains(&build["results"])), "{builds:?}");
        assert_all_known(&farm);
        assert!(farm.processes().len() <= 4, "more machines than there may be");
        // What came of a call that the dead master made may show late, so its rows stay for a while; machines do not.
        farm.eventually("no machine is left", |farm| {
            (farm.processes().is_empty() && farm.pool()["by_state"]["terminating"].is_null()).then_some(())
        });
    }
}

#[test]
fn machines_that_are_meant_to_go_go_though_the_master_was_killed() {
    let mut farm = Farm::start(&(pool(2, "build_wait_timeout = 30", "") + &builder("b", "true")));
    farm.ask("b", 1, &[]);
    farm.wait_succeeded("b", 1);
    let output = farm.ganger(&["pool", "drain", "p-1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    farm.kill();
    farm.restart();
    farm.wait_for_nothing();
}
