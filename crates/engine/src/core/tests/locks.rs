//! Locks of builders and of steps.

use std::{fmt::Write as _, time::Duration};

use config::{LockAccess, LockMode};
use model::{BuildId, Results::Success, StepId};
use storage::Write;

use super::{Event, World, farm};

/// A farm with locks: `db` is one of the master with two units, `cpu` one of each worker; builders by what they take.
fn locking(workers: &[(&str, u32)], builders: &[(&str, &[&str], &str)]) -> String {
    let plain: Vec<(&str, &[&str])> = builders.iter().map(|(name, workers, _)| (*name, *workers)).collect();
    let mut text = farm(workers, &plain, "");
    for (name, _, locks) in builders {
        text = text.replace(
            &format!("[[builder]]\nname = {name:?}\n"),
            &format!("[[builder]]\nname = {name:?}\nlocks = {locks}\n"),
        );
    }
    text.push_str("[[lock]]\ntype = \"MasterLock\"\nname = \"db\"\nmaxCount = 2\n");
    write!(text, "[[lock]]\ntype = \"WorkerLock\"\nname = \"cpu\"\nmaxCountForWorker = {{ w2 = 2 }}\n")
        .unwrap();
    text
}

pub(super) fn counting(lock: &str, count: u32) -> LockAccess {
    LockAccess { lock: lock.to_owned(), mode: LockMode::Counting(count) }
}

fn exclusive(lock: &str) -> LockAccess {
    LockAccess { lock: lock.to_owned(), mode: LockMode::Exclusive }
}

impl World {
    pub(super) fn take(&mut self, build: i64, locks: &[LockAccess]) -> &mut Self {
        self.event(Event::TakeLocks { build: BuildId(build), step: StepId(build), locks: locks.to_vec() })
    }

    pub(super) fn give(&mut self, build: i64) -> &mut Self {
        self.event(Event::ReturnLocks { build: BuildId(build), step: StepId(build) })
    }
}

const FOUR: [(&str, u32); 4] = [("w1", 1), ("w2", 1), ("w3", 1), ("w4", 1)];

fn four(builders: &[(&str, &[&str], &str)]) -> World {
    let mut world = World::new(&locking(&FOUR, builders));
    for (session, (worker, _)) in (1..).zip(FOUR) {
        world.connect(session, worker);
    }
    world
}

#[test]
fn as_many_builds_run_as_a_lock_has_units() {
    let mut world = four(&[
        ("a", &["w1"], "[\"db\"]"),
        ("b", &["w2"], "[\"db\"]"),
        ("c", &["w3"], "[\"db\"]"),
        ("d", &["w4"], "[]"),
    ]);
    world.force(&["a", "b", "c", "d"], 0);
    world.expect_actions(
        "start 1: a #1 on w1 for [1]
         start 2: b #1 on w2 for [2]
         start 3: d #1 on w4 for [4]
         Forced { buildset: BuildsetId(1), requests: [(\"a\", BuildRequestId(1)), (\"b\", BuildRequestId(2)), (\"c\", BuildRequestId(3)), (\"d\", BuildRequestId(4))] }",
    );
    world.why(3, "lock db is taken: a #1, b #1 have it");
    world.finish(3, Success).expect_actions("");
    world.finish(2, Success).expect_actions("start 4: c #1 on w3 for [3]");
}

#[test]
fn the_most_urgent_request_gets_a_lock_that_comes_free() {
    let mut world = four(&[
        ("a", &["w1"], "[{ lock = \"db\", count = 2 }]"),
        ("b", &["w2"], "[\"db\"]"),
        ("c", &["w3"], "[{ lock = \"db\", count = 2 }]"),
    ]);
    world.force(&["a"], 0).force(&["b"], 0).force(&["c"], 5);
    world.finish(1, Success).expect_actions("start 2: c #1 on w3 for [3]");
    world.finish(2, Success).expect_actions("start 3: b #1 on w2 for [2]");
}

#[test]
fn whoever_wants_a_lock_alone_is_not_overtaken_by_those_who_want_a_part() {
    let mut world = four(&[
        ("a", &["w1"], "[\"db\"]"),
        ("b", &["w2"], "[{ lock = \"db\", access = \"exclusive\" }]"),
        ("c", &["w3"], "[\"db\"]"),
    ]);
    world.force(&["a"], 0).force(&["b"], 0).force(&["c"], 0);
    world.why(2, "lock db is taken: a #1 has it").why(3, "more urgent requests wait for the same locks");
    world.finish(1, Success).expect_actions("start 2: b #1 on w2 for [2]");
    world.finish(2, Success).expect_actions("start 3: c #1 on w3 for [3]");
}

#[test]
fn who_stood_back_for_a_request_that_goes_away_has_its_turn() {
    let mut world = World::new(&locking(
        &[("w2", 3)],
        &[
            ("holds", &["w2"], "[\"cpu\"]"),
            ("wants-all", &["w2"], "[{ lock = \"cpu\", count = 2 }]"),
            ("wants-one", &["w2"], "[\"cpu\"]"),
        ],
    ));
    world.connect(1, "w2").force(&["holds"], 0).force(&["wants-all"], 5).force(&["wants-one"], 0);
    world
        .expect_actions("Forced { buildset: BuildsetId(3), requests: [(\"wants-one\", BuildRequestId(3))] }");
    world.cancel(2).expect_actions("Done\nstart 2: wants-one #1 on w2 for [3]");
}

#[test]
fn who_cannot_start_anyway_stands_in_nobodys_way() {
    let mut world = four(&[
        ("a", &["w1"], "[\"db\"]"),
        ("b", &["w2"], "[{ lock = \"db\", access = \"exclusive\" }]"),
        ("c", &["w3"], "[\"db\"]"),
    ]);
    world.force(&["a"], 0).force(&["b"], 0).force(&["c"], 0);
    world.lose(2);
    world.expect_actions("start 2: c #1 on w3 for [3]");
    world.finish(2, Success);
    world.connect(9, "w2").force(&["c"], 0);
    world.expect_actions("Forced { buildset: BuildsetId(4), requests: [(\"c\", BuildRequestId(4))] }");
    world.cancel(2);
    world.expect_actions("Done\nstart 3: c #2 on w3 for [4]");
}

#[test]
fn a_lock_of_workers_decides_the_worker() {
    let mut world = World::new(&locking(
        &[("w1", 0), ("w2", 0)],
        &[("a", &["w1", "w2"], "[\"cpu\"]"), ("b", &["w1", "w2"], "[\"cpu\"]"), ("c", &["w1"], "[\"cpu\"]")],
    ));
    world.connect(1, "w1").connect(2, "w2");
    // One unit on w1, two on w2.
    world.force(&["a"], 0).expect_actions(
        "start 1: a #1 on w1 for [1]
         Forced { buildset: BuildsetId(1), requests: [(\"a\", BuildRequestId(1))] }",
    );
    world.force(&["c"], 0).why(2, "builder c has no free worker: w1 has its locks taken");
    world.force(&["a"], 0).force(&["b"], 0).expect_actions(
        "start 3: b #1 on w2 for [4]
         Forced { buildset: BuildsetId(4), requests: [(\"b\", BuildRequestId(4))] }",
    );
    world.finish(1, Success).expect_actions("start 4: c #1 on w1 for [2]");
}

#[test]
fn on_a_worker_too_whoever_wants_it_alone_is_not_overtaken() {
    let mut world = World::new(&locking(
        &[("w2", 0)],
        &[
            ("a", &["w2"], "[\"cpu\"]"),
            ("b", &["w2"], "[{ lock = \"cpu\", access = \"exclusive\" }]"),
            ("c", &["w2"], "[\"cpu\"]"),
        ],
    ));
    world.connect(1, "w2").force(&["a"], 0).force(&["b"], 0).force(&["c"], 0);
    assert_eq!(world.core.status().running.len(), 1);
    world.finish(1, Success).expect_actions("start 2: b #1 on w2 for [2]");
    world.finish(2, Success).expect_actions("start 3: c #1 on w2 for [3]");
}

fn two_builds() -> World {
    let mut world =
        four(&[("a", &["w1"], "[]"), ("b", &["w2"], "[]"), ("c", &["w3"], "[]"), ("d", &["w4"], "[\"db\"]")]);
    world.force(&["a", "b", "c"], 0);
    world
}

#[test]
fn steps_get_locks_in_the_order_in_which_they_came() {
    let mut world = two_builds();
    world.take(1, &[counting("db", 1)]).expect_actions("step 1 of build 1 has its locks");
    world.take(2, &[exclusive("db")]).expect_actions("step 2 of build 2: waiting for lock db");
    // A unit is free, but not for those behind the second one.
    world.take(3, &[counting("db", 1)]).expect_actions("step 3 of build 3: waiting for lock db");
    world.force(&["d"], 9).why(4, "lock db is taken: a #1 has it");
    world.pass(Duration::from_secs(7));
    world.give(1).expect_actions("step 2 of build 2 has its locks");
    world.give(2).expect_actions(
        "step 3 of build 3 has its locks
         start 4: d #1 on w4 for [4]",
    );
    world.finish(2, Success);
    let waited = world.batch.writes.iter().find_map(|write| match write {
        Write::BuildFinished { locks_duration, .. } => Some(*locks_duration),
        _ => None,
    });
    assert_eq!(waited, Some(Duration::from_secs(7)));
}

#[test]
fn two_steps_that_want_the_same_two_locks_do_not_wait_for_each_other() {
    let mut world = two_builds();
    world.take(3, &[exclusive("db"), exclusive("cpu")]);
    world.event(Event::ReturnLocks { build: BuildId(3), step: StepId(99) }).expect_actions("");
    let text = locking(&FOUR, &[("a", &["w1"], "[]"), ("b", &["w2"], "[]"), ("c", &["w3"], "[]")]);
    world.reload(&(text + "[[lock]]\ntype = \"MasterLock\"\nname = \"net\"\n"));
    world
        .take(1, &[exclusive("net"), exclusive("db")])
        .expect_actions("step 1 of build 1: waiting for lock db");
    world
        .take(2, &[exclusive("db"), exclusive("net")])
        .expect_actions("step 2 of build 2: waiting for locks db, net");
    world.give(3).expect_actions("step 1 of build 1 has its locks");
    world.give(1).expect_actions("step 2 of build 2 has its locks");
}

#[test]
fn a_lock_comes_free_however_a_build_ends() {
    let end: [fn(&mut World); 4] = [
        |world| _ = world.give(1),
        |world| _ = world.finish(1, model::Results::Exception),
        |world| _ = world.stop(1).finish(1, model::Results::Cancelled),
        |world| _ = world.lose(1).finish(1, model::Results::Retry),
    ];
    for end in end {
        let mut world = two_builds();
        world.take(1, &[exclusive("db")]).take(2, &[exclusive("db")]);
        end(&mut world);
        assert!(super::text(&world.batch).contains("step 2 of build 2 has its locks"), "{:?}", world.batch);
        world.finish(2, Success).force(&["d"], 0);
        assert_eq!(super::last_order(&world.batch).builder.name, "d");
    }
}

#[test]
fn a_step_that_waits_no_longer_is_out_of_line() {
    let mut world = two_builds();
    world.take(1, &[counting("db", 1)]).take(2, &[exclusive("db")]).take(3, &[counting("db", 1)]);
    world.stop(2);
    world.give(2).expect_actions("step 3 of build 3 has its locks");
    // Nothing is left of it.
    world.give(2).expect_actions("");
    world.finish(1, Success).finish(3, Success).force(&["d"], 0);
    assert_eq!(super::last_order(&world.batch).builder.name, "d");
}

#[test]
fn a_reload_gives_a_lock_more_units_and_never_takes_one_away() {
    let builders: &[(&str, &[&str], &str)] = &[
        ("a", &["w1"], "[\"db\"]"),
        ("b", &["w2"], "[\"db\"]"),
        ("c", &["w3"], "[\"db\"]"),
        ("d", &["w4"], "[\"db\"]"),
    ];
    let mut world = four(builders);
    world.force(&["a", "b", "c", "d"], 0);
    let text = locking(&FOUR, builders);
    world.reload(&text.replace("maxCount = 2\n", "maxCount = 3\n"));
    assert_eq!(world.core.status().running.len(), 3);
    world.reload(&text.replace("maxCount = 2\n", "maxCount = 1\n"));
    assert_eq!(world.core.status().running.len(), 3);
    world.finish(1, Success).finish(2, Success);
    assert_eq!(world.core.status().running.len(), 1);
    world.finish(3, Success).expect_actions("start 4: d #1 on w4 for [4]");
    // A lock that is gone is still held by those who have it.
    let gone =
        farm(&FOUR, &builders.iter().map(|(name, workers, _)| (*name, *workers)).collect::<Vec<_>>(), "");
    world.reload(&gone).finish(4, Success).reload(&text).force(&["a", "b"], 0);
    assert_eq!(world.core.status().running.len(), 2);
}
