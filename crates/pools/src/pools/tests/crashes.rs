//! The master is killed at any moment: nothing is leaked, doubled or killed by its successor.

use std::time::Duration;

use model::pool::Money;

use super::world::{Mood, World, spec};
use crate::{Operator, ReasonCode, State, provider::ErrorKind};

/// After everything: all is built, and neither a machine nor a row is left over.
fn all_is_well(world: &mut World, requests: u32) {
    world.until(4000, "all built", |world| world.done >= requests && world.queue.is_empty());
    world.until(2000, "all gone", |world| world.live() == 0 && world.running_machines() == 0);
    assert!(world.rows.values().all(|row| row.state == State::Gone), "a row is left");
}

#[test]
fn at_any_step_nothing_is_leaked_or_doubled() {
    for steps in 0..150 {
        let mut world = World::new(vec![spec(5)]);
        world.ask(3, 0);
        let end = world.now + Duration::from_secs(1000);
        for _ in 0..steps {
            world.step(end);
        }
        world.crash();
        all_is_well(&mut world, 3);
        // What was under way is found and used, or else ended: never forgotten.
        assert!(world.launched <= 6, "crash after {steps} steps: {} machines for 3 builds", world.launched);
    }
}

#[test]
fn what_was_spent_is_known_though_the_rows_are_gone() {
    let mut world = World::new(vec![spec(10)]);
    world.ask(8, 0);
    world.until(900, "gone", |world| world.done == 8 && world.live() == 0);
    let before = world.pools.status(world.now)[0].spend;
    assert!(before.day > Money::default() && before.day == before.month);
    // They were pruned.
    world.rows.clear();
    world.crash();
    assert_eq!(world.pools.status(world.now)[0].spend, before);
    world.run(60);
    world.crash();
    assert_eq!(world.pools.status(world.now)[0].spend, before, "nothing is counted twice");
}

#[test]
fn machines_that_the_last_call_started_are_adopted() {
    let mut world = World::new(vec![spec(3)]);
    world.moods.push_back(Mood::Silent);
    world.ask(3, 0);
    world.until(30, "asked", |world| world.calls.len() == 1);
    // The call takes effect just as the master dies.
    world.moods.push_back(Mood::FailsAfterwards(ErrorKind::Transport));
    world.until(300, "asked again", |world| world.launched == 3);
    world.crash();
    all_is_well(&mut world, 3);
    assert_eq!(world.launched, 3, "the machines of before log in with their secrets");
}

#[test]
fn workers_that_run_come_back_and_are_used() {
    let mut world = World::new(vec![spec(5)]);
    world.ask(3, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 3);
    world.crash();
    assert_eq!(world.in_state(State::Lost).len(), 3);
    world.until(30, "building again", |world| world.in_state(State::Busy).len() == 3);
    assert_eq!(world.launched, 3);
    all_is_well(&mut world, 3);
}

#[test]
fn nothing_is_started_before_a_complete_listing() {
    let mut world = World::new(vec![spec(5)]);
    world.crash();
    let failed = || Err(super::world::error(ErrorKind::Transport));
    world.listing.extend([failed(), failed(), failed()]);
    world.ask(3, 0);
    world.run(20);
    assert_eq!(world.launched, 0);
    let request = world.queue[0].0;
    assert_eq!(world.pools.why_request(request).unwrap().code, ReasonCode::NotListed);
    world.until(60, "started", |world| world.launched == 3);
}

#[test]
fn a_row_whose_call_came_to_nothing_is_given_up() {
    let mut world = World::new(vec![spec(1)]);
    world.moods.push_back(Mood::Silent);
    world.ask(1, 0);
    world.until(30, "asked", |world| world.calls.len() == 1);
    let id = world.calls[0].members[0].instance;
    world.crash();
    assert_eq!(world.pools.instance(id).unwrap().state, State::Requested);
    world.until(300, "given up", |world| world.rows[&id].state == State::Gone);
    assert_eq!(world.rows[&id].ended.as_ref().unwrap().code, ReasonCode::LaunchFailed);
    all_is_well(&mut world, 1);
}

#[test]
fn a_row_whose_call_shows_no_machine_is_waited_for_by_nobody() {
    let mut world = World::new(vec![spec(2)]);
    world.moods.push_back(Mood::Silent);
    world.ask(1, 0);
    world.until(30, "asked", |world| world.calls.len() == 1);
    world.crash();
    world.until(20, "another machine is started", |world| world.launched == 1);
    all_is_well(&mut world, 1);
}

#[test]
fn machines_that_were_connected_and_not_ready_have_come_up_all_the_same() {
    let mut world = World::new(vec![spec(6)]);
    world.ask(6, 0);
    world.until(200, "connected", |world| world.in_state(State::ReadyCheck).len() == 6);
    // What was learned is written down.
    world.operate(Operator::Scale { pool: "linux".to_owned(), min: None });
    world.crash();
    world.until(60, "building", |world| world.in_state(State::Busy).len() == 6);
    world.build_time = Duration::from_secs(2000);
    world.ask(6, 0);
    world.run(1000);
    assert_eq!(world.pools.status(world.now)[0].breaker, None);
}

#[test]
fn a_boot_that_failed_is_not_counted_again_after_a_restart() {
    let mut pool = spec(10);
    pool.idle = model::pool::Idle::Forever;
    let mut world = World::new(vec![pool]);
    world.ask(1, 0);
    world.until(300, "built", |world| world.done == 1);
    world.boots = false;
    world.reconfigure(|spec| spec.image = "image-2".to_owned());
    world.ask(10, 0);
    let late = |row: &&crate::Instance| row.image == "image-2" && row.state == State::Suspect;
    world.until(900, "one is late", |world| world.rows.values().any(|row| late(&row)));
    let id = world.rows.values().find(late).unwrap().id;
    world.run(20);
    world.crash();
    world.until(2000, "given up", |world| world.rows[&id].state == State::Gone);
    let tried = world.rows.values().filter(|row| row.image == "image-2" && row.launched_at.is_some()).count();
    assert!(tried <= 3, "{tried}");
    assert!(
        !world.said(ReasonCode::Canary).iter().any(|text| text.contains("is bad")),
        "two are too few to tell"
    );
}
