use std::{sync::Arc, time::Duration};

use model::{BuildNumber, BuilderId, Change, ChangeId, Results, SchedulerId, WorkerId};

use super::{super::KnownScheduler, Known, World, farm, last_order};

const W: &[(&str, u32)] = &[("w1", 1), ("w2", 1)];

#[test]
fn nothing_new_changes_nothing() {
    let text = farm(W, &[("b1", &["w1"])], "");
    World::new(&text).connect(1, "w1").reload(&text).expect("changed:");
}

#[test]
fn a_new_builder_is_known_to_its_workers_and_builds() {
    let mut world = World::new(&farm(W, &[("b1", &["w1"]), ("b2", &["w2"])], ""));
    world.connect(1, "w1").connect(2, "w2").reload(&farm(
        W,
        &[("b3", &["w1"]), ("b1", &["w1"]), ("b2", &["w2"])],
        "",
    ));
    world.expect(
        "+ builder 3 (\"b3\")
         + worker 1 builds [1, 3]
         builders for 1: b3 b1
         changed: builder b3 added; scheduler force changed",
    );
    world.force(&["b3"], 0);
    assert_eq!(last_order(&world.batch).worker.name, "w1");
}

#[test]
fn a_builder_that_runs_leaves_when_it_is_done() {
    let mut world = World::new(&farm(W, &[("b1", &["w1"]), ("b2", &["w1"])], ""));
    world.connect(1, "w1").force(&["b2"], 0).force(&["b2"], 0).reload(&farm(W, &[("b1", &["w1"])], ""));
    world.expect(
        "+ removal of builder 2
         + worker 1 builds [1]
         changed: builder b2 removed; scheduler force changed",
    );
    let shown = |world: &World| {
        let gone = world.core.builders().into_iter().find(|builder| builder.name == "b2");
        gone.map(|builder| (builder.running.len(), builder.pending))
    };
    assert_eq!(shown(&world), Some((1, 1)));
    world.finish(1, Results::Success).expect_actions("builders for 1: b1");
    assert_eq!(shown(&world), Some((0, 1)));
    world.why(2, "builder b2 is not in the configuration");
    // What waited for it waits for its return.
    world
        .reload(&farm(W, &[("b1", &["w1"]), ("b2", &["w2"])], ""))
        .expect_actions("changed: builder b2 added; scheduler force changed");
    world.connect(2, "w2").expect_actions("start 2: b2 #2 on w2 for [2]");
}

#[test]
fn a_running_build_keeps_its_directory() {
    let text = farm(W, &[("b1", &["w1"]), ("b2", &["w1"])], "");
    let moved = text.replace("name = \"b1\"\n", "name = \"b1\"\nworkerbuilddir = \"elsewhere\"\n");
    let mut world = World::new(&text);
    world.connect(1, "w1").force(&["b1"], 0).reload(&moved).expect_actions("changed: builder b1 changed");
    world.finish(1, Results::Success).expect_actions("builders for 1: b1@elsewhere b2");
}

#[test]
fn a_worker_that_is_gone_from_the_configuration_finishes_and_is_let_go() {
    let mut world = World::new(&farm(W, &[("b1", &["w1", "w2"])], ""));
    world.connect(1, "w1").force(&["b1"], 0).force(&["b1"], 0);
    world.reload(&farm(&W[1..], &[("b1", &["w2"])], "")).expect(
        "+ worker 1 builds []
         changed: builder b1 changed; worker w1 removed",
    );
    world.login(3, "w1").expect("refuse 3: worker w1 is no longer in the configuration");
    world
        .finish(1, Results::Success)
        .expect_actions("disconnect 1: worker w1 is no longer in the configuration");
    world.lose(1).expect("+ loss of worker 1");
    world.reload(&farm(W, &[("b1", &["w1"])], "")).login(4, "w1").expect("admit 4: b1");
}

#[test]
fn an_idle_worker_that_is_gone_from_the_configuration_is_let_go_at_once() {
    let mut world = World::new(&farm(W, &[("b1", &["w1", "w2"])], ""));
    world.connect(1, "w1").reload(&farm(&W[1..], &[("b1", &["w2"])], "")).expect_actions(
        "disconnect 1: worker w1 is no longer in the configuration
         changed: builder b1 changed; worker w1 removed",
    );
}

#[test]
fn a_new_limit_is_used_at_once() {
    let builders: &[(&str, &[&str])] = &[("b1", &["w1"]), ("b2", &["w1"])];
    let mut world = World::new(&farm(W, builders, ""));
    world.connect(1, "w1").force(&[], 0).reload(&farm(&[("w1", 2), ("w2", 1)], builders, "")).expect_actions(
        "start 2: b2 #1 on w1 for [2]
         changed: worker w1 changed",
    );
}

#[test]
fn names_from_the_tables_get_their_ids_and_numbers_back() {
    let mut world = World::new(&farm(W, &[("b1", &["w1"])], ""));
    let known = Known {
        builders: [("b2".to_owned(), (BuilderId(40), BuildNumber(12)))].into(),
        workers: [("w3".to_owned(), (WorkerId(30), Some("broken".to_owned())))].into(),
        ..Known::default()
    };
    let text = farm(&[("w1", 1), ("w2", 1), ("w3", 1)], &[("b1", &["w1"]), ("b2", &["w1", "w3"])], "");
    world.reload_knowing(&text, known).connect(1, "w3").force(&["b2"], 0);
    world.why(1, "builder b2 has no free worker: w3 is paused, w1 is not connected");
    world.connect(2, "w1");
    assert_eq!(
        (last_order(&world.batch).builder_id, last_order(&world.batch).number),
        (BuilderId(40), BuildNumber(13))
    );
}

#[test]
fn a_scheduler_from_the_tables_builds_what_it_remembers() {
    let mut world = World::new(&farm(W, &[("b1", &["w1"])], ""));
    let change = Arc::new(Change { branch: Some("main".to_owned()), ..Change::default() });
    let scheduler = KnownScheduler {
        id: SchedulerId(9),
        enabled: true,
        changes: vec![(ChangeId(4), change, true)],
        states: Default::default(),
    };
    let known = Known { schedulers: [("s".to_owned(), scheduler)].into(), ..Known::default() };
    world.reload_knowing(&scheduled("type = \"AnyBranchScheduler\"\ntreeStableTimer = 10"), known);
    world.pass(Duration::from_secs(10));
    assert!(super::text(&world.batch).contains("+ scheduler 9 has done These([ChangeId(4)])"));
}

fn scheduled(scheduler: &str) -> String {
    farm(W, &[("b1", &["w1"])], &format!("[[scheduler]]\nname = \"s\"\nbuilderNames = [\"b1\"]\n{scheduler}"))
}

#[test]
fn timers_go_on_and_changes_are_never_forgotten() {
    let any = scheduled("type = \"AnyBranchScheduler\"\ntreeStableTimer = 10");
    let mut world = World::new(&any);
    let second = Duration::from_secs(1);
    world.change(Change { branch: Some("main".to_owned()), ..Change::default() });
    world.pass(4 * second).reload(&any.replace("treeStableTimer = 10", "treeStableTimer = 10\npriority = 3"));
    world.expect_actions("changed: scheduler s changed");
    world.pass(5 * second).expect("").pass(second);
    assert!(super::text(&world.batch).contains("+ buildset 1"));

    // Gone, it remembers; back, it waits anew.
    world.change(Change { branch: Some("main".to_owned()), ..Change::default() });
    world.reload(&farm(W, &[("b1", &["w1"])], "")).pass(60 * second).expect("");
    world.reload(&any).pass(9 * second).expect("").pass(second);
    assert!(super::text(&world.batch).contains("+ scheduler 2 has done These([ChangeId(2)])"));

    // Without a timer there is nothing to wait for.
    world.change(Change { branch: Some("main".to_owned()), ..Change::default() });
    world.reload(&scheduled("type = \"AnyBranchScheduler\""));
    assert!(super::text(&world.batch).contains("+ scheduler 2 has done These([ChangeId(3)])"));
}

#[test]
fn what_cannot_change_is_said() {
    let text = farm(W, &[("b1", &["w1"])], "");
    let moved =
        text.replace("[master]\n", "[master]\ndatabase = \"other.sqlite\"\nlisten = [\"tcp:9999\"]\n");
    World::new(&text).reload(&moved).expect(
        "changed: master: database changed; it takes effect at the next start; master: listen changed; it takes effect at the next start",
    );
}
