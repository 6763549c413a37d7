//! The master is killed at any moment: nothing is leaked, doubled or killed by its successor.

use std::time::Duration;

use model::pool::Money;

use super::world::{Mood, World, spec};
use crate::{ReasonCode, State, provider::ErrorKind};

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
